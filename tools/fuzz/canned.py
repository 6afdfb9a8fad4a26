"""A peer on the other end of a client session that answers whatever it is given, without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self, TypeVar, cast

import aiohttp

from gateway.http_client.pool import ConnectionPool
from tools.fuzz.disorder import mangled_bytes, mangled_json, no_text, pieces

T = TypeVar("T")


@dataclass(frozen=True)
class Reply:
    """One HTTP answer; its body comes in pieces."""

    status: int
    pieces: list[bytes]
    headers: dict[str, str] = field(default_factory=dict)


def reply(random: Random, value: Any, statuses: Sequence[int] = (200, 200, 200, 400, 500)) -> Reply:
    """``value`` as JSON, now and then mangled, nested deeply, or no JSON at all."""
    body = json.dumps(mangled_json(random, value, random.choice((0, 1, 1, 2)))).encode()
    if random.random() < 0.2:
        body = mangled_bytes(random, body, random.randint(1, 3))
    if random.random() < 0.05:
        body = random.choice((b"[" * 5000, b'{"a":' * 5000, no_text(random, body), b"\x00", b""))
    return Reply(random.choice(statuses), pieces(random, body))


class _Answer:
    """A response and its content, as far as the gateway's clients use them."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.status = reply.status
        self.headers = reply.headers
        self.content = self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def read(self, limit: int = -1) -> bytes:
        body = b"".join(self._reply.pieces)
        return body if limit < 0 else body[:limit]

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for piece in self._reply.pieces:
            yield piece


class _Session:
    """Answers call after call, the last reply for ever."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)

    def request(self, method: str, url: str, **options: Any) -> _Answer:
        return _Answer(self._replies.pop(0) if len(self._replies) > 1 else self._replies[0])

    def get(self, url: str, **options: Any) -> _Answer:
        return self.request("GET", url)

    def post(self, url: str, **options: Any) -> _Answer:
        return self.request("POST", url)


class _Pool:
    """The same for calls that go over a pool."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)

    def encode(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        return body

    async def fetch(self, request: bytes, seconds: float, limit: int) -> tuple[int, dict[bytes, bytes], bytes]:
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        headers = {name.lower().encode(): value.encode() for name, value in reply.headers.items()}
        return reply.status, headers, b"".join(reply.pieces)


def pool(*replies: Reply) -> ConnectionPool:
    return cast("ConnectionPool", _Pool(replies))


def session(*replies: Reply) -> aiohttp.ClientSession:
    return cast("aiohttp.ClientSession", _Session(replies))


def run(call: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(call)
