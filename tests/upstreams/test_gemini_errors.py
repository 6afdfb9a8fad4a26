"""Gemini's error responses and their classification (facts/providers.md 5.9, 12.7)."""

from typing import Any

import msgspec
import pytest

from gateway.openai_api.errors import GatewayError
from tests.upstreams.gemini_chats import adapter

NO_HEADERS: dict[str, str] = {}


def error_of(status: int, error: Any = None, headers: dict[str, str] = NO_HEADERS) -> GatewayError:
    body = b"" if error is None else msgspec.json.encode({"error": error})
    return adapter().decode_error(status, headers, body)


def error(status: str, message: str = "x", *details: dict[str, Any]) -> dict[str, Any]:
    return {"code": 0, "message": message, "status": status, "details": list(details)}


BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48s"}


def quota(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (400, error("INVALID_ARGUMENT", "API key not valid.", BAD_KEY), 502, "upstream_auth_failed"),
        (400, error("INVALID_ARGUMENT", "API key expired. Please renew the API key."), 502, "upstream_auth_failed"),
        (400, error("INVALID_ARGUMENT", "Unknown name 'x'"), 400, None),
        (
            400,
            error("INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed"),
            400,
            "context_length_exceeded",
        ),
        (400, error("FAILED_PRECONDITION", "Please enable billing on your project"), 502, "upstream_billing"),
        (400, error("FAILED_PRECONDITION", "User location is not supported for the API use."), 403, None),
        (401, error("UNAUTHENTICATED"), 502, "upstream_auth_failed"),
        (402, None, 502, "upstream_billing"),
        (403, error("PERMISSION_DENIED"), 502, "upstream_auth_failed"),
        (
            403,
            error("PERMISSION_DENIED", "You do not have permission to access the File a1 or it may not exist."),
            400,
            None,
        ),
        (404, error("NOT_FOUND", "models/x is not found for API version v1beta"), 404, "model_not_found"),
        (
            400,
            error("INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
            413,
            "request_too_large",
        ),
        (413, None, 413, "request_too_large"),
        (429, error("RESOURCE_EXHAUSTED"), 429, "rate_limit_exceeded"),
        (
            429,
            error("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
            429,
            "rate_limit_exceeded",
        ),
        (429, error("RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), 502, "upstream_billing"),
        (
            429,
            error("RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."),
            502,
            "upstream_billing",
        ),
        (499, error("CANCELLED"), 502, "upstream_bad_response"),
        (500, error("INTERNAL"), 502, "upstream_error"),
        (502, None, 502, "upstream_error"),
        (503, error("UNAVAILABLE", "The model is overloaded."), 503, "upstream_overloaded"),
        (504, error("DEADLINE_EXCEEDED"), 504, "upstream_timeout"),
        (418, None, 502, "upstream_bad_response"),
    ],
)
def test_meanings(status: int, body: Any, expected: int, code: str | None) -> None:
    found = error_of(status, body)
    assert (found.status, found.code) == (expected, code)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_what_may_be_sent_again(status: int) -> None:
    assert error_of(status).retryable


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413])
def test_what_may_not(status: int) -> None:
    assert not error_of(status).retryable


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([RETRY], {}, 48),
        ([quota("GenerateRequestsPerMinute"), RETRY | {"retryDelay": "34.4s"}], {}, 34.4),
        ([], {"Retry-After": "7"}, 7),
        ([RETRY], {"retry-after": "7"}, 7),
        ([RETRY | {"retryDelay": "soon"}], {}, None),
        ([{"violations": "x"}, {"violations": ["x"]}, {"reason": 5}], {}, None),
        ([], {}, None),
    ],
)
def test_when_to_come_back(details: list[dict[str, Any]], headers: dict[str, str], seconds: float | None) -> None:
    found = error_of(429, error("RESOURCE_EXHAUSTED", "Quota", *details), headers)
    assert (found.status, found.retry_after, found.retryable) == (429, seconds, True)


def test_a_daily_quota_is_not_worth_another_attempt() -> None:
    found = error_of(
        429, error("RESOURCE_EXHAUSTED", "Quota", quota("GenerateRequestsPerDayPerProjectPerModel"), RETRY)
    )
    assert (found.status, found.retryable, found.should_retry) == (429, False, False)


def test_an_array_around_the_error() -> None:
    body = msgspec.json.encode([{"error": error("RESOURCE_EXHAUSTED", "x", RETRY)}])
    assert adapter().decode_error(429, {}, body).retry_after == 48


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b'{"error": "text"}', b'{"error": {"code": "x"}}', b"[]", b"\xff"]
)
def test_a_body_that_says_nothing_leaves_the_status(body: bytes) -> None:
    assert adapter().decode_error(503, {}, body).code == "upstream_overloaded"


def test_no_project_is_named_to_the_caller() -> None:
    found = error_of(400, error("INVALID_ARGUMENT", "Model not enabled for project 123456789."))
    assert "123456789" not in found.message
