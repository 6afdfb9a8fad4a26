"""Errors in OpenAI's format.

The status tells whose fault an error is: 4xx the caller's, 502 and 504 an upstream's, 500 the gateway's; for 403, 429
and 503 only ``fault`` tells (facts/providers.md 1.3).
"""

from enum import StrEnum
from typing import Any

import msgspec

MAX_MESSAGE = 2048
MAX_PARAM = 256
DEFAULT_RETRY_AFTER = 1.0
"""Seconds, for errors without a ``retry_after`` of their own."""

_RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_RETRY_AFTER_STATUSES = frozenset({429, 503})
_ACCOUNT_CODES = frozenset({"upstream_auth_failed", "upstream_billing"})


class Fault(StrEnum):
    """Whose fault an error is; a label of the error metric."""

    CALLER = "caller"
    POLICY = "policy"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class GatewayError(Exception):
    """An error response.

    ``retryable`` tells the transport that the same upstream call may be sent again, before any byte was forwarded.
    ``retry_after`` is in seconds and sent to the client. ``should_retry`` becomes ``x-should-retry``, which OpenAI's
    SDKs obey; if None it depends on the status. ``upstream_status``, ``upstream_request_id`` and ``attempts`` are for
    the log: the status and the vendor's id of the last response, and how often the upstream was called.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002 - the wire's own word
        code: str | None = None,
        param: str | None = None,
        fault: Fault = Fault.CALLER,
        retryable: bool = False,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.fault = fault
        self.retryable = retryable
        self.retry_after = retry_after
        self.should_retry = should_retry
        self.headers = headers or {}
        self.upstream_status: int | None = None
        self.upstream_request_id: str | None = None
        self.attempts: int | None = None

    def envelope(self) -> dict[str, Any]:
        """``{"error": {message, type, param, code}}``, with long messages and params truncated."""
        message, param = _truncated(self.message, MAX_MESSAGE), self.param and _truncated(self.param, MAX_PARAM)
        return {"error": {"message": message, "type": self.type, "param": param, "code": self.code}}

    def body(self) -> bytes:
        """The envelope as JSON."""
        return msgspec.json.encode(self.envelope())

    def http_headers(self) -> dict[str, str]:
        """``x-should-retry``, ``Retry-After`` in whole seconds rounded up, ``retry-after-ms``, and the error's own."""
        again = self.status in _RETRYABLE_STATUSES if self.should_retry is None else self.should_retry
        headers = {**self.headers, "x-should-retry": "true" if again else "false"}
        wait = self.retry_after
        if wait is None and again and self.status in _RETRY_AFTER_STATUSES:
            wait = DEFAULT_RETRY_AFTER
        if wait is not None:
            headers["Retry-After"] = str(-int(-wait // 1))
            headers["retry-after-ms"] = str(round(wait * 1000))
        return headers


def _truncated(text: str, size: int) -> str:
    """``text`` up to ``size`` characters, ``?`` for bytes of a header that are not UTF-8: JSON cannot hold them."""
    text = text if len(text) <= size else f"{text[:size]}…"
    return text.encode(errors="replace").decode()


def invalid_request(message: str, param: str | None = None, code: str | None = None) -> GatewayError:
    """400: the request is invalid; ``param`` is the JSON path of the offending value."""
    return GatewayError(message, param=param, code=code)


def unsupported_parameter(param: str, model: str) -> GatewayError:
    """400: the model does not support the parameter, and dropping it would change the meaning of the request."""
    return GatewayError(
        f"Unsupported parameter: '{param}' is not supported with model '{model}'.",
        param=param,
        code="unsupported_parameter",
    )


def unsupported_value(message: str, param: str) -> GatewayError:
    """400: the model supports the parameter, but not this value."""
    return GatewayError(message, param=param, code="unsupported_value")


def context_length_exceeded(message: str) -> GatewayError:
    """400: prompt and output exceed the model's context."""
    return GatewayError(message, param="messages", code="context_length_exceeded")


def content_policy_violation(message: str) -> GatewayError:
    """400: the vendor rejects the content of the request."""
    return GatewayError(message, code="content_policy_violation")


def model_not_found(message: str) -> GatewayError:
    """404: unknown to the catalogue, or retired upstream."""
    return GatewayError(message, status=404, param="model", code="model_not_found")


def gateway_unavailable(
    code: str, message: str, *, retry_after: float | None = None, should_retry: bool | None = None
) -> GatewayError:
    """503: the gateway lacks something that the request needs."""
    return GatewayError(
        message,
        status=503,
        type="server_error",
        code=code,
        fault=Fault.GATEWAY,
        retry_after=retry_after,
        should_retry=should_retry,
    )


def internal_error() -> GatewayError:
    """500: an unexpected failure of the gateway."""
    return GatewayError(
        "The gateway failed to serve this request",
        status=500,
        type="server_error",
        code="internal_error",
        fault=Fault.GATEWAY,
    )


def shutting_down() -> GatewayError:
    """503: the gateway is draining; another one may serve the request."""
    return gateway_unavailable("draining", "The gateway is shutting down", retry_after=1.0)


def rate_limited(
    retry_after: float | None = None, message: str = "Upstream rate limit reached", *, retryable: bool = True
) -> GatewayError:
    """429 of an upstream, passed on; the client is told not to retry what is not ``retryable``."""
    return GatewayError(
        message,
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        fault=Fault.UPSTREAM,
        retryable=retryable,
        retry_after=retry_after,
        should_retry=None if retryable else False,
    )


def upstream_overloaded(retry_after: float | None = None) -> GatewayError:
    """503: the vendor is out of capacity."""
    return GatewayError(
        "Upstream overloaded",
        status=503,
        type="server_error",
        code="upstream_overloaded",
        fault=Fault.UPSTREAM,
        retryable=True,
        retry_after=retry_after,
    )


def upstream_timeout(message: str = "The upstream did not respond in time", *, retryable: bool = False) -> GatewayError:
    """504: no first byte in time, a read timeout within the answer, or the vendor's own 504, which is ``retryable``."""
    return GatewayError(
        message,
        status=504,
        type="server_error",
        code="upstream_timeout",
        fault=Fault.UPSTREAM,
        retryable=retryable,
    )


def upstream_error(
    code: str, message: str = "The upstream returned an error", *, retryable: bool = False
) -> GatewayError:
    """502: a failure of the upstream, or of the gateway's account there.

    ``code`` is one of upstream_bad_response, upstream_auth_failed, upstream_billing, upstream_truncated,
    upstream_unreachable, upstream_error.
    """
    return GatewayError(
        message,
        status=502,
        type="upstream_error",
        code=code,
        fault=Fault.UPSTREAM,
        retryable=retryable,
        should_retry=False if code in _ACCOUNT_CODES else None,
    )


def upstream_undecodable() -> GatewayError:
    """502: the response is not in the vendor's format."""
    return upstream_error("upstream_bad_response", "The upstream's response could not be decoded")


def upstream_truncated() -> GatewayError:
    """502: the response lacks its end."""
    return upstream_error("upstream_truncated", "The upstream's response ended before it was complete")
