"""``/v1/keys`` and ``/metrics`` are for the host only: no spelling of the path, proxy or web page opens them."""

import re

import pytest

from gateway.listeners import Audience
from tests.running_gateway import RunningGateway, StartGateway
from tools.soak.raw_client import RawClient

SPELLINGS = [
    "/v1/keys",
    "//v1/keys",
    "/v1/keys/",
    "/v1//keys",
    "/v1/./keys",
    "/v1/../v1/keys",
    "/v1/models/../keys",
    "/v1/models/..%2fkeys",
    "/%2e/v1/keys",
    "/v1/%6beys",
    "/v1%2fkeys",
    "/V1/KEYS",
    "/v1/keys?x",
    "/v1/keys#x",
    "/v1/keys;x",
    "/v1/keys%00",
    "/v1/keys%20",
    "/v1/keys%0d%0aX:y",
    "\\v1\\keys",
    "http://gateway/v1/keys",
    "http://gateway//v1/keys",
    "/metrics",
    "//metrics",
    "/metrics/",
    "/METRICS",
    "/%6detrics",
    "/metrics?x",
]


async def talk(gateway: RunningGateway, method: str, target: str, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", *headers, "Connection: close", "Content-Length: 2", "", "{}"]
    async with RawClient(gateway.url) as client:
        await client.send("\r\n".join(lines).encode())
        return await client.read_all()


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    assert found is not None, answer
    return int(found[1])


@pytest.mark.parametrize("audience", [Audience.PUBLIC, Audience.HOST])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT"])
async def test_no_spelling_opens_them_to_the_public(
    start_gateway: StartGateway, audience: Audience, method: str
) -> None:
    gateway = await start_gateway({}, audience=audience)
    for spelling in SPELLINGS:
        answer = await talk(gateway, method, spelling, "Host: gateway")
        refusals = {400, 403, 404, 405} | ({204} if method == "OPTIONS" else set())
        assert status(answer) in refusals, spelling
        assert b"gateway_requests" not in answer
        assert b"providers_initialized" not in answer
    assert gateway.services.keyring.injected is None


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "x-forwarded-for:",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
        "Origin: http://127.0.0.1:8000",
        "Origin: null",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/keys"), ("GET", "/metrics"), ("OPTIONS", "/v1/keys")])
async def test_neither_proxies_nor_web_pages_use_them(
    gateway: RunningGateway, header: str, method: str, path: str
) -> None:
    answer = await talk(gateway, method, path, "Host: 127.0.0.1", header)
    assert status(answer) == 403
    assert gateway.services.keyring.injected is None


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/keys"), ("GET", "/metrics")])
async def test_an_nginx_that_is_told_nothing_does_not_use_them(gateway: RunningGateway, method: str, path: str) -> None:
    """Before 1.29.7 it sends the host of its ``proxy_pass`` in HTTP/1.0, and no header that tells of a proxy."""
    assert status(await talk(gateway, method, path, "Host: 127.0.0.1:8000", version="1.0")) == 403
    assert gateway.services.keyring.injected is None


@pytest.mark.parametrize("host", ["rebound.example", "rebound.example:8000", "127.0.0.1.rebound.example"])
async def test_names_that_were_rebound_to_this_machine(gateway: RunningGateway, host: str) -> None:
    assert status(await talk(gateway, "GET", "/metrics", f"Host: {host}")) == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "[::1]:8000", "gateway", "192.168.127.2"]
)
async def test_the_host_uses_them(gateway: RunningGateway, host: str) -> None:
    assert status(await talk(gateway, "GET", "/metrics", f"Host: {host}")) == 200


async def test_other_methods_and_head(gateway: RunningGateway) -> None:
    assert status(await talk(gateway, "GET", "/v1/keys", "Host: localhost")) == 405
    assert status(await talk(gateway, "HEAD", "/metrics", "Host: localhost")) == 200


async def test_preflights_promise_no_credentials_and_no_other_methods(gateway: RunningGateway) -> None:
    answer = await talk(
        gateway,
        "OPTIONS",
        "/v1/chat/completions",
        "Host: gateway",
        "Origin: https://app.example",
        "Access-Control-Request-Method: DELETE",
        "Access-Control-Request-Headers: x-anything",
    )
    assert status(answer) == 204
    assert b"Access-Control-Allow-Credentials" not in answer
    assert b"DELETE" not in answer
    assert b"x-anything" not in answer
    assert b"Access-Control-Allow-Origin: *\r\n" in answer


async def test_answers_to_no_web_page_carry_no_cors_headers(gateway: RunningGateway) -> None:
    assert b"Access-Control" not in await talk(gateway, "GET", "/health", "Host: gateway")
