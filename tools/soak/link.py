"""A line to a simulated vendor on which every answer may meet a fault."""

import asyncio
import struct
from collections import Counter
from contextlib import suppress
from random import Random
from socket import SO_LINGER, SOL_SOCKET

from tools.soak.faults import Fault, draw, spoil_length

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultyLink:
    """Listens on a free port of 127.0.0.1 and relays to ``target`` (host, port), between ``start`` and ``stop``."""

    def __init__(self, target: tuple[str, int], random: Random) -> None:
        self._target = target
        self._random = random
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.met: Counter[str] = Counter()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=256)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self, seconds: float) -> None:
        """Take no connections for a while; those that are open stay."""
        self.met["outage"] += 1
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
            theirs, ours = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        answer = _Answer(self, writer)
        up = asyncio.ensure_future(_pump_requests(reader, ours, answer))
        try:
            while data := await theirs.read(65536):
                await answer.pass_on(data)
        except (ConnectionError, _StruckError):
            pass
        finally:
            up.cancel()
            ours.close()
            writer.close()
            await asyncio.gather(up, return_exceptions=True)

    def next_fault(self) -> Fault:
        fault = draw(self._random)
        self.met[fault.kind] += 1
        return fault


class _StruckError(Exception):
    """The connection is over, by the fault or by the other end."""


class _Answer:
    """The answer that is being relayed; a request that comes after bytes of it begins the next one."""

    def __init__(self, link: FaultyLink, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._writer = writer
        self._fault = Fault()
        self._passed = -1

    def begin(self) -> None:
        """A request went up."""
        if self._passed:
            self._passed = 0
            self._fault = self._link.next_fault()

    async def pass_on(self, data: bytes) -> None:
        fault, start = self._fault, max(self._passed, 0)
        self._passed = start + len(data)
        if fault.kind == "length" and start == 0:
            data = spoil_length(data, fault.size)
        if fault.kind == "trickle" and start == 0:
            await self._trickle(data, fault.size)
        elif fault.kind in ("none", "length", "trickle") or not start <= fault.at < self._passed:
            await self._write(data)
        else:
            await self._strike(fault, data[: fault.at - start], data[fault.at - start :])

    async def _strike(self, fault: Fault, before: bytes, after: bytes) -> None:
        if fault.kind == "refuse":
            before = b""
        await self._write(before)
        if fault.kind in ("reset", "refuse"):
            sock = self._writer.get_extra_info("socket")
            sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET_ON_CLOSE)
            raise _StruckError
        if fault.kind == "close":
            raise _StruckError
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "garbage":
            after = b"\xff\x00{" * fault.size + after
        await self._write(after)

    async def _trickle(self, data: bytes, size: int) -> None:
        """The first pieces of the answer one by one; all of it would take for ever."""
        for start in range(0, min(len(data), 40 * size), size):
            await self._write(data[start : start + size])
            await asyncio.sleep(0.002)
        await self._write(data[40 * size :])

    async def _write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise _StruckError
        self._writer.write(data)
        await self._writer.drain()


async def _pump_requests(reader: asyncio.StreamReader, ours: asyncio.StreamWriter, answer: _Answer) -> None:
    with suppress(ConnectionError):
        while (data := await reader.read(65536)) and not ours.is_closing():
            answer.begin()
            ours.write(data)
            await ours.drain()
    ours.close()
