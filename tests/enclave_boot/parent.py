"""The parent instance's side of vsock: one Unix socket per port, as vhost-device-vsock requires."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

HEARTBEAT_PORT = 9000
HEARTBEAT = b"\xb7"


@dataclass
class Parent:
    """Runs inside ``async with``. ``vsock`` is the path prefix of the sockets.

    ``behind`` maps vsock ports to loopback TCP ports of this machine. ``alive`` is set by the enclave's heartbeat.
    """

    vsock: Path
    behind: dict[int, int]
    alive: asyncio.Event = field(default_factory=asyncio.Event)

    def socket(self, port: int) -> Path:
        return Path(f"{self.vsock}_{port}")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for port, target in self.behind.items():
                await stack.enter_async_context(await asyncio.start_unix_server(_onward(target), self.socket(port)))
            heartbeat = await asyncio.start_unix_server(self._answer, self.socket(HEARTBEAT_PORT))
            await stack.enter_async_context(heartbeat)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == HEARTBEAT:
            writer.write(HEARTBEAT)
            await writer.drain()
            self.alive.set()
        writer.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _onward(port: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_carry(reader, onward_writer), _carry(onward_reader, writer))

    return serve


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
    with suppress(ConnectionError):
        await target.wait_closed()
