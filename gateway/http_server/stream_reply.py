"""An event stream on its way to one client."""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from gateway.http_server.connection import Connection
from gateway.http_server.response import EventStream
from gateway.openai_api.stream import KEEP_ALIVE

KEEP_ALIVE_SECONDS = 15.0
_UNBUFFERED = {"X-Accel-Buffering": "no"}


class StreamReply:
    """Writes events, keeps a silent stream alive, notices when the client is slow and when it has left.

    Nothing is sent before the first event, or the first keep-alive when that comes sooner; until then the request
    can still be answered with an error status.
    """

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self.response = EventStream({**_UNBUFFERED, **headers})
        self._on_leave: Callable[[], None] | None = None
        self.gone = request.transport is None
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._ended = False
        self._keeper = self._loop.call_later(max(1.0, KEEP_ALIVE_SECONDS), self._keep_alive)
        self._connection = request.protocol if isinstance(request.protocol, Connection) else None
        if self._connection is not None:
            self._connection.on_lost = self._left

    @property
    def committed(self) -> bool:
        """The status has been sent."""
        return self.response.prepared

    def watch(
        self,
        *,
        on_leave: Callable[[], None],
        on_full: Callable[[], None] | None = None,
        on_drained: Callable[[], None] | None = None,
    ) -> None:
        """``on_leave`` is called once, when the client goes or at once if it has gone; ``on_full`` when it takes less
        than it is sent, and ``on_drained`` when it has caught up."""
        self._on_leave = on_leave
        if self.gone:
            on_leave()
        elif self._connection is not None:
            self._connection.on_full, self._connection.on_drained = on_full, on_drained
            if on_full is not None and self._connection.writing_paused:
                on_full()

    def unwatch(self) -> None:
        self._on_leave = None
        if self._connection is not None:
            self._connection.on_full = self._connection.on_drained = None

    def write(self, data: bytes) -> None:
        """Send events. Silent once the client has left."""
        if self.gone:
            return
        self._last_write = self._loop.time()
        try:
            self.response.send(self._request, data)
        except ConnectionError:
            self._left()

    def end(self, data: bytes) -> web.StreamResponse:
        """Send the last events and end the stream."""
        self._ended = True
        if not self.gone:
            try:
                self.response.send_last(self._request, data)
            except ConnectionError:
                self._left()
        self._stop()
        return self.response

    def abort(self, data: bytes) -> web.StreamResponse:
        """Send ``data`` and break the connection off, so that nobody takes the stream for complete."""
        self._ended = True
        self.write(data)
        self._stop()
        self.response.force_close()
        self._hang_up()
        return self.response

    def expire(self, data: bytes) -> None:
        """Send ``data`` and break off a stream that somebody else is still writing; to him the client has left."""
        self.write(data)
        self._hang_up()

    def release(self) -> None:
        """Stop watching a reply that was never begun."""
        self._stop()

    def _hang_up(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()

    def _stop(self) -> None:
        self._ended = True
        self._keeper.cancel()
        self.unwatch()
        if self._connection is not None:
            self._connection.on_lost = None

    def _left(self) -> None:
        if self.gone:
            return
        self.gone = True
        self._keeper.cancel()
        if self._on_leave is not None and not self._ended:
            self._on_leave()

    def _keep_alive(self) -> None:
        """A comment when nothing else was written for a while."""
        silent = self._loop.time() - self._last_write
        full = self._connection is not None and self._connection.writing_paused
        if silent >= KEEP_ALIVE_SECONDS and not full:
            self.write(KEEP_ALIVE)
            silent = 0.0
        if not self.gone:
            self._keeper = self._loop.call_later(max(1.0, KEEP_ALIVE_SECONDS - silent), self._keep_alive)
