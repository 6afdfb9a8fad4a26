"""Request bodies: read under a size limit, a time limit and a budget that all requests share."""

import asyncio

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.web_exceptions import HTTPException

from gateway.openai_api.errors import GatewayError, gateway_unavailable

MAX_BODY_BYTES = 32 * 1024 * 1024
BODY_BUDGET_BYTES = 512 * 1024 * 1024
BODY_SECONDS = 120.0
PIECE_SECONDS = 30.0


_JSON = "application/json"


class BodyBudget:
    """Bytes of request bodies in memory at once, over all requests."""

    def __init__(self, limit: int = BODY_BUDGET_BYTES) -> None:
        self._left = limit

    def take(self, size: int) -> None:
        """Reserve ``size`` bytes; raises 503 when they are not there."""
        if size > self._left:
            raise gateway_unavailable("overloaded", "The gateway holds too many large requests right now")
        self._left -= size

    def give(self, size: int) -> None:
        self._left += size


class Body:
    """A request's body, in the budget as it comes and until ``discard``: what is only announced takes nothing of it,
    or a few who announce much and send nothing would leave nothing to others."""

    def __init__(self, budget: BodyBudget, limit: int = MAX_BODY_BYTES) -> None:
        self._budget = budget
        self._limit = limit
        self._held = 0

    async def read(self, request: web.BaseRequest, announced: int | None) -> bytes:
        """The whole body, which is ``announced`` to be that long; raises 413, 415, 408 or 503."""
        headers = request.headers
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
            async with asyncio.timeout(BODY_SECONDS):
                return await self._pieces(content)
        except TimeoutError:
            raise GatewayError("The request body came too slowly", status=408, code="request_timeout") from None
        except (web.RequestPayloadError, HTTPException, ConnectionError):
            raise GatewayError("The request body broke off", status=400, code="incomplete_body") from None

    def discard(self) -> None:
        """The body is needed no longer."""
        self._budget.give(self._held)
        self._held = 0

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
        if self._held + size > self._limit:
            raise self._too_large()
        self._budget.take(size)
        self._held += size

    def _too_large(self) -> GatewayError:
        return GatewayError(
            f"The request body is larger than {self._limit} bytes", status=413, code="request_too_large"
        )


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
