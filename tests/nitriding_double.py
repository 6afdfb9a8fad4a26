"""A Python double of nitriding: its internal API, and its public TLS side with attestation documents under a test root.

Answers as in facts/enclave.md 1.2. Its attributes inject faults of a malicious host or a broken enclave.
"""

import base64
import binascii
import re
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from tests.certificates import self_signed
from tools.verify.double import DEFAULT_PCRS, AttestationDouble

HOST = "127.0.0.1"
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer")
) | {"transfer-encoding", "upgrade"}
_MOST_HASH_TEXT = 45
MEASUREMENTS = {
    "Measurements": {"HashAlgorithm": "SHA384", **{f"PCR{index}": DEFAULT_PCRS[index].hex() for index in range(3)}},
    "recipe": {},
}


@dataclass
class NitridingDouble:
    """Runs inside ``async with``. Public requests are proxied to ``application``, a URL, once it is ready.

    ``stated`` overrides fields of the attestation documents, ``documents`` are served before any is generated.
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
        for method in ("GET", "PUT"):
            internal.router.add_route(method, "/enclave/state", _not_synchronised)
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
        text = await request.read()
        try:
            key_hash = base64.b64decode(text.strip(), validate=True)
        except ValueError:
            key_hash = b""
        if len(text) > _MOST_HASH_TEXT or len(key_hash) != len(self.key_hash):
            return web.Response(status=400, text="not 32 bytes in base64\n")
        self.key_hash = key_hash
        return web.Response()

    async def _open_public(self, _request: web.Request) -> web.Response:
        self.calls.append("ready")
        if self.public_url:
            return web.Response(status=410)
        if self.ready_status == 200:
            public = web.Application()
            public.router.add_get("/enclave", _index, allow_head=False)
            public.router.add_get("/enclave/config", _configuration, allow_head=False)
            public.router.add_get("/enclave/attestation", self._attest, allow_head=False)
            public.router.add_route("*", "/{path:.*}", self._forward)
            self.public_url = f"https://{HOST}:{await self._serve(public, self._tls)}"
        return web.Response(status=self.ready_status)

    async def _attest(self, request: web.Request) -> web.Response:
        nonce = request.query.get("nonce", "")
        if not re.fullmatch("[0-9a-fA-F]{40}", nonce):
            return web.Response(status=400, text="the nonce is not 40 hexadecimal digits\n")
        stated = {
            "tls_certificate": self.certificate,
            "app_key_hash": self.key_hash,
            "nonce": binascii.unhexlify(nonce),
            "made": datetime.now(UTC),
            **self.stated,
        }
        document = self.documents.pop(0) if self.documents else self.hypervisor.document(**stated)
        self.served.append(document)
        return web.Response(text=base64.b64encode(document).decode() + "\n")

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        """Stream both directions. ``X-Forwarded-For`` is appended to, not replaced, as by Go's ReverseProxy."""
        passed = _end_to_end(request.headers)
        came_by = ", ".join([*request.headers.getall("X-Forwarded-For", ()), request.remote or ""])
        passed["X-Forwarded-For"] = came_by
        forwarded = self._session.request(
            request.method,
            self.application + request.raw_path,
            data=request.content if request.can_read_body else None,
            headers=passed,
            allow_redirects=False,
        )
        try:
            answer = await forwarded
        except aiohttp.ClientConnectionError:
            return web.Response(status=502)
        async with answer:
            response = web.StreamResponse(status=answer.status)
            response.headers.extend(_end_to_end(answer.headers))
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Headers that are not hop-by-hop, neither by name nor because ``Connection`` lists them."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    kept = CIMultiDict[str]()
    kept.extend((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP | named)
    return kept


async def _index(_request: web.Request) -> web.Response:
    return web.Response(text="An enclave.\n")


async def _configuration(_request: web.Request) -> web.Response:
    return web.json_response({"FQDN": "tee-gateway.internal", "WaitForApp": True})


async def _not_synchronised(_request: web.Request) -> web.Response:
    return web.Response(status=403)
