"""The worker's side of the channel to the supervisor."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.workers.channel import ChannelClosedError, Packet, receive, send

log = logging.getLogger(__name__)
_RESEND_SECONDS = 0.02

Handler = Callable[[Any], Awaitable[Any]]


class SupervisorGoneError(Exception):
    """The supervisor has ended, before or during a call."""


class SupervisorLink:
    """Receives connections and calls from the supervisor, and calls it in turn.

    ``handlers`` handle its calls by ``op``. ``on_connection`` gets the listener's number and the accepted socket.
    ``gone`` is set when the supervisor has ended.
    """

    def __init__(self, channel: socket.socket, on_connection: Callable[[int, socket.socket], None]) -> None:
        self._channel = channel
        self._on_connection = on_connection
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last_number = 0
        self._unsent: deque[Packet] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.handlers: dict[str, Handler] = {}
        self.gone = asyncio.Event()
        self._loop.add_reader(channel, self._readable)

    def ready(self) -> None:
        """Announce that this worker takes connections."""
        self._send(Packet("ready"))

    def draining(self) -> None:
        """Announce that connections should go to other workers while there are any.

        Connections that still arrive are served, and calls are answered.
        """
        self._send(Packet("draining"))

    def drained(self) -> None:
        """Announce that no more connections are served."""
        self._send(Packet("drained"))

    async def call(self, op: str, body: Any = None) -> Any:
        """Call the supervisor, which may call all workers to answer. Raises SupervisorGoneError."""
        if self.gone.is_set():
            raise SupervisorGoneError
        self._last_number += 1
        reply = self._calls[self._last_number] = self._loop.create_future()
        self._send(Packet(op, self._last_number, body))
        return await reply

    def publish(self, op: str, body: Any) -> None:
        """Send a message to all other workers that serve connections; their replies are ignored."""
        self._send(Packet(op, body=body))

    def close(self) -> None:
        """Stop receiving, and cancel calls being handled."""
        self._loop.remove_reader(self._channel)
        for task in self._tasks:
            task.cancel()

    def _readable(self) -> None:
        try:
            while (received := receive(self._channel)) is not None:
                self._receive(*received)
        except ChannelClosedError:
            self._loop.remove_reader(self._channel)
            for call in self._calls.values():
                if not call.done():
                    call.set_exception(SupervisorGoneError())
            self._calls.clear()
            self.gone.set()

    def _receive(self, packet: Packet, connection: socket.socket | None) -> None:
        if connection is not None:
            connection.setblocking(False)
            self._on_connection(packet.number, connection)
        elif packet.op == "connection":
            log.error("a connection was lost: too many open files")
        elif packet.op == "reply":
            if (call := self._calls.pop(packet.number, None)) is not None and not call.done():
                call.set_result(packet.body)
        else:
            task = self._loop.create_task(self._handle(packet))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _handle(self, packet: Packet) -> None:
        handler = self.handlers.get(packet.op)
        reply = None
        if handler is not None:
            try:
                reply = await handler(packet.body)
            except Exception:
                log.exception("%s", packet.op)
        self._send(Packet("reply", packet.number, reply))

    def _send(self, packet: Packet) -> None:
        self._unsent.append(packet)
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        """Send what waits, in order, as far as the channel takes it; the rest a moment later."""
        try:
            while self._unsent and send(self._channel, self._unsent[0]):
                self._unsent.popleft()
        except ChannelClosedError:
            self.gone.set()
            self._unsent.clear()
        if self._unsent:
            self._loop.call_later(_RESEND_SECONDS, self._flush)
