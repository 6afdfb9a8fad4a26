"""Two enclaves, what an operator needs for them, and a proxy on the host link."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.enclave import Enclave, enclave
from tests.nitriding_double import MEASUREMENTS, NitridingDouble
from tools.inject.__main__ import main
from tools.verify.double import AttestationDouble

SECRET = "sk-secret-openai"

Meddling = Callable[[web.Request, bytes], Awaitable[web.Response | None]]


@dataclass
class HostLink:
    """The host's end of the link: forwards and records everything, unless ``meddling`` answers first."""

    enclave: Enclave[NitridingDouble]
    url: str = ""
    seen: list[bytes] = field(default_factory=list)
    meddling: Meddling | None = None

    @property
    def bundles(self) -> list[bytes]:
        return [body for body in self.seen if body]

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(body)
        if self.meddling is not None and (answer := await self.meddling(request, body)) is not None:
            return answer
        return await self.forward(request, body)

    async def forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self.enclave.host_url + request.path, data=body, headers=headers) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


@dataclass
class Operator:
    """An operator with the command, a trusted root, measurements and keys."""

    folder: Path
    link: HostLink
    options: dict[str, str]

    async def inject(self, *flags: str, **changes: str | None) -> int:
        """Return the command's exit status; an option set to None is omitted."""
        options = {**self.options, **{name.replace("_", "-"): value for name, value in changes.items()}}
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return await asyncio.to_thread(main, [*given, *flags])

    def write(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


@pytest.fixture(autouse=True)
def host_link_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.listeners.HOST_LINK_PEER", "127.0.0.1")


@pytest.fixture(scope="session")
def hypervisor() -> AttestationDouble:
    """Started an hour ago, so that documents can be old."""
    return AttestationDouble(made=datetime.now(UTC) - timedelta(hours=1))


@pytest.fixture(scope="session")
def second_signer() -> Signer:
    return Signer()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def _launch(
    stack: AsyncExitStack, folder: Path, hypervisor: AttestationDouble, signer: Signer, catalog: Catalog
) -> Operator:
    folder.mkdir()
    daemon = await stack.enter_async_context(NitridingDouble(folder, hypervisor))
    link = HostLink(await stack.enter_async_context(enclave(daemon, signer, catalog)))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", link.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    link.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    operator = Operator(folder, link, {})
    operator.options = {
        "url": link.url,
        "attestation-url": daemon.public_url,
        "measurements": operator.write("measurements.txt", json.dumps(MEASUREMENTS)),
        "env-file": operator.write("keys.env", f"# keys\nOPENAI_API_KEY={SECRET}\nexport ARK_API_KEY='ark-secret'\n"),
        "root": operator.write("root.pem", hypervisor.root.public_bytes(Encoding.PEM)),
    }
    return operator


@pytest.fixture
async def operator(
    stack: AsyncExitStack, tmp_path: Path, hypervisor: AttestationDouble, signer: Signer, catalog: Catalog
) -> Operator:
    return await _launch(stack, tmp_path / "first", hypervisor, signer, catalog)


@pytest.fixture
async def other_operator(
    stack: AsyncExitStack, tmp_path: Path, hypervisor: AttestationDouble, second_signer: Signer, catalog: Catalog
) -> Operator:
    return await _launch(stack, tmp_path / "second", hypervisor, second_signer, catalog)


async def post(url: str, body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return response.status, await response.json()
