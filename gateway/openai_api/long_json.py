"""JSON of any length from callers, decoded without the slow conversion of fractions that are made to be slow.

``msgspec`` takes ten microseconds for a fraction of 27 bytes that lies between two floats, or below the smallest
normal one: a second for three megabytes of them. Python's conversion is slower for the usual ones, but always takes
less than one microsecond per ten digits.
"""

from math import isinf
from typing import Any

import msgspec

SHORT = 64 * 1024
"""Bytes up to which ``msgspec``'s own conversion takes no more than 30 ms."""
MAX_COMMAS = 2**18
"""No arguments that a model has written have more; a million members take a second."""


def decode(text: str) -> Any:
    """Decode ``text``. Raises what ``msgspec.json.decode`` raises, and DecodeError for more than MAX_COMMAS commas."""
    if len(text) <= SHORT:
        return msgspec.json.decode(text)
    if text.lstrip().startswith(("{", "[")) and len(text) - len(text.replace(",", "", MAX_COMMAS + 1)) > MAX_COMMAS:
        raise msgspec.DecodeError("JSON has too many values")
    return decode_long(text)


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError("Number out of range")
    return number


decode_long = msgspec.json.Decoder(float_hook=_finite).decode
