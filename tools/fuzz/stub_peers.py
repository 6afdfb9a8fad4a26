"""Stubs of an aiohttp session and a connection pool with prepared replies; no sockets."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Self, cast

import aiohttp

from gateway.http_client.pool import ConnectionPool
from tools.fuzz.mutations import insert_invalid_utf8, mutate_bytes, mutate_json, split


@dataclass(frozen=True)
class Reply:
    """An HTTP response, with its body in pieces."""

    status: int
    pieces: list[bytes]
    headers: dict[str, str] = field(default_factory=dict)


def reply(random: Random, value: Any, statuses: Sequence[int]) -> Reply:
    """``value`` as JSON, sometimes mutated, deeply nested or not JSON at all, with one of ``statuses``."""
    body = json.dumps(mutate_json(random, value, random.choice((0, 1, 1, 2)))).encode()
    if random.random() < 0.2:
        body = mutate_bytes(random, body, random.randint(1, 3))
    if random.random() < 0.05:
        body = random.choice((b"[" * 5000, b'{"a":' * 5000, insert_invalid_utf8(random, body), b"\x00", b""))
    return Reply(random.choice(statuses), split(random, body))


class _StubResponse:
    """The parts of ClientResponse and its content that the gateway's clients use."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._unread = b"".join(reply.pieces)
        self.status = reply.status
        self.headers = reply.headers
        self.content = self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def read(self, size: int) -> bytes:
        piece, self._unread = self._unread[:size], self._unread[size:]
        return piece

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for piece in self._reply.pieces:
            yield piece


class _StubPeer:
    """Returns one reply per request, and the last one from then on."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = list(replies)

    def _next(self) -> Reply:
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


class _StubSession(_StubPeer):
    def get(self, url: str, **options: Any) -> _StubResponse:
        return _StubResponse(self._next())

    def post(self, url: str, **options: Any) -> _StubResponse:
        return _StubResponse(self._next())


class _StubPool(_StubPeer):
    def encode(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        return body

    async def fetch(
        self, request: bytes, seconds: float, limit: int, **options: Any
    ) -> tuple[int, dict[str, str], bytes]:
        reply = self._next()
        headers = {name.lower(): value for name, value in reply.headers.items()}
        return reply.status, headers, b"".join(reply.pieces)


def pool(*replies: Reply) -> ConnectionPool:
    return cast("ConnectionPool", _StubPool(replies))


def session(*replies: Reply) -> aiohttp.ClientSession:
    return cast("aiohttp.ClientSession", _StubSession(replies))
