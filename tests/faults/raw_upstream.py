"""A vendor that answers every request with the same bytes, whatever they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def answering(data: bytes, heads: list[bytes] | None = None) -> AsyncIterator[str]:
    """Its address as a URL. It reads one request per connection, answers, and closes; ``heads`` gets what it read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        await reader.readexactly(length)
        if heads is not None:
            heads.append(head)
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()


def http(status: int, body: bytes, *headers: bytes) -> bytes:
    """An answer of JSON with more header lines if given."""
    lines = (b"HTTP/1.1 %d Whatever" % status, b"Content-Type: application/json", *headers)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", b"")) + body
