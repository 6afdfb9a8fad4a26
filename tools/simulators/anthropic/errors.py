"""Anthropic's error table: facts/providers.md 3.13."""

from collections.abc import Mapping

from tools.simulators.refusal import VendorError
from tools.simulators.scenario import ErrorKind

INVALID = "invalid_request_error"
NO_RETRY = (("x-should-retry", "false"),)
RETRY = (("x-should-retry", "true"),)

ERRORS: Mapping[ErrorKind, VendorError] = {
    "bad_request": VendorError(400, INVALID, None, "Invalid request.", NO_RETRY),
    "bad_key": VendorError(401, "authentication_error", None, "invalid x-api-key", NO_RETRY),
    "missing_key": VendorError(401, "authentication_error", None, "x-api-key header is required", NO_RETRY),
    "permission": VendorError(
        403, "permission_error", None, "Your API key does not have permission to use the specified resource.", NO_RETRY
    ),
    "model_not_found": VendorError(404, "not_found_error", None, "model: {model}", NO_RETRY),
    "context_length": VendorError(400, INVALID, None, "prompt is too long: 200001 tokens > 200000 maximum", NO_RETRY),
    "content_policy": VendorError(400, INVALID, None, "Output blocked by content filtering policy", NO_RETRY),
    "too_large": VendorError(413, "request_too_large", None, "Request exceeds the maximum size", NO_RETRY),
    "rate_limit": VendorError(
        429,
        "rate_limit_error",
        None,
        "This request would exceed your organization's rate limit of 50,000 input tokens per minute "
        "(org: 00000000-0000-4000-8000-000000000000, model: {model}).",
        RETRY,
    ),
    "daily_quota": VendorError(
        429, "rate_limit_error", None, "This request would exceed your organization's daily rate limit.", NO_RETRY
    ),
    "billing": VendorError(
        400,
        INVALID,
        None,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
        NO_RETRY,
    ),
    "overloaded": VendorError(529, "overloaded_error", None, "Overloaded", RETRY),
    "server_error": VendorError(500, "api_error", None, "Internal server error", RETRY),
    "timeout": VendorError(504, "timeout_error", None, "Request timed out", RETRY),
}
