"""The README's verification example works as printed."""

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.running_gateway import RunningGateway

README = Path(__file__).parent.parent / "README.md"
REQUESTS = {
    "text": {
        "model": "gpt-4.1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Grüße 🙂"}],
        "max_tokens": 50,
    },
    "tools": {
        "model": "gpt-4.1",
        "temperature": 1,
        "tool_choice": "required",
        "tools": [
            {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
        ],
        "messages": [{"role": "user", "content": "Look"}],
    },
}


def snippets() -> tuple[str, str]:
    """The Python and the shell block between the markers."""
    text = (
        README.read_text(encoding="utf-8").partition("<!-- verify: begin -->")[2].partition("<!-- verify: end -->")[0]
    )
    python = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    shell = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert python is not None
    assert shell is not None
    return python[1], shell[1]


async def run(*command: str, folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.needs("openssl", "curl")
@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("tampered", [False, True])
async def test_the_example_verifies_what_was_signed(
    gateway: RunningGateway, tmp_path: Path, kind: str, tampered: bool
) -> None:
    python, shell = snippets()
    response = await gateway.post("/v1/chat/completions", REQUESTS[kind])
    answer = await response.json()
    if tampered:
        answer["tee_timestamp"] += 1
    (tmp_path / "request.json").write_text(json.dumps(REQUESTS[kind]), encoding="utf-8")
    (tmp_path / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    assert (await run(sys.executable, "-c", python, folder=tmp_path))[0] == 0
    shell = shell.replace("http://127.0.0.1:8000", gateway.url).replace("python3", shlex.quote(sys.executable))
    status, told = await run("sh", "-e", "-c", shell, folder=tmp_path)
    assert ("Verified OK" in told, status == 0) == (not tampered, not tampered)
