"""xAI's error table: facts/providers.md 6.5. Bodies are `{code, error}`."""

from collections.abc import Mapping

from tools.simulators.refusal import VendorError
from tools.simulators.scenario import ErrorKind

INVALID = "Client specified an invalid argument"
EXHAUSTED = "Some resource has been exhausted"

ERRORS: Mapping[ErrorKind, VendorError] = {
    "bad_request": VendorError(400, None, INVALID, "Invalid request content."),
    "bad_key": VendorError(
        400, None, INVALID, "Incorrect API key provided: wr***ey. You can obtain an API key from https://console.x.ai."
    ),
    "missing_key": VendorError(
        401, None, "Unauthorized", "No API key provided. You can obtain an API key from https://console.x.ai."
    ),
    "permission": VendorError(
        403,
        None,
        "The caller does not have permission to execute the specified operation",
        "Your team is blocked or has no permission for this model.",
    ),
    "model_not_found": VendorError(
        404,
        None,
        "Some requested entity was not found",
        "The model {model} does not exist or your team does not have access to it.",
    ),
    "context_length": VendorError(
        400, None, INVALID, "This model's maximum prompt length is 1000000 but the request contains 1000001 tokens."
    ),
    "content_policy": VendorError(403, None, INVALID, "Content violates usage guidelines."),
    "too_large": VendorError(413, None, INVALID, "The request body is too large."),
    "rate_limit": VendorError(
        429, None, EXHAUSTED, "Too many requests for team. Your team has reached its rate limit."
    ),
    "daily_quota": VendorError(429, None, EXHAUSTED, "Too many tokens for team today."),
    "billing": VendorError(
        429,
        None,
        EXHAUSTED,
        "Your team has either used all available credits or reached its monthly spending limit. To continue making API "
        "requests, please purchase more credits or raise your spending limit.",
    ),
    "overloaded": VendorError(
        503, None, "The service is currently unavailable", "The model is currently at capacity. Please try again later."
    ),
    "server_error": VendorError(500, None, "Internal error", "Internal server error."),
    "timeout": VendorError(504, None, "Deadline expired before operation could complete", "The request timed out."),
}
