"""The closed set of error classes for metrics and alerts (practice.md 4).

A class is named ``domain_what``: ``caller_*`` and ``policy_*`` need no alert, ``upstream_*`` are a vendor's failures,
``gateway_*`` the gateway's. Errors without an entry are ``domain_other``, which should stay at zero.
"""

from collections.abc import Mapping

from gateway.openai_api.errors import Fault, GatewayError

OTHER = "other"

_CODES: dict[Fault, dict[str, str]] = {
    Fault.CALLER: {
        "invalid_request": "array_above_max_length decimal_above_max_value decimal_below_min_value empty_array "
        "integer_above_max_value integer_below_min_value invalid_base64 invalid_file_url invalid_image "
        "invalid_image_url invalid_type invalid_value missing_required_parameter unknown_parameter",
        "unsupported": "unsupported_parameter unsupported_value unsupported_media_type",
        "context_length": "context_length_exceeded",
        "content_policy": "content_policy_violation",
        "unknown_model": "model_not_found",
        "bad_http": "bad_framing http_version_not_supported invalid_host unsupported_transfer_encoding",
        "unknown_url": "not_found method_not_allowed",
        "too_large": "request_too_large",
        "incomplete_body": "request_timeout incomplete_body",
        "payment_required": "payment_required",
        "payment_refused": "invalid_payment upfront_required",
        "payment_failed": "payment_closed",
        "payment_in_use": "payment_in_flight",
        "already_injected": "already_injected",
    },
    Fault.POLICY: {
        "forbidden": "forbidden",
        "unsettled": "too_much_unsettled",
    },
    Fault.UPSTREAM: {
        "auth": "upstream_auth_failed",
        "bad_response": "upstream_bad_response",
        "billing": "upstream_billing",
        "error": "upstream_error",
        "overloaded": "upstream_overloaded",
        "rate_limit": "rate_limit_exceeded",
        "timeout": "upstream_timeout",
        "truncated": "upstream_truncated",
        "unreachable": "upstream_unreachable",
    },
    Fault.GATEWAY: {
        "draining": "draining",
        "internal": "internal_error",
        "model_unavailable": "model_unavailable",
        "not_configured": "provider_not_configured",
        "overloaded": "overloaded",
        "payments_unavailable": "payments_unavailable",
        "settlement_pending": "settlement_pending",
    },
}

_TYPES: dict[Fault, dict[str, str]] = {
    Fault.CALLER: {
        "invalid_request_error": "invalid_request",
        "payment_required": "payment_refused",
        "payment_error": "payment_failed",
    },
    Fault.UPSTREAM: {"permission_error": "region"},
    Fault.GATEWAY: {"payment_error": "settlement_failed"},
}
"""For errors without a code, or with one that a vendor or facilitator has chosen."""

BY_CODE: Mapping[tuple[Fault, str], str] = {
    (fault, code): f"{fault}_{name}"
    for fault, classes in _CODES.items()
    for name, codes in classes.items()
    for code in codes.split()
}
BY_TYPE: Mapping[tuple[Fault, str], str] = {
    (fault, type_): f"{fault}_{name}" for fault, types in _TYPES.items() for type_, name in types.items()
}
CLASSES: tuple[str, ...] = tuple(
    sorted({*BY_CODE.values(), *BY_TYPE.values(), *(f"{fault}_{OTHER}" for fault in Fault)})
)


def error_class(error: GatewayError) -> str:
    """The class of ``error``, one of ``CLASSES``."""
    known = BY_CODE.get((error.fault, error.code)) if error.code is not None else None
    return known or BY_TYPE.get((error.fault, error.type)) or f"{error.fault}_{OTHER}"
