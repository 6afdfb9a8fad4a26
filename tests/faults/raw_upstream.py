"""An upstream that answers every request with the same bytes, valid HTTP or not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def answering(data: bytes, heads: list[bytes] | None = None) -> AsyncIterator[str]:
    """Yield the server's URL. Each connection gets one response and is closed; ``heads`` collects request heads."""

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
    """A JSON response with optional further header lines."""
    lines = (b"HTTP/1.1 %d Whatever" % status, b"Content-Type: application/json", *headers)
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", b"")) + body
