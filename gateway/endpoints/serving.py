"""What the two paid endpoints do alike: read the body, admit, answer or stream."""

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
from gateway.endpoints.caller import turn
from gateway.endpoints.early_status import answer_in_time
from gateway.exchange import Exchange
from gateway.http_server.body import Body
from gateway.http_server.connection import ServerConnection
from gateway.http_server.response import JSONResponse
from gateway.http_server.stream_reply import StreamReply
from gateway.openai_api.errors import GatewayError, shutting_down
from gateway.openai_api.request import decode
from gateway.openai_api.stream import error_event
from gateway.services import Services
from gateway.upstreams.adapter import Chat

UNPAID_BODY_BYTES = 1024 * 1024
MAX_WEB_SEARCHES = 5
_NEVER_DEARER = frozenset({None, "default", "standard", "standard_only", "flex"})
"""Service tiers after which none is answered that costs more than the standard one."""
_DEARER = ("priority",)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
HEADERS = web.RequestKey("headers", dict[str, str])
"""What every answer carries; a stream has to send it before its handler returns."""


class Sent(msgspec.Struct, frozen=True):
    """What the caller sent."""

    raw: bytes
    json: dict[str, Any]


class Reading:
    """``async with`` gives what the caller sent; its bytes count in the shared budget as long as it is in use."""

    __slots__ = ("_body", "_request", "_services")

    def __init__(self, services: Services, request: web.BaseRequest) -> None:
        self._services = services
        self._request = request
        self._body = Body(services.bodies)

    async def __aenter__(self) -> Sent:
        if self._services.draining:
            raise shutting_down()
        announced = self._request.content_length
        if announced is not None and announced > UNPAID_BODY_BYTES:
            _challenge_large(self._services, self._request)
        try:
            raw = await self._body.read(self._request, announced)
            return Sent(raw, decode(raw))
        except BaseException:
            self._body.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._body.release()


def _challenge_large(services: Services, request: web.BaseRequest) -> None:
    """Ask for money before reading a large body (facts/x402.md 1.9 row 6: it is sent again with the payment)."""
    if "PAYMENT-SIGNATURE" not in request.headers:
        challenge = services.payments.challenge(_resource_url(request))
        if challenge is not None:
            raise challenge


def order(services: Services, request: web.BaseRequest, sent: Sent, chats: Sequence[Chat]) -> Order:
    """What the chats may cost, for whoever takes the payment; what only a quote needs is left out when nobody pays.

    Two bytes of text per token bound all but contrived prompts; the charge never exceeds what was quoted.
    """
    first = chats[0]
    choices = first.request.choices
    unpaid = isinstance(services.payments, PaymentsDisabled)
    return Order(
        path=request.path,
        model=first.model,
        prompt_tokens=0 if unpaid else 2 * prompt_tokens(sent.json),
        output_tokens=first.request.output_tokens,
        choices=choices * len(chats),
        images=choices if "image" in first.model.outputs else 0,
        stream=first.stream,
        headers={} if unpaid else request.headers,
        resource_url="" if unpaid else _resource_url(request),
        price_terms=ANY_TERMS if unpaid else _price_terms(sent, first, len(chats)),
    )


def _resource_url(request: web.BaseRequest) -> str:
    """What is paid for, as a URL; the host in it is the client's word, but it must be one."""
    try:
        return _url(request.scheme, request.headers.get("Host", ""), request.path)
    except ValueError:
        raise GatewayError("The Host header is not a host", status=400, code="invalid_host") from None


@lru_cache(maxsize=256)
def _url(scheme: str, host: str, path: str) -> str:
    """Raises ValueError for a host that is none, or has a port above 65535."""
    if not _HOST.fullmatch(host):
        raise ValueError(host)
    return str(URL.build(scheme=scheme, authority=host, path=path))


def _price_terms(sent: Sent, chat: Chat, calls: int) -> PriceTerms:
    """What of the price list this request can bring about; what it does not ask for is not quoted."""
    asked = chat.request
    searches = bool(asked.web_search) or asked.web_search_options is not None
    return PriceTerms(
        tiers=() if asked.service_tier in _NEVER_DEARER else _DEARER,
        regions=(),
        cache_writes=b'"cache_control"' in sent.raw,
        audio=b'"input_audio"' in sent.raw or b'"file"' in sent.raw or b'"video_url"' in sent.raw,
        web_searches=MAX_WEB_SEARCHES if searches else 0,
        calls=calls,
    )


async def serve(
    services: Services, exchange: Exchange, request: web.BaseRequest, *, stream: bool
) -> web.StreamResponse:
    """Run the exchange to its end, when it is its turn and its client is still there."""
    place = services.admission.place(exchange.upstream, lambda: turn(request))
    connection = request.protocol
    if isinstance(connection, ServerConnection):
        connection.on_disconnect = place.leave
    try:
        async with place:
            _require_client(request)
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
            except Exception as fault:
                raise await exchange.fail(fault) from fault
    except BaseException:
        exchange.reject()
        raise


def _require_client(request: web.BaseRequest) -> None:
    if request.transport is None:
        raise ConnectionResetError("the client left before its turn")


async def _answer(services: Services, exchange: Exchange, request: web.BaseRequest) -> web.StreamResponse:
    answering = exchange.answer(lambda: request.transport is None)
    if services.settings.payments == "off":
        answer: Answer | web.StreamResponse | None = await answering
    else:
        headers = exchange.headers() | request[HEADERS]
        answer = await answer_in_time(request, answering, headers, exchange.started, exchange.fail_late)
    if answer is None:
        raise ConnectionResetError
    return JSONResponse(answer.body, answer.headers) if isinstance(answer, Answer) else answer


async def _stream(services: Services, exchange: Exchange, request: web.BaseRequest) -> web.StreamResponse:
    reply = StreamReply(request, exchange.headers() | request[HEADERS])
    services.streams.add(reply)
    try:
        last = await exchange.stream(reply)
    except Exception as failure:
        if reply.disconnected and isinstance(failure, GatewayError):
            raise ConnectionResetError from None
        if not reply.committed or reply.disconnected:
            raise
        error = await exchange.fail_late(failure)
        return reply.abort(error_event(error.envelope()))
    else:
        return reply.end(last)
    finally:
        services.streams.discard(reply)
        reply.release()
