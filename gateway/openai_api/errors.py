"""Errors as OpenAI clients know them.

Raised anywhere, translated to the wire in one place. The status says whose fault it is: 4xx the caller's, 502 and 504
an upstream's, 500 ours; 429 and 503 may be anybody's, which ``fault`` tells (facts/providers.md 1.3).
"""

from enum import StrEnum
from typing import Any

import msgspec

MAX_MESSAGE = 2048
MAX_PARAM = 256
# What is told when nobody knows better how long to wait, in seconds.
USUAL_WAIT = 1.0

_MAY_PASS = frozenset({408, 429, 500, 502, 503, 504})
_WAITING_HELPS = frozenset({429, 503})
_ACCOUNT_FAULTS = frozenset({"upstream_auth_failed", "upstream_billing"})


class Fault(StrEnum):
    """Whose fault an error is; the closed vocabulary of the error metric."""

    CALLER = "caller"
    POLICY = "policy"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class GatewayError(Exception):
    """One failed request.

    ``retryable`` tells the transport that the same upstream call may be sent again, before any byte was forwarded.
    ``retry_after`` is in seconds and travels to the client. ``should_retry`` becomes ``x-should-retry``, which
    OpenAI's SDKs obey; None goes by the status.
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

    def envelope(self) -> dict[str, Any]:
        """``{"error": {message, type, param, code}}``; what it quotes of a request may be large, it is not."""
        message, param = _shortened(self.message, MAX_MESSAGE), self.param and _shortened(self.param, MAX_PARAM)
        return {"error": {"message": message, "type": self.type, "param": param, "code": self.code}}

    def body(self) -> bytes:
        """The envelope as JSON."""
        return msgspec.json.encode(self.envelope())

    def http_headers(self) -> dict[str, str]:
        """``x-should-retry``, ``Retry-After`` in whole seconds rounded up, ``retry-after-ms``, and the error's own."""
        again = self.status in _MAY_PASS if self.should_retry is None else self.should_retry
        headers = {**self.headers, "x-should-retry": "true" if again else "false"}
        wait = self.retry_after
        if wait is None and again and self.status in _WAITING_HELPS:
            wait = USUAL_WAIT
        if wait is not None:
            headers["Retry-After"] = str(-int(-wait // 1))
            headers["retry-after-ms"] = str(round(wait * 1000))
        return headers


def _shortened(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[:size]}…"


def invalid_request(message: str, param: str | None = None, code: str | None = None) -> GatewayError:
    """400: the caller's request is wrong; ``param`` is the JSON path of what is wrong."""
    return GatewayError(message, param=param, code=code)


def unsupported_parameter(param: str, model: str) -> GatewayError:
    """400: leaving the parameter out would change what the caller asked for, and the model cannot honour it."""
    return GatewayError(
        f"Unsupported parameter: '{param}' is not supported with model '{model}'.",
        param=param,
        code="unsupported_parameter",
    )


def unsupported_value(message: str, param: str) -> GatewayError:
    """400: the parameter is known to the model, this value is not."""
    return GatewayError(message, param=param, code="unsupported_value")


def context_length_exceeded(message: str) -> GatewayError:
    """400: prompt and output do not fit the model's context."""
    return GatewayError(message, param="messages", code="context_length_exceeded")


def content_policy_violation(message: str) -> GatewayError:
    """400: the vendor refuses the content of the request."""
    return GatewayError(message, code="content_policy_violation")


def model_not_found(message: str) -> GatewayError:
    """404: unknown here, or retired upstream."""
    return GatewayError(message, status=404, param="model", code="model_not_found")


def gateway_unavailable(
    code: str, message: str, *, retry_after: float | None = None, should_retry: bool | None = None
) -> GatewayError:
    """503: what is missing is the gateway's own to have."""
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
    """500: a fault of our own that nothing foresaw."""
    return GatewayError(
        "The gateway failed to serve this request",
        status=500,
        type="server_error",
        code="internal_error",
        fault=Fault.GATEWAY,
    )


def shutting_down() -> GatewayError:
    """503: another gateway may serve what this one no longer takes, or no longer finishes."""
    return gateway_unavailable("draining", "The gateway is shutting down", retry_after=1.0)


def rate_limited(retry_after: float | None = None, message: str = "Upstream rate limit reached") -> GatewayError:
    """429 of an upstream, handed on."""
    return GatewayError(
        message,
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        fault=Fault.UPSTREAM,
        retryable=True,
        retry_after=retry_after,
    )


def upstream_overloaded(retry_after: float | None = None) -> GatewayError:
    """503: the vendor has no capacity now."""
    return GatewayError(
        "Upstream overloaded",
        status=503,
        type="server_error",
        code="upstream_overloaded",
        fault=Fault.UPSTREAM,
        retryable=True,
        retry_after=retry_after,
    )


def upstream_timeout(message: str = "The upstream did not answer in time") -> GatewayError:
    """504: no first byte, or silence in the middle."""
    return GatewayError(message, status=504, type="server_error", code="upstream_timeout", fault=Fault.UPSTREAM)


def upstream_error(
    code: str, message: str = "The upstream answered with an error", *, retryable: bool = False
) -> GatewayError:
    """502: the upstream's fault, or the fault of our own account there.

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
        should_retry=False if code in _ACCOUNT_FAULTS else None,
    )
