"""What is read from a vendor's error response, and what of it is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.vendor_errors import VendorError, parse, parse_embedded, public_message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", VendorError(400)),
        (b" <html>x</html>", VendorError(400)),
        (b"plain words", VendorError(400, "plain words")),
        (b"\xff", VendorError(400, "\ufffd")),
        (b"null", VendorError(400)),
        (b"[1]", VendorError(400)),
        (b"{}", VendorError(400)),
        (b'{"error": null}', VendorError(400)),
        (b'{"error": "text", "code": "c"}', VendorError(400, "text", "c")),
        (b'{"error": {"message": 7, "code": 8, "type": 9, "param": 10}}', VendorError(400, "7", "8", "9")),
        (b'{"error": {"message": "m", "param": "p"}}', VendorError(400, "m", param="p")),
        (b'{"status": 400, "message": "m", "code": "c"}', VendorError(400, "m", "c")),
        (
            b'{"object": "error", "message": "m", "type": "BadRequestError", "code": 400}',
            VendorError(400, "m", "400", "BadRequestError"),
        ),
        (b"[" * 100_000, VendorError(400, "[" * 4096)),
    ],
)
def test_bodies(body: bytes, expected: VendorError) -> None:
    assert parse(400, {}, body) == expected


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "rate_limit_exceeded"}, 429),
        ({"type": "tokens", "code": "RateLimitExceeded.EndpointRPMExceeded"}, 429),
        ({"type": "server_error"}, 500),
        ({"code": "InternalServiceError"}, 500),
        ({"code": "ServerOverloaded"}, 503),
        ({"code": "QuotaExceeded", "type": "TooManyRequests"}, 429),
        ({"code": "AuthenticationError", "type": "Unauthorized"}, 401),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, 401),
        ({"code": "permission-denied"}, 403),
        ({"code": "AccessDenied", "type": "Forbidden"}, 403),
        ({"code": "model_not_found", "type": "invalid_request_error"}, 404),
        ({"code": "Some requested entity was not found"}, 404),
        ({"code": "OutputTextSensitiveContentDetected", "type": "BadRequest"}, 400),
        ({"code": "Client specified an invalid argument"}, 400),
        ({"type": "invalid_request_error", "code": "context_length_exceeded"}, 400),
        ({"code": "OutputTextRiskDetection"}, 400),
        ({"code": "OutofContextError"}, 400),
        ({"code": "SetLimitExceeded"}, 429),
        ({"code": 429, "message": "Slow"}, 429),
        ({"code": 502, "message": "Provider disconnected"}, 502),
        ({"code": 400, "type": "InternalServerError"}, 500),
        ({"code": 1301}, 200),
        ({"message": "x"}, 200),
    ],
)
def test_errors_inside_answers_have_the_status_they_would_have(error: dict[str, Any], status: int) -> None:
    assert parse_embedded({"error": error}).status == status


@pytest.mark.parametrize(
    ("message", "public"),
    [
        (
            "Rate limit reached for gpt-4.1 in organization org-abc123 on tokens per min (TPM): Limit 1.",
            "Rate limit reached for gpt-4.1 on tokens per min (TPM): Limit 1.",
        ),
        ("Blocked for team 1a2b-3c4d, sorry", "Blocked, sorry"),
        ("Project proj_x is closed.", " is closed."),
        ("Model not enabled for project 123456789.", "Model not enabled."),
        ("Not open to your organization yet: 'team name'.", "Not open to your organization yet: 'team name'."),
        ("The steam engine", "The steam engine"),
        ("", "The upstream rejected the request"),
        ("x" * 3000, "x" * 2000),
    ],
)
def test_public_message(message: str, public: str) -> None:
    assert public_message(message) == public


@given(st.text(max_size=60))
def test_account_names_never_get_out(text: str) -> None:
    assert "org-secret" not in public_message(f"{text} in organization org-secret {text}")
