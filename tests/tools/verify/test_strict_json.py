"""Unambiguous JSON: accepts what the standard decoder accepts, unless it is ambiguous or nested too deeply."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.verify import strict_json
from tools.verify.errors import MalformedError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_ordinary_json_is_read_as_usual(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert strict_json.loads(text.encode()) == value


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_is_limited(opening: bytes) -> None:
    closing = {b"[": b"]"}.get(opening, b"}")
    assert strict_json.loads(opening * 200 + b"1" + closing * 200)
    for document in (opening * 201 + b"1" + closing * 201, opening * 1_000_000):
        with pytest.raises(MalformedError, match="too deeply"):
            strict_json.loads(document)


def test_many_values_beside_each_other_are_no_depth() -> None:
    assert strict_json.loads(b"[" + b"[{}]," * 300 + b"1]") == [*[[{}]] * 300, 1]


def test_brackets_in_strings_are_no_depth() -> None:
    text = '\\"' + "[{" * 1000
    assert strict_json.loads(json.dumps([text]).encode()) == [text]


def test_a_long_string_is_scanned_without_backtracking() -> None:
    text = "\\a" * 1_000_000
    assert strict_json.loads(json.dumps([text]).encode()) == [text]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b'{"a": {"c": 0, "b": 1, "b": 1}}', "'b' appears twice"),
        (b"[Infinity]", "no Infinity"),
        (b"[-Infinity]", "no -Infinity"),
        (b'"\xff"', "not UTF-8"),
        (b"1 2", "line 1, column 3"),
    ],
)
def test_what_could_be_read_otherwise_is_refused(document: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        strict_json.loads(document)
