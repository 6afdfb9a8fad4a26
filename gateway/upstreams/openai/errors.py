"""Maps the errors of the OpenAI-shaped upstreams to the caller's (facts/providers.md 2.6, 6.5, 7.3, 8, 12.7)."""

from gateway.openai_api import errors
from gateway.openai_api.errors import GatewayError
from gateway.upstreams import error_rules as rules
from gateway.upstreams.error_rules import ErrorRule
from gateway.upstreams.vendor_errors import VendorError, public_code, public_message


def _invalid_with_code(error: VendorError) -> GatewayError:
    return errors.invalid_request(public_message(error.message), error.param, public_code(error.code))


def _guidelines(error: VendorError) -> GatewayError:
    """xAI's message about a refused prompt is withheld: it may name the team and its key."""
    return errors.content_policy_violation("The upstream rejected the content of the request")


def _single_prompt_too_large(error: VendorError) -> GatewayError:
    return errors.rate_limited(None, public_message(error.message), retryable=False)


_SERVER = (
    ErrorRule(rules.overloaded, status=(503, 529)),
    ErrorRule(rules.timeout, status=(408, 504)),
)
_CREDENTIALS = (
    ErrorRule(rules.auth, status=(401, 403), message="api[ -]?key|token|credential|auth"),
    ErrorRule(rules.billing, status=(402,)),
    ErrorRule(rules.auth, status=(401, 403)),
)

OPENAI_ERRORS = (
    ErrorRule(rules.region, status=(403,), code="unsupported_country"),
    ErrorRule(rules.auth, status=(400, 404), message="organization must be verified"),
    *_CREDENTIALS,
    ErrorRule(rules.model_not_found, status=(404, 410)),
    ErrorRule(rules.billing, status=(400, 429), code="insufficient_quota|billing"),
    ErrorRule(_single_prompt_too_large, status=(429,), message="request too large|too large for"),
    ErrorRule(rules.rate_limit, status=(429,)),
    ErrorRule(rules.context_length, code="context_length_exceeded"),
    ErrorRule(rules.content_policy, status=(400,), code="content_policy|content_filter"),
    ErrorRule(rules.too_large, status=(413,)),
    ErrorRule(_invalid_with_code, status=(400, 409, 415, 422)),
    *_SERVER,
)

XAI_ERRORS = (
    ErrorRule(_guidelines, status=(400, 403), message="usage guidelines|content moderation"),
    ErrorRule(rules.billing, status=(403, 429), message="credits|spending limit"),
    ErrorRule(rules.auth, status=(400, 401, 403), message="api key"),
    *_CREDENTIALS,
    ErrorRule(rules.model_not_found, status=(404, 410)),
    ErrorRule(rules.rate_limit, status=(429,)),
    ErrorRule(rules.context_length, status=(400,), message="maximum prompt length|context (length|window)"),
    ErrorRule(rules.model_not_found, status=(400,), message="model not found"),
    ErrorRule(rules.too_large, status=(413,)),
    ErrorRule(rules.invalid, status=(400, 415, 422)),
    ErrorRule(rules.overloaded, status=(200,), message="unavailable|overloaded|capacity"),
    *_SERVER,
)

MODELARK_ERRORS = (
    ErrorRule(rules.billing, code="Overdue"),
    *_CREDENTIALS,
    ErrorRule(rules.model_not_found, status=(404, 410)),
    ErrorRule(rules.model_not_found, status=(400,), code="InvalidEndpoint"),
    ErrorRule(rules.overloaded, status=(429,), code="ServerOverloaded"),
    ErrorRule(rules.billing, status=(429,), code="QuotaExceeded|SetLimitExceeded"),
    ErrorRule(rules.rate_limit, status=(429,)),
    ErrorRule(rules.content_policy, status=(400,), code="Sensitive|RiskDetection"),
    ErrorRule(rules.context_length, status=(400,), code="OutofContext"),
    ErrorRule(
        rules.context_length,
        status=(400,),
        message="context (length|window)|max(imum)? (input|prompt|length)|max message tokens",
    ),
    ErrorRule(rules.too_large, status=(413,)),
    ErrorRule(_invalid_with_code, status=(400, 422)),
    *_SERVER,
)

NOUS_ERRORS = (
    ErrorRule(rules.auth, status=(402,)),
    ErrorRule(rules.billing, status=(403, 404), code="insufficient_credits"),
    ErrorRule(rules.billing, status=(403, 404), message="available credits|free tier"),
    ErrorRule(rules.overloaded, status=(429,), message="at capacity"),
    ErrorRule(rules.context_length, status=(400,), message="context (length|window)|maximum model length"),
    ErrorRule(rules.server_error, status=(400,), message="provider returned error"),
    *OPENAI_ERRORS,
)
"""An empty account is a 404 and a busy model a 429 there; what its own providers refuse or break, in words of their
own, is a 400."""
