"""nitriding without Go: its internal API, and its public side on TLS with real attestation documents under a test root.

Answers as in facts/enclave.md 1.2. What a host or a broken enclave would do differently is in the attributes.
"""

import base64
import binascii
import ssl
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.certificates import self_signed
from tools.verify.double import DEFAULT_PCRS, AttestationDouble

HOST = "127.0.0.1"
_HOP_BY_HOP = ("Connection", "Keep-Alive", "Transfer-Encoding")
MEASUREMENTS = {
    "Measurements": {"HashAlgorithm": "SHA384", **{f"PCR{index}": DEFAULT_PCRS[index].hex() for index in range(3)}},
    "recipe": {},
}


@dataclass
class NitridingDouble:
    """Runs inside ``async with``. Requests the public makes are passed to ``application``, a URL, once it is ready.

    ``stated`` replaces fields of the attestation documents, ``documents`` are served before any is made.
    """

    folder: Path
    hypervisor: AttestationDouble = field(default_factory=AttestationDouble)
    hash_status: int = 200
    ready_status: int = 200
    application: str = ""
    stated: dict[str, Any] = field(default_factory=dict)
    documents: list[bytes] = field(default_factory=list)
    served: list[bytes] = field(default_factory=list)
    key_hash: bytes = bytes(32)
    calls: list[str] = field(default_factory=list)
    internal_url: str = ""
    public_url: str = ""

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        connector = aiohttp.TCPConnector(limit=0)
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, auto_decompress=False)
        )
        pem, self.certificate = self_signed(self.folder, "tee-gateway.internal")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(pem)
        internal = web.Application()
        internal.router.add_post("/enclave/hash", self._take_hash)
        internal.router.add_get("/enclave/ready", self._open_public, allow_head=False)
        self.internal_url = f"http://{HOST}:{await self._serve(internal)}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _serve(self, application: web.Application, tls: ssl.SSLContext | None = None) -> int:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        port: int = runner.addresses[0][1]
        return port

    async def _take_hash(self, request: web.Request) -> web.Response:
        self.calls.append("hash")
        if self.hash_status != 200:
            return web.Response(status=self.hash_status, text="injected fault")
        self.key_hash = base64.b64decode(await request.read(), validate=True)
        return web.Response()

    async def _open_public(self, _request: web.Request) -> web.Response:
        self.calls.append("ready")
        if self.public_url:
            return web.Response(status=410)
        if self.ready_status == 200:
            public = web.Application()
            public.router.add_get("/enclave/attestation", self._attest, allow_head=False)
            public.router.add_route("*", "/{path:.*}", self._forward)
            self.public_url = f"https://{HOST}:{await self._serve(public, self._tls)}"
        return web.Response(status=self.ready_status)

    async def _attest(self, request: web.Request) -> web.Response:
        try:
            nonce = binascii.unhexlify(request.query["nonce"])
        except (KeyError, ValueError):
            return web.Response(status=400)
        stated = {
            "tls_certificate": self.certificate,
            "app_key_hash": self.key_hash,
            "nonce": nonce,
            "made": datetime.now(UTC),
            **self.stated,
        }
        document = self.documents.pop(0) if self.documents else self.hypervisor.document(**stated)
        self.served.append(document)
        return web.Response(text=base64.b64encode(document).decode() + "\n")

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        """Both ways as it comes; the end of either side is the end of the other."""
        passed = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
        async with self._session.request(
            request.method,
            self.application + request.raw_path,
            data=request.content if request.can_read_body else None,
            headers={**passed, "X-Forwarded-For": request.remote or ""},
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.headers.extend((name, value) for name, value in answer.headers.items() if name not in _HOP_BY_HOP)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response
