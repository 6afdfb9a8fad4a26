import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.anthropic.partial_json import completion

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{}"),
        ('{"value":"Spark', '"}'),
        ('{"a', '":null}'),
        ('{"a"', ":null}"),
        ('{"a": ', "null}"),
        ('{"a": 1, ', '"":null}'),
        ('{"a": [1, {"b": tr', "ue}]}"),
        ('{"a": -', "0}"),
        ('{"a": "x\\', '\\"}'),
        ('{"a": "x\\u00', '00"}'),
        ('{"a": "\\ud83d', '\\udc00"}'),
        ('{"a": "\\ud83d\\ude', '00"}'),
        ('{"a": 1}', ""),
    ],
)
def test_the_shortest_completion(text: str, expected: str) -> None:
    assert completion(text) == expected


@given(st.dictionaries(st.text(), JSON_VALUES), st.booleans(), st.booleans(), st.data())
def test_every_start_of_an_object_becomes_an_object(
    value: dict[str, Any], ascii_only: bool, spaced: bool, data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1 if spaced else None)
    start = text[: data.draw(st.integers(0, len(text)))]
    whole = msgspec.json.decode(start + completion(start))
    assert isinstance(whole, dict)
    if start == text:
        assert whole == value
