"""A TCP proxy in front of a simulated vendor that injects faults into responses."""

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random

from tools.soak.faults import Fault, corrupt_content_length, draw
from tools.soak.raw_client import reset_on_close


class FaultyProxy:
    """Listens on a free port of 127.0.0.1 and relays to ``target`` (host, port), between ``start`` and ``stop``."""

    def __init__(self, target: tuple[str, int], random: Random) -> None:
        self._target = target
        self._random = random
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.injected: Counter[str] = Counter()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse_connections(self, seconds: float) -> None:
        """Refuse new connections for ``seconds``; open ones continue."""
        self.injected["outage"] += 1
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(seconds)
        await self.start()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(asyncio.CancelledError, ConnectionError):
            await task

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        relay = _ResponseRelay(self, writer)
        requests = asyncio.ensure_future(_relay_requests(reader, upstream_writer, relay))
        try:
            while data := await upstream_reader.read(65536):
                await relay.send(data)
        except (ConnectionError, _DisconnectError):
            pass
        finally:
            requests.cancel()
            upstream_writer.close()
            writer.close()
            await asyncio.gather(requests, return_exceptions=True)

    def next_fault(self) -> Fault:
        fault = draw(self._random)
        self.injected[fault.kind] += 1
        return fault


class _DisconnectError(Exception):
    """The connection is closed, by a fault or by the peer."""


class _ResponseRelay:
    """Relays responses to the client. A request that follows bytes of a response starts the next one."""

    def __init__(self, proxy: FaultyProxy, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._writer = writer
        self._fault = Fault()
        self._sent = -1

    def start_response(self) -> None:
        """Draw the fault of the next response, unless none of the current one has been sent."""
        if self._sent:
            self._sent = 0
            self._fault = self._proxy.next_fault()

    async def send(self, data: bytes) -> None:
        fault, start = self._fault, max(self._sent, 0)
        self._sent = start + len(data)
        if fault.kind == "length" and start == 0:
            data = corrupt_content_length(data, fault.size)
        if fault.kind == "trickle" and start == 0:
            await self._trickle(data, fault.size)
        elif fault.kind in ("none", "length", "trickle") or not start <= fault.at < self._sent:
            await self._write(data)
        else:
            await self._inject(fault, data[: fault.at - start], data[fault.at - start :])

    async def _inject(self, fault: Fault, before: bytes, after: bytes) -> None:
        if fault.kind == "refuse":
            before = b""
        await self._write(before)
        if fault.kind in ("reset", "refuse"):
            reset_on_close(self._writer.get_extra_info("socket"))
            raise _DisconnectError
        if fault.kind == "close":
            raise _DisconnectError
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "garbage":
            after = b"\xff\x00{" * fault.size + after
        await self._write(after)

    async def _trickle(self, data: bytes, size: int) -> None:
        """Send the first 40 chunks with delays, then the rest at once."""
        for start in range(0, min(len(data), 40 * size), size):
            await self._write(data[start : start + size])
            await asyncio.sleep(0.002)
        await self._write(data[40 * size :])

    async def _write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise _DisconnectError
        self._writer.write(data)
        await self._writer.drain()


async def _relay_requests(
    reader: asyncio.StreamReader, upstream_writer: asyncio.StreamWriter, relay: _ResponseRelay
) -> None:
    with suppress(ConnectionError):
        while (data := await reader.read(65536)) and not upstream_writer.is_closing():
            relay.start_response()
            upstream_writer.write(data)
            await upstream_writer.drain()
    upstream_writer.close()
