"""An event stream to one client."""

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

from aiohttp import web

from gateway.http_server.connection import ServerConnection
from gateway.http_server.response import StreamingResponse
from gateway.openai_api.stream import KEEP_ALIVE

KEEP_ALIVE_SECONDS = 15.0
_CHECK_SECONDS = 1.0
"""Between two checks whether a full write buffer has drained."""
LINGER_SECONDS = 0.1
"""From the last event of a broken stream to the close. Clients that see both at once (ktor's, Bun's) drop events that
they have not read, and some then take the answer for complete."""
_UNBUFFERED = {"X-Accel-Buffering": "no"}


class StreamReply:
    """Writes events, sends keep-alive comments while there are none, and reports backpressure and disconnects.

    Nothing is sent before the first event or keep-alive, whichever comes first; until then the request can still be
    answered with an error status.
    """

    def __init__(self, request: web.BaseRequest, headers: Mapping[str, str]) -> None:
        self._request = request
        self.response = StreamingResponse({**_UNBUFFERED, **headers})
        self._on_disconnect: Callable[[], None] | None = None
        self.disconnected = request.transport is None
        self._loop = asyncio.get_running_loop()
        self._last_write = self._loop.time()
        self._ended = False
        self._keep_alive_timer = self._loop.call_later(KEEP_ALIVE_SECONDS, self._keep_alive)
        self._connection = cast("ServerConnection", request.protocol)
        self._connection.on_disconnect = self._disconnect

    @property
    def committed(self) -> bool:
        """The status has been sent."""
        return self.response.prepared

    def watch(
        self,
        *,
        on_disconnect: Callable[[], None],
        on_pause_writing: Callable[[], None] | None = None,
        on_resume_writing: Callable[[], None] | None = None,
    ) -> None:
        """Set the callbacks: ``on_disconnect`` is called once, at once if the client is gone already.

        ``on_pause_writing`` is called when the write buffer is full, at once if it is full already, and
        ``on_resume_writing`` when it has drained.
        """
        self._on_disconnect = on_disconnect
        if self.disconnected:
            on_disconnect()
        else:
            self._connection.on_pause_writing = on_pause_writing
            self._connection.on_resume_writing = on_resume_writing
            if on_pause_writing is not None and self._connection.writing_paused:
                on_pause_writing()

    def unwatch(self) -> None:
        self._on_disconnect = None
        self._connection.on_pause_writing = self._connection.on_resume_writing = None

    def write(self, data: bytes) -> None:
        """Send events; a no-op once the client has disconnected."""
        if self.disconnected:
            return
        self._last_write = self._loop.time()
        try:
            self.response.send(self._request, data)
        except ConnectionError:
            self._disconnect()

    def end(self, data: bytes) -> web.StreamResponse:
        """Send the last events and end the stream."""
        self._ended = True
        if not self.disconnected:
            try:
                self.response.send_last(self._request, data)
            except ConnectionError:
                self._disconnect()
        self.release()
        return self.response

    async def abort(self, data: bytes) -> web.StreamResponse:
        """Send ``data``, then close the connection without ending the body: the stream must not pass for complete."""
        self._ended = True
        self.write(data)
        self.release()
        self.response.force_close()
        try:
            await asyncio.sleep(LINGER_SECONDS)
        finally:
            self._close_connection()
        return self.response

    def expire(self, data: bytes) -> None:
        """Send ``data`` and close the connection under a task that is still writing; it sees a disconnect."""
        self.write(data)
        self._close_connection()

    def release(self) -> None:
        """Stop the timer and drop the callbacks; idempotent."""
        self._ended = True
        self._keep_alive_timer.cancel()
        self.unwatch()
        self._connection.on_disconnect = None

    def _close_connection(self) -> None:
        if self._request.transport is not None:
            self._request.transport.close()

    def _disconnect(self) -> None:
        if self.disconnected:
            return
        self.disconnected = True
        self._keep_alive_timer.cancel()
        if self._on_disconnect is not None and not self._ended:
            self._on_disconnect()

    def _keep_alive(self) -> None:
        """Send a comment if nothing was written for ``KEEP_ALIVE_SECONDS`` and the write buffer is not full."""
        silent = self._loop.time() - self._last_write
        if silent >= KEEP_ALIVE_SECONDS and not self._connection.writing_paused:
            self.write(KEEP_ALIVE)
            silent = 0.0
        if not self.disconnected:
            self._keep_alive_timer = self._loop.call_later(
                max(_CHECK_SECONDS, KEEP_ALIVE_SECONDS - silent), self._keep_alive
            )
