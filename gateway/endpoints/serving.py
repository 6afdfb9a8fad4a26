"""What the two paid endpoints share: read the body, price the request, wait for a slot, answer or stream."""

import asyncio
import re
from collections.abc import Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any

import msgspec
from aiohttp import web
from yarl import URL

from gateway.answer import Answer
from gateway.billing.payment import Order
from gateway.billing.pricing import ANY_TERMS, PriceTerms
from gateway.billing.unpaid import PaymentsDisabled
from gateway.billing.usage import prompt_tokens
from gateway.endpoints.caller import queue_key
from gateway.endpoints.early_status import with_early_status
from gateway.exchange import Exchange
from gateway.http_server.body import Body
from gateway.http_server.connection import ServerConnection
from gateway.http_server.response import JSONResponse
from gateway.http_server.stream_reply import StreamReply
from gateway.openai_api.errors import GatewayError, shutting_down
from gateway.openai_api.request import JsonSchemaFormat, decode
from gateway.openai_api.stream import error_event
from gateway.services import Services
from gateway.upstreams.adapter import Chat

UNPAID_BODY_BYTES = 1024 * 1024
MAX_WEB_SEARCHES = 5
_CHEAP_TIERS = frozenset({None, "default", "standard", "standard_only", "flex"})
"""Requested service tiers that are never answered by one dearer than the standard tier."""
_DEARER_TIERS = ("priority",)
_ESCAPED_ASCII = b"\\u00"
"""How JSON can write a letter of a name in another way."""
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SDK_LANGUAGE = "X-Stainless-Lang"
"""The header in which OpenAI's SDKs name their language."""
RESPONSE_HEADERS = web.RequestKey("headers", dict[str, str])
"""The headers of every response; a stream has to send them before its handler returns."""


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
        if content_length is not None and content_length > UNPAID_BODY_BYTES:
            _require_payment_header(self._services, self._request)
        try:
            raw = await self._body.read(self._request, content_length)
            return RequestBody(raw, decode(raw))
        except BaseException:
            self._body.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._body.release()


def _require_payment_header(services: Services, request: web.BaseRequest) -> None:
    """Answer a large unpaid request with 402 before its body is read: it is sent again with the payment.

    See facts/x402.md 1.9 row 6.
    """
    if "PAYMENT-SIGNATURE" not in request.headers:
        challenge = services.payments.challenge(_resource_url(request))
        if challenge is not None:
            raise challenge


def payment_order(services: Services, request: web.BaseRequest, body: RequestBody, chats: Sequence[Chat]) -> Order:
    """What is to be paid for; with payments off, what only a quote needs is left out.

    One prompt token per two bytes of text is an upper bound for all but contrived prompts; the charge never exceeds the
    quote.
    """
    first, calls = chats[0], len(chats)
    choices = first.request.choices
    provider = services.catalog.providers[first.model.provider]
    has_tools = first.request.tools or isinstance(first.request.response_format, JsonSchemaFormat)
    added_tokens = provider.call_tokens + (provider.tool_tokens if has_tools else 0)
    unpaid = isinstance(services.payments, PaymentsDisabled)
    return Order(
        path=request.path,
        model=first.model,
        prompt_tokens=0 if unpaid else 2 * prompt_tokens(body.json, first.model.image_tokens) + added_tokens * calls,
        output_tokens=first.request.output_tokens,
        choices=choices * calls,
        images=choices if "image" in first.model.outputs else 0,
        stream=first.stream,
        headers={} if unpaid else request.headers,
        resource_url="" if unpaid else _resource_url(request),
        price_terms=ANY_TERMS if unpaid else _price_terms(body, first, calls),
    )


def _resource_url(request: web.BaseRequest) -> str:
    """The URL of what is paid for; its host is the client's ``Host`` header. Raises 400 if that is not a host."""
    try:
        return _url(request.scheme, request.headers.get("Host", ""), request.path)
    except ValueError:
        raise GatewayError("The Host header is not a valid host", status=400, code="invalid_host") from None


@lru_cache(maxsize=256)
def _url(scheme: str, host: str, path: str) -> str:
    """Raises ValueError for an invalid host, or a port above 65535."""
    if not _HOST.fullmatch(host):
        raise ValueError(host)
    return str(URL.build(scheme=scheme, authority=host, path=path))


def _price_terms(body: RequestBody, chat: Chat, calls: int) -> PriceTerms:
    """The surcharges that this request can cause; others are not quoted."""
    chat_request = chat.request
    names = body.raw if _ESCAPED_ASCII not in body.raw else msgspec.json.encode(body.json)
    searches = bool(chat_request.web_search) or chat_request.web_search_options is not None
    return PriceTerms(
        tiers=() if chat_request.service_tier in _CHEAP_TIERS else _DEARER_TIERS,
        regions=(),
        cache_writes=b'"cache_control"' in names,
        audio=b'"input_audio"' in names or b'"file"' in names or b'"video_url"' in names,
        web_searches=MAX_WEB_SEARCHES if searches else 0,
        calls=calls,
    )


async def serve(
    services: Services, exchange: Exchange, request: web.BaseRequest, *, stream: bool
) -> web.StreamResponse:
    """Wait for a slot, then run the exchange if the client is still connected.

    Raises GatewayError, and ConnectionError if the client has left.
    """
    slot = services.admission.slot(exchange.provider, lambda: queue_key(request))
    connection = request.protocol
    if isinstance(connection, ServerConnection):
        connection.on_disconnect = slot.cancel
    try:
        async with slot:
            _require_connected(request)
            try:
                await exchange.admit()
                if stream:
                    return await _stream(services, exchange, request)
                return await _answer(services, exchange, request)
            except GatewayError:
                raise
            except (ConnectionError, asyncio.CancelledError):
                await exchange.abandon()
                raise
            except Exception as error:
                raise await exchange.fail(error) from error
    except BaseException:
        exchange.reject()
        raise


def _require_connected(request: web.BaseRequest) -> None:
    if request.transport is None:
        raise ConnectionResetError("the client disconnected while queued")


async def _answer(services: Services, exchange: Exchange, request: web.BaseRequest) -> web.StreamResponse:
    answering = exchange.answer(lambda: request.transport is None)
    if services.settings.payments == "off":
        answer: Answer | web.StreamResponse | None = await answering
    else:
        headers = exchange.headers() | request[RESPONSE_HEADERS]
        answer = await with_early_status(request, answering, headers, exchange.started, exchange.fail_late)
    if answer is None:
        raise ConnectionResetError
    return JSONResponse(answer.body, answer.headers) if isinstance(answer, Answer) else answer


async def _stream(services: Services, exchange: Exchange, request: web.BaseRequest) -> web.StreamResponse:
    reply = StreamReply(request, exchange.headers() | request[RESPONSE_HEADERS])
    services.streams.add(reply)
    try:
        last = await exchange.stream(reply, usage_on_request=request.headers.get(_SDK_LANGUAGE) == "java")
    except Exception as failure:
        if reply.disconnected and isinstance(failure, GatewayError):
            raise ConnectionResetError from None
        if not reply.committed or reply.disconnected:
            raise
        error = await exchange.fail_late(failure)
        return await reply.abort(error_event(error.envelope()))
    else:
        return reply.end(last)
    finally:
        services.streams.discard(reply)
        reply.release()
