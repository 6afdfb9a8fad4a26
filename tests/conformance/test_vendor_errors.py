"""Every class of vendor error, before and inside a stream (facts/providers.md 1.3, 12.7).

The caller learns who is at fault, whatever the vendor's status and shape, and nothing about the gateway's accounts.
"""

import json
from typing import Literal, get_args

import pytest

from tests.conformance.harness import Harness
from tests.conformance.targets import Target
from tests.event_streams import events
from tools.simulators import RawReply, Scenario
from tools.simulators.scenario import ErrorKind
from tools.verify.claims import Verdict

pytestmark = pytest.mark.asyncio(loop_scope="module")

TARGETS = (
    Target("gpt-4.1", "openai"),
    Target("grok-4.3", "xai"),
    Target("seed-1.8", "bytedance"),
    Target("hermes-4-405b", "nous"),
    Target("claude-sonnet-4-6", "anthropic"),
    Target("gemini-3.5-flash", "google"),
    Target("grok-imagine-image", "xai"),
    Target("seedream-4.0", "bytedance"),
    Target("gemini-3.1-flash-image", "google"),
)
ATTEMPTS = 3

Meaning = tuple[int, str | None]
MEANINGS: dict[str, Meaning] = {
    "bad_request": (400, None),
    "bad_key": (502, "upstream_auth_failed"),
    "missing_key": (502, "upstream_auth_failed"),
    "permission": (502, "upstream_auth_failed"),
    "model_not_found": (404, "model_not_found"),
    "context_length": (400, "context_length_exceeded"),
    "content_policy": (400, "content_policy_violation"),
    "too_large": (413, "request_too_large"),
    "rate_limit": (429, "rate_limit_exceeded"),
    "daily_quota": (429, "rate_limit_exceeded"),
    "billing": (502, "upstream_billing"),
    "overloaded": (503, "upstream_overloaded"),
    "server_error": (502, "upstream_error"),
    "timeout": (504, "upstream_timeout"),
    "proxy_page": (502, "upstream_error"),
}
# Where a vendor's error is less specific, or has another meaning.
EXCEPTIONS: dict[tuple[str, str], Meaning] = {
    ("openai", "content_policy"): (400, "invalid_prompt"),
    ("nous", "content_policy"): (400, None),
    ("google", "content_policy"): (400, None),
    ("bytedance", "bad_request"): (400, "InvalidParameter"),
    ("bytedance", "daily_quota"): (502, "upstream_billing"),
    ("nous", "billing"): (502, "upstream_auth_failed"),
}
SECRETS = ("org-", "wrong", "team", "sk-", "x-api-key", "Plans & Billing", "simulated-")


def meaning(vendor: str, kind: str) -> Meaning:
    return EXCEPTIONS.get((vendor, kind), MEANINGS[kind])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", get_args(ErrorKind))
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.model)
async def test_error_answer(harness: Harness, target: Target, kind: ErrorKind, stream: bool) -> None:
    simulator = harness.simulator(target.model)
    simulator.enqueue(*[Scenario(error=kind)] * ATTEMPTS)
    request = {"model": target.model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    exchange = await harness.ask(request)
    error = json.loads(exchange.raw)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (exchange.status, error["code"]) == meaning(target.provider, kind), error
    assert not any(secret in error["message"] for secret in SECRETS)
    assert all(claim.verdict is not Verdict.PASS for claim in exchange.claims)
    record = await harness.record(exchange)
    assert record.state == "released"
    assert record.cost_usd is None


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("model", "replacement"),
    [
        ("o4-mini", "gpt-5.2"),
        ("claude-sonnet-4-0", "claude-sonnet-4-6"),
        ("gemini-3-pro-preview", "gemini-3.1-pro-preview"),
        ("grok-3", "grok-4.3"),
        ("grok-2-image", "grok-imagine-image"),
    ],
)
async def test_a_model_that_is_gone_has_a_replacement(
    harness: Harness, model: str, replacement: str, stream: bool
) -> None:
    """The caller's name of the model, not the vendor's."""
    harness.simulator(model).enqueue(Scenario(error="model_not_found"))
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
    assert (exchange.status, exchange.error["param"]) == (404, "model")
    retired = f"The model '{model}' has been retired by its provider. Use '{replacement}' instead."
    assert exchange.error["message"] == retired


WAITING = ("gpt-4.1", "grok-4.3", "seed-1.8", "hermes-4-405b", "claude-sonnet-4-6", "gemini-3.5-flash")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", WAITING)
async def test_how_long_to_wait_travels(harness: Harness, model: str, stream: bool) -> None:
    """A Retry-After beyond the gateway's own limit: no retry, and the caller gets the header."""
    harness.simulator(model).enqueue(Scenario(error="rate_limit", retry_after="7"))
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
    assert (exchange.status, exchange.headers["Retry-After"], exchange.headers["retry-after-ms"]) == (429, "7", "7000")
    assert harness.simulator(model).request_count == 1


@pytest.mark.parametrize("model", WAITING)
async def test_a_passing_fault_is_not_seen(harness: Harness, model: str) -> None:
    """A transient error is retried once before anything was sent to the caller."""
    simulator = harness.simulator(model)
    simulator.enqueue(Scenario(error="overloaded"), Scenario(error="server_error"), Scenario(text="There."))
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}]})
    assert exchange.message["content"] == "There."
    assert simulator.request_count == ATTEMPTS


@pytest.mark.parametrize("model", WAITING)
async def test_a_page_in_place_of_a_stream_is_no_stream_that_broke_off(harness: Harness, model: str) -> None:
    """The operator looks for a wrong address or a proxy, not for a bad connection."""
    page = RawReply(headers=(("content-type", "text/html; charset=utf-8"),), chunks=(b"<html>Welcome</html>",))
    harness.simulator(model).enqueue(*[Scenario(raw=page)] * ATTEMPTS)
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True})
    assert (exchange.status, exchange.error["code"]) == (502, "upstream_bad_response")


IN_STREAM: dict[str, Meaning] = {
    "overloaded": (503, "upstream_overloaded"),
    "server_error": (502, "upstream_error"),
    "rate_limit": (429, "rate_limit_exceeded"),
}


@pytest.mark.parametrize("form", ["event", "raw"])
@pytest.mark.parametrize("kind", IN_STREAM)
@pytest.mark.parametrize("model", WAITING)
async def test_error_inside_a_stream(
    harness: Harness, model: str, kind: ErrorKind, form: Literal["event", "raw"]
) -> None:
    """Output before the error stays; then one error event, and neither a finish reason nor ``[DONE]``."""
    scenario = Scenario(
        text="word " * 60, reasoning="", error=kind, error_after=5, error_form=form, comment_at=1, event_delay=0.001
    )
    harness.simulator(model).enqueue(scenario)
    exchange = await harness.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True})
    assert exchange.status == 200
    *chunks, last = events(exchange.raw)
    assert last.keys() == {"error"}
    assert last["error"]["code"] == IN_STREAM[kind][1]
    assert not any(secret in last["error"]["message"] for secret in SECRETS)
    assert any(chunk["choices"][0]["delta"].get("content", "").startswith("word") for chunk in chunks)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    assert b"[DONE]" not in exchange.raw
    record = await harness.record(exchange)
    assert (record.state, record.estimated) == ("settled", True)
