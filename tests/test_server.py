"""The server: routes, invalid requests, limits, CORS and access to local routes."""

import asyncio
import json
import logging
from typing import Any

import pytest

from gateway import server
from gateway.http_server.server import KEEP_ALIVE_SECONDS
from gateway.listeners import Audience
from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.standard_error import StandardError
from tests.running_gateway import CHAT, RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.soak.raw_client import RawClient

PATH = "/v1/chat/completions"


async def refused(gateway: RunningGateway, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of a request; asserts the envelope's four keys and the request id."""
    async with gateway.session.request(method, gateway.url + path, **options) as response:
        assert response.headers["x-request-id"].startswith("req_")
        if method == "HEAD":
            return response.status, {}
        assert response.content_type == "application/json"
        error = (await response.json())["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return response.status, error


async def raw(gateway: RunningGateway, data: bytes) -> bytes:
    """The response to bytes on a bare socket, until the server closes or is silent for two seconds."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    received = b""
    try:
        async with asyncio.timeout(2):
            while piece := await reader.read(65536):
                received += piece
    except TimeoutError:
        pass
    writer.close()
    return received


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/v1/chat", 404),
        ("GET", "/v1/chat/completions/", 404),
        ("GET", PATH, 405),
        ("HEAD", PATH, 405),
        ("POST", "/health", 405),
        ("DELETE", "/v1/models/gpt-5", 405),
        ("PATCH", "/v1/keys", 405),
        ("GET", "/v1/models/no-such-model", 404),
    ],
)
async def test_wrong_way(gateway: RunningGateway, method: str, path: str, status: int) -> None:
    assert (await refused(gateway, method, path))[0] == status


async def test_405_says_what_is_allowed(gateway: RunningGateway) -> None:
    async with gateway.session.get(gateway.url + PATH) as response:
        assert response.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "path", ["/health", "/health/ready", "/signing-key", "/openapi.json", "/v1/models", "/metrics"]
)
async def test_head_is_get_without_body(gateway: RunningGateway, path: str) -> None:
    async with gateway.session.head(gateway.url + path) as head, gateway.session.get(gateway.url + path) as get:
        assert head.status == get.status == 200
        assert await head.read() == b""
        assert await get.read()


async def test_preflight(gateway: RunningGateway) -> None:
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    async with gateway.session.options(gateway.url + PATH, headers=headers) as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        allowed = response.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"Authorization", "PAYMENT-SIGNATURE", "*"} <= set(allowed)
    async with gateway.session.get(gateway.url + "/health", headers={"Origin": "https://app.example"}) as response:
        exposed = response.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"PAYMENT-REQUIRED", "x-should-retry", "retry-after-ms"} <= set(exposed)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Content-Type": "application/json"}, b"{", 400, None),
        ({"Content-Type": "application/json"}, b"[]", 400, None),
        ({"Content-Type": "application/json"}, b'{"model": NaN}', 400, None),
        ({"Content-Type": "application/json"}, b'{"model": "\\ud800"}', 400, None),
        ({"Content-Type": "application/json"}, b"[" * 100_000, 400, None),
        ({"Content-Type": "application/json"}, b'{"seed": 1e999}', 400, None),
        ({"Content-Type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}", 415, "unsupported_media_type"),
    ],
)
async def test_bad_bodies(
    gateway: RunningGateway, headers: dict[str, str], body: bytes, status: int, code: str | None
) -> None:
    got, error = await refused(gateway, "POST", PATH, data=body, headers=headers)
    assert (got, error["code"]) == (status, code)


async def test_body_over_the_limit_is_413_before_it_is_read(gateway: RunningGateway) -> None:
    request = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {33 * 2**20}\r\n\r\n"
    )
    answer = await raw(gateway, request.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


async def test_chunked_body_over_the_limit_is_413(gateway: RunningGateway) -> None:
    async def pieces() -> Any:
        for _ in range(40):
            yield b" " * 2**20

    got, error = await refused(gateway, "POST", PATH, data=pieces(), headers={"Content-Type": "application/json"})
    assert (got, error["code"]) == (413, "request_too_large")


async def test_budget_of_bodies_is_shared_and_given_back(gateway: RunningGateway) -> None:
    gateway.services.bodies = type(gateway.services.bodies)(limit=1000)
    small = await gateway.post(PATH, CHAT)
    large = await gateway.post(PATH, {**CHAT, "user": "x" * 1000})
    again = await gateway.post(PATH, CHAT)
    assert (small.status, large.status, again.status) == (200, 503, 200)
    assert large.headers["Retry-After"] == "1"


async def test_what_a_request_did_not_announce_is_in_the_budget_as_well(gateway: RunningGateway) -> None:
    gateway.services.bodies = type(gateway.services.bodies)(limit=1000)
    headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
    body = json.dumps({**CHAT, "user": "x" * 1000})
    chunked = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    answer = await raw(gateway, f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{chunked}".encode())
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"overloaded"' in answer


async def test_what_is_only_announced_takes_nothing_from_others(gateway: RunningGateway) -> None:
    gateway.services.bodies = type(gateway.services.bodies)(limit=10_000)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{{"
    async with RawClient(gateway.url) as first, RawClient(gateway.url) as second:
        for quiet in (first, second):
            await quiet.send(head.encode())
        await asyncio.sleep(0.1)
        assert (await gateway.post(PATH, {**CHAT, "user": "x" * 1000})).status == 200
    await until(lambda: gateway.services.bodies._left >= 10_000)


async def test_headers_over_the_limit_are_400_in_the_envelope(gateway: RunningGateway) -> None:
    fits = f"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Padding: {'a' * 31_000}\r\n\r\n"
    assert (await raw(gateway, fits.encode())).startswith(b"HTTP/1.1 200 ")
    exceeds = f"GET /health HTTP/1.1\r\nHost: x\r\nX-Padding: {'a' * 40_000}\r\n\r\n"
    answer = await raw(gateway, exceeds.encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"


async def test_garbage_is_400(gateway: RunningGateway) -> None:
    answer = await raw(gateway, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"x-request-id: req_" in answer
    assert b"x-should-retry: false" in answer


async def test_what_is_not_http_is_counted_and_logged(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(StandardError, "write", lambda _, lines: written.append(lines))
    caplog.set_level(logging.INFO, "gateway.requests")
    answer = await raw(gateway, b"GET /v1/models HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body)["error"]["code"] == "bad_framing"
    [line] = [json.loads(line) for line in b"".join(written).splitlines()]
    assert (line["status"], line["error_class"]) == (400, "caller_bad_http")
    assert f"x-request-id: {line['id']}".encode() in head
    told = gateway.services.metrics.registry.get_sample_value
    assert told("gateway_errors_total", {"domain": "caller", "error": "caller_bad_http"}) == 1
    assert told("gateway_requests_total", {"path": "unknown", "status": "400"}) == 1


async def test_the_log_tells_costs_without_exponents(
    gateway: RunningGateway, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(StandardError, "write", lambda _, lines: written.append(lines))
    caplog.set_level(logging.INFO, "gateway.requests")
    fleet.google.enqueue(Scenario(text="1", reasoning="", prompt_tokens=1, completion_tokens=1, reasoning_tokens=0))
    assert (await gateway.post(PATH, {**CHAT, "model": "gemini-2.5-flash-lite"})).status == 200
    await until(lambda: bool(written))
    assert json.loads(b"".join(written))["cost_usd"] == "0.00000050"


async def test_expect_continue(gateway: RunningGateway) -> None:
    body = json.dumps(CHAT).encode()
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = await raw(gateway, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


@pytest.mark.parametrize("kind", ["text/plain", "application/json"])
async def test_a_body_that_is_not_asked_for_ends_the_connection(gateway: RunningGateway, kind: str) -> None:
    """A client may send its next request without that body, which would be taken for it."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nExpect: 100-continue\r\n"
    received = await raw(gateway, f"{head}Content-Length: {1 << 26}\r\n\r\n".encode())
    assert received.startswith(b"HTTP/1.1 415" if kind == "text/plain" else b"HTTP/1.1 413")
    assert b"\r\nConnection: close\r\n" in received
    assert b"100 Continue" not in received


@pytest.mark.parametrize("proxys_seconds", [90, 120])
def test_proxies_give_up_idle_connections_before_the_gateway_does(proxys_seconds: int) -> None:
    """Those of nitriding and of Caddy; else they would now and then send a request into a closing connection."""
    assert proxys_seconds + 5 < KEEP_ALIVE_SECONDS


async def test_http_1_0_knows_no_continue(gateway: RunningGateway) -> None:
    body = json.dumps(CHAT).encode()
    head = f"POST {PATH} HTTP/1.0\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    answer = await raw(gateway, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.0 200 ")


async def test_http_1_0_keeps_a_connection_only_if_asked(gateway: RunningGateway) -> None:
    """As ``ab -k`` asks, which takes an answer that does not say so for the last one."""
    body = json.dumps(CHAT).encode()
    head = f"POST {PATH} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    kept = f"{head}Connection: keep-alive\r\n\r\n".encode() + body
    answer = await raw(gateway, kept + f"{head}\r\n".encode() + body)
    _, first, last = answer.split(b"HTTP/1.0 200 OK\r\n")
    assert b"\r\nConnection: keep-alive\r\n" in first
    assert b"\r\nConnection: close\r\n" in last


async def test_a_stream_in_http_1_0_ends_with_the_connection(gateway: RunningGateway) -> None:
    body = json.dumps({**CHAT, "stream": True}).encode()
    head = f"POST {PATH} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    answer = await raw(gateway, f"{head}Connection: keep-alive\r\n\r\n".encode() + body)
    head, _, events = answer.decode().partition("\r\n\r\n")
    assert "Connection: close" in head.splitlines()
    assert "Transfer-Encoding" not in head
    assert {event[:6] for event in events.removesuffix("\n\n").split("\n\n")} == {"data: "}
    assert events.endswith("data: [DONE]\n\n")


async def test_pipelined_requests_are_answered_in_order(gateway: RunningGateway) -> None:
    one = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /signing-key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await raw(gateway, one + one + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.rindex(b"tee_id") > answer.rindex(b"tee_enabled")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
@pytest.mark.parametrize("path", ["/v1/keys", "/metrics"])
async def test_local_routes_refuse_proxies(gateway: RunningGateway, header: str, path: str) -> None:
    method = "POST" if path == "/v1/keys" else "GET"
    got, error = await refused(gateway, method, path, headers={header: "203.0.113.9"}, json={})
    assert (got, error["code"]) == (403, "forbidden")


@pytest.mark.parametrize("audience", [Audience.PUBLIC, Audience.HOST])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/keys"), ("GET", "/metrics")])
async def test_local_routes_inside_an_enclave(
    start_gateway: StartGateway, audience: Audience, method: str, path: str
) -> None:
    """The public listener has no such routes; the host's accepts only the host link's address."""
    gateway = await start_gateway({}, audience=audience)
    got, error = await refused(gateway, method, path, json={})
    assert (got, error["type"]) == (403, "permission_error")


async def test_metrics_count(gateway: RunningGateway) -> None:
    await gateway.chat("gpt-4.1", "Hi")
    await gateway.chat("gpt-4.1", "Hi", stream=True)
    await gateway.chat("no-such-model", "Hi")
    async with gateway.session.get(gateway.url + "/metrics") as response:
        text = await response.text()
    assert 'gateway_requests_total{path="/v1/chat/completions",status="200"} 2.0' in text
    assert 'gateway_errors_total{domain="caller",error="caller_unknown_model"} 1.0' in text
    assert 'gateway_tokens_total{kind="prompt",model="gpt-4.1"} 2.0' in text
    assert 'gateway_first_byte_seconds_count{upstream="openai"} 1.0' in text


async def test_openapi_lists_what_is_served(gateway: RunningGateway) -> None:
    async with gateway.session.get(gateway.url + "/openapi.json") as response:
        document = await response.json()
    for path, operations in document["paths"].items():
        for method in operations:
            target = gateway.url + path.replace("{id}", "gpt-5")
            async with gateway.session.request(method, target, json={} if method == "post" else None) as response:
                assert response.status not in (404, 405), (method, path)
    chat = document["components"]["schemas"]["ChatRequest"]
    assert set(chat["required"]) == {"model", "messages"}
    assert "response_format" in chat["properties"]


async def test_health_tells_the_truth(gateway: RunningGateway) -> None:
    async with gateway.session.get(gateway.url + "/health") as response:
        body = await response.json()
    assert body["tee_enabled"] is False
    assert body["payments"] == "off"
    assert body["providers"] == ["openai", "anthropic", "google", "xai", "bytedance", "nous"]
    assert "free" in body["warning"]


async def test_payments_required_but_not_configured(start_gateway: StartGateway) -> None:
    gateway = await start_gateway({"GATEWAY_PAYMENTS": "required", "OPENAI_API_KEY": "k"})
    got, error = await refused(gateway, "POST", PATH, json=CHAT)
    assert (got, error["code"]) == (503, "payments_unavailable")
    async with gateway.session.get(gateway.url + "/health/ready") as response:
        assert response.status == 503
        reasons = (await response.json())["reasons"]
    assert any("EVM_PAYMENT_ADDRESS" in reason for reason in reasons)


async def test_others_have_their_turn_between_requests_sent_at_once(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, answered_in = 0, list[int]()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def note(record: RequestRecord) -> None:
        answered_in.append(turns)

    monkeypatch.setattr(server, "log_request", note)
    gateway = await start_gateway()
    request = "HEAD /v1/models HTTP/1.1\r\nHost: x\r\n{}\r\n"
    counting = asyncio.create_task(count())
    answers = await raw(gateway, (request.format("") * 39 + request.format("Connection: close\r\n")).encode())
    counting.cancel()
    assert answers.count(b"HTTP/1.1 200 OK") == len(answered_in) == 40
    assert len(set(answered_in)) >= 39
