"""OpenAI's error table: facts/providers.md 2.6."""

from collections.abc import Mapping

from tools.simulators.refusal import VendorError
from tools.simulators.scenario import ErrorKind

ERRORS: Mapping[ErrorKind, VendorError] = {
    "bad_request": VendorError(400, "invalid_request_error", None, "Invalid request."),
    "bad_key": VendorError(
        401,
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided: wrong***. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "missing_key": VendorError(
        401,
        "invalid_request_error",
        None,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.",
    ),
    "permission": VendorError(
        403,
        "invalid_request_error",
        "model_not_found",
        "Project `proj_Simulated0123456789` does not have access to model `{model}`",
    ),
    "model_not_found": VendorError(
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    "context_length": VendorError(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "Input tokens exceed the configured limit of 272000 tokens. Please reduce the length of the messages.",
    ),
    "content_policy": VendorError(
        400,
        "invalid_request_error",
        "invalid_prompt",
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
    ),
    "too_large": VendorError(413, "invalid_request_error", "request_too_large", "Request body is too large."),
    "rate_limit": VendorError(
        429,
        "tokens",
        "rate_limit_exceeded",
        "Rate limit reached for {model} in organization org-Simulated0123456789 on tokens per min (TPM): Limit 200000, "
        "Used 200000, Requested 12. Please try again in 3ms.",
        headers=(("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "3ms")),
    ),
    "daily_quota": VendorError(
        429,
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} in organization org-Simulated0123456789 on requests per day (RPD): "
        "Limit 10000, Used 10000, Requested 1. Please try again in 8.64s.",
    ),
    "billing": VendorError(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        headers=(("x-should-retry", "false"),),
    ),
    "overloaded": VendorError(
        503, "server_error", "slow_down", "The server is currently overloaded with other requests. Sorry about that!"
    ),
    "server_error": VendorError(
        500, "server_error", None, "The server had an error while processing your request. Sorry about that!"
    ),
    "timeout": VendorError(504, "server_error", "timeout", "The request timed out."),
}
