"""The closed set of failures: every error code that the gateway raises has a class."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.billing.authorization import RefusedPaymentError
from gateway.billing.refusals import payment_required
from gateway.billing.x402 import PaymentRequired, Resource
from gateway.openai_api.error_classes import BY_CODE, BY_TYPE, CLASSES, error_class
from gateway.openai_api.errors import Fault, GatewayError, invalid_request, upstream_error

GATEWAY = Path(__file__).parents[2] / "gateway"
CODE_ARGUMENT = {"invalid_request": 2, "upstream_error": 0}
FAULTS = {"upstream_error": Fault.UPSTREAM}
FOREIGN = {
    "gateway/billing/receipt.py": ("payment_error", "how a settlement failed, in x402's words"),
    "gateway/billing/refusals.py": ("payment_required", "why a payment was refused, in x402's words"),
    "gateway/upstreams/openai/errors.py": ("invalid_request_error", "a vendor's own code"),
    "gateway/upstreams/fetch.py": ("invalid_request_error", "one of two"),
    "gateway/openai_api/conversion.py": ("invalid_request_error", "from a table"),
    "gateway/http_server/connection.py": ("invalid_request_error", "one of two"),
}
"""Where a code is computed, or somebody else's word: the type of the error tells its class there."""


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Every call in the gateway that creates an error: file, call node, and the callee's name."""
    for path in sorted(GATEWAY.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
                if name == "GatewayError" or name in CODE_ARGUMENT:
                    yield path.relative_to(GATEWAY.parent).as_posix(), node, name


def code_of(call: ast.Call, name: str) -> ast.expr | None:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    position = CODE_ARGUMENT.get(name)
    positional = call.args[position] if position is not None and len(call.args) > position else None
    return keywords.get("code", positional)


def fault_of(call: ast.Call, name: str) -> Fault:
    for keyword in call.keywords:
        if keyword.arg == "fault" and isinstance(keyword.value, ast.Attribute):
            return Fault[keyword.value.attr]
    return FAULTS.get(name, Fault.CALLER)


def type_of(call: ast.Call) -> str:
    for keyword in call.keywords:
        if keyword.arg == "type" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return "invalid_request_error"


def literal_codes() -> Iterator[tuple[str, Fault, str]]:
    for file, call, name in calls():
        code = code_of(call, name)
        if isinstance(code, ast.Constant) and code.value is not None:
            yield f"{file}:{call.lineno}", fault_of(call, name), str(code.value)


def test_every_code_that_is_raised_is_in_the_table() -> None:
    found = list(literal_codes())
    assert len(found) > 60
    unknown = [(where, code) for where, fault, code in found if (fault, code) not in BY_CODE]
    assert unknown == [], "give each a class in gateway/openai_api/error_classes.py"


def test_every_code_in_the_table_is_raised() -> None:
    words = {
        node.value
        for path in GATEWAY.rglob("*.py")
        if path.name != "error_classes.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert [code for _, code in BY_CODE if code not in words] == []


def test_errors_without_a_code_are_known_by_their_type() -> None:
    without = [(file, call, name) for file, call, name in calls() if code_of(call, name) is None]
    assert without
    unknown = [
        f"{file}:{call.lineno}" for file, call, name in without if (fault_of(call, name), type_of(call)) not in BY_TYPE
    ]
    assert unknown == []


def test_codes_of_others_come_from_known_places_only() -> None:
    computed = {
        file
        for file, call, name in calls()
        if code_of(call, name) is not None and not isinstance(code_of(call, name), ast.Constant)
    }
    assert computed - {"gateway/openai_api/errors.py"} <= set(FOREIGN) | {"gateway/openai_api/checks.py"}
    for type_, _ in FOREIGN.values():
        assert (Fault.CALLER, type_) in BY_TYPE


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (invalid_request("No", code="a_vendors_own_word"), "caller_invalid_request"),
        (invalid_request("No"), "caller_invalid_request"),
        (upstream_error("upstream_truncated"), "upstream_truncated"),
        (GatewayError("", code="insufficient_funds", type="payment_error"), "caller_payment_failed"),
        (GatewayError("", code="timeout", type="payment_error", fault=Fault.GATEWAY), "gateway_settlement_failed"),
        (upstream_error("never_heard_of"), "upstream_other"),
        (GatewayError("", type="new", fault=Fault.GATEWAY), "gateway_other"),
    ],
)
def test_class_of_an_error(error: GatewayError, expected: str) -> None:
    assert error_class(error) == expected
    assert expected in CLASSES


def test_refused_payments_are_the_callers() -> None:
    refusal = RefusedPaymentError("whatever_a_facilitator_says", "no")
    required = PaymentRequired(x402_version=2, error=str(refusal), resource=Resource(url="http://gateway"), accepts=[])
    assert error_class(payment_required(required, refusal.reason)) == "caller_payment_refused"
    assert error_class(payment_required(required, "payment_required")) == "caller_payment_required"


def test_classes_say_their_domain() -> None:
    domains = {name.partition("_")[0] for name in CLASSES}
    assert domains == {fault.value for fault in Fault}
    assert {f"{domain}_other" for domain in domains} <= set(CLASSES)
