"""Long JSON is decoded like short JSON."""

from typing import Any

import msgspec
import pytest

from gateway.openai_api import long_json

NUMBERS = [
    "0.1",
    "-0.0",
    "1e5",
    "2.22507385850720138309e-308",
    "4.9406564584124654417e-324",
    "2.4703282292062327208e-324",
    "1.797693134862315708e308",
    "9007199254740992.99999999999999999",
    "1.00000000000000011102230246251565404236316680908203125",
    "123456789012345678901234567890",
]
LONG = '"' + "x" * long_json.SHORT + '"'


@pytest.mark.parametrize("text", [f'{{"a":[{",".join(NUMBERS)}]}}', '"é"', "true", "[[]]"])
def test_the_same_values(text: str) -> None:
    expected = msgspec.json.decode(text)
    assert repr(long_json.decode(text)) == repr(expected)
    assert repr(long_json.decode(f"[{LONG},{text}]")[1]) == repr(expected)
    assert repr(long_json.decode_long(f"[{LONG},{text}]".encode())[1]) == repr(expected)


def reason(decode: Any, text: str) -> tuple[type, str]:
    with pytest.raises((msgspec.DecodeError, RecursionError)) as caught:
        decode(text)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("text", ["[1e999]", "[-1e999]", "[1.]", "[01]", "[NaN]", '{"a":1e309}', "[" * 10_000, "[1"])
def test_the_same_errors(text: str) -> None:
    assert reason(long_json.decode_long, text) == reason(msgspec.json.decode, text)


def test_more_values_than_a_model_writes() -> None:
    """A million members took two seconds, in the arguments of a call that nobody had made."""
    most = "[" + "1," * long_json.MAX_COMMAS + "1]"
    assert len(long_json.decode(most)) == long_json.MAX_COMMAS + 1
    with pytest.raises(msgspec.DecodeError, match="too many values"):
        long_json.decode(f" [1,{most}]")
