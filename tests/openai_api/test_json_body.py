"""The decoding of a request's body: what is no JSON object, and one that is too large or nested too deeply."""

from itertools import cycle, islice
from typing import Any

import msgspec
import pytest

from gateway.openai_api.errors import GatewayError
from gateway.openai_api.json_body import MAX_BRACKETS, MAX_COMMAS, MAX_DEPTH, MAX_PARTS, MAX_VALUES, decode

BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(("given", "taken"), [(20.0, 20), (0.0, 0), (20.5, 20.5)])
def test_a_whole_top_k_is_an_integer(given: float, taken: float) -> None:
    """Google's types have it as a float, and ADK sends that."""
    top_k = decode(msgspec.json.encode({**BODY, "top_k": given}))["top_k"]
    assert (top_k, type(top_k)) == (taken, type(taken))


@pytest.mark.parametrize("neutral", [{"ignore_eos": False}, {"usage": {"include": True}}])
def test_what_changes_nothing_is_absence(neutral: dict[str, Any]) -> None:
    assert decode(msgspec.json.encode({**BODY, **neutral})) == BODY


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b'{"a":1}{', b'{"a":\xff}', b'{"a":"\\ud800"}', b"[" * 10_000, b"{'a':1}"],
)
def test_what_is_no_json_object(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, None, None)


def test_a_body_in_another_encoding_is_called_that_and_not_in_pythons_words() -> None:
    with pytest.raises(
        GatewayError, match=r"^We could not parse the JSON body of your request: it is not valid UTF-8$"
    ):
        decode('{"model": "é"}'.encode("latin-1"))


@pytest.mark.parametrize("inner", ["{[", "[", "{"])
def test_nesting_is_limited(inner: str) -> None:
    """Decoded values are later encoded and hashed, at a greater stack depth."""

    def nested(depth: int) -> bytes:
        levels = ["{", *islice(cycle(inner), depth - 1)]
        opened = "".join('{"a":' if level == "{" else "[" for level in levels)
        return (opened + "1" + "".join("}" if level == "{" else "]" for level in reversed(levels))).encode()

    assert decode(nested(MAX_DEPTH))
    with pytest.raises(GatewayError, match="nested too deeply"):
        decode(nested(MAX_DEPTH + 1))


def test_a_wide_body_is_not_deep() -> None:
    assert len(decode(b'{"a":[' + b"[{}]," * 1000 + b"[]]}")["a"]) == 1001


@pytest.mark.parametrize("part", ["[],", "{},", "[{}],"])
def test_parts_are_limited(part: str) -> None:
    """A body of tiny parts costs seconds and thirty times its size in memory, before any payment."""

    def wide(parts: int) -> bytes:
        return ('{"a":[' + part * ((parts - 2) // (part.count("[") + part.count("{"))) + "0]}").encode()

    assert decode(wide(MAX_PARTS))
    for parts in (MAX_PARTS + 2, MAX_BRACKETS + 2):
        with pytest.raises(GatewayError, match="too many objects and arrays"):
            decode(wide(parts))


def test_a_text_of_brackets_is_no_crowd_of_parts() -> None:
    assert decode(b'{"a":"' + b"[{" * (MAX_BRACKETS // 2 - 1) + b'"}')


@pytest.mark.parametrize("value", ["1", "null", '""'])
def test_values_are_limited(value: str) -> None:
    """Millions of numbers cost as many seconds, before any payment."""

    def wide(values: int) -> bytes:
        return f'{{"a":[{",".join([value] * (values - 1))}]}}'.encode()

    assert decode(wide(MAX_VALUES))
    for values in (MAX_VALUES + 1, MAX_COMMAS + 3):
        with pytest.raises(GatewayError, match="too many values"):
            decode(wide(values))


def test_a_text_of_commas_is_no_crowd_of_values() -> None:
    assert decode(b'{"a":"' + b"," * MAX_COMMAS + b'"}')
