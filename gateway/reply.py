"""An event stream on its way to one client."""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.connection import Connection
from gateway.openai_api.stream import KEEP_ALIVE

KEEP_ALIVE_SECONDS = 15.0
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class _EventStream(web.StreamResponse):
    """Headers wait for the first event and leave with it, in one segment (practice.md 1)."""

    _send_headers_immediately = False


class StreamReply:
    """Writes events, keeps a silent stream alive, notices when the client has left.

    Nothing is sent before the first event, or the first keep-alive when that comes sooner; until then the request
    can still be answered with an error status. ``on_leave`` is called once, when the client goes.
    """

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self.response: web.StreamResponse = _EventStream(headers={**_HEADERS, **headers})
        self._writer: AbstractStreamWriter | None = None
        self.on_leave: Callable[[], None] | None = None
        self.gone = False
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._writing = False
        self._ended = False
        self._keeper = asyncio.create_task(self._keep_alive())
        connection = request.protocol
        if isinstance(connection, Connection):
            connection.on_lost = self._left
        if request.transport is None:
            self.gone = True

    @property
    def committed(self) -> bool:
        """The status has been sent."""
        return self.response.prepared

    async def write(self, data: bytes) -> None:
        """Send events; waits while the client is slower than the upstream. Silent once the client has left."""
        if self.gone:
            return
        self._last_write = self._loop.time()
        self._writing = True
        try:
            if self._writer is None:
                self._writer = await self.response.prepare(self._request)
            if self._writer is not None:
                await self._writer.write(data)
        except ConnectionError:
            self._left()
        finally:
            self._writing = False
            self._last_write = self._loop.time()

    async def end(self, data: bytes) -> web.StreamResponse:
        """Send the last events and end the stream."""
        self._ended = True
        await self.write(data)
        self._stop()
        return self.response

    async def abort(self, data: bytes) -> web.StreamResponse:
        """Send ``data`` and break the connection off, so that nobody takes the stream for complete."""
        self._ended = True
        await self.write(data)
        self._stop()
        self.response.force_close()
        if self._request.transport is not None:
            self._request.transport.close()
        return self.response

    async def expire(self, data: bytes) -> None:
        """Send ``data`` and break off a stream that somebody else is still writing; to him the client has left."""
        await self.write(data)
        if self._request.transport is not None:
            self._request.transport.close()

    def release(self) -> None:
        """Stop watching a reply that was never begun."""
        self._stop()

    def _stop(self) -> None:
        self._ended = True
        self._keeper.cancel()
        connection = self._request.protocol
        if isinstance(connection, Connection):
            connection.on_lost = None

    def _left(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._keeper.cancel()
        if self.on_leave is not None and not self._ended:
            self.on_leave()

    async def _keep_alive(self) -> None:
        """A comment when nothing else was written for a while."""
        while True:
            silent = self._loop.time() - self._last_write
            if silent >= KEEP_ALIVE_SECONDS and not self._writing:
                await self.write(KEEP_ALIVE)
                silent = 0.0
            await asyncio.sleep(max(1.0, KEEP_ALIVE_SECONDS - silent))
