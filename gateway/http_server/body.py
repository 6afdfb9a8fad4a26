"""Request bodies, read under a size limit, timeouts and a memory budget that all requests share.

When the budget is exhausted, an upload in progress is evicted: the oldest, hence slowest, of the client address that
holds the most bytes. Many slow uploads of one client therefore keep nobody else out, even where all clients appear to
have one address, as behind an enclave's proxies.
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
"""Timeout of a whole body."""
READ_SECONDS = 30.0
"""Timeout of each read."""

_JSON = "application/json"


class _AddressUploads:
    """The uploads in progress of one client address, oldest first, and the bytes they hold together."""

    __slots__ = ("held", "uploads")

    def __init__(self) -> None:
        self.held = 0
        self.uploads: dict[Body, None] = {}


class BodyBudget:
    """The bytes that request bodies may hold at once, over all requests. ``by_address`` are uploads in progress."""

    def __init__(self, limit: int = BODY_BUDGET_BYTES) -> None:
        self._left = limit
        self.by_address: dict[str, _AddressUploads] = {}

    def reserve(self, size: int, body: "Body") -> None:
        """Reserve ``size`` more bytes for ``body``, evicting uploads if needed; raises 503 if that does not help."""
        while size > self._left:
            upload = self._eviction_candidate(size, body)
            if upload is None:
                raise _overloaded()
            upload.evict()
        self._left -= size

    def release(self, size: int) -> None:
        self._left += size

    def _eviction_candidate(self, size: int, body: "Body") -> "Body | None":
        """The upload to evict for ``size`` more bytes of ``body``; None if there is none but the body itself."""
        own = self.by_address.get(body.address)
        largest = max(self.by_address.values(), key=attrgetter("held"), default=None)
        if largest is None or largest.held <= size + (own.held if own else 0):
            largest = own
        oldest = next((upload for upload in largest.uploads if upload.held), None) if largest else None
        return None if oldest is body else oldest

    def add_upload(self, body: "Body") -> None:
        """Register ``body`` as an upload in progress."""
        self.by_address.setdefault(body.address, _AddressUploads()).uploads[body] = None

    def remove_upload(self, body: "Body") -> None:
        """Unregister ``body``; what it holds no longer counts against its address."""
        address = self.by_address.get(body.address)
        if address is not None and body in address.uploads:
            del address.uploads[body]
            address.held -= body.held
            if not address.uploads:
                del self.by_address[body.address]


class Body:
    """A request body. Received bytes count in the budget until ``release``.

    ``Content-Length`` alone reserves nothing: a few clients could announce much, send nothing and starve the others.
    """

    def __init__(self, budget: BodyBudget, limit: int = MAX_BODY_BYTES) -> None:
        self._budget = budget
        self._limit = limit
        self._request: web.BaseRequest | None = None
        self._timeout: asyncio.Timeout | None = None
        self._evicted = False
        self.held = 0

    async def read(self, request: web.BaseRequest, content_length: int | None) -> bytes:
        """Read the whole body; raises 400, 408, 413, 415, 501 or 503."""
        headers = request.headers
        self._request = request
        _check_headers(request)
        if content_length is not None and content_length > self._limit:
            raise self._too_large()
        if "Expect" in headers and headers["Expect"].lower() == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        try:
            if content.is_eof():
                raw = content.read_nowait()
                self._reserve(len(raw))
                return raw
            return await self._upload(content)
        except TimeoutError:
            if self._evicted:
                raise _overloaded() from None
            raise GatewayError("Timed out while reading the request body", status=408, code="request_timeout") from None
        except (web.RequestPayloadError, HTTPException, ConnectionError):
            raise GatewayError("The request body is incomplete", status=400, code="incomplete_body") from None

    def release(self) -> None:
        """Return the bytes to the budget; idempotent."""
        self._budget.release(self.held)
        self.held = 0

    @cached_property
    def address(self) -> str:
        """The client's address."""
        return "" if self._request is None else client_address(self._request)

    def evict(self) -> None:
        """End the upload with 503 and return its bytes to the budget."""
        self._evicted = True
        self._budget.remove_upload(self)
        self.release()
        if self._timeout is not None:
            with suppress(RuntimeError):  # it is expiring already
                self._timeout.reschedule(0)

    async def _upload(self, content: StreamReader) -> bytes:
        self._budget.add_upload(self)
        try:
            async with asyncio.timeout(BODY_SECONDS) as self._timeout:
                return await self._read_chunks(content)
        finally:
            self._budget.remove_upload(self)

    async def _read_chunks(self, content: StreamReader) -> bytes:
        address = self._budget.by_address[self.address]
        chunks: list[bytes] = []
        while not content.at_eof():
            chunk = content.read_nowait()
            if not chunk:
                async with asyncio.timeout(READ_SECONDS):
                    chunk = await content.readany()
            if self._evicted:
                raise _overloaded()
            self._reserve(len(chunk))
            address.held += len(chunk)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _reserve(self, size: int) -> None:
        if self.held + size > self._limit:
            raise self._too_large()
        self._budget.reserve(size, self)
        self.held += size

    def _too_large(self) -> GatewayError:
        return GatewayError(
            f"The request body is larger than {self._limit} bytes", status=413, code="request_too_large"
        )


def _overloaded() -> GatewayError:
    return gateway_unavailable("overloaded", "The gateway is processing too many large requests")


def _check_headers(request: web.BaseRequest) -> None:
    headers = request.headers
    coding = headers.get("Transfer-Encoding")
    if coding is not None and request.version < HttpVersion11:
        raise GatewayError("Transfer-Encoding is not supported with HTTP/1.0", status=400, code="bad_framing")
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
