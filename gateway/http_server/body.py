"""Request bodies: read under a size limit, a time limit and a budget that all requests share.

Where the budget is short, uploads under way make room: of the address that has most in them the oldest, since who has
been at it for longest is slow. So many slow uploads of one client keep nobody else out, nor do they where all clients
seem to have one address, as behind an enclave's proxies.
"""

import asyncio
from contextlib import suppress
from functools import cached_property
from operator import attrgetter

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.web_exceptions import HTTPException

from gateway.http_server.client_address import client_address
from gateway.openai_api.errors import GatewayError, gateway_unavailable

MAX_BODY_BYTES = 32 * 1024 * 1024
BODY_BUDGET_BYTES = 512 * 1024 * 1024
BODY_SECONDS = 120.0
PIECE_SECONDS = 30.0


_JSON = "application/json"


class _Line:
    """Uploads of one address that are under way, the oldest first, and the bytes that they hold."""

    __slots__ = ("held", "uploads")

    def __init__(self) -> None:
        self.held = 0
        self.uploads: dict[Body, None] = {}


class BodyBudget:
    """Bytes of request bodies in memory at once, over all requests. ``lines`` are by addresses."""

    def __init__(self, limit: int = BODY_BUDGET_BYTES) -> None:
        self._left = limit
        self.lines: dict[str, _Line] = {}

    def take(self, size: int, body: "Body") -> None:
        """Reserve ``size`` bytes more for ``body``; raises 503 when they are not there."""
        while size > self._left:
            upload = self._crowded_out(size, body)
            if upload is None:
                raise _overloaded()
            upload.make_room()
        self._left -= size

    def give(self, size: int) -> None:
        self._left += size

    def _crowded_out(self, size: int, body: "Body") -> "Body | None":
        """The upload that makes room for ``size`` bytes more of ``body``; None when that would be the body itself."""
        own = self.lines.get(body.address)
        line = max(self.lines.values(), key=attrgetter("held"), default=None)
        if line is None or line.held <= size + (own.held if own else 0):
            line = own
        oldest = next((upload for upload in line.uploads if upload.held), None) if line else None
        return None if oldest is body else oldest

    def join(self, body: "Body") -> None:
        """``body`` is being uploaded from now on."""
        self.lines.setdefault(body.address, _Line()).uploads[body] = None

    def leave(self, body: "Body") -> None:
        """It is no longer; what it holds is not its line's any more."""
        line = self.lines.get(body.address)
        if line is not None and body in line.uploads:
            del line.uploads[body]
            line.held -= body.held
            if not line.uploads:
                del self.lines[body.address]


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
        self._budget.leave(self)
        self.discard()
        if self._patience is not None:
            with suppress(RuntimeError):  # it has run out in this very moment
                self._patience.reschedule(0)

    async def _upload(self, content: StreamReader) -> bytes:
        self._budget.join(self)
        try:
            async with asyncio.timeout(BODY_SECONDS) as self._patience:
                return await self._pieces(content)
        finally:
            self._budget.leave(self)

    async def _pieces(self, content: StreamReader) -> bytes:
        line = self._budget.lines[self.address]
        pieces: list[bytes] = []
        while not content.at_eof():
            piece = content.read_nowait()
            if not piece:
                async with asyncio.timeout(PIECE_SECONDS):
                    piece = await content.readany()
            if self._crowded_out:
                raise _overloaded()
            self._hold(len(piece))
            line.held += len(piece)
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
