"""The request lifecycle: what is charged, signed and released when something fails."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

import gateway.endpoints.early_status
import gateway.http_server.stream_reply
from gateway.envelope import signing_digest
from gateway.http_server.response import StreamingResponse
from gateway.keccak import keccak256
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.fetch import FileFetcher
from tests.event_streams import events
from tests.recording_payments import RecordingPayments
from tests.running_gateway import CHAT, FAST, RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario


async def broken_stream(gateway: RunningGateway, body: object, path: str = "/v1/chat/completions") -> bytes:
    """Everything received from a stream that breaks off."""
    received = b""
    async with gateway.session.post(gateway.url + path, json=body) as response:
        assert response.status == 200
        try:
            async for line in response.content:
                received += line
        except aiohttp.ClientPayloadError:
            return received
    raise AssertionError("the stream ended as if it were complete")


async def test_order_and_receipt(paid: RunningGateway, payments: RecordingPayments) -> None:
    response = await paid.post("/v1/chat/completions", {**CHAT, "max_tokens": 50, "n": 2})
    body = await response.json()
    assert body["payment"] == {"status": "settled", "amount": "7"}
    assert response.headers["PAYMENT-RESPONSE"] == "receipt"
    assert response.headers["x-receipt"] == "upfront"
    [order], [bill] = payments.orders, payments.bills
    assert (order.model.id, order.output_tokens, order.choices, order.path) == (
        "gpt-4.1",
        50,
        2,
        "/v1/chat/completions",
    )
    assert bill.usage.as_openai() == body["usage"]
    assert (bill.envelope.signature, bill.envelope.output_hash) == (body["tee_signature"], body["tee_output_hash"])


async def test_payment_limits_the_output(paid: RunningGateway, payments: RecordingPayments, fleet: Fleet) -> None:
    payments.output_limit = 20
    response = await paid.post("/v1/chat/completions", {**CHAT, "max_tokens": 50})
    assert response.headers["x-output-limit"] == "20"
    assert fleet.openai.requests[-1].json["max_tokens"] == 20
    await paid.chat("seed-1.6", "Hi", max_tokens=50)
    assert fleet.ark.requests[-1].json["max_completion_tokens"] == 20
    assert "max_tokens" not in fleet.ark.requests[-1].json
    whole = await paid.post("/v1/chat/completions", {**CHAT, "max_tokens": 20})
    assert "x-output-limit" not in whole.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_failing_upstream_costs_nothing(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stream: bool
) -> None:
    fleet.openai.enqueue(Scenario(error="bad_key"))
    response = await paid.post("/v1/chat/completions", {**CHAT, "stream": stream})
    assert response.status == 502
    assert (payments.bills, payments.released) == ([], ["upstream_failed"])


@pytest.mark.parametrize("stream", [False, True])
async def test_only_a_failure_that_was_paid_upfront_forbids_a_retry_and_has_its_receipt(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stream: bool
) -> None:
    """A retry would be paid again."""
    names = ("x-should-retry", "PAYMENT-RESPONSE", "Cache-Control")
    for headers, expected in (({}, ("true", None, None)), ({"PAYMENT-RESPONSE": "r"}, ("false", "r", "no-store"))):
        payments.headers = headers
        fleet.openai.enqueue(Scenario(cut_after=0))
        response = await paid.post("/v1/chat/completions", {**CHAT, "stream": stream})
        assert tuple(response.headers.get(name) for name in names) == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_bad_requests_never_meet_the_payment(
    paid: RunningGateway, payments: RecordingPayments, stream: bool
) -> None:
    bad = {**CHAT, "model": "gpt-5", "stop": "x", "stream": stream}
    assert (await paid.post("/v1/chat/completions", bad)).status == 400
    assert payments.orders == []


async def test_broken_stream_is_signed_and_charged_for_what_was_sent(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    fleet.openai.enqueue(Scenario(text="one two three four five six", cut_after=4))
    received = await broken_stream(paid, {**CHAT, "stream": True})
    *chunks, last = events(received)
    assert last["error"]["code"] == "upstream_truncated"
    assert b"[DONE]" not in received
    assert not any(choice["finish_reason"] for event in chunks for choice in event["choices"])
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in chunks)
    [bill] = payments.bills
    assert bill.usage.estimated
    signed = bill.envelope
    assert signed.output_hash == keccak256(text.encode()).hex()
    digest = signing_digest(bytes.fromhex(signed.request_hash), bytes.fromhex(signed.output_hash), signed.timestamp)
    assert len(digest) == 32
    assert text in "one two three four five six"


async def test_a_prompt_that_the_vendor_refuses_costs_nothing(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    """The prompts before it were answered and are billed."""
    fleet.openai.enqueue(Scenario(text="One.", prompt_tokens=5, completion_tokens=2), Scenario(error="bad_key"))
    await broken_stream(paid, {"model": "gpt-4.1", "prompt": ["a", "b" * 9000], "stream": True}, "/v1/completions")
    [bill] = payments.bills
    assert (bill.usage.prompt_tokens, bill.usage.completion_tokens) == (5, 2)
    assert not bill.usage.estimated


async def test_slow_answers_keep_paying_clients_waiting(
    fleet: Fleet, start_gateway: StartGateway, payments: RecordingPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.endpoints.early_status, "EARLY_STATUS_SECONDS", 0.1)
    monkeypatch.setattr(gateway.endpoints.early_status, "PADDING_SECONDS", 0.05)

    running = await start_gateway({**fleet.environment(), "GATEWAY_PAYMENTS": "required"}, payments=payments)
    fleet.openai.enqueue(Scenario(text="at last", first_byte_delay=0.4))
    response = await running.post("/v1/chat/completions", CHAT)
    body = await response.read()
    assert body.startswith(b"   ")
    assert json.loads(body)["tee_signature"] == payments.bills[0].envelope.signature
    assert "X-TEE-Signature" not in response.headers
    assert response.headers["x-receipt"] == "upfront"
    fleet.openai.enqueue(Scenario(error="bad_key", first_byte_delay=0.4))
    with pytest.raises(aiohttp.ClientPayloadError):
        await running.post("/v1/chat/completions", CHAT)
    assert payments.released == ["upstream_failed"]
    failed = {"domain": "upstream", "error": "upstream_auth"}
    assert running.services.metrics.registry.get_sample_value("gateway_errors_total", failed) == 1


async def test_the_early_status_is_sent_to_a_paying_client_in_the_queue_as_well(
    fleet: Fleet, start_gateway: StartGateway, payments: RecordingPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.endpoints.early_status, "EARLY_STATUS_SECONDS", 0.4)

    environment = {**fleet.environment(), "GATEWAY_PAYMENTS": "required", "GATEWAY_MAX_INFLIGHT": "1"}
    running = await start_gateway(environment, payments=payments)
    fleet.openai.enqueue(Scenario(first_byte_delay=1.0), Scenario(text="at last", first_byte_delay=0.2))
    first = asyncio.create_task(running.post("/v1/chat/completions", CHAT))
    await until(lambda: running.services.admission.active == 1)
    body = await (await running.post("/v1/chat/completions", CHAT)).read()
    assert (body[:1], json.loads(body)["choices"][0]["message"]["content"]) == (b" ", "at last")
    await first


class Fetched(FileFetcher):
    """Returns seven bytes for every URL."""

    async def attach(self, chat: Chat, urls: Iterable[str]) -> int:
        chat.attachments.update({url: Attachment("image/png", b"picture") for url in urls})
        self.release(-7)
        return 7


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("scenario", "status"), [(Scenario(), 200), (Scenario(error="bad_key"), 502)])
async def test_files_are_given_back(
    fleet: Fleet, paid: RunningGateway, scenario: Scenario, status: int, stream: bool
) -> None:
    paid.services.fetcher = fetcher = Fetched(enabled=True)
    room = fetcher._free_bytes
    fleet.google.enqueue(scenario)
    picture = {"type": "image_url", "image_url": {"url": "https://files.example/a.png"}}
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": [picture]}], "stream": stream}
    response = await paid.post("/v1/chat/completions", body)
    assert (response.status, fleet.google.request_count) == (status, 1)
    await until(lambda: fetcher._free_bytes == room)


async def test_files_are_given_back_once(paid: RunningGateway, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where their answer could not be signed: the room for others would grow without end."""
    paid.services.fetcher = fetcher = Fetched(enabled=True)
    room = fetcher._free_bytes
    monkeypatch.setattr("gateway.exchange.keccak256", None)
    picture = {"type": "image_url", "image_url": {"url": "https://files.example/a.png"}}
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": [picture]}]}
    assert (await paid.post("/v1/chat/completions", body)).status == 500
    assert (fleet.google.request_count, fetcher._free_bytes) == (1, room)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_file_that_cannot_be_fetched_costs_nothing(
    fleet: Fleet, paid: RunningGateway, payments: RecordingPayments, stream: bool
) -> None:
    """It is fetched once the payment is admitted, which is given back."""
    paid.services.fetcher = FileFetcher(enabled=False)
    picture = {"type": "image_url", "image_url": {"url": "https://files.example/a.png"}}
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": [picture]}], "stream": stream}
    assert (await paid.post("/v1/chat/completions", body)).status == 400
    assert (len(payments.orders), payments.bills, payments.released) == (1, [], ["refused"])
    assert fleet.google.request_count == 0


async def test_withheld_when_not_paid(paid: RunningGateway, payments: RecordingPayments) -> None:
    payments.refuse = GatewayError("not paid", status=402, code="settlement_failed", should_retry=False)
    response = await paid.post("/v1/chat/completions", CHAT)
    assert response.status == 402
    assert response.headers["x-should-retry"] == "false"
    assert b"choices" not in await response.read()


async def test_payment_deadline_cuts_the_stream(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    payments.timeout = 0.2
    fleet.openai.enqueue(Scenario(text="word " * 100, event_delay=0.05))
    async with paid.session.post(paid.url + "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert len(payments.bills) == 1
    await until(lambda: fleet.openai.requests[-1].aborted_at is not None)


async def test_payment_deadline_cuts_a_silent_upstream(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet
) -> None:
    payments.timeout = 0.2
    fleet.openai.enqueue(Scenario(first_byte_delay=3))
    started = asyncio.get_running_loop().time()
    response = await paid.post("/v1/chat/completions", CHAT)
    assert asyncio.get_running_loop().time() - started < 2
    assert (response.status, payments.released) == (504, ["upstream_failed"])


async def test_silence_in_mid_stream_times_out(
    fleet: Fleet, start_gateway: StartGateway, payments: RecordingPayments
) -> None:
    paid = await start_gateway(fleet.environment(), payments=payments, limits=replace(FAST, read_timeout=0.5))
    fleet.openai.enqueue(Scenario(text="one two three", stall_after=3))
    received = await broken_stream(paid, {**CHAT, "stream": True})
    assert b'"code":"upstream_timeout"' in received
    assert len(payments.bills) == 1


async def test_nothing_is_charged_to_a_client_that_the_first_write_finds_gone(
    paid: RunningGateway, payments: RecordingPayments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closing, which the event loop reports a moment later."""
    send = StreamingResponse.send

    def send_when_closing(response: StreamingResponse, request: web.BaseRequest, data: bytes) -> None:
        if request.transport is not None:
            request.transport.abort()
        send(response, request, data)

    monkeypatch.setattr(StreamingResponse, "send", send_when_closing)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await paid.post("/v1/chat/completions", {**CHAT, "stream": True})
    await until(payments.ended.is_set)
    assert (payments.released, payments.bills) == (["client_left"], [])


async def test_keep_alive_while_the_upstream_thinks(
    paid: RunningGateway, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.http_server.stream_reply, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(gateway.http_server.stream_reply, "_CHECK_SECONDS", 0.1)
    fleet.openai.enqueue(Scenario(text="done", first_byte_delay=0.9))
    async with paid.session.post(paid.url + "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
        received = await response.read()
    assert received.startswith(b": keep-alive\n\n" * 2)
    assert received.endswith(b"data: [DONE]\n\n")


async def test_late_error_after_keep_alive_is_an_event(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.http_server.stream_reply, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(gateway.http_server.stream_reply, "_CHECK_SECONDS", 0.1)
    fleet.openai.enqueue(Scenario(error="bad_key", first_byte_delay=0.5))
    received = await broken_stream(paid, {**CHAT, "stream": True})
    assert b'"code":"upstream_auth_failed"' in received
    assert payments.released == ["upstream_failed"]


async def test_retries_before_the_first_byte(paid: RunningGateway, fleet: Fleet) -> None:
    fleet.openai.enqueue(Scenario(error="overloaded"))
    fleet.openai.enqueue(Scenario(error="rate_limit", retry_after="0.1"))
    response = await paid.post("/v1/chat/completions", CHAT)
    assert response.status == 200
    assert len(fleet.openai.requests) == 3


async def test_long_retry_after_goes_to_the_client_at_once(paid: RunningGateway, fleet: Fleet) -> None:
    fleet.openai.enqueue(Scenario(error="rate_limit", retry_after="17"))
    response = await paid.post("/v1/chat/completions", CHAT)
    assert (response.status, response.headers["Retry-After"]) == (429, "17")
    assert len(fleet.openai.requests) == 1


async def test_headers_and_first_event_leave_together(paid: RunningGateway) -> None:
    host, port = paid.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({**CHAT, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    first = await reader.read(65536)
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert b'data: {"id":"chatcmpl-' in first
    writer.close()


async def test_dropped_hints_are_listed(paid: RunningGateway) -> None:
    response = await paid.post("/v1/chat/completions", {**CHAT, "model": "gpt-5", "temperature": 0.2, "top_k": 4})
    assert response.headers["x-dropped-params"] == "temperature,top_k"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("asked", [True, False, None])
async def test_a_stream_is_not_padded_and_says_so_if_that_was_asked_for(
    paid: RunningGateway, path: str, asked: bool | None
) -> None:
    request = {**CHAT, "stream": True, "stream_options": {"include_obfuscation": asked}}
    if path == "/v1/completions":
        request = {**request, "prompt": "Hello"}
        del request["messages"]
    response = await paid.post(path, request)
    assert response.status == 200
    assert b"obfuscation" not in await response.read()
    listed = "stream_options.include_obfuscation" if asked else None
    assert response.headers.get("x-dropped-params") == listed


@pytest.mark.parametrize("text", ["Hello", ""])
@pytest.mark.parametrize("stream", [False, True])
async def test_another_model_that_answers_is_named_and_billed(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, stream: bool, text: str
) -> None:
    fleet.openai.enqueue(Scenario(model="gpt-5-mini-2025-08-07", text=text))
    response = await paid.post("/v1/chat/completions", {**CHAT, "stream": stream})
    answer = await response.read()
    told = [json.loads(line) for line in answer.replace(b"data: ", b"").splitlines() if line[:1] == b"{"]
    assert {event["model"] for event in told} == {"gpt-5-mini"}
    assert payments.bills[0].model.id == "gpt-5-mini"


@pytest.mark.parametrize("name", ["gpt-4.1-of-tomorrow", "claude-sonnet-4-6", "GPT-4.1-2025-04-14"])
async def test_a_model_that_is_not_known_answers_as_the_one_that_was_asked_for(
    paid: RunningGateway, payments: RecordingPayments, fleet: Fleet, name: str
) -> None:
    for stream in (False, True):
        fleet.openai.enqueue(Scenario(model=name))
        response = await paid.post("/v1/chat/completions", {**CHAT, "stream": stream})
        answer = await response.text()
        assert answer.count('"model":"') == answer.count('"model":"gpt-4.1"') > 0
        assert payments.bills[-1].model.id == "gpt-4.1"
