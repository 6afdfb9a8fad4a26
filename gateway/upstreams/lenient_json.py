"""Vendors' JSON whose text is no Unicode: half a surrogate pair, or bytes that are not UTF-8.

A model that is cut in the middle of a character leaves such halves. One character that nobody can read is no reason
to lose an answer that is paid for.
"""

import re
from collections.abc import Callable
from typing import TypeVar

_ESCAPE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\.")
_HALF = len(rb"\ud83d")
_UNKNOWN = rb"\ufffd"
T = TypeVar("T")


def decode_mended(decode: Callable[[bytes], T], data: bytes) -> T:
    """A second look at ``data``, which ``decode`` has refused: with U+FFFD in place of what is no character.

    Raises what ``decode`` raises, and ValueError when there was nothing to mend.
    """
    text = data.decode("utf-8", "replace").encode()
    text = _ESCAPE.sub(lambda escape: _UNKNOWN if len(escape[0]) == _HALF else escape[0], text)
    if text == data:
        raise ValueError("nothing to mend")
    return decode(text)
