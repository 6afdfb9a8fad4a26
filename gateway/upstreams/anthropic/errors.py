"""Maps Anthropic's errors to the caller's (facts/providers.md 3.13, 12.7).

The vendor's messages are passed on only where they are about the request: never about keys, money or accounts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.catalog import Model
from gateway.openai_api import errors
from gateway.openai_api.errors import GatewayError
from gateway.upstreams import error_rules
from gateway.upstreams.error_rules import ErrorRule, VendorError

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


def from_response(model: Model, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    """The error of a response with an error status; its body may be anything, a proxy's HTML page too."""
    return _map(model, error_rules.parse(status, headers, body))


def from_event(model: Model, message: dict[str, Any]) -> GatewayError:
    """The error of ``{"type": "error", "error": {...}}`` in a response with status 200."""
    return _map(model, error_rules.parse_decoded(500, message))


def _map(model: Model, error: VendorError) -> GatewayError:
    error = replace(error, status=_STATUSES.get(error.type, error.status))
    if error.status in (404, 410):
        return _model_not_found(model)
    return error_rules.map_error(_RULES, error)


def _model_not_found(model: Model) -> GatewayError:
    advice = f" Use '{model.replacement}' instead." if model.replacement else ""
    return errors.model_not_found(f"The model '{model.id}' is not available upstream.{advice}")


def _billing(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_billing", "The gateway's account with the upstream cannot be charged")


def _auth(error: VendorError) -> GatewayError:
    return errors.upstream_error("upstream_auth_failed", "The upstream rejected the gateway's credentials")


def _context_length(error: VendorError) -> GatewayError:
    return errors.context_length_exceeded(error_rules.public_message(error.message))


def _content_policy(error: VendorError) -> GatewayError:
    return errors.content_policy_violation(error_rules.public_message(error.message))


def _invalid(error: VendorError) -> GatewayError:
    return errors.invalid_request(error_rules.public_message(error.message))


def _too_large(error: VendorError) -> GatewayError:
    return GatewayError("The request is larger than the upstream accepts", status=413, code="request_too_large")


_RULES = (
    ErrorRule(
        _billing,
        status=(400, 403, 429),
        message=r"credit balance|spend(ing)? limit|usage limits|(&|and|your) billing\b",
    ),
    ErrorRule(_billing, code=r"spend_limit_reached|billing_(unavailable|not_authorized)|not_billable"),
    ErrorRule(_billing, status=(402,)),
    ErrorRule(_auth, status=(401, 403)),
    ErrorRule(_auth, status=(400,), message=r"organization has been disabled"),
    ErrorRule(_auth, status=(400,), code=r"organization_on_hold|cmek_(key|not_approved)|key_creator_not_member"),
    ErrorRule(_context_length, status=(400,), message=r"prompt is too long|exceed context limit|context window"),
    ErrorRule(_content_policy, status=(400,), message=r"content filtering policy"),
    ErrorRule(_invalid, status=(400, 422)),
    ErrorRule(_too_large, status=(413,)),
    ErrorRule(lambda error: errors.rate_limited(error.retry_after), status=(429,)),
    ErrorRule(lambda error: errors.upstream_overloaded(error.retry_after), status=(503, 529)),
    ErrorRule(lambda error: errors.upstream_timeout(), status=(408, 504)),
    ErrorRule(lambda error: errors.upstream_error("upstream_error", retryable=True), status=(409, 500, 502)),
)
