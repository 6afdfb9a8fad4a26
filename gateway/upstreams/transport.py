"""One pooled HTTPS session per upstream: limits, timeouts, and retries before the first byte.

There is no total timeout: reasoning models think for minutes. What bounds a call is the time to connect, to the
first byte, and between bytes (facts/providers.md 1.6).
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from yarl import URL

from gateway.openai_api.errors import GatewayError, upstream_error, upstream_timeout
from gateway.upstreams.adapter import UpstreamCall

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
_USER_AGENT = "tee-gateway"
_STEPS_TO_CONNECT = 3
"""A place in the pool, the name's addresses, the connection: only the last one has a limit of its own."""
_WRITTEN_AT_ONCE = 1024 * 1024
"""Larger bodies are written in pieces, between which others have their turn."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one upstream; times in seconds.

    ``patience`` is the longest Retry-After that is waited out here; a longer one goes to the client at once.
    """

    connections: int = 4096
    connect: float = 10.0
    first_byte: float = 600.0
    idle: float = 120.0
    attempts: int = 3
    backoff: float = 0.25
    patience: float = 5.0


ErrorReader = Callable[[int, Mapping[str, str], bytes], GatewayError]


class Transport:
    """Sends calls to one upstream. Must be made and closed inside the event loop."""

    def __init__(self, base_url: str, limits: Limits | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.limits = limits or Limits()
        self._base_url = base_url.rstrip("/")
        self._connector = _Connector(
            limit=self.limits.connections, ttl_dns_cache=300, keepalive_timeout=60, ssl=tls or True
        )
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=_STEPS_TO_CONNECT * self.limits.connect,
                sock_connect=self.limits.connect,
                sock_read=self.limits.first_byte,
            ),
            headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", "Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=True,
            read_bufsize=256 * 1024,
            max_line_size=32 * 1024,
            max_field_size=32 * 1024,
        )

    async def close(self) -> None:
        """Close the pool; answers under way break."""
        await self._session.close()

    @property
    def open_connections(self) -> int:
        """Connections in use by a call."""
        return len(self._connector._acquired)

    async def send(
        self, call: UpstreamCall, authorization: Mapping[str, str], read_error: ErrorReader
    ) -> aiohttp.ClientResponse:
        """The answer to ``call``, its headers read and its status good; raises GatewayError otherwise.

        Tried again only for what ``read_error`` calls retryable and for connections that failed before any byte of
        an answer. The caller closes or releases the response.
        """
        try:
            return await self._attempt(call, authorization, read_error)
        except GatewayError as error:
            if not self._worth_another(error):
                raise
            first = error
        return await self._again(call, authorization, read_error, first)

    async def _again(
        self, call: UpstreamCall, authorization: Mapping[str, str], read_error: ErrorReader, first: GatewayError
    ) -> aiohttp.ClientResponse:
        await asyncio.sleep(self._pause(first, 0))
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.limits.attempts - 1),
            retry=retry_if_exception(self._worth_another),
            wait=self._wait,
            reraise=True,
        )
        response: aiohttp.ClientResponse = await retrying(self._attempt, call, authorization, read_error)
        return response

    async def _attempt(
        self, call: UpstreamCall, authorization: Mapping[str, str], read_error: ErrorReader
    ) -> aiohttp.ClientResponse:
        try:
            response = await self._session.request(
                call.method,
                URL(self._base_url + call.path, encoded=True),
                data=call.body if len(call.body) <= _WRITTEN_AT_ONCE else BytesIO(call.body),
                headers={**authorization, **call.headers},
                allow_redirects=False,
            )
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise _unreachable() from None
            raise upstream_timeout() from None
        except (aiohttp.ClientConnectionError, OSError):
            raise _unreachable() from None
        except aiohttp.ClientError:
            raise upstream_error("upstream_bad_response", "The upstream's answer could not be read") from None
        if response.status == 200:
            return response
        try:
            body = await read_body(response, MAX_ERROR_BYTES)
        except GatewayError:
            body = b""
        finally:
            response.close()
        raise read_error(response.status, response.headers, body)

    def _worth_another(self, error: BaseException) -> bool:
        if not isinstance(error, GatewayError) or not error.retryable or self.limits.attempts < 2:
            return False
        return error.retry_after is None or error.retry_after <= self.limits.patience

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self._pause(error, state.attempt_number)

    def _pause(self, error: BaseException | None, number: int) -> float:
        if isinstance(error, GatewayError) and error.retry_after is not None:
            return error.retry_after
        return float(self.limits.backoff * 2**number)


class _Connector(aiohttp.TCPConnector):
    """A pool that gives no connection on which something arrived unasked: it would pass for the next call's answer."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


async def read_body(response: aiohttp.ClientResponse, limit: int = MAX_ANSWER_BYTES) -> bytes:
    """The whole body; the connection goes back to the pool, or is closed when the body broke off or is too large."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                response.close()
                raise upstream_error("upstream_bad_response", "The upstream's answer is too large")
            pieces.append(piece)
    except TimeoutError:
        response.close()
        raise upstream_timeout("The upstream fell silent in the middle of its answer") from None
    except (aiohttp.ClientError, OSError) as error:
        forget_frames(error)
        response.close()
        raise upstream_error("upstream_truncated", "The upstream broke off its answer") from None
    response.release()
    return b"".join(pieces)


def forget_frames(error: BaseException) -> None:
    """Let go of where ``error`` was raised.

    aiohttp breaks off reads with one exception object for all of them; its traceback grows with each, and would keep
    every answer that was ever closed early, with all it had read, in memory.
    """
    error.__traceback__ = None


def _unreachable() -> GatewayError:
    return upstream_error("upstream_unreachable", "The upstream could not be reached", retryable=True)
