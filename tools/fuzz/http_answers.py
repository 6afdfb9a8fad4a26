"""Responses on an upstream connection, split anywhere: the body that was sent, or a TransportError."""

import asyncio
import gzip
import zlib
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from aiohttp.connector import Connection

from gateway.http_client.connection import ClientConnection
from gateway.http_client.response import Response, TransportError
from tools.fuzz.mutations import mutate_bytes, split
from tools.fuzz.target import BrokenPropertyError, Target

_LIMIT = 5000
_BODIES = (
    b"",
    b"{}",
    b'{"a": "\xc3\xa9"}',
    b"data: {}\n\ndata: [DONE]\n\n",
    b"x" * 300,
    b"\r\n0\r\n\r\n",
    b"z" * (_LIMIT + 1),
)
_INTERIM = (b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 2)
_ODD_LINES = (
    b"Content-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: br\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"X: a\r\n b\r\n",
    b"X: \xff\x00\r\n",
    b": x\r\n",
    b"X\r\n",
    b"X : y\r\n",
    b"X: " + b"y" * 9000 + b"\r\n",
)
_JUNK = (b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"x", b"0\r\n\r\n")


@dataclass(frozen=True)
class ResponseCase:
    """The pieces that arrive, and the state of the connection after them: ``kept``, ``closed`` or ``reset``.

    ``expected`` is the status and body of a valid response; ``junk``: more than a line break follows it.
    """

    pieces: list[bytes]
    end: str
    expected: tuple[int, bytes] | None
    junk: bool


def _make(random: Random) -> ResponseCase:
    status, body = random.choice((200, 200, 400, 529)), random.choice(_BODIES)
    framing = random.choice(("length", "chunked", "end"))
    coding = random.choice((b"", b"", b"gzip", b"deflate"))
    packed = {b"": body, b"gzip": gzip.compress(body, mtime=0), b"deflate": zlib.compress(body)}[coding]
    head = b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\n" % (status, random.choice((b"OK", b"", b"\xe9")))
    head += b"content-encoding: " + coding + b"\r\n" if coding else b""
    odd = random.choice(_ODD_LINES) if random.random() < 0.25 else b""
    answer = random.choice(_INTERIM) + head + odd + _framed(random, framing, packed)
    end = "closed" if framing == "end" else random.choice(("kept", "closed", "reset"))
    junk = random.choice(_JUNK) if framing != "end" and random.random() < 0.1 else b""
    answer += junk
    expected: tuple[int, bytes] | None = (status, body) if len(body) <= _LIMIT and not odd else None
    if random.random() < 0.3:
        answer, expected = mutate_bytes(random, answer, random.randint(1, 3)), None
    return ResponseCase(split(random, answer), end, expected, expected is not None and bool(junk.strip()))


def _framed(random: Random, framing: str, body: bytes) -> bytes:
    """The framing header, the blank line and the body."""
    if framing == "length":
        return b"Content-Length: %d\r\n\r\n" % len(body) + body
    if framing == "end":
        return b"\r\n" + body
    extension = random.choice((b"", b"", b";a=b"))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in split(random, body) if piece)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + random.choice((b"", b"T: x\r\n")) + b"\r\n"


class _Transport(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class _Connection:
    """A connection without a pool."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def release(self) -> None:
        pass

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Outcome:
    """``state`` is complete, failed or waiting; ``reusable``: the connection may serve the next request."""

    state: str
    status: int
    body: bytes
    reusable: bool


async def receive(data: list[bytes], end: str) -> Outcome:
    """The outcome of a request whose response is ``data``."""
    connection, transport = ClientConnection(loop=asyncio.get_running_loop()), _Transport()
    connection.connection_made(transport)
    response = Response(connection, cast("Connection", _Connection(connection)), 60.0, _LIMIT)
    connection.send(b"GET / HTTP/1.1\r\n\r\n", response)
    for piece in data:
        if not transport.closed:
            connection.data_received(piece)
    reusable = not transport.closed and not connection.should_close
    if end != "kept":
        connection.connection_lost(None if end == "closed" else ConnectionResetError())
    reading = asyncio.ensure_future(_read(response))
    done, _ = await asyncio.wait([reading], timeout=0)
    if done:
        state, body = reading.result()
        return Outcome(state, response.status, body, reusable)
    reading.cancel()
    response.close()
    return Outcome("waiting", response.status, b"", reusable)


async def _read(response: Response) -> tuple[str, bytes]:
    try:
        await response.wait_for_headers()
        return "complete", await response.read(_LIMIT)
    except TransportError:
        return "failed", b""


def _check(case: ResponseCase) -> None:
    outcome = asyncio.run(receive(case.pieces, case.end))
    whole = asyncio.run(receive([b"".join(case.pieces)], case.end))
    if (outcome.state, outcome.status, outcome.body) != (whole.state, whole.status, whole.body):
        raise BrokenPropertyError(f"{outcome} in pieces, {whole} at once")
    if case.expected is not None and ("complete", *case.expected) != (whole.state, whole.status, whole.body):
        raise BrokenPropertyError(f"{whole} instead of {case.expected}")
    if len(whole.body) > _LIMIT:
        raise BrokenPropertyError("a body beyond the limit")
    if case.junk and (outcome.reusable or whole.reusable):
        raise BrokenPropertyError("a connection with unsolicited data is reused")


HTTP_ANSWERS = Target("http-answers", _make, _check)
