"""The gateway behind nitriding, TLS end to end: always with the double, with the real daemon where it can be built."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from openai import AsyncOpenAI

from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.enclave import Enclave, enclave
from tests.event_streams import events
from tests.nitriding_daemon import Daemon, NitridingDaemon, opened, pinning, served_certificate
from tests.nitriding_double import NitridingDouble
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import load_signing_key

PROGRAMS = [
    pytest.param(name, marks=[pytest.mark.slow, pytest.mark.needs("go")])
    for name in ("nitriding", "nitriding_stand_in")
]
MODEL = "gpt-4.1"
HELLO: Any = [{"role": "user", "content": "Hello there"}]
CHAT_PATH = "/v1/chat/completions"
PARALLEL = 100


@dataclass(frozen=True)
class ProxiedGateway:
    """``pinned`` trusts only the certificate that the daemon serves."""

    inside: Enclave[Daemon]
    fleet: Fleet
    pinned: ssl.SSLContext
    session: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.inside.daemon.public_url

    def openai(self) -> AsyncOpenAI:
        transport = httpx2.AsyncClient(verify=self.pinned)
        return AsyncOpenAI(base_url=self.url + "/v1", api_key="anything", max_retries=0, http_client=transport)


@pytest.fixture(params=["double", *PROGRAMS])
async def proxied(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fleet: Fleet,
    signer: Signer,
    catalog: Catalog,
) -> AsyncIterator[ProxiedGateway]:
    monkeypatch.setattr("gateway.listeners.HOST_LINK_PEER", "127.0.0.1")
    daemon: Any = NitridingDouble(tmp_path)
    if request.param != "double":
        daemon = NitridingDaemon(request.getfixturevalue(request.param))
    async with daemon, enclave(daemon, signer, catalog, environment=fleet.environment(), timeout=20.0) as inside:
        pinned = pinning(await served_certificate(daemon.public_url))
        connector = aiohttp.TCPConnector(ssl=pinned, limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield ProxiedGateway(inside, fleet, pinned, session)


async def test_the_key_was_registered_and_the_public_let_in_once(proxied: ProxiedGateway) -> None:
    async with proxied.session.get(proxied.url + "/health") as health:
        assert (await health.json())["tee_enabled"] is True
    async with proxied.session.get(proxied.inside.daemon.internal_url + "/enclave/ready") as again:
        assert again.status == 410
    async with proxied.session.get(f"{proxied.url}/enclave/attestation?nonce={'ab' * 20}") as attestation:
        assert (attestation.status, attestation.content_type) == (200, "text/plain")
        assert base64.b64decode(await attestation.read(), validate=False)


async def test_what_the_daemon_answers_itself(proxied: ProxiedGateway) -> None:
    """The daemon's own endpoints, public and internal, and its validation of hashes (facts/enclave.md 1.2)."""
    for path, status in (
        ("/enclave", 200),
        ("/enclave/config", 200),
        ("/enclave/attestation", 400),
        ("/enclave/attestation?nonce=" + "ab" * 19, 400),
        ("/enclave/attestation?nonce=" + "ab" * 21, 400),
        ("/enclave/attestation?nonce=" + "zz" * 20, 400),
        ("/enclave/attestation?nonce=" + "AB" * 20, 200),
        ("/enclave/hash", 404),
    ):
        async with proxied.session.get(proxied.url + path) as answer:
            assert answer.status == status, path
    internal = proxied.inside.daemon.internal_url
    for method, path, body, status in (
        ("GET", "/enclave/hash", b"", 405),
        ("POST", "/enclave/ready", b"", 405),
        ("GET", "/enclave/state", b"", 403),
        ("PUT", "/enclave/state", b"x", 403),
        ("POST", "/enclave/hash", base64.b64encode(bytes(31)), 400),
        ("POST", "/enclave/hash", base64.b64encode(bytes(33)), 400),
        ("POST", "/enclave/hash", base64.urlsafe_b64encode(b"\xff" * 32), 400),
        ("POST", "/enclave/hash", base64.b64encode(bytes(32)) + b"\n\n", 400),
        ("POST", "/enclave/hash", base64.b64encode(b"\xff" * 32) + b"\n", 200),
    ):
        async with proxied.session.request(method, internal + path, data=body) as answer:
            assert answer.status == status, (method, path, body)


@pytest.mark.parametrize("program", ["double", *PROGRAMS])
async def test_what_the_daemon_hands_on(request: pytest.FixtureRequest, tmp_path: Path, program: str) -> None:
    """A client's own X-Forwarded-For is kept, so only the last entry, the daemon's, counts."""
    seen: list[web.BaseRequest] = []

    async def look(sent: web.BaseRequest) -> web.Response:
        seen.append(sent)
        return web.Response(headers={"Connection": "X-Odd", "X-Odd": "for the daemon", "X-Even": "for everybody"})

    async with RawTestServer(look) as application:
        url = str(application.make_url("")).rstrip("/")
        daemon: Any = NitridingDouble(tmp_path, application=url)
        if program != "double":
            daemon = NitridingDaemon(request.getfixturevalue(program), application=url)
        said = {"X-Forwarded-For": "203.0.113.9", "Host": "tee.example", "Connection": "X-Odd", "X-Odd": "for it"}
        async with daemon:
            public_url, certificate = await opened(daemon)
            connector = aiohttp.TCPConnector(ssl=pinning(certificate), force_close=True)
            async with aiohttp.ClientSession(connector=connector) as session:
                async with session.post(public_url + "/enclave/attestation?a=b", data=b"x", headers=said) as answer:
                    assert (answer.status, answer.headers.get("X-Odd")) == (200, None)
                    assert answer.headers["X-Even"] == "for everybody"
                await application.close()
                async with session.get(public_url + "/health") as answer:
                    assert (answer.status, await answer.read()) == (502, b"")
    [sent] = seen
    assert (sent.method, sent.raw_path) == ("POST", "/enclave/attestation?a=b")
    assert (sent.headers["Host"], sent.headers.get("X-Odd")) == ("tee.example", None)
    assert sent.headers.getall("X-Forwarded-For") == ["203.0.113.9, 127.0.0.1"]


async def test_nobody_else_is_trusted(proxied: ProxiedGateway) -> None:
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.get(proxied.url + "/health")


async def test_the_openai_sdk(proxied: ProxiedGateway) -> None:
    async with proxied.openai() as client:
        completion = await client.chat.completions.create(model=MODEL, messages=HELLO)
        assert completion.choices[0].message.content == "You said: Hello there"
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello there"
    assert (chunks[-1].model_extra or {})["tee_signature"]


async def test_keys_are_refused_at_the_front_and_taken_at_the_side(proxied: ProxiedGateway) -> None:
    keys = {"openai_api_key": "sk-another"}
    for body in (keys, {"sealed": "AAAA"}):
        async with proxied.session.post(proxied.url + "/v1/keys", json=body) as refused:
            assert refused.status == 403
    async with proxied.session.get(proxied.url + "/metrics") as metrics:
        assert metrics.status == 403
    async with proxied.session.post(proxied.inside.host_url + "/v1/keys", json=keys) as taken:
        assert taken.status == 200


async def test_a_stream_is_not_held_back_and_its_end_reaches_the_vendor(proxied: ProxiedGateway) -> None:
    """The vendor stalls until its client disconnects: its earlier output must have arrived."""
    proxied.fleet.openai.enqueue(Scenario(text="one two three four five", stall_after=3))
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    async with asyncio.timeout(20):
        async with proxied.session.post(proxied.url + CHAT_PATH, json=body) as response:
            assert response.status == 200
            seen = b""
            while b'"content":"' not in seen:
                seen += await response.content.readany()
            assert not proxied.fleet.openai.aborted
    await until(lambda: proxied.fleet.openai.aborted)


async def test_a_hundred_streams_at_once(proxied: ProxiedGateway, signer: Signer) -> None:
    """All are open before the first one ends, and each is signed for its own request."""
    key = load_signing_key(signer.public_pem.encode())
    proxied.fleet.openai.default = Scenario(event_delay=0.05)
    opened = asyncio.Barrier(PARALLEL)

    async def stream(number: int) -> None:
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"Number {number}"}], "stream": True}
        async with proxied.session.post(proxied.url + CHAT_PATH, json=body) as response:
            assert response.status == 200, await response.text()
            await opened.wait()
            content = await response.read()
        assert f"{number}" in told(content)
        claims = verify_response(key, body, content)
        assert {claim.verdict for claim in claims} == {Verdict.PASS}, claims

    async with asyncio.timeout(60):
        await asyncio.gather(*map(stream, range(PARALLEL)))


def told(stream: bytes) -> str:
    return "".join(choice["delta"].get("content") or "" for event in events(stream) for choice in event["choices"])
