"""Reads and decodes the body of a request, of a large one only with its payment."""

from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web

from gateway.billing.x402 import PAYMENT_SIGNATURE
from gateway.endpoints.resource_url import resource_url
from gateway.http_server.body import MAX_BODY_BYTES, Body
from gateway.openai_api.errors import shutting_down
from gateway.openai_api.json_body import decode
from gateway.services import Services

UNPAID_BODY_BYTES = 1024 * 1024


class RequestBody(msgspec.Struct, frozen=True):
    """A request body as received, and decoded."""

    raw: bytes
    json: dict[str, Any]


class BodyReader:
    """Async context manager that reads the request body; it counts in the shared budget until the exit.

    Raises GatewayError: 503 while draining, 402 for a large body without payment, and those of ``Body.read`` and
    ``decode``.
    """

    __slots__ = ("_body", "_request", "_services")

    def __init__(self, services: Services, request: web.BaseRequest) -> None:
        self._services = services
        self._request = request
        self._body = Body(services.bodies)

    async def __aenter__(self) -> RequestBody:
        if self._services.draining:
            raise shutting_down()
        content_length = self._request.content_length
        if content_length is not None:
            self._require_payment_header(content_length)
        try:
            raw = await self._body.read(self._request, content_length)
            if content_length is None:
                self._require_payment_header(len(raw))
            await self._services.turns.next(len(raw))
            return RequestBody(raw, decode(raw))
        except BaseException:
            self._body.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._body.release()

    def _require_payment_header(self, size: int) -> None:
        """Answer an unpaid request with a body of ``size`` bytes with 402 if that is large: it is sent again.

        Before the body is read if its size is announced, otherwise before it is decoded. See facts/x402.md 1.9 row 6.
        """
        services, request = self._services, self._request
        if UNPAID_BODY_BYTES < size <= MAX_BODY_BYTES and PAYMENT_SIGNATURE not in request.headers:
            challenge = services.payments.challenge(resource_url(request, enclave=services.settings.enclave))
            if challenge is not None:
                raise challenge
