"""Google's error table and envelope: facts/providers.md 5.9. Retry delays are in the body, not in a header."""

from collections.abc import Mapping
from typing import Any

from tools.simulators.refusal import RefusedError, VendorError
from tools.simulators.scenario import ErrorKind
from tools.simulators.vendor import Exchange

TYPES = "type.googleapis.com/google.rpc."

ERRORS: Mapping[ErrorKind, VendorError] = {
    "bad_request": VendorError(400, "INVALID_ARGUMENT", None, "Request contains an invalid argument."),
    "bad_key": VendorError(
        400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key."
    ),
    "missing_key": VendorError(
        403,
        "PERMISSION_DENIED",
        None,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form of API consumer identity to call this API.",
    ),
    "permission": VendorError(403, "PERMISSION_DENIED", None, "The caller does not have permission"),
    "model_not_found": VendorError(
        404,
        "NOT_FOUND",
        None,
        "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels "
        "to see the list of available models and their supported methods.",
    ),
    "context_length": VendorError(
        400,
        "INVALID_ARGUMENT",
        None,
        "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "content_policy": VendorError(
        400, "INVALID_ARGUMENT", None, "The request was blocked because it may violate our policies."
    ),
    "too_large": VendorError(413, "INVALID_ARGUMENT", None, "Request payload size exceeds the limit."),
    "rate_limit": VendorError(
        429,
        "RESOURCE_EXHAUSTED",
        "GenerateRequestsPerMinutePerProjectPerModel",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "daily_quota": VendorError(
        429,
        "RESOURCE_EXHAUSTED",
        "GenerateRequestsPerDayPerProjectPerModel",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "billing": VendorError(
        400,
        "FAILED_PRECONDITION",
        None,
        "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI "
        "Studio.",
    ),
    "overloaded": VendorError(503, "UNAVAILABLE", None, "The model is overloaded. Please try again later."),
    "server_error": VendorError(500, "INTERNAL", None, "An internal error has occurred. Please retry."),
    "timeout": VendorError(504, "DEADLINE_EXCEEDED", None, "Deadline expired before operation could complete."),
}


def envelope(refused: RefusedError, exchange: Exchange, model: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and body."""
    row = ERRORS[refused.kind]
    message = refused.message or row.message.format(model=model)
    status = refused.status or row.status
    error: dict[str, Any] = {"code": row.status, "message": message, "status": row.type}
    if refused.status is not None and refused.kind == "bad_request":
        error |= {"code": status, "status": {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}.get(status, row.type)}
    if details := _details(refused, row, message, exchange):
        error["details"] = details
    return status, {"error": error}


def _details(refused: RefusedError, row: VendorError, message: str, exchange: Exchange) -> list[dict[str, Any]]:
    if refused.kind == "bad_key":
        return [
            {
                "@type": TYPES + "ErrorInfo",
                "reason": row.code,
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            },
            {"@type": TYPES + "LocalizedMessage", "locale": "en-US", "message": message},
        ]
    if refused.kind in ("rate_limit", "daily_quota"):
        details: list[dict[str, Any]] = [
            {"@type": TYPES + "QuotaFailure", "violations": [{"quotaId": row.code}]},
        ]
        if exchange.scenario.retry_after is not None:
            details.append({"@type": TYPES + "RetryInfo", "retryDelay": f"{exchange.scenario.retry_after}s"})
        return details
    if refused.param is not None:
        violation = {"field": refused.param, "description": message}
        return [{"@type": TYPES + "BadRequest", "fieldViolations": [violation]}]
    return []
