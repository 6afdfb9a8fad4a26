"""A host of callers' files: a TLS server on loopback, and the resolver that leads to it."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

HOST = "files.example"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedResolver(AbstractResolver):
    """A resolver with scripted answers per host, the next one for each query."""

    def __init__(self, answers: dict[str, list[list[str]]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for address in addresses
        ]

    async def close(self) -> None:
        pass


class FileServer:
    """``routes`` maps paths to handlers; ``seen`` lists the requests received."""

    def __init__(self) -> None:
        self.routes: dict[str, Handler] = {}
        self.seen: list[web.BaseRequest] = []
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(request)
        return await self.routes[request.path](request)  # type: ignore[arg-type]

    def serve(self, path: str, body: bytes, **options: object) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(body=body, **options)  # type: ignore[arg-type]

        self.routes[path] = answer

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"Location": to})

        self.routes[path] = answer

    def url(self, path: str, host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(certificate: Path) -> AsyncIterator[FileServer]:
    """A server without routes. ``certificate`` is a PEM file with its key."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    running = FileServer()
    runner = web.ServerRunner(web.Server(running.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    running.port = runner.addresses[0][1]
    yield running
    await runner.cleanup()
