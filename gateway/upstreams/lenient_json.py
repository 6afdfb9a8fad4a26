"""Vendors' JSON whose strings are not valid Unicode: lone surrogates, or bytes that are not UTF-8.

A model that is cut in the middle of a character leaves such halves. One unreadable character is no reason to lose a
response that is paid for.
"""

import re
from collections.abc import Callable
from typing import TypeVar

_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.")
_SURROGATE_LENGTH = len(rb"\ud83d")
_REPLACEMENT = rb"\ufffd"
T = TypeVar("T")


def decode_repaired(decode: Callable[[bytes], T], data: bytes) -> T:
    """Decode ``data``, which ``decode`` has refused, with U+FFFD in place of invalid characters.

    Raises what ``decode`` raises, and ValueError when there is nothing to repair.
    """
    text = data.decode("utf-8", "replace").encode()
    text = _ESCAPE.sub(lambda escape: _REPLACEMENT if len(escape[0]) == _SURROGATE_LENGTH else escape[0], text)
    if text == data:
        raise ValueError("nothing to repair")
    return decode(text)
