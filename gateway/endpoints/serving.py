"""Serves the answer of a paid endpoint: waits for a slot, then answers or streams."""

import asyncio
from typing import cast

from aiohttp import web

from gateway.answer import Answer
from gateway.endpoints.caller import queue_key
from gateway.endpoints.early_status import with_early_status
from gateway.exchange import Exchange
from gateway.http_server.connection import ServerConnection
from gateway.http_server.response import JSONResponse
from gateway.http_server.stream_reply import StreamReply
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.stream import error_event
from gateway.services import Services

RESPONSE_HEADERS = web.RequestKey("headers", dict[str, str])
"""The headers of every response; a stream has to send them before its handler returns."""
_SDK_LANGUAGE = "X-Stainless-Lang"
"""The header in which OpenAI's SDKs name their language."""


async def serve(
    services: Services, exchange: Exchange, request: web.BaseRequest, *, stream: bool
) -> web.StreamResponse:
    """Wait for a slot, then run the exchange if the client is still connected.

    Raises GatewayError, and ConnectionError if the client has left.
    """
    slot = services.admission.slot(exchange.provider, lambda: queue_key(request))
    cast("ServerConnection", request.protocol).on_disconnect = slot.cancel
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
