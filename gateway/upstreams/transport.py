"""One pool of HTTPS connections per upstream: limits, timeouts, and retries before the first byte.

There is no total timeout: reasoning models think for minutes. What bounds a call is the time to connect, to the
first byte, and between bytes (facts/providers.md 1.6).
"""

import asyncio
import ssl
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
from gateway.openai_api.errors import GatewayError, upstream_error, upstream_timeout
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
        self._pool = ConnectionPool(
            base_url, _HEADERS, connections=self.limits.connections, connect=self.limits.connect, tls=tls
        )

    async def close(self) -> None:
        """Close the pool; answers under way break."""
        await self._pool.close()

    @property
    def open_connections(self) -> int:
        """Connections in use by a call."""
        return self._pool.in_use

    async def send(self, call: UpstreamCall, authorization: Mapping[str, str], read_error: ErrorReader) -> Response:
        """The answer to ``call``, its headers read and its status good; raises GatewayError otherwise.

        Tried again only for what ``read_error`` calls retryable and for connections that failed before any byte of
        an answer. The caller reads the response to its end or closes it.
        """
        try:
            return await self._attempt(call, authorization, read_error)
        except GatewayError as error:
            if not self.worth_another(error):
                raise
            first = error
        return await self._again(call, authorization, read_error, first)

    async def _again(
        self, call: UpstreamCall, authorization: Mapping[str, str], read_error: ErrorReader, first: GatewayError
    ) -> Response:
        await asyncio.sleep(self.pause(first, 0))
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.limits.attempts - 1),
            retry=retry_if_exception(self.worth_another),
            wait=self._wait,
            reraise=True,
        )
        response: Response = await retrying(self._attempt, call, authorization, read_error)
        return response

    async def _attempt(self, call: UpstreamCall, authorization: Mapping[str, str], read_error: ErrorReader) -> Response:
        request = self._pool.encode(call.method, call.path, {**authorization, **call.headers}, call.body)
        try:
            response = await self._pool.send(request, self.limits.first_byte, MAX_ANSWER_BYTES)
        except ReadTimeoutError:
            raise upstream_timeout() from None
        except RemoteProtocolError:
            raise upstream_error("upstream_bad_response", "The upstream's answer could not be read") from None
        except TransportError:
            raise _unreachable() from None
        if response.status != 200:
            raise read_error(response.status, response.headers, await self._error_body(response))
        return response

    async def _error_body(self, response: Response) -> bytes:
        try:
            return await read_body(response, MAX_ERROR_BYTES)
        except GatewayError:
            return b""
        finally:
            response.close()

    def worth_another(self, error: BaseException) -> bool:
        """The same call may be sent again, as long as nothing of an answer was forwarded."""
        if not isinstance(error, GatewayError) or not error.retryable or self.limits.attempts < 2:
            return False
        return error.retry_after is None or error.retry_after <= self.limits.patience

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return self.pause(error, state.attempt_number)

    def pause(self, error: BaseException | None, number: int) -> float:
        """Seconds before the attempt after the one of this number, counted from 0."""
        if isinstance(error, GatewayError) and error.retry_after is not None:
            return error.retry_after
        return float(self.limits.backoff * 2**number)


async def read_body(response: Response, limit: int = MAX_ANSWER_BYTES) -> bytes:
    """The whole body. Raises GatewayError when it breaks off, falls silent or is too large."""
    try:
        return await response.read(limit)
    except ReadTimeoutError:
        raise upstream_timeout("The upstream fell silent in the middle of its answer") from None
    except (ResponseTooLargeError, RemoteProtocolError) as error:
        what = "is too large" if isinstance(error, ResponseTooLargeError) else "could not be read"
        raise upstream_error("upstream_bad_response", f"The upstream's answer {what}") from None
    except TransportError:
        raise upstream_error("upstream_truncated", "The upstream broke off its answer") from None


def _unreachable() -> GatewayError:
    return upstream_error("upstream_unreachable", "The upstream could not be reached", retryable=True)
