"""The lines that a demonstration prints, for a person to copy and for ``--check`` to run."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Line:
    """A shell command under its heading. ``verifies`` says how many answers it proves."""

    heading: str
    command: str
    verifies: int = 0


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
REQUESTS: dict[str, dict[str, Any]] = {
    "chat": {"model": "gpt-5", "messages": [{"role": "user", "content": "Say hello to the enclave."}]},
    "stream": {
        "model": "grok-4.3",
        "stream": True,
        "messages": [{"role": "user", "content": "Count to three, slowly."}],
    },
    "tools": {
        "model": "claude-sonnet-4-6",
        "tools": [WEATHER],
        "tool_choice": "required",
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
    },
}
_HEADINGS = {
    "chat": "A chat",
    "stream": "A stream",
    "tools": "A tool call, from another vendor's wire format",
}


def demo_lines(url: str, folder: Path) -> Iterator[Line]:
    """Writes the request files to ``folder`` and yields one request and one verdict per kind."""
    for name, request in REQUESTS.items():
        sent = folder / f"{name}.json"
        sent.write_text(json.dumps(request, indent=1), encoding="utf-8")
        received = folder / (f"{name}.answer.sse" if request.get("stream") else f"{name}.answer.json")
        yield Line(_HEADINGS[name], _post(f"{url}/v1/chat/completions", sent, received))
        yield Line("Is it signed by this gateway, for exactly this request?", _verify(url, sent, received), 1)


def _post(url: str, sent: Path, received: Path) -> str:
    if shutil.which("curl"):
        return (
            f"curl -sSN {url} -H 'Content-Type: application/json' "
            f"-d @{shlex.quote(str(sent))} | tee {shlex.quote(str(received))}"
        )
    return f"{_python()} -m tools.demo.post {url} {shlex.quote(str(sent))} | tee {shlex.quote(str(received))}"


def _verify(url: str, sent: Path, received: Path) -> str:
    return (
        f"{_python()} -m tools.verify response --key-url {url}/signing-key "
        f"--request {shlex.quote(str(sent))} --response {shlex.quote(str(received))}"
    )


def _python() -> str:
    """The interpreter as a person would type it."""
    executable = Path(sys.executable)
    try:
        return shlex.quote(str(executable.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(executable))
