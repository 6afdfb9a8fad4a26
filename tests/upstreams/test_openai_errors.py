"""The classification of vendor errors (facts/providers.md 2.6, 6.5, 7.3, 8, 12.7)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.errors import Fault, GatewayError
from gateway.upstreams.error_rules import ErrorRule, map_error
from gateway.upstreams.openai.errors import OPENAI_ERRORS
from gateway.upstreams.vendor_errors import VendorError, parse_embedded
from tests.upstreams.openai_chats import adapter, chat

MODELS = {"openai": "gpt-4.1", "xai": "grok-4.3", "modelark": "seed-1.6", "nous": "hermes-4-70b"}


def explained(vendor: str, status: int, body: Any, headers: dict[str, str] | None = None) -> GatewayError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return adapter(chat(MODELS[vendor])).decode_error(status, headers or {}, raw)


def openai(message: str, kind: str = "invalid_request_error", code: str | None = None, param: str | None = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def ark(code: str, message: str = "The request failed") -> Any:
    return {"error": {"code": code, "message": message, "param": "", "type": "BadRequest"}}


def nous(status: int, message: str, **more: Any) -> Any:
    """The Portal's own errors are flat."""
    return {"status": status, "message": message, **more}


BAD_KEY = openai("Incorrect API key provided: sk-x", code="invalid_api_key")
CASES = [
    ("openai", 401, BAD_KEY, 502, "upstream_auth_failed"),
    ("openai", 403, openai("Project x does not have access", code="model_not_found"), 502, "upstream_auth_failed"),
    (
        "openai",
        400,
        openai("Your organization must be verified to stream this model.", code="unsupported_value"),
        502,
        "upstream_auth_failed",
    ),
    (
        "openai",
        404,
        openai("Your organization must be verified to use the model `gpt-5`.", code="model_not_found"),
        502,
        "upstream_auth_failed",
    ),
    ("openai", 404, openai("The model `x` does not exist", code="model_not_found"), 404, "model_not_found"),
    ("openai", 410, openai("This model is gone"), 404, "model_not_found"),
    ("openai", 429, openai("Rate limit reached", "tokens", "rate_limit_exceeded"), 429, "rate_limit_exceeded"),
    ("openai", 429, openai("You exceeded your quota", "insufficient_quota", "x"), 502, "upstream_billing"),
    ("openai", 429, openai("You exceeded your quota", code="insufficient_quota"), 502, "upstream_billing"),
    ("openai", 400, openai("Billing hard limit reached", code="billing_hard_limit_reached"), 502, "upstream_billing"),
    ("openai", 429, openai("Request too large for gpt-4.1", "tokens"), 429, "rate_limit_exceeded"),
    ("openai", 400, openai("Too long", code="context_length_exceeded"), 400, "context_length_exceeded"),
    ("openai", 400, openai("Flagged", code="content_policy_violation"), 400, "content_policy_violation"),
    ("openai", 400, openai("No such", code="unsupported_value", param="stop"), 400, "unsupported_value"),
    ("openai", 400, openai("Odd"), 400, None),
    ("openai", 409, openai("Odd"), 400, None),
    ("openai", 413, openai("Large"), 413, "request_too_large"),
    ("openai", 500, openai("Oops", "server_error"), 502, "upstream_error"),
    ("openai", 502, b"<html>Bad gateway</html>", 502, "upstream_error"),
    ("xai", 520, b"error code: 520", 502, "upstream_error"),
    ("openai", 503, openai("Slow down", "server_error"), 503, "upstream_overloaded"),
    ("openai", 504, b"", 504, "upstream_timeout"),
    ("openai", 408, b"", 504, "upstream_timeout"),
    ("openai", 302, b"", 502, "upstream_bad_response"),
    ("openai", 418, openai("I am a teapot"), 502, "upstream_bad_response"),
    ("openai", 402, openai("Pay"), 502, "upstream_billing"),
    (
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa"},
        502,
        "upstream_auth_failed",
    ),
    ("xai", 401, {"code": "unauthenticated", "error": "No credentials"}, 502, "upstream_auth_failed"),
    ("xai", 403, {"code": "permission-denied", "error": "Your team is blocked"}, 502, "upstream_auth_failed"),
    ("xai", 400, {"code": "invalid-argument", "error": "Argument not supported on this model: stop"}, 400, None),
    ("xai", 400, openai("Odd", code="x"), 400, None),
    (
        "xai",
        400,
        {"code": "x", "error": "This model's maximum prompt length is 131072"},
        400,
        "context_length_exceeded",
    ),
    ("xai", 400, {"code": "x", "error": "Model not found: grok-9"}, 404, "model_not_found"),
    ("xai", 404, {"code": "x", "error": "The model grok-9 does not exist"}, 404, "model_not_found"),
    ("xai", 410, {"code": "x", "error": "Live search is gone"}, 404, "model_not_found"),
    ("xai", 415, {"code": "x", "error": "Send JSON"}, 400, None),
    ("xai", 422, {"code": "x", "error": "Failed to deserialize"}, 400, None),
    ("xai", 429, {"code": "x", "error": "You have used all available credits"}, 502, "upstream_billing"),
    ("xai", 429, {"code": "x", "error": "or reached its monthly spending limit"}, 502, "upstream_billing"),
    ("xai", 429, {"code": "x", "error": "Too many requests"}, 429, "rate_limit_exceeded"),
    (
        "xai",
        403,
        {"code": "permission-denied", "error": "Your team x has either used all available credits or ..."},
        502,
        "upstream_billing",
    ),
    ("xai", 403, {"code": "x", "error": "Your team doesn't have any credits or licenses yet"}, 502, "upstream_billing"),
    ("xai", 403, {"code": "x", "error": "Use the correct credentials"}, 502, "upstream_auth_failed"),
    (
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Generated image rejected by content moderation"},
        400,
        "content_policy_violation",
    ),
    ("xai", 500, {"code": "x", "error": "Oops"}, 502, "upstream_error"),
    ("xai", 503, {"code": "x", "error": "The service is currently unavailable"}, 503, "upstream_overloaded"),
    ("modelark", 401, ark("AuthenticationError"), 502, "upstream_auth_failed"),
    ("modelark", 403, ark("AccountOverdueError"), 502, "upstream_billing"),
    ("modelark", 403, ark("AccessDenied"), 502, "upstream_auth_failed"),
    ("modelark", 404, ark("ModelNotOpen"), 404, "model_not_found"),
    ("modelark", 404, ark("InvalidEndpointOrModel.NotFound"), 404, "model_not_found"),
    ("modelark", 410, ark("ModelGone"), 404, "model_not_found"),
    ("modelark", 400, ark("InvalidEndpoint.ClosedEndpoint"), 404, "model_not_found"),
    ("modelark", 400, ark("InputTextSensitiveContentDetected"), 400, "content_policy_violation"),
    ("modelark", 400, ark("SensitiveContentDetected.Violence"), 400, "content_policy_violation"),
    ("modelark", 400, ark("OutputTextSensitiveContentDetected"), 400, "content_policy_violation"),
    ("modelark", 400, ark("InvalidParameter", "Total tokens exceed max input length"), 400, "context_length_exceeded"),
    ("modelark", 400, ark("OutofContextError"), 400, "context_length_exceeded"),
    (
        "modelark",
        400,
        ark("InvalidParameter", "Total tokens of image and text exceed max message tokens. Request id: 02"),
        400,
        "context_length_exceeded",
    ),
    (
        "modelark",
        400,
        ark("InvalidParameter", "max_tokens: integer above maximum value, expected a value <= 32768"),
        400,
        "InvalidParameter",
    ),
    ("modelark", 400, ark("InputTextRiskDetection"), 400, "content_policy_violation"),
    ("modelark", 400, ark("OutputImageRiskDetection"), 400, "content_policy_violation"),
    ("modelark", 403, ark("OperationDenied.ServiceOverdue"), 502, "upstream_billing"),
    ("modelark", 403, ark("OperationDenied.ServiceNotOpen"), 502, "upstream_auth_failed"),
    (
        "modelark",
        429,
        ark("SetLimitExceeded", "The account has reached the set inference limit"),
        502,
        "upstream_billing",
    ),
    ("modelark", 429, ark("RequestBurstTooFast"), 429, "rate_limit_exceeded"),
    ("modelark", 400, ark("MissingParameter"), 400, "MissingParameter"),
    ("modelark", 429, ark("RateLimitExceeded.EndpointRPMExceeded"), 429, "rate_limit_exceeded"),
    ("modelark", 429, ark("ModelAccountTpmRateLimitExceeded"), 429, "rate_limit_exceeded"),
    ("modelark", 429, ark("QuotaExceeded"), 502, "upstream_billing"),
    ("modelark", 429, ark("ServerOverloaded"), 503, "upstream_overloaded"),
    ("modelark", 500, ark("InternalServiceError"), 502, "upstream_error"),
    (
        "nous",
        402,
        {"x402Version": 1, "accepts": [], "error": "X-PAYMENT header is required"},
        502,
        "upstream_auth_failed",
    ),
    ("nous", 401, BAD_KEY, 502, "upstream_auth_failed"),
    ("nous", 400, openai("Odd", param="top_k"), 400, None),
    ("nous", 410, openai("Gone"), 404, "model_not_found"),
    ("nous", 429, openai("Slow"), 429, "rate_limit_exceeded"),
    ("nous", 429, nous(429, "Too many requests for this key"), 429, "rate_limit_exceeded"),
    ("nous", 429, nous(429, "The requested model is temporarily at capacity upstream."), 503, "upstream_overloaded"),
    ("nous", 503, nous(503, "The requested model is temporarily unavailable"), 503, "upstream_overloaded"),
    ("nous", 404, nous(404, "Couldn't find that, sorry."), 404, "model_not_found"),
    (
        "nous",
        404,
        nous(404, "Model 'x' requires available credits.", code="insufficient_credits_for_paid_model"),
        502,
        "upstream_billing",
    ),
    ("nous", 404, nous(404, "Model 'x' requires available credits."), 502, "upstream_billing"),
    ("nous", 404, nous(404, "Model 'x' is not available on the Free Tier."), 502, "upstream_billing"),
    ("nous", 400, nous(400, "Not valid. Additional info: top_k must be positive"), 400, None),
    ("nous", 400, nous(400, "Not valid. Additional info: the maximum length of a name is 64"), 400, None),
    ("nous", 400, openai("The prompt is longer than the maximum model length of 8"), 400, "context_length_exceeded"),
    ("nous", 400, nous(400, "Not valid. Additional info: Provider returned error"), 502, "upstream_error"),
    (
        "nous",
        400,
        {"error": {"message": "This model's maximum context length is 131072 tokens.", "code": 400}},
        400,
        "context_length_exceeded",
    ),
    ("nous", 400, {"error": {"message": "Odd", "type": "BadRequestError", "param": None, "code": 400}}, 400, None),
]


@pytest.mark.parametrize(("vendor", "status", "body", "ours", "code"), CASES)
def test_meaning(vendor: str, status: int, body: Any, ours: int, code: str | None) -> None:
    error = explained(vendor, status, body)
    assert (error.status, error.code) == (ours, code)
    assert error.fault is (Fault.CALLER if ours in (400, 404, 413) else Fault.UPSTREAM)
    again = ours in (429, 503) or status == 504 or code == "upstream_error"
    assert error.retryable == again or "too large" in error.message.lower()


@pytest.mark.parametrize(
    ("vendor", "status", "body"),
    [case[:3] for case in CASES if case[4] in ("upstream_auth_failed", "upstream_billing")],
)
def test_our_own_credentials_stay_inside(vendor: str, status: int, body: Any) -> None:
    error = explained(vendor, status, body)
    assert not {"sk-x", "xa", "team", "x402"} & set(error.message.split())
    assert not error.retryable


def test_the_gateways_region_is_no_matter_of_its_credentials() -> None:
    """facts/providers.md 1.3, 2.6"""
    body = openai("Country, region, or territory not supported", code="unsupported_country_region_territory")
    error = explained("openai", 403, body)
    assert (error.status, error.type, error.code, error.fault) == (403, "permission_error", None, Fault.UPSTREAM)


def test_the_callers_mistake_is_told_with_its_parameter() -> None:
    error = explained(
        "openai", 400, openai("Unsupported parameter: 'stop'", code="unsupported_parameter", param="stop")
    )
    assert (error.param, error.message) == ("stop", "Unsupported parameter: 'stop'")


@pytest.mark.parametrize("vendor", ["openai", "modelark", "nous"])
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("InvalidParameter.messages-0", "InvalidParameter.messages-0"),
        ("x" * 64, "x" * 64),
        ("x" * 65, None),
        ("The prompt was: Hello", None),
        ("org-abcdefghijkl", None),
        ("422", None),
    ],
)
def test_a_code_is_one_word(vendor: str, code: str, told: str | None) -> None:
    error = explained(vendor, 400, openai("Odd", code=code))
    assert (error.status, error.message, error.code) == (400, "Odd", told)


def test_a_flat_body_is_told_in_its_own_words() -> None:
    error = explained("nous", 400, nous(400, "This request is not valid. Additional info: tools are not supported"))
    assert error.message == "This request is not valid. Additional info: tools are not supported"


def test_a_prompt_too_large_for_the_rate_limit_is_not_tried_again() -> None:
    error = explained("openai", 429, openai("Request too large for gpt-4.1 in organization org-abc on tokens"))
    assert (error.retryable, error.should_retry) == (False, False)
    assert "org-abc" not in error.message


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_travels(status: int) -> None:
    assert explained("openai", status, openai("x"), {"Retry-After": "7"}).retry_after == 7
    assert explained("openai", status, openai("x")).retry_after is None


def test_an_unknown_error_inside_an_answer_is_not_told_as_a_status() -> None:
    error = map_error(OPENAI_ERRORS, parse_embedded({"error": {"code": 1301, "message": "secret"}}))
    assert (error.code, error.message) == ("upstream_bad_response", "The upstream reported an error")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "code", "message"]), inner),
    max_leaves=6,
)


@given(
    st.sampled_from(sorted(MODELS)),
    st.integers(100, 599),
    json_values | st.binary(max_size=20),
    st.text("0a :,", max_size=6),
)
def test_any_error_is_explained(vendor: str, status: int, body: Any, retry_after: str) -> None:
    error = explained(vendor, status, body, {"Retry-After": retry_after})
    assert error.status in (400, 404, 413, 429, 502, 503, 504)


def test_rules_are_tried_in_order() -> None:
    rules = (
        ErrorRule(lambda _: GatewayError("first"), status=(400,)),
        ErrorRule(lambda _: GatewayError("second")),
    )
    assert map_error(rules, VendorError(400)).message == "first"
    assert map_error(rules, VendorError(401)).message == "second"
    assert map_error((), VendorError(401)).code == "upstream_bad_response"
