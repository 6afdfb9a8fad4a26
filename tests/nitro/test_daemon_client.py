"""gateway.nitriding against a double of nitriding's internal API (facts/enclave.md 1.2, 1.5)."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.nitriding import Nitriding, NitridingError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class InternalApi:
    """The daemon's loopback API: ``key_hash`` as it would be attested, ``opened`` only once."""

    def __init__(self, *, wait_for_app: bool = True) -> None:
        self.key_hash = bytes(32)
        self.requests: list[tuple[str, str]] = []
        self.failures: list[int] = []
        self.opened = 0
        self.app = web.Application(middlewares=[self._record])
        self.app.router.add_post("/enclave/hash", self._hash)
        if wait_for_app:
            self.app.router.add_get("/enclave/ready", self._ready, allow_head=False)

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if self.failures:
            return web.Response(status=self.failures.pop(0), text="injected")
        return await handler(request)

    async def _hash(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            decoded = base64.b64decode(body[:45].strip(), validate=True)
        except ValueError:
            return web.Response(status=400, text="no Base64")
        if len(body) > 45 or len(decoded) != 32:
            return web.Response(status=400, text="wrong size")
        self.key_hash = decoded
        return web.Response()

    async def _ready(self, _: web.Request) -> web.Response:
        self.opened += 1
        return web.Response(status=200 if self.opened == 1 else 410)


@pytest.fixture
def spki_der() -> bytes:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def daemon() -> AsyncIterator[tuple[InternalApi, str]]:
    api = InternalApi()
    async with TestServer(api.app) as server:
        yield api, str(server.make_url("/"))


async def test_the_whole_start(
    session: aiohttp.ClientSession, daemon: tuple[InternalApi, str], spki_der: bytes
) -> None:
    api, url = daemon
    nitriding = Nitriding(session, url)
    await nitriding.wait()
    assert api.key_hash == bytes(32)
    await nitriding.register_key(spki_der)
    assert api.opened == 0
    await nitriding.signal_ready()
    assert api.opened == 1
    assert api.key_hash == hashlib.sha256(spki_der).digest()
    assert api.requests == [("GET", "/enclave/hash"), ("POST", "/enclave/hash"), ("GET", "/enclave/ready")]


async def test_a_daemon_that_comes_up_late_is_waited_for(session: aiohttp.ClientSession) -> None:
    api, port = InternalApi(), unused_port()
    waiting = asyncio.create_task(Nitriding(session, f"http://127.0.0.1:{port}", timeout=20).wait())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    async with TestServer(api.app, port=port):
        await waiting
    assert ("GET", "/enclave/hash") in api.requests


async def test_a_daemon_that_never_comes_is_an_error(session: aiohttp.ClientSession) -> None:
    nitriding = Nitriding(session, f"http://127.0.0.1:{unused_port()}", timeout=0.1)
    with pytest.raises(NitridingError, match=r"/enclave/hash after 0\.1 s: ClientConnector"):
        await nitriding.wait()


async def test_a_daemon_need_not_refuse_a_get_of_its_hash_route(session: aiohttp.ClientSession) -> None:
    async def only_posts(request: web.Request) -> web.Response:
        return web.Response(status=200 if request.method == "POST" else 404)

    server = web.Application()
    server.router.add_route("*", "/enclave/hash", only_posts)
    async with TestServer(server) as running:
        nitriding = Nitriding(session, str(running.make_url("/")))
        await nitriding.wait()
        await nitriding.register_key(b"")


async def test_something_else_on_the_port_is_an_error(session: aiohttp.ClientSession) -> None:
    async with TestServer(web.Application()) as server:
        with pytest.raises(NitridingError, match="POST /enclave/hash returned 404"):
            await Nitriding(session, str(server.make_url("/"))).register_key(b"")


async def test_registration_outlives_a_passing_500(
    session: aiohttp.ClientSession, daemon: tuple[InternalApi, str], spki_der: bytes
) -> None:
    api, url = daemon
    api.failures = [500, 503]
    await Nitriding(session, url).register_key(spki_der)
    assert api.key_hash == hashlib.sha256(spki_der).digest()
    assert len(api.requests) == 3


@pytest.mark.parametrize(
    ("failures", "error"), [([400], "POST /enclave/hash returned 400"), ([500] * 99, "/enclave/hash after 0.2 s: 500")]
)
async def test_registration_that_fails_is_an_error(
    session: aiohttp.ClientSession,
    daemon: tuple[InternalApi, str],
    spki_der: bytes,
    failures: list[int],
    error: str,
) -> None:
    api, url = daemon
    api.failures = failures
    with pytest.raises(NitridingError, match=error):
        await Nitriding(session, url, timeout=0.2).register_key(spki_der)
    assert api.key_hash == bytes(32)


async def test_ready_twice_is_refused(session: aiohttp.ClientSession, daemon: tuple[InternalApi, str]) -> None:
    nitriding = Nitriding(session, daemon[1])
    await nitriding.signal_ready()
    with pytest.raises(NitridingError, match="returned 410"):
        await nitriding.signal_ready()


async def test_ready_needs_a_daemon_that_waits(session: aiohttp.ClientSession) -> None:
    async with TestServer(InternalApi(wait_for_app=False).app) as server:
        with pytest.raises(NitridingError, match="returned 404"):
            await Nitriding(session, str(server.make_url("/"))).signal_ready()


async def test_ready_is_sent_once_even_when_it_fails(
    session: aiohttp.ClientSession, daemon: tuple[InternalApi, str]
) -> None:
    api, url = daemon
    api.failures = [500]
    with pytest.raises(NitridingError, match="/enclave/ready: 500 injected"):
        await Nitriding(session, url).signal_ready()
    assert api.requests == [("GET", "/enclave/ready")]
