"""Invalid characters are replaced, and nothing else is changed."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.lenient_json import decode_repaired

decode = msgspec.json.Decoder().decode


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\uDE00 x"', "\ufffd x"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\\ud83d \ud83d"', "\\ud83d \ufffd"),
        (rb'"\\\ud83d\n\""', '\\\ufffd\n"'),
        (b'"a\xff\xe2\x82"', "a\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        ('"\u20ac\\ud83d"'.encode(), "\u20ac\ufffd"),
    ],
)
def test_what_is_no_character_is_replaced(data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data)
    assert decode_repaired(decode, data) == text


def without(text: str) -> str:
    """``text`` without surrogates and their replacements."""
    return "".join(character for character in text if character != "\ufffd" and not "\ud800" <= character <= "\udfff")


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_whatever_was_text_stays(text: str) -> None:
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    escaped = json.dumps(text).encode()
    raw = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for data, expected in ((escaped, joined), (raw, text)):
        assert without(decode_repaired(decode, data)) == without(expected)


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": tru}', b'"\\u12"', b"[" * 3, rb'{"a": "\ud83d"'])
def test_what_is_no_json_stays_none(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_repaired(decode, data)
