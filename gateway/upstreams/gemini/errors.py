"""Maps Gemini's errors to the caller's (facts/providers.md 5.9, 12.7)."""

import re
from collections.abc import Mapping
from typing import Any

from gateway.http_client.retry_after import read_retry_after
from gateway.openai_api import errors
from gateway.openai_api.errors import GatewayError
from gateway.upstreams import error_rules as rules
from gateway.upstreams.error_rules import ErrorRule, map_error
from gateway.upstreams.gemini.wire import ErrorBody, decode
from gateway.upstreams.vendor_errors import VendorError

_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    """The error of a response with an error status; its body is an object, or an array with one."""
    try:
        found = [response.error for response in decode(body) if response.error is not None]
    except ValueError:
        found = []
    return from_body(status, found[0] if found else ErrorBody(), read_retry_after(headers))


def from_body(status: int, body: ErrorBody, retry_after: float | None = None) -> GatewayError:
    """The error of ``body``, which came with HTTP ``status``, or with 200 inside a stream."""
    if status < 400:
        status = body.code or _STATUSES.get(body.status or "", 500)
    details = body.details or []
    error = VendorError(
        status=status,
        message=body.message or "",
        code=" ".join([body.status or "", *_reasons(details)]),
        retry_after=retry_after if retry_after is not None else _retry_delay(details),
    )
    return map_error(_RULES, error)


def _reasons(details: list[dict[str, Any]]) -> list[str]:
    """Machine-readable reasons: ErrorInfo's, and the ids of exhausted quotas."""
    reasons = [detail.get("reason") for detail in details]
    reasons += [
        violation.get("quotaId")
        for detail in details
        if isinstance(violations := detail.get("violations"), list)
        for violation in violations
        if isinstance(violation, dict)
    ]
    return [reason for reason in reasons if isinstance(reason, str)]


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds of RetryInfo's ``retryDelay``."""
    for detail in details:
        if match := _DELAY.fullmatch(str(detail.get("retryDelay"))):
            return float(match[1])
    return None


def _one_choice(error: VendorError) -> GatewayError:
    """Which models take a candidateCount above 1 is not documented (5.3)."""
    return errors.unsupported_value("This model supports only one choice; 'n' must be 1.", "n")


def _daily_quota(error: VendorError) -> GatewayError:
    return errors.rate_limited(error.retry_after, "The upstream's daily quota is used up", retryable=False)


_RULES = (
    ErrorRule(rules.auth, code=r"API_KEY_"),
    ErrorRule(rules.auth, status=(400,), message=r"api key (not valid|expired|not found)"),
    ErrorRule(rules.invalid, status=(403,), message=r"permission to access the file"),
    ErrorRule(rules.auth, status=(401, 403)),
    ErrorRule(rules.billing, status=(402,)),
    ErrorRule(rules.billing, status=(400,), code="FAILED_PRECONDITION", message="billing"),
    ErrorRule(rules.region, status=(400,), code="FAILED_PRECONDITION"),
    ErrorRule(rules.context_length, status=(400,), message=r"input token count.*exceeds the maximum"),
    ErrorRule(rules.too_large, status=(400,), message="payload size exceeds"),
    ErrorRule(_one_choice, status=(400,), message="multiple candidates"),
    ErrorRule(rules.invalid, status=(400,)),
    ErrorRule(rules.model_not_found, status=(404,)),
    ErrorRule(rules.too_large, status=(413,)),
    ErrorRule(rules.billing, status=(429,), message=r"prepayment credits|spending cap"),
    ErrorRule(_daily_quota, status=(429,), code="PerDay"),
    ErrorRule(rules.rate_limit, status=(429,)),
    ErrorRule(rules.overloaded, status=(503, 529)),
    ErrorRule(rules.timeout, status=(408, 504)),
)
