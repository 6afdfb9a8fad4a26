"""Our verifier and that of the unmodified OpenGradient SDK 1.1.4 agree on every exchange.

The SDK conflicts with x402, so it has an environment of its own: ``.venv-opengradient`` at the repository's root.
"""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.envelope import canonical_chat_request
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import load_signing_key

Json = Any
HERE = Path(__file__).parent
SDK_PYTHON = HERE.parents[2] / ".venv-opengradient" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not SDK_PYTHON.exists() and os.environ.get("CI") != "true",
    reason="the OpenGradient SDK's environment .venv-opengradient is not here",
)

TEXTS = ["", "hi", "Grüße ☀", '\u2028\x00\t"\\', "💥" * 3, "a\r\nb"]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}


def random_message(chooser: random.Random) -> Json:
    text = chooser.choice(TEXTS)
    parts = [
        {"type": "text", "text": text},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "AA=="}},
        {"type": "file", "filename": "b.pdf"},
    ]
    return chooser.choice(
        [
            {"role": "system", "content": text},
            {"role": "developer", "content": text},
            {"role": "user", "content": text},
            {"role": "user", "content": parts[: chooser.randint(1, 4)], "name": "n"},
            {"role": "assistant", "content": text},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "assistant", "content": text, "tool_calls": [{**CALL, "extra_content": {"k": 1}}, {"id": "x"}]},
            {"role": "tool", "content": text, "tool_call_id": "call_1"},
            {"role": "function", "content": text, "name": "f"},
        ]
    )


def random_request(chooser: random.Random) -> Json:
    optional = {
        "temperature": chooser.choice([None, 0, 1, 0.7, 1e-7]),
        "max_tokens": chooser.choice([None, 1, 4096]),
        "stop": chooser.choice([None, "x", ["a", "☀"], []]),
        "tools": chooser.choice([None, [], [{"type": "function", "function": {"name": "f", "parameters": {"b": 1}}}]]),
        "response_format": chooser.choice([None, {"type": "json_object"}, {}]),
        "web_search": chooser.choice([False, True]),
        "tool_choice": "auto",
        "n": 1,
        "top_p": 0.5,
        "stream": False,
    }
    present = {name: value for name, value in optional.items() if chooser.random() < 0.6}
    messages = [random_message(chooser) for _ in range(chooser.randint(1, 5))]
    return {"model": chooser.choice(["gpt-5", "openai/gpt-5"]), "messages": messages, **present}


def random_answer(chooser: random.Random) -> tuple[Json, str]:
    """An unsigned answer and its output."""
    text = chooser.choice(TEXTS)
    plain = {"role": "assistant", "content": text}
    with_calls = {**plain, "tool_calls": [CALL]}
    message, finish_reason, output = chooser.choice(
        [
            (plain, "stop", text),
            (plain, "length", text),
            ({"role": "assistant", "content": None}, "stop", ""),
            (with_calls, "tool_calls", json.dumps([CALL], sort_keys=True)),
            (with_calls, "stop", text),
            (plain, "tool_calls", text),
        ]
    )
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]}, output


def tamper(answer: Json, chooser: random.Random) -> Json:
    """The answer, half of the time with one changed field of its envelope."""
    if chooser.random() < 0.5:
        return answer
    field = chooser.choice(["tee_request_hash", "tee_output_hash", "tee_timestamp", "tee_id", "tee_signature"])
    value = answer[field]
    other = value + 1 if isinstance(value, int) else value[:9] + ("1" if value[9] != "1" else "2") + value[10:]
    return {**answer, field: other}


@pytest.fixture(scope="module")
def exchanges(answer_signer: Any) -> list[Json]:
    chooser = random.Random(114)
    made = []
    for _ in range(150):
        request = random_request(chooser)
        answer, output = random_answer(chooser)
        envelope = answer_signer.envelope(canonical_chat_request(request).decode(), output)
        response = tamper({**answer, **envelope}, chooser)
        made.append({"request": request, "response": response, "key": answer_signer.pem.decode()})
    return made


@pytest.fixture(scope="module")
def sdk_verdicts(exchanges: list[Json]) -> list[Json]:
    lines = "\n".join(json.dumps(exchange) for exchange in exchanges)
    command = [str(SDK_PYTHON), str(HERE / "opengradient_verifier.py")]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_canonical_requests_are_the_same_bytes(exchanges: list[Json], sdk_verdicts: list[Json]) -> None:
    assert len(sdk_verdicts) == len(exchanges)
    for exchange, verdict in zip(exchanges, sdk_verdicts, strict=True):
        assert canonical_chat_request(exchange["request"]).decode() == verdict["canonical"]


def test_the_same_answers_are_accepted_and_refused(exchanges: list[Json], sdk_verdicts: list[Json]) -> None:
    accepted = 0
    for exchange, verdict in zip(exchanges, sdk_verdicts, strict=True):
        data = json.dumps(exchange["response"]).encode()
        claims = verify_response(load_signing_key(exchange["key"].encode()), exchange["request"], data)
        valid = all(claim.verdict is Verdict.PASS for claim in claims)
        assert valid == (verdict["verdict"] is None), verdict["verdict"]
        accepted += valid
    assert 0 < accepted < len(exchanges)
