"""Every OpenAI and xAI exchange of ../shared/transcripts, replayed through sockets (issue 2)."""

import json
from typing import Any

import pytest

from tests.conformance.recorded import load, read, recordings
from tests.running_gateway import RunningGateway
from tools.simulators.transcripts import replay
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import load_signing_key
from tools.verify.stream import reassemble

ASKED = {"openai": "gpt-5-mini", "xai": "grok-4.3"}
ANSWERS = recordings("openai", errors=False) + recordings("xai", errors=False)
ERRORS = recordings("openai", errors=True) + recordings("xai", errors=True)
pytestmark = pytest.mark.skipif(not ANSWERS, reason="../shared/transcripts is not here")


async def ask(gateway: RunningGateway, name: str, *, piece: int | None = None) -> tuple[dict[str, Any], bytes]:
    """Replay the recording as the upstream; return the request that was sent and the raw answer."""
    transcript = load(name)
    provider = transcript["provider"]
    assert gateway.fleet is not None
    gateway.fleet.simulators[provider].enqueue(replay(transcript, piece=piece))
    stream = "json" not in transcript["response"] and "text" not in transcript["response"]
    request = {"model": ASKED[provider], "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    response = await gateway.post("/v1/chat/completions", request)
    assert response.status == 200, await response.text()
    return request, await response.read()


def reasoning_of(stream: bytes) -> str:
    """The reasoning in a stream, which the verifier's own reader skips."""
    events = [line[6:] for line in stream.splitlines() if line.startswith(b"data: {")]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("reasoning_content", "") for choice in choices)


@pytest.mark.parametrize("piece", [None, 7])
@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_is_the_recorded_one(gateway: RunningGateway, name: str, piece: int | None) -> None:
    request, raw = await ask(gateway, name, piece=piece)
    expected = read(load(name))
    answer = reassemble(raw) if request["stream"] else json.loads(raw)
    choice = answer["choices"][0]
    message = choice["message"]
    assert (message.get("content") or "") == expected.content
    assert (reasoning_of(raw) if request["stream"] else message.get("reasoning_content", "")) == expected.reasoning
    assert choice["finish_reason"] == expected.finish
    calls = message.get("tool_calls") or []
    assert [{"id": call["id"], **call["function"]} for call in calls] == expected.calls
    for call in calls:
        json.loads(call["function"]["arguments"])
    if expected.usage is not None:
        usage = answer["usage"]
        details = usage["prompt_tokens_details"], usage["completion_tokens_details"]
        assert (
            usage["prompt_tokens"],
            details[0]["cached_tokens"],
            usage["completion_tokens"],
            details[1]["reasoning_tokens"],
        ) == expected.usage
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    key = load_signing_key(gateway.services.signer.public_pem.encode())
    assert {claim.verdict for claim in verify_response(key, request, raw)} == {Verdict.PASS}


MEANINGS = {
    "openai/eag-chat-bad-request.json": (400, "unsupported_parameter", "max_tokens"),
    "openai/eag-chat-no-messages.json": (400, "empty_array", "messages"),
    "openai/eag-chat-unknown-model.json": (404, "model_not_found", "model"),
    "openai/eag-completion-unknown-model.json": (404, "model_not_found", "model"),
    "openai/pai-openai-web-search-tool-model-not-supported.json": (400, None, "web_search_options"),
    "xai/issue-429-out-of-credits.json": (502, "upstream_billing", None),
    "xai/rbl-chat-error-handling-with-xai-grok-4-1-fast-non-reasoning-raises-appropriate-auth-error.json": (
        502,
        "upstream_auth_failed",
        None,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("stream", [False, True])
async def test_error_means_what_it_meant(gateway: RunningGateway, name: str, stream: bool) -> None:
    transcript = load(name)
    assert gateway.fleet is not None
    simulator = gateway.fleet.simulators[transcript["provider"]]
    for _ in range(3):
        simulator.enqueue(replay(transcript))
    response = await gateway.chat(ASKED[transcript["provider"]], "Hi", stream=stream)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == MEANINGS[name]
    assert "org-" not in error["message"]
    assert "team" not in error["message"]
