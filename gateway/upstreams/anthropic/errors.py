"""Maps Anthropic's errors to the caller's (facts/providers.md 3.13, 12.7).

The vendor's messages are passed on only where they are about the request: never about keys, money or accounts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.openai_api.errors import GatewayError
from gateway.upstreams import error_rules as rules
from gateway.upstreams.error_rules import ErrorRule, map_error
from gateway.upstreams.vendor_errors import VendorError, parse, parse_decoded

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    """The error of a response with an error status; its body may be anything, a proxy's HTML page too."""
    return _map(parse(status, headers, body))


def from_event(message: dict[str, Any]) -> GatewayError:
    """The error of ``{"type": "error", "error": {...}}`` in a response with status 200."""
    return _map(parse_decoded(500, message))


def _map(error: VendorError) -> GatewayError:
    return map_error(_RULES, replace(error, status=_STATUSES.get(error.type, error.status)))


_RULES = (
    ErrorRule(rules.model_not_found, status=(404, 410)),
    ErrorRule(
        rules.billing,
        status=(400, 403, 429),
        message=r"credit balance|spend(ing)? limit|usage limits|(&|and|your) billing\b",
    ),
    ErrorRule(rules.billing, code=r"spend_limit_reached|billing_(unavailable|not_authorized)|not_billable"),
    ErrorRule(rules.billing, status=(402,)),
    ErrorRule(rules.region, status=(403,), message=r"^request not allowed"),
    ErrorRule(rules.auth, status=(401, 403)),
    ErrorRule(rules.auth, status=(400,), message=r"organization has been disabled"),
    ErrorRule(rules.auth, status=(400,), code=r"organization_on_hold|cmek_(key|not_approved)|key_creator_not_member"),
    ErrorRule(rules.context_length, status=(400,), message=r"prompt is too long|exceed context limit|context window"),
    ErrorRule(rules.content_policy, status=(400,), message=r"content filtering policy"),
    ErrorRule(rules.invalid, status=(400, 422)),
    ErrorRule(rules.too_large, status=(413,)),
    ErrorRule(rules.rate_limit, status=(429,)),
    ErrorRule(rules.overloaded, status=(503, 529)),
    ErrorRule(rules.timeout, status=(408, 504)),
    ErrorRule(rules.server_error, status=(409,)),
)
