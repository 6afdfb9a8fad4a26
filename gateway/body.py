"""Request bodies: read under a size limit, a time limit and a budget that all requests share.

Where the budget is short, uploads under way make room: of the address that has most in them the oldest, since who has
been at it for longest is slow. So many slow uploads of one client keep nobody else out, nor do they where all clients
seem to have one address, as behind an enclave's proxies.
"""

import asyncio
from collections import deque
from contextlib import suppress
from functools import cached_property

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.web_exceptions import HTTPException

from gateway.client_address import client_address
from gateway.openai_api.errors import GatewayError, gateway_unavailable

MAX_BODY_BYTES = 32 * 1024 * 1024
BODY_BUDGET_BYTES = 512 * 1024 * 1024
BODY_SECONDS = 120.0
PIECE_SECONDS = 30.0


_JSON = "application/json"


class BodyBudget:
    """Bytes of request bodies in memory at once, over all requests. ``uploads`` are under way, the oldest first."""

    def __init__(self, limit: int = BODY_BUDGET_BYTES) -> None:
        self._left = limit
        self._slack = limit // 64
        self.uploads: dict[Body, None] = {}

    def take(self, size: int, body: "Body") -> None:
        """Reserve ``size`` bytes more for ``body``; raises 503 when they are not there."""
        if size > self._left:
            self._crowd_out(size, body)
        if size > self._left:
            raise _overloaded()
        self._left -= size

    def give(self, size: int) -> None:
        self._left += size

    def _crowd_out(self, size: int, body: "Body") -> None:
        """Let uploads make room for ``size`` bytes more of ``body``, and a little, so that not every piece has to look
        through all of them. ``body`` makes none: where that would be its turn, nobody does."""
        lines: dict[str, deque[Body]] = {body.address: deque()}
        for upload in self.uploads:
            if upload.held:
                lines.setdefault(upload.address, deque()).append(upload)
        held = {address: sum(upload.held for upload in line) for address, line in lines.items()}
        held[body.address] += size
        while size + self._slack > self._left:
            most = max(held, key=held.__getitem__)
            if not lines[most] or lines[most][0] is body:
                return
            upload = lines[most].popleft()
            held[most] -= upload.held
            upload.make_room()


class Body:
    """A request's body, in the budget as it comes and until ``discard``: what is only announced takes nothing of it,
    or a few who announce much and send nothing would leave nothing to others."""

    def __init__(self, budget: BodyBudget, limit: int = MAX_BODY_BYTES) -> None:
        self._budget = budget
        self._limit = limit
        self._request: web.BaseRequest | None = None
        self._patience: asyncio.Timeout | None = None
        self._crowded_out = False
        self.held = 0

    async def read(self, request: web.BaseRequest, announced: int | None) -> bytes:
        """The whole body, which is ``announced`` to be that long; raises 413, 415, 408 or 503."""
        headers = request.headers
        self._request = request
        _check_headers(request)
        if announced is not None and announced > self._limit:
            raise self._too_large()
        if "Expect" in headers and headers["Expect"].lower() == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        try:
            if content.is_eof():
                raw = content.read_nowait()
                self._hold(len(raw))
                return raw
            return await self._upload(content)
        except TimeoutError:
            if self._crowded_out:
                raise _overloaded() from None
            raise GatewayError("The request body came too slowly", status=408, code="request_timeout") from None
        except (web.RequestPayloadError, HTTPException, ConnectionError):
            raise GatewayError("The request body broke off", status=400, code="incomplete_body") from None

    def discard(self) -> None:
        """The body is needed no longer."""
        self._budget.give(self.held)
        self.held = 0

    @cached_property
    def address(self) -> str:
        """Where it comes from."""
        return "" if self._request is None else client_address(self._request)

    def make_room(self) -> None:
        """End the upload with 503: others need the bytes that it holds."""
        self._crowded_out = True
        self.discard()
        self._budget.uploads.pop(self, None)
        if self._patience is not None:
            with suppress(RuntimeError):  # it has run out in this very moment
                self._patience.reschedule(0)

    async def _upload(self, content: StreamReader) -> bytes:
        self._budget.uploads[self] = None
        try:
            async with asyncio.timeout(BODY_SECONDS) as self._patience:
                raw = await self._pieces(content)
        finally:
            self._budget.uploads.pop(self, None)
        if self._crowded_out:
            raise _overloaded()
        return raw

    async def _pieces(self, content: StreamReader) -> bytes:
        pieces: list[bytes] = []
        while not content.at_eof():
            piece = content.read_nowait()
            if not piece:
                async with asyncio.timeout(PIECE_SECONDS):
                    piece = await content.readany()
            self._hold(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, size: int) -> None:
        if self.held + size > self._limit:
            raise self._too_large()
        self._budget.take(size, self)
        self.held += size

    def _too_large(self) -> GatewayError:
        return GatewayError(
            f"The request body is larger than {self._limit} bytes", status=413, code="request_too_large"
        )


def _overloaded() -> GatewayError:
    return gateway_unavailable("overloaded", "The gateway holds too many large requests right now")


def _check_headers(request: web.BaseRequest) -> None:
    headers = request.headers
    coding = headers.get("Transfer-Encoding")
    if coding is not None and request.version < HttpVersion11:
        raise GatewayError("Transfer-Encoding is not part of HTTP/1.0", status=400, code="bad_framing")
    if coding is not None and coding.lower() != "chunked":
        raise GatewayError(
            f"Transfer-Encoding '{coding[:32]}' is not supported", status=501, code="unsupported_transfer_encoding"
        )
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise GatewayError(
            f"Content-Encoding '{encoding[:32]}' is not supported", status=415, code="unsupported_media_type"
        )
    kind = headers.get("Content-Type", _JSON)
    if kind != _JSON and request.content_type != _JSON:
        raise GatewayError(
            "The request body must be JSON: send 'Content-Type: application/json'",
            status=415,
            code="unsupported_media_type",
        )
