"""One HTTPS connection pool per upstream: limits, timeouts, and retries before the first byte.

There is no total timeout, because reasoning models think for minutes. A call is bounded by its connect, first-byte and
read timeouts (facts/providers.md 1.6).
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from gateway.http_client.pool import ConnectionPool
from gateway.http_client.response import (
    ReadTimeoutError,
    RemoteProtocolError,
    Response,
    ResponseTooLargeError,
    TransportError,
)
from gateway.openai_api.errors import (
    GatewayError,
    shutting_down,
    upstream_error,
    upstream_timeout,
    upstream_undecodable,
)
from gateway.upstreams.adapter import UpstreamCall

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
_HEADERS = {
    "Accept": "*/*",
    "User-Agent": "tee-gateway",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections, timeouts and retries of one upstream; times in seconds.

    ``read_timeout`` is the longest gap between two reads of a body. ``max_retry_after`` is the longest Retry-After that
    is waited out here; a longer one is passed to the client at once.
    """

    max_connections: int = 4096
    connect_timeout: float = 10.0
    first_byte_timeout: float = 600.0
    read_timeout: float = 120.0
    max_attempts: int = 3
    backoff: float = 0.25
    max_retry_after: float = 5.0


ErrorDecoder = Callable[[int, Mapping[str, str], bytes], GatewayError]


class Transport:
    """Sends calls to one upstream. Must be made and closed inside the event loop."""

    def __init__(self, base_url: str, limits: Limits | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.limits = limits or Limits()
        self._pool = ConnectionPool(
            base_url, _HEADERS, connections=self.limits.max_connections, connect=self.limits.connect_timeout, tls=tls
        )

    async def close(self) -> None:
        """Close the pool, and with it the responses in progress."""
        await self._pool.close()

    @property
    def closed(self) -> bool:
        return self._pool.closed

    @property
    def open_connections(self) -> int:
        """Connections in use by a call."""
        return self._pool.in_use

    async def send(self, call: UpstreamCall, authorization: Mapping[str, str], decode_error: ErrorDecoder) -> Response:
        """Send ``call`` and return its response once the headers have arrived with status 200. Raises GatewayError.

        Retries only errors that ``decode_error`` marks as retryable, unless the vendor's ``x-should-retry`` is false,
        and connections that failed before the first byte of a response. The caller must read the response to its end
        or close it.
        """
        try:
            return await self._attempt(call, authorization, decode_error)
        except GatewayError as error:
            error.attempts = 1
            if not self.should_retry(error):
                raise
            first = error
        return await self._retry(call, authorization, decode_error, first)

    async def _retry(
        self, call: UpstreamCall, authorization: Mapping[str, str], decode_error: ErrorDecoder, first: GatewayError
    ) -> Response:
        reuse = first.code != "upstream_unreachable"
        await asyncio.sleep(self.retry_delay(first, 0))
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.limits.max_attempts - 1),
            retry=retry_if_exception(self.should_retry),
            wait=self._wait,
            reraise=True,
        )
        try:
            response: Response = await retrying(self._attempt_again, call, authorization, decode_error, reuse)
        except GatewayError as error:
            error.attempts = 1 + retrying.statistics["attempt_number"]
            raise
        return response

    async def _attempt_again(
        self, call: UpstreamCall, authorization: Mapping[str, str], decode_error: ErrorDecoder, reuse: bool
    ) -> Response:
        call.resent = time.perf_counter()
        return await self._attempt(call, authorization, decode_error, reuse)

    async def _attempt(
        self, call: UpstreamCall, authorization: Mapping[str, str], decode_error: ErrorDecoder, reuse: bool = True
    ) -> Response:
        request = self._pool.encode("POST", call.path, {**authorization, **call.headers}, call.body)
        try:
            timeout = self.limits.first_byte_timeout
            response = await self._pool.send(request, timeout, MAX_ANSWER_BYTES, reuse=reuse)
        except ReadTimeoutError:
            raise upstream_timeout() from None
        except RemoteProtocolError:
            raise upstream_undecodable() from None
        except TransportError:
            if self.closed:
                raise shutting_down() from None
            raise upstream_error("upstream_unreachable", "The upstream could not be reached", retryable=True) from None
        if response.status != 200:
            error = decode_error(response.status, response.headers, await self._error_body(response))
            error.upstream_status = response.status
            if response.header(b"x-should-retry") == "false":
                error.retryable = error.should_retry = False
            raise error
        return response

    async def _error_body(self, response: Response) -> bytes:
        try:
            return await read_body(response, MAX_ERROR_BYTES)
        except GatewayError:
            return b""
        finally:
            response.close()

    def should_retry(self, error: BaseException) -> bool:
        """The call may be retried, as long as nothing of its response has been forwarded."""
        if not isinstance(error, GatewayError) or not error.retryable or self.limits.max_attempts < 2:
            return False
        return error.retry_after is None or error.retry_after <= self.limits.max_retry_after

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self.retry_delay(error, state.attempt_number)

    def retry_delay(self, error: BaseException | None, number: int) -> float:
        """Seconds to wait after attempt ``number``, counted from 0."""
        if isinstance(error, GatewayError) and error.retry_after is not None:
            return error.retry_after
        return float(self.limits.backoff * 2**number)


async def read_body(response: Response, limit: int = MAX_ANSWER_BYTES) -> bytes:
    """The whole body. Raises GatewayError when it is truncated, times out or is larger than ``limit`` bytes."""
    try:
        return await response.read(limit)
    except ReadTimeoutError:
        raise upstream_timeout("The upstream stopped sending in the middle of its response") from None
    except ResponseTooLargeError:
        raise upstream_error("upstream_bad_response", "The upstream's response is too large") from None
    except RemoteProtocolError:
        raise upstream_undecodable() from None
    except TransportError:
        raise upstream_error(
            "upstream_truncated", "The upstream closed the connection before its response was complete"
        ) from None
