"""Decodes vendors' JSON in spite of small faults, because the response has been paid for.

Strings may not be valid Unicode: a model that is cut in the middle of a character leaves lone surrogates, or bytes that
are not UTF-8. Token counts may not be integers; the readable ones are kept.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.")
_SURROGATE_LENGTH = len(rb"\ud83d")
_REPLACEMENT = rb"\ufffd"
_MAX_DIGITS = 18
_T = TypeVar("_T")


def decode_repaired(decode: Callable[[bytes], _T], data: bytes) -> _T:
    """Decode ``data``, with U+FFFD in place of invalid characters if ``decode`` refuses it; raises what that raises."""
    try:
        return decode(data)
    except ValueError:
        text = data.decode("utf-8", "replace").encode()
        text = _ESCAPE.sub(lambda escape: _REPLACEMENT if len(escape[0]) == _SURROGATE_LENGTH else escape[0], text)
        if text == data:
            raise
    return decode(text)


def readable_counts(counts: Any, type_: type[_T]) -> _T | None:
    """Convert a vendor's token counts to ``type_``, without those that are not integers; None if that is impossible."""
    try:
        return msgspec.convert(_readable(counts), type_)
    except msgspec.ValidationError:
        return None


def _readable(value: Any) -> Any:
    """``value`` with integral floats and strings of digits as integers; None for what is neither number nor name.

    An empty array is what some languages encode an empty object as.
    """
    match value:
        case dict():
            return {key: _readable(item) for key, item in value.items()}
        case list():
            return [_readable(item) for item in value] or None
        case str():
            return int(value) if value.isdecimal() and len(value) <= _MAX_DIGITS else value
        case float():
            return int(value) if value.is_integer() else None
        case bool():
            return None
    return value
