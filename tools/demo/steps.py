"""The commands that the demo prints, to be copied or, with ``--check``, run."""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.chain.deployment import PAYER


@dataclass(frozen=True, slots=True)
class Step:
    """A shell command with its heading. ``verifies`` is the number of answers that it verifies."""

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
    "chat": {
        "model": "gpt-5.2",
        "max_completion_tokens": 2000,
        "messages": [{"role": "user", "content": "Say hello to the enclave."}],
    },
    "stream": {
        "model": "grok-4.3",
        "stream": True,
        "max_completion_tokens": 500,
        "messages": [{"role": "user", "content": "Count to three, slowly."}],
    },
    "tools": {
        "model": "claude-sonnet-4-6",
        "tools": [WEATHER],
        "tool_choice": "required",
        "max_completion_tokens": 500,
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
    },
}
_HEADINGS = {
    "chat": "A chat, paid: the offers, what is signed, the answer, the charge and the verdicts",
    "stream": "A stream, settled before its last event",
    "tools": "A tool call, from another vendor's wire format",
}


def demo_steps(url: str, rpc_url: str, folder: Path) -> Iterator[Step]:
    """Write the requests and the payer's key to ``folder``, and yield the steps: an unpaid request, then payment and
    verification of each kind of request, between two queries of balances."""
    key = folder / "payer.key"
    key.write_text(f"{PAYER.key}\n", encoding="ascii")
    balances = f"{_python()} -m tools.demo.balances {rpc_url}"
    yield Step("Who holds what on the local chain", balances)
    for name, request in REQUESTS.items():
        sent = folder / f"{name}.json"
        sent.write_text(json.dumps(request, indent=1), encoding="utf-8")
        received = folder / (f"{name}.answer.sse" if request.get("stream") else f"{name}.answer.json")
        if name == "chat":
            yield Step("Nothing is free: an unpaid request", _post(f"{url}/v1/chat/completions", sent))
        yield Step(_HEADINGS[name], _pay(f"{url}/v1/chat/completions", rpc_url, sent, key, received))
        yield Step("Is it signed by this gateway, for exactly this request?", _verify(url, sent, received), 1)
    yield Step("What moved on the chain", balances)


def _post(url: str, sent: Path) -> str:
    if shutil.which("curl"):
        status = "-w '\\nstatus %{http_code}\\n'"
        return f"curl -sS --noproxy '*' {url} -H 'Content-Type: application/json' -d @{shlex.quote(str(sent))} {status}"
    return f"{_python()} -m tools.demo.post {url} {shlex.quote(str(sent))}"


def _pay(url: str, rpc_url: str, sent: Path, key: Path, received: Path) -> str:
    return (
        f"{_python()} -m tools.pay {url} --body {shlex.quote(str(sent))} --key {shlex.quote(str(key))} "
        f"--rpc {rpc_url} --output {shlex.quote(str(received))} --yes"
    )


def _verify(url: str, sent: Path, received: Path) -> str:
    return (
        f"{_python()} -m tools.verify response --key-url {url}/signing-key "
        f"--request {shlex.quote(str(sent))} --response {shlex.quote(str(received))}"
    )


def _python() -> str:
    """The interpreter's path, relative to the current folder if possible."""
    executable = Path(sys.executable)
    try:
        return shlex.quote(str(executable.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(executable))
