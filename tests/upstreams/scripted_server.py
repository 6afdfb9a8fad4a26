"""A TCP server with scripted HTTP responses, for behaviour that no regular server has."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Writer = asyncio.StreamWriter
Reply = bytes | Callable[[Writer], Awaitable[None]] | None


def http(status: int, body: bytes = b"{}", headers: str = "", *, content_type: str = "application/json") -> bytes:
    """A complete response."""
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def answering_once(reply: bytes, together: int) -> Reply:
    """As a load balancer that was replaced: it resets each connection at its second request.

    The first ``together`` are answered once there are so many.
    """
    known: set[Writer] = set()
    all_open = asyncio.Event()

    async def answer(writer: Writer) -> None:
        if writer in known:
            writer.transport.abort()
            return
        known.add(writer)
        if len(known) >= together:
            all_open.set()
        await all_open.wait()
        writer.write(reply)

    return answer


@dataclass
class Request:
    """A received request: the request line, the headers with lower-case names, the body."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """Sends the replies in turn, the last one repeatedly.

    Bytes are sent; a function gets the writer; None closes the connection without a response.
    """

    replies: list[Reply]
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    most_open: int = 0
    _writers: set[Writer] = field(default_factory=set)

    async def __aenter__(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{port}"

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        self._writers.add(writer)
        self.most_open = max(self.most_open, self.open)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in head[1:] if line)
        headers = {name.lower(): value for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append(Request(head[0], headers, body))
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        if reply is None:
            return False
        if isinstance(reply, bytes):
            writer.write(reply)
        else:
            await reply(writer)
        await writer.drain()
        return True
