"""What a request is quoted and billed for beyond the vendor's reported usage."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

import gateway.dispatch
import gateway.endpoints.early_status
from gateway.billing.pricing import PriceTerms
from gateway.exchange import Exchange
from tests.recording_payments import RecordingPayments
from tests.running_gateway import RunningGateway, StartGateway
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import RawReply, Scenario

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
HI: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}
both_forms = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


async def heard(gateway: RunningGateway, path: str, body: dict[str, Any]) -> bytes:
    """Everything received until the gateway closes the connection."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    async with asyncio.timeout(30):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


@both_forms
async def test_an_echo_is_no_output(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stream: bool
) -> None:
    """Where the vendor counted nothing, the prompt is estimated once: as a prompt."""
    fleet.openai.enqueue(*[Scenario(text="Four score and", omit_usage=True)] * 2)
    prompts = ["word " * 2000, "more " * 1000]
    body = {"model": "gpt-4.1", "prompt": prompts, "echo": True, "stream": stream}
    assert (await paid.post(COMPLETIONS, body)).status == 200
    [bill] = payments.bills
    assert (bill.usage.completion_tokens, bill.usage.estimated) == (2 * 4, True)
    assert 3750 <= bill.usage.prompt_tokens < 3800


@both_forms
async def test_an_echo_of_a_prompt_that_is_never_answered(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stream: bool
) -> None:
    """It does not start the response either: the failure still has its own status."""
    fleet.openai.enqueue(Scenario(error="bad_key"))
    response = await paid.post(COMPLETIONS, {"model": "gpt-4.1", "prompt": "Once", "echo": True, "stream": stream})
    assert (response.status, (await response.json())["error"]["code"]) == (502, "upstream_auth_failed")
    assert (payments.bills, payments.released) == ([], ["upstream_failed"])


@pytest.mark.parametrize(("tier", "usd"), [("flex", "5.00"), ("priority", "20"), ("default", "10.00")])
async def test_an_estimate_is_billed_at_the_tier_that_answered(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, tier: str, usd: str
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"}
    answer = {"model": "gpt-5-2025-08-07", "service_tier": tier, "choices": [choice]}
    reply = RawReply(headers=(("Content-Type", "application/json"),), chunks=(json.dumps(answer).encode(),))
    fleet.openai.enqueue(Scenario(raw=reply))
    assert (await paid.post(CHAT, {**HI, "model": "gpt-5"})).status == 200
    [bill] = payments.bills
    assert (bill.usage.completion_tokens, bill.usage.estimated) == (125, True)
    prompt, completion = bill.usage.prompt_tokens, bill.usage.completion_tokens
    assert bill.cost_usd == (Decimal(usd) / 8 * prompt + Decimal(usd) * completion) / 1_000_000


@both_forms
async def test_a_picture_without_a_count_is_not_free(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stream: bool
) -> None:
    fleet.google.enqueue(Scenario(text="", reasoning="", pictures=1, omit_usage=True))
    response = await paid.post(CHAT, {**HI, "model": "gemini-3.1-flash-image", "stream": stream})
    assert response.status == 200
    [bill] = payments.bills
    assert (bill.usage.image_tokens, bill.usage.completion_tokens, bill.usage.estimated) == (1120, 1120, True)
    assert bill.cost_usd > Decimal("0.067")


async def test_our_own_fault_breaks_a_stream_off(
    paid: RunningGateway, payments: RecordingPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No second status line inside the first response, on a connection that stays open."""
    monkeypatch.setattr(Exchange, "_usage_and_cost", None)
    received = await heard(paid, CHAT, {**HI, "stream": True})
    assert received.count(b"HTTP/1.1") == 1
    last = received.rpartition(b"data: ")[2]
    assert json.loads(last.splitlines()[0])["error"]["code"] == "internal_error"
    assert b"[DONE]" not in received
    assert (payments.bills, payments.released) == ([], ["gateway_failed"])


async def test_our_own_fault_breaks_a_slow_answer_off(
    fleet: Fleet, start_gateway: StartGateway, payments: RecordingPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.endpoints.early_status, "EARLY_STATUS_SECONDS", 0.1)
    monkeypatch.setattr(Exchange, "_usage_and_cost", None)
    running = await start_gateway({**fleet.environment(), "GATEWAY_PAYMENTS": "required"}, payments=payments)
    fleet.openai.enqueue(Scenario(text="at last", first_byte_delay=0.3))
    received = await heard(running, CHAT, HI)
    assert received.count(b"HTTP/1.1") == 1
    assert b'"code":"internal_error"' in received
    assert (payments.bills, payments.released) == ([], ["gateway_failed"])


@pytest.mark.parametrize(
    ("broken", "headers", "told"),
    [
        ("gateway.exchange.Exchange._usage_and_cost", {}, ("true", None)),
        ("gateway.exchange.Exchange._usage_and_cost", {"PAYMENT-RESPONSE": "upfront"}, ("false", "upfront")),
        ("gateway.exchange.AnswerMetadata", {}, ("false", None)),
    ],
    ids=["before the bill", "paid upfront", "after the bill"],
)
async def test_nobody_is_asked_to_pay_again_for_a_fault_of_our_own(
    paid: RunningGateway,
    payments: RecordingPayments,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    headers: dict[str, str],
    told: tuple[str, str | None],
) -> None:
    payments.headers = headers
    monkeypatch.setattr(broken, None)
    response = await paid.post(CHAT, HI)
    assert (response.status, (await response.json())["error"]["code"]) == (500, "internal_error")
    assert (response.headers["x-should-retry"], response.headers.get("PAYMENT-RESPONSE")) == told
    assert len(payments.bills) + len(payments.released) == 1


async def terms(paid: RunningGateway, payments: RecordingPayments, path: str, body: dict[str, Any]) -> PriceTerms:
    """The price terms that the request is quoted by."""
    assert (await paid.post(path, body)).status == 200
    return payments.orders[-1].price_terms


@pytest.mark.parametrize(
    ("tier", "quoted"),
    [(None, ()), ("default", ()), ("flex", ()), ("auto", ("priority",)), ("priority", ("priority",))],
)
async def test_only_a_tier_that_may_answer_is_quoted(
    paid: RunningGateway, payments: RecordingPayments, tier: str | None, quoted: tuple[str, ...]
) -> None:
    """Flex is answered as flex or not at all; an exact payer would be charged for the dearest tier."""
    body = {**HI, "model": "gpt-5"} | ({"service_tier": tier} if tier else {})
    assert (await terms(paid, payments, CHAT, body)).tiers == quoted


@pytest.mark.parametrize("escape", ["{}", r"\u{:04x}", r"\u{:04X}"])
@pytest.mark.parametrize(
    ("model", "part", "quoted"),
    [
        ("claude-sonnet-4-6", {"type": "text", "text": "é", "cache_control": {"type": "ephemeral"}}, (True, False)),
        ("gemini-2.5-flash", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, (False, True)),
        ("gemini-2.5-flash", {"type": "text", "text": "é"}, (False, False)),
    ],
    ids=["cache", "audio", "neither"],
)
async def test_surcharges_are_quoted_however_their_names_are_written(
    paid: RunningGateway,
    payments: RecordingPayments,
    model: str,
    part: dict[str, Any],
    quoted: tuple[bool, bool],
    escape: str,
) -> None:
    """JSON allows any letter as an escape sequence: a payer could once leave the surcharge out of the quote."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": [part]}]})
    for name in ("cache_control", "input_audio"):
        written = escape.format(name[0] if escape == "{}" else ord(name[0])) + name[1:]
        body = body.replace(f'"{name}"', f'"{written}"')
    async with paid.session.post(paid.url + CHAT, data=body, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 200, await response.text()
    asked = payments.orders[-1].price_terms
    assert (asked.cache_writes, asked.audio) == quoted


async def test_short_prompts_are_quoted_with_their_structure(paid: RunningGateway, payments: RecordingPayments) -> None:
    """Twenty single letters are twenty calls, each of eight tokens."""
    body = {"model": "gpt-4.1", "prompt": ["a"] * 20, "max_tokens": 1}
    assert (await paid.post(COMPLETIONS, body)).status == 200
    [bill] = payments.bills
    assert bill.usage.prompt_tokens <= 160 <= payments.orders[-1].prompt_tokens < 180


WEATHER = {
    "name": "weather",
    "description": "Gets current weather for a location",
    "parameters": {
        "type": "object",
        "properties": {
            "latitude": {"type": "string", "description": "Latitude (e.g., 52.5200)"},
            "longitude": {"type": "string", "description": "Longitude (e.g., 13.4050)"},
        },
        "required": ["latitude", "longitude"],
        "additionalProperties": False,
        "strict": True,
    },
}
LANGUAGE = {
    "name": "best_language_to_learn",
    "description": "Gets the best language to learn",
    "parameters": {"type": "object", "properties": {}, "required": [], "additionalProperties": False, "strict": True},
}
BERLIN = "What's the weather in Berlin (52.5200, 13.4050) and what's the best language to learn?"


@pytest.mark.parametrize(
    ("model", "text", "functions", "counted"),
    [
        ("grok-4-1-fast-non-reasoning", "What's 2 + 2?", [], 175),
        ("grok-4-1-fast-non-reasoning", "What's the weather in Berlin? (52.5200, 13.4050)", [WEATHER], 456),
        ("claude-haiku-4-5", BERLIN, [WEATHER, LANGUAGE], 701),
    ],
)
async def test_what_vendors_add_to_a_prompt_is_quoted(
    paid: RunningGateway,
    payments: RecordingPayments,
    model: str,
    text: str,
    functions: list[dict[str, Any]],
    counted: int,
) -> None:
    """Requests and counts of recorded exchanges, in which the vendors' own text is most of the prompt."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if functions:
        body["tools"] = [{"type": "function", "function": function} for function in functions]
    assert (await paid.post(CHAT, body)).status == 200
    assert counted <= payments.orders[-1].prompt_tokens < counted + 500


async def test_a_schema_that_a_tool_emulates_is_quoted_as_a_tool(
    paid: RunningGateway, payments: RecordingPayments
) -> None:
    """For a forced tool Claude Sonnet 4 gets a text of 313 tokens (Anthropic, "Tool use pricing")."""
    wanted = {"name": "city", "schema": {"type": "object", "properties": {"name": {"type": "string"}}}}
    body = {**HI, "model": "claude-sonnet-4-0", "response_format": {"type": "json_schema", "json_schema": wanted}}
    assert (await paid.post(CHAT, body)).status == 200
    assert 313 <= payments.orders[-1].prompt_tokens < 1000


async def test_every_prompt_of_a_list_may_search(paid: RunningGateway, payments: RecordingPayments) -> None:
    body = {"model": "claude-haiku-4-5", "prompt": ["a", "b", "c"], "web_search": True}
    quoted = await terms(paid, payments, COMPLETIONS, body)
    assert (quoted.web_searches, quoted.search_tokens, quoted.calls) == (5, 12_000, 3)


async def test_what_a_search_of_geminis_brings_in_is_not_quoted(
    paid: RunningGateway, payments: RecordingPayments
) -> None:
    """Its price includes it (facts/providers.md 5.7)."""
    quoted = await terms(paid, payments, CHAT, {**HI, "model": "gemini-2.5-pro", "web_search": True})
    assert (quoted.web_searches, quoted.search_tokens) == (5, 0)


@pytest.mark.parametrize(
    ("model", "largest"),
    [("claude-fable-5", 4784), ("claude-opus-4-8", 4784), ("claude-opus-4-7", 4784), ("claude-opus-4-6", 1600)],
)
async def test_the_largest_picture_is_quoted(
    paid: RunningGateway, payments: RecordingPayments, model: str, largest: int
) -> None:
    """Five of them, which the resolution of the newer models makes three times as dear."""
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    await terms(paid, payments, CHAT, {"model": model, "messages": [{"role": "user", "content": [picture] * 5}]})
    assert 5 * largest < payments.orders[-1].prompt_tokens < 5 * largest * 1.5


async def test_a_film_has_a_sound_track(paid: RunningGateway, payments: RecordingPayments) -> None:
    film = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAAGGZ0eXBtcDQyAAAAAG1wNDJpc29t"}}
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": [film]}]}
    assert (await terms(paid, payments, CHAT, body)).audio


@pytest.mark.parametrize("model", ["gpt-5", "claude-sonnet-4-6", "grok-4"])
async def test_leaving_just_before_the_count_is_no_discount(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden reasoning is most of the cost of such an answer, and only the vendor's last event reports it."""
    monkeypatch.setattr(gateway.dispatch, "USAGE_GRACE_SECONDS", 30.0)  # a loaded machine may need longer
    for simulator in fleet.simulators.values():
        simulator.enqueue(Scenario(text="The answer is 42.", reasoning="", reasoning_tokens=5000, event_delay=0.02))
    async with paid.session.post(paid.url + CHAT, json={**HI, "model": model, "stream": True}) as response:
        async for line in response.content:
            if b"42." in line:
                break
        response.close()
    async with asyncio.timeout(30):
        await payments.ended.wait()
    [bill] = payments.bills
    assert bill.usage.completion_tokens > 5000
    assert not bill.usage.estimated
