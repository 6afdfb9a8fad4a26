"""A client on a raw socket, for what HTTP libraries do not send or read."""

import asyncio
import json
import socket
import struct
from typing import Any
from urllib.parse import urlsplit


def chat_request(body: dict[str, Any], *headers: str) -> bytes:
    """An HTTP/1.1 request for a chat completion, with optional header lines."""
    return post("/v1/chat/completions", json.dumps(body).encode(), *headers)


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def reset_on_close(connection: socket.socket) -> None:
    """Have the peer see a reset instead of the end of the stream when the socket is closed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class RawClient:
    """One connection. A small ``receive_buffer`` (bytes) makes the server see backpressure early."""

    def __init__(self, url: str, receive_buffer: int | None = None) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    async def __aenter__(self) -> "RawClient":
        await asyncio.get_running_loop().sock_connect(self.socket, self._address)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, size: int = 65536) -> bytes:
        """Receive up to ``size`` bytes; empty at the end of the stream and after a reset."""
        try:
            return await asyncio.get_running_loop().sock_recv(self.socket, size)
        except ConnectionError:
            return b""

    async def read_all(self, seconds: float = 5.0) -> bytes:
        """Read until the server closes the connection, or sends nothing for ``seconds``."""
        received = b""
        try:
            while True:
                async with asyncio.timeout(seconds):
                    piece = await self.read()
                if not piece:
                    return received
                received += piece
        except TimeoutError:
            return received
