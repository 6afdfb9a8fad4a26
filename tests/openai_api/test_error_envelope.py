"""Error bodies and headers as OpenAI's clients read them (facts/providers.md 1.3)."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.openai_api import errors
from gateway.openai_api.errors import Fault, GatewayError


def test_envelope_has_openais_four_keys() -> None:
    error = GatewayError("no", param="model", code="model_not_found", status=404)
    body = {"error": {"message": "no", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}
    assert error.envelope() == body
    assert json.loads(error.body()) == body
    assert str(error) == "no"


def test_defaults_are_the_callers_fault() -> None:
    error = GatewayError("no")
    assert (error.status, error.type, error.param, error.code) == (400, "invalid_request_error", None, None)
    assert (error.fault, error.retryable, error.http_headers()) == (Fault.CALLER, False, {"x-should-retry": "false"})


@pytest.mark.parametrize(
    ("seconds", "whole", "milliseconds"),
    [(0, "0", "0"), (0.2, "1", "200"), (1.0, "1", "1000"), (34.4, "35", "34400"), (48, "48", "48000")],
)
def test_retry_after_is_rounded_up(seconds: float, whole: str, milliseconds: str) -> None:
    assert errors.rate_limited(seconds).http_headers() == {
        "x-should-retry": "true",
        "Retry-After": whole,
        "retry-after-ms": milliseconds,
    }


@pytest.mark.parametrize(("advice", "header"), [(True, "true"), (False, "false")])
def test_should_retry_is_told(advice: bool, header: str) -> None:
    error = GatewayError("x", should_retry=advice, headers={"PAYMENT-REQUIRED": "e30="})
    assert error.http_headers() == {"PAYMENT-REQUIRED": "e30=", "x-should-retry": header}
    assert error.headers == {"PAYMENT-REQUIRED": "e30="}


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (errors.invalid_request("m"), "false"),
        (errors.model_not_found("m"), "false"),
        (GatewayError("m", status=402), "false"),
        (GatewayError("m", status=409), "false"),
        (GatewayError("m", status=408), "true"),
        (GatewayError("m", status=500), "true"),
        (errors.upstream_error("upstream_truncated"), "true"),
        (errors.upstream_error("upstream_auth_failed"), "false"),
        (errors.upstream_error("upstream_billing"), "false"),
        (errors.upstream_timeout(), "true"),
    ],
)
def test_whether_another_attempt_may_help_is_always_told(error: GatewayError, again: str) -> None:
    """practice.md 5: OpenAI's SDKs would retry a rejected vendor key three times."""
    assert error.http_headers() == {"x-should-retry": again}


@pytest.mark.parametrize("error", [errors.rate_limited(), errors.upstream_overloaded(), GatewayError("m", status=503)])
def test_how_long_to_wait_is_told_also_when_the_vendor_did_not_say(error: GatewayError) -> None:
    assert error.http_headers() == {"x-should-retry": "true", "Retry-After": "1", "retry-after-ms": "1000"}
    error.should_retry = False
    assert error.http_headers() == {"x-should-retry": "false"}


KINDS: list[tuple[Callable[[], GatewayError], dict[str, Any]]] = [
    (lambda: errors.invalid_request("m", "a.b", "c"), {"status": 400, "param": "a.b", "code": "c"}),
    (
        lambda: errors.unsupported_parameter("stop", "gpt-5"),
        {"status": 400, "param": "stop", "code": "unsupported_parameter"},
    ),
    (lambda: errors.unsupported_value("m", "n"), {"status": 400, "param": "n", "code": "unsupported_value"}),
    (
        lambda: errors.context_length_exceeded("m"),
        {"status": 400, "param": "messages", "code": "context_length_exceeded"},
    ),
    (lambda: errors.content_policy_violation("m"), {"status": 400, "code": "content_policy_violation"}),
    (lambda: errors.model_not_found("m"), {"status": 404, "param": "model", "code": "model_not_found"}),
    (
        errors.rate_limited,
        {
            "status": 429,
            "type": "rate_limit_error",
            "code": "rate_limit_exceeded",
            "fault": Fault.UPSTREAM,
            "retryable": True,
        },
    ),
    (
        errors.upstream_overloaded,
        {
            "status": 503,
            "type": "server_error",
            "code": "upstream_overloaded",
            "fault": Fault.UPSTREAM,
            "retryable": True,
        },
    ),
    (
        errors.upstream_timeout,
        {"status": 504, "type": "server_error", "code": "upstream_timeout", "fault": Fault.UPSTREAM},
    ),
    (
        lambda: errors.upstream_error("upstream_billing"),
        {"status": 502, "type": "upstream_error", "code": "upstream_billing", "fault": Fault.UPSTREAM},
    ),
    (lambda: errors.upstream_error("upstream_error", retryable=True), {"status": 502, "retryable": True}),
]


@pytest.mark.parametrize(("make", "expected"), KINDS)
def test_kinds(make: Callable[[], GatewayError], expected: dict[str, Any]) -> None:
    error = make()
    assert {name: getattr(error, name) for name in expected} == expected
    assert error.retryable == expected.get("retryable", False)
    assert error.type == expected.get("type", "invalid_request_error" if error.status < 500 else "upstream_error")
    assert error.fault == expected.get("fault", Fault.CALLER if error.status < 500 else Fault.UPSTREAM)


def test_status_says_whose_fault_it_is() -> None:
    for make, _ in KINDS:
        error = make()
        assert (error.fault is Fault.CALLER) == (error.status < 500 and error.status != 429)
        assert error.status not in (401, 403)
