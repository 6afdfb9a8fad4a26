"""Well-behaved and misbehaving clients. Every visit performs one behaviour, drawn by weight."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tools.simulators.scenario import directive
from tools.soak.raw_client import RawClient, chat_request, post, reset_on_close
from tools.verify.claims import Verdict
from tools.verify.response import read_answer, verify_response
from tools.verify.signing_key import SigningKey

MODELS = ("gpt-4.1", "gpt-5-mini", "claude-sonnet-4-5", "gemini-2.5-flash", "seed-1.6", "hermes-4-70b", "grok-4")
_SCENARIOS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"text": "word " * 300, "chunk_bytes": 50},
    {"text": "word " * 30, "event_delay": 0.01},
    {"text": "word " * 5000},
    {"first_byte_delay": 0.2},
    {"error": "rate_limit", "retry_after": "0"},
    {"error": "rate_limit", "retry_after": "9"},
    {"error": "overloaded"},
    {"error": "server_error"},
    {"error": "bad_key"},
    {"error": "context_length"},
    {"error": "proxy_page"},
    {"error": "server_error", "error_after": 2},
    {"text": "one two three four", "stall_after": 3},
    {"text": "one two three four", "cut_after": 3},
    {"text": "one two three four", "cut_after_bytes": 500},
    {"text": "one two three four", "garbage_at": 2},
    {"text": "one two three four", "omit_end_marker": True},
    {"omit_usage": True},
    {"json_instead_of_stream": True},
)
ANSWER_TIMEOUT_SECONDS = 120.0
"""After which an answer counts as endless. On a busy machine the longest take half a minute."""
_MALFORMED_REQUESTS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
    b"GET /health HTTP/1.1\r\nHost: g\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{{{",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 99999999\r\n\r\n",
)


@dataclass
class Findings:
    """Observations of all clients. ``finished`` has the hashes of the request ids of complete answers, ``signatures``
    those of their signatures."""

    visits: Counter[str] = field(default_factory=Counter)
    verified: int = 0
    interrupted: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    finished: set[int] = field(default_factory=set)
    signatures: set[int] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


class Client:
    """A client that performs behaviours drawn from ``random``."""

    def __init__(self, url: str, key: SigningKey, random: Random, findings: Findings) -> None:
        self._url = url
        self._key = key
        self._random = random
        self._findings = findings

    async def run(self, until: float) -> None:
        """Perform behaviours until ``until`` on the loop's clock."""
        behaviours, weights = zip(*_BEHAVIOURS, strict=True)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)) as session:
            self._session = session
            while asyncio.get_running_loop().time() < until:
                [behaviour] = self._random.choices(behaviours, weights)
                self._findings.visits[behaviour.__name__.strip("_")] += 1
                with suppress(ConnectionError):
                    await behaviour(self)

    def _body(self, **more: Any) -> dict[str, Any]:
        text = directive(self._random.choice(_SCENARIOS)) if self._random.random() < 0.6 else "Say something"
        model = self._random.choice(MODELS)
        return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 2000, **more}

    async def _ask(self) -> None:
        """Send a chat request, read the whole answer and verify it."""
        stream = self._random.random() < 0.5
        await self._check("/v1/chat/completions", self._body(stream=stream))

    async def _ask_legacy(self) -> None:
        prompts = [self._body()["messages"][0]["content"] for _ in range(self._random.randrange(1, 4))]
        body = {"model": self._random.choice(MODELS), "prompt": prompts, "stream": self._random.random() < 0.5}
        await self._check("/v1/completions", body)

    async def _check(self, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self._random.randrange(5)}"}
        try:
            async with self._session.post(self._url + path, json=body, headers=headers) as response:
                data = await response.read()
        except TimeoutError:
            self._findings.problems.append(f"no end within {ANSWER_TIMEOUT_SECONDS:g} s: {json.dumps(body)[:300]}")
            return
        except aiohttp.ClientError:
            self._findings.interrupted += 1
            return
        self._findings.statuses[response.status] += 1
        self._findings.finished.add(hash(response.headers["x-request-id"]))
        if response.status == 200:
            self._verify(body, data)
        elif "error" not in json.loads(data):
            self._findings.problems.append(f"status {response.status} without an error: {data[:200]!r}")
        elif b'"overloaded"' in data and "Retry-After" not in response.headers:
            self._findings.problems.append("overloaded, without a Retry-After header")

    def _verify(self, body: dict[str, Any], data: bytes) -> None:
        if body.get("stream") and not data.endswith(b"data: [DONE]\n\n"):
            self._findings.problems.append(f"a stream ended cleanly without [DONE]: {data[-200:]!r}")
            return
        failures = [claim for claim in verify_response(self._key, body, data) if claim.verdict is not Verdict.PASS]
        if failures:
            self._findings.problems.append(f"{failures[0]}: {json.dumps(body)[:200]} {data[:200]!r}")
            return
        self._findings.verified += 1
        self._findings.signatures.add(hash(read_answer(data)["tee_signature"]))

    async def _leave(self) -> None:
        """Disconnect during the request, before the answer, or during it."""
        data = chat_request(self._body(stream=self._random.random() < 0.7))
        cut = self._random.choice((len(data), len(data), self._random.randrange(len(data))))
        async with RawClient(self._url) as client:
            await client.send(data[:cut])
            with suppress(TimeoutError):
                async with asyncio.timeout(self._random.choice((0.0, 0.01, 0.1, 0.5))):
                    while await client.read(self._random.choice((1, 100, 5000))):
                        pass
            if self._random.random() < 0.5:
                reset_on_close(client.socket)

    async def _half_close(self) -> None:
        """Shut down the sending side after the request, and read the answer."""
        async with RawClient(self._url) as client:
            await client.send(chat_request(self._body(stream=True)))
            client.socket.shutdown(socket.SHUT_WR)
            await client.read_all(1.0)

    async def _dribble(self) -> None:
        """Slowloris: send a request byte by byte and never complete it."""
        data = chat_request(self._body())
        async with RawClient(self._url) as client:
            for start in range(min(self._random.randrange(60), len(data) - 1)):
                await client.send(data[start : start + 1])
                await asyncio.sleep(0.01)

    async def _stop_reading(self) -> None:
        """Request a long answer, read little of it, and keep the connection open."""
        body = self._body(stream=self._random.random() < 0.5)
        body["messages"][0]["content"] = directive({"text": "word " * 200_000})
        async with RawClient(self._url, receive_buffer=4096) as client:
            await client.send(chat_request(body))
            await client.read(100)
            await asyncio.sleep(self._random.choice((0.1, 1.0)))

    async def _pipeline(self) -> None:
        """Send pipelined requests, which are answered in order."""
        health = b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n"
        last = health.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        async with RawClient(self._url) as client:
            await client.send(health + chat_request(self._body()) + health + last)
            answer = await client.read_all(20.0)
        if not answer.startswith(b"HTTP/1.1 200 ") or answer.count(b'"tee_enabled"') not in (1, 3):
            self._findings.problems.append(f"pipelined requests got {answer[:300]!r}")

    async def _send_nonsense(self) -> None:
        async with RawClient(self._url) as client:
            await client.send(self._random.choice(_MALFORMED_REQUESTS))
            answer = await client.read_all(0.2)
        if answer and b" 40" not in answer[:16] and b" 41" not in answer[:16]:
            self._findings.problems.append(f"nonsense got {answer[:100]!r}")

    async def _send_much(self) -> None:
        """Send a body of more than a megabyte, sometimes only half of it."""
        body = self._body()
        body["messages"][0]["content"] = "x" * self._random.choice((1_100_000, 3_000_000))
        data = post("/v1/chat/completions", json.dumps(body).encode(), "Connection: close")
        async with RawClient(self._url) as client:
            await client.send(data[: self._random.choice((len(data), len(data) // 2))])
            await client.read_all(0.5)

    async def _look(self) -> None:
        """Health, metrics and models must always be served."""
        for path in ("/health", "/metrics", "/v1/models"):
            async with self._session.get(self._url + path) as response:
                await response.read()
                if response.status != 200:
                    self._findings.problems.append(f"{path} answered {response.status}")


Behaviour = Callable[[Client], Awaitable[None]]
_BEHAVIOURS: tuple[tuple[Behaviour, int], ...] = (
    (Client._ask, 50),
    (Client._ask_legacy, 8),
    (Client._leave, 20),
    (Client._half_close, 3),
    (Client._dribble, 3),
    (Client._stop_reading, 2),
    (Client._pipeline, 3),
    (Client._send_nonsense, 5),
    (Client._send_much, 2),
    (Client._look, 4),
)
