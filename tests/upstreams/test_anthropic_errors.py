"""Anthropic's error responses (facts/providers.md 3.13, 12.7)."""

from typing import Any

import msgspec
import pytest

from gateway.openai_api.errors import Fault, GatewayError
from tests.upstreams.anthropic_chats import adapter, chat


def body(kind: str, message: str) -> bytes:
    error = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    return msgspec.json.encode(error)


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "top_p: range", (400, None, "invalid_request_error")),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 2 maximum",
            (400, "context_length_exceeded", None),
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 9",
            (400, "context_length_exceeded", None),
        ),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            (400, "content_policy_violation", None),
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access", (502, "upstream_billing", None)),
        (
            400,
            "invalid_request_error",
            "You have reached your specified API usage limits.",
            (502, "upstream_billing", None),
        ),
        (
            400,
            "invalid_request_error",
            "This request would exceed the limit. Check your plan and billing details.",
            (502, "upstream_billing", None),
        ),
        (400, "invalid_request_error", "This organization has been disabled.", (502, "upstream_auth_failed", None)),
        (400, "invalid_request_error", "tools.0.billing.input_schema: no", (400, None, "invalid_request_error")),
        (
            400,
            "invalid_request_error",
            "output_config.format.schema.properties.billing_address: no",
            (400, None, "invalid_request_error"),
        ),
        (401, "authentication_error", "invalid x-api-key", (502, "upstream_auth_failed", "upstream_error")),
        (402, "billing_error", "pay", (502, "upstream_billing", None)),
        (403, "permission_error", "no", (502, "upstream_auth_failed", None)),
        (403, "forbidden", "Request not allowed", (403, None, "permission_error")),
        (404, "not_found_error", "model: claude-x", (404, "model_not_found", None)),
        (410, "gone", "model: claude-x", (404, "model_not_found", None)),
        (409, "conflict_error", "again", (502, "upstream_error", None)),
        (
            413,
            "request_too_large",
            "Request exceeds the maximum size",
            (413, "request_too_large", "invalid_request_error"),
        ),
        (429, "rate_limit_error", "slow down", (429, "rate_limit_exceeded", "rate_limit_error")),
        (500, "api_error", "oops", (502, "upstream_error", None)),
        (504, "timeout_error", "late", (504, "upstream_timeout", "server_error")),
        (529, "overloaded_error", "Overloaded", (503, "upstream_overloaded", "server_error")),
        (503, "unavailable", "busy", (503, "upstream_overloaded", None)),
        (418, "teapot", "short and stout", (502, "upstream_bad_response", None)),
    ],
)
def test_what_an_error_means(
    status: int, kind: str, message: str, expected: tuple[int, str | None, str | None]
) -> None:
    error = adapter().decode_error(status, {}, body(kind, message))
    assert (error.status, error.code) == expected[:2]
    assert expected[2] in (None, error.type)
    ours = error.status in (400, 404, 413)
    assert error.fault is (Fault.CALLER if ours else Fault.UPSTREAM)
    assert (message in error.message) is (error.status == 400)


@pytest.mark.parametrize(
    ("status", "kind", "code", "expected"),
    [
        (429, "rate_limit_error", "contract_spend_limit_reached", (502, "upstream_billing")),
        (402, "billing_error", "linked_organization_billing_unavailable", (502, "upstream_billing")),
        (403, "permission_error", "user_profile_not_billable", (502, "upstream_billing")),
        (429, "rate_limit_error", "ramp_limit_exceeded", (429, "rate_limit_exceeded")),
        (400, "invalid_request_error", "organization_on_hold", (502, "upstream_auth_failed")),
        (400, "invalid_request_error", "cmek_key_disabled", (502, "upstream_auth_failed")),
        (400, "invalid_request_error", "image_dimensions_too_large", (400, None)),
    ],
)
def test_a_code_in_the_details_tells_what_the_words_may_not(
    status: int, kind: str, code: str, expected: tuple[int, str | None]
) -> None:
    details = {"type": kind, "message": "Refused.", "details": {"error_code": code}}
    answer = msgspec.json.encode({"type": "error", "error": details})
    error = adapter().decode_error(status, {}, answer)
    assert (error.status, error.code) == expected


@pytest.mark.parametrize("status", [400, 401, 402, 404, 413, 429, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("page", [b"", b"<html>Bad gateway</html>", b"\xff", b"[]", b'{"error":"x"}', b'{"error":{}}'])
def test_a_body_that_says_nothing_leaves_the_status(status: int, page: bytes) -> None:
    error = adapter().decode_error(status, {}, page)
    assert error.status in (400, 404, 413, 429, 502, 503, 504)
    assert error.status != 401
    assert "html" not in error.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "7"}, 7.0), ({"Retry-After": "0.5"}, 0.5), ({"retry-after-ms": "1500"}, 1.5), ({}, None)],
)
def test_retry_after_travels(headers: dict[str, str], seconds: float | None) -> None:
    for status, kind in ((429, "rate_limit_error"), (529, "overloaded_error")):
        error = adapter().decode_error(status, headers, body(kind, "later"))
        assert error.retry_after == seconds
        assert error.retryable


def test_a_200_that_is_an_error() -> None:
    with pytest.raises(GatewayError) as caught:
        list(adapter().decode_response(chat(), body("overloaded_error", "Overloaded")))
    assert caught.value.code == "upstream_overloaded"


@pytest.mark.parametrize("value", [None, 3, [], {"type": 5}, {"message": None}])
def test_an_error_object_of_any_shape(value: Any) -> None:
    error = adapter().decode_error(400, {}, msgspec.json.encode({"type": "error", "error": value}))
    assert error.status == 400
