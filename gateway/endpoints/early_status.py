"""A complete answer that takes its time: the status goes out early, so that a paying client does not give up.

The OpenGradient SDK waits 60 s for bytes and then pays again (facts/x402.md 2.4). Blanks before the JSON keep it
waiting; the headers have left by then, so signature and receipt are in the body only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from gateway.answer import Answer
from gateway.http_server.response import StreamingResponse
from gateway.openai_api.errors import GatewayError

PATIENCE_SECONDS = 45.0
BLANK_SECONDS = 10.0


async def answer_in_time(
    request: web.BaseRequest,
    answering: Awaitable[Answer | None],
    headers: Mapping[str, str],
    asked: float,
    broke_off: Callable[[Exception], Awaitable[GatewayError]],
) -> Answer | web.StreamResponse | None:
    """The answer when it comes within 45 s of ``asked`` (of ``time.perf_counter``, since the client's patience does not
    begin with the answering); otherwise the response that was begun, kept awake and ended with it.

    An error after the status has left breaks the connection off, with its envelope as the last thing sent;
    ``broke_off`` hears of it and says which. That the client left meanwhile is for the answer to notice and account
    for.
    """
    early = _EarlyAnswer(request, headers, PATIENCE_SECONDS - (time.perf_counter() - asked))
    try:
        answer = await answering
    except Exception as failure:
        if not early.begun:
            raise
        error = await broke_off(failure)
        return early.break_off(error.body())
    finally:
        early.stop()
    if answer is None or not early.begun:
        return answer
    return early.end(answer.body)


class _EarlyAnswer:
    """Blanks, after ``seconds``, until the answer is there."""

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str], seconds: float) -> None:
        self._request = request
        self._headers = headers
        self._response: StreamingResponse | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(max(0.0, seconds), self._blank)

    @property
    def begun(self) -> bool:
        """The status has left."""
        return self._response is not None and self._response.prepared

    def stop(self) -> None:
        """Write no more blanks."""
        self._timer.cancel()

    def end(self, body: bytes) -> web.StreamResponse:
        response = self._begun()
        with suppress(ConnectionError):
            response.send_last(self._request, body)
        return response

    def break_off(self, body: bytes) -> web.StreamResponse:
        response = self._begun()
        with suppress(ConnectionError):
            response.send(self._request, body)
        response.force_close()
        if self._request.transport is not None:
            self._request.transport.close()
        return response

    def _blank(self) -> None:
        with suppress(ConnectionError):
            self._begun().send(self._request, b" ")
        self._timer = self._loop.call_later(BLANK_SECONDS, self._blank)

    def _begun(self) -> StreamingResponse:
        if self._response is None:
            self._response = StreamingResponse({"Content-Type": "application/json", **self._headers})
        return self._response
