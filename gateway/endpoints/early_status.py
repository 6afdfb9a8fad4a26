"""Early status for slow complete answers: 200 and whitespace padding before the JSON, so that the client keeps waiting.

The OpenGradient SDK times out after 60 s without bytes and then pays again (facts/x402.md 2.4). Since the headers are
sent early, signature and receipt are in the body only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from aiohttp import web

from gateway.answer import Answer
from gateway.http_server.response import StreamingResponse
from gateway.openai_api.errors import GatewayError

EARLY_STATUS_SECONDS = 45.0
PADDING_SECONDS = 10.0


async def with_early_status(
    request: web.BaseRequest,
    answering: Awaitable[Answer | None],
    headers: Mapping[str, str],
    started: float,
    fail_late: Callable[[Exception], Awaitable[GatewayError]],
) -> Answer | web.StreamResponse | None:
    """The answer if it comes within 45 s of ``started``, otherwise a padded response that ends with it.

    ``started`` is the reading of ``time.perf_counter`` when the request arrived: the client's timeout runs from then.
    After an error behind the early status, the error envelope that ``fail_late`` gives is sent and the connection
    closed. A disconnect in between is the answer's to detect.
    """
    early = _EarlyResponse(request, headers, EARLY_STATUS_SECONDS - (time.perf_counter() - started))
    try:
        answer = await answering
    except Exception as failure:
        if not early.committed:
            raise
        error = await fail_late(failure)
        return early.abort(error.body())
    finally:
        early.stop()
    if answer is None or not early.committed:
        return answer
    return early.end(answer.body)


class _EarlyResponse:
    """Sends the status after ``seconds``, then padding until the answer is there."""

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str], seconds: float) -> None:
        self._request = request
        self._response = StreamingResponse({"Content-Type": "application/json", **headers})
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(max(0.0, seconds), self._pad)

    @property
    def committed(self) -> bool:
        """The status has been sent."""
        return self._response.prepared

    def stop(self) -> None:
        """Send no more padding."""
        self._timer.cancel()

    def end(self, body: bytes) -> web.StreamResponse:
        with suppress(ConnectionError):
            self._response.send_last(self._request, body)
        return self._response

    def abort(self, body: bytes) -> web.StreamResponse:
        with suppress(ConnectionError):
            self._response.send(self._request, body)
        self._response.force_close()
        if self._request.transport is not None:
            self._request.transport.close()
        return self._response

    def _pad(self) -> None:
        with suppress(ConnectionError):
            self._response.send(self._request, b" ")
        self._timer = self._loop.call_later(PADDING_SECONDS, self._pad)
