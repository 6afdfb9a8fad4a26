"""Decodes the JSON body of a request, within limits of size and depth."""

from typing import Any

import msgspec

from gateway.openai_api import long_json
from gateway.openai_api.errors import invalid_request

Json = Any

MAX_DEPTH = 128
"""Low enough for everything accepted to be decoded, translated and hashed within the recursion limit."""
MAX_PARTS = 2**17
"""Limit on the objects and arrays in one body. Each takes 30 times the memory of its two bytes, and translating more of
them blocks the event loop for a second; no conversation has as many."""
MAX_VALUES = 2**18
"""Limit on the members and items of all objects and arrays in one body: 32 MiB have room for 16 million numbers, which
took four seconds to translate and hash."""
MAX_BRACKETS = 2**19
"""Limit on the opening brackets in one body, in strings or not: only decoding tells them apart, which takes a quarter
of a second for as many objects. No model's context has room for as many."""
MAX_COMMAS = 2**20
"""The same for commas, which separate values."""

_PARTS = frozenset({dict, list})
_TOO_MANY_PARTS = "The JSON body of your request has too many objects and arrays"
_TOO_MANY_VALUES = "The JSON body of your request has too many values"
_NEUTRAL = (("ignore_eos", False), ("usage", {"include": True}))
"""Parameters that change nothing with these values, which benchmarks of inference servers always send, and litellm's
OpenRouter provider: every answer has its usage."""


def decode(body: bytes) -> dict[str, Json]:
    """Decode a JSON object; raises 400 for anything else, and for one that is too large or nested too deeply.

    Parameters that change nothing are left out. A ``top_k`` of 20.0, as Google's ADK writes it, is 20.
    """
    brackets = _count_brackets(body)
    if brackets > MAX_BRACKETS:
        raise invalid_request(_TOO_MANY_PARTS)
    if len(body) > MAX_COMMAS and len(body) - len(body.replace(b",", b"", MAX_COMMAS + 1)) > MAX_COMMAS:
        raise invalid_request(_TOO_MANY_VALUES)
    try:
        decoded = msgspec.json.decode(body) if len(body) <= long_json.SHORT else long_json.decode_long(body)
    except UnicodeDecodeError:
        raise invalid_request("We could not parse the JSON body of your request: it is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise invalid_request(f"We could not parse the JSON body of your request: {error}") from None
    except RecursionError:
        raise invalid_request("The JSON body of your request is nested too deeply") from None
    if not isinstance(decoded, dict):
        raise invalid_request("The body of your request must be a JSON object")
    if brackets > MAX_DEPTH or len(body) > MAX_VALUES:
        _check_size(decoded)
    for name, value in _NEUTRAL:
        if decoded.get(name) == value:
            del decoded[name]
    if isinstance(top_k := decoded.get("top_k"), float) and top_k.is_integer():
        decoded["top_k"] = int(top_k)
    return decoded


def _count_brackets(body: bytes) -> int:
    """The opening brackets in ``body``, of each kind up to one more than MAX_DEPTH if there cannot be MAX_BRACKETS.

    ``bytes.replace`` finds the few of a text far sooner than ``bytes.count``.
    """
    most = 1 + (MAX_BRACKETS if len(body) > MAX_BRACKETS else MAX_DEPTH)
    return len(body) - len(body.replace(b"{", b"", most).replace(b"[", b"", most))


def _check_size(value: Json) -> None:
    """Raise 400 for more than MAX_VALUES values or MAX_PARTS objects and arrays, and for nesting beyond MAX_DEPTH."""
    level, count, values = [value], 1, 0
    for _ in range(MAX_DEPTH):
        parts = [outer.values() if isinstance(outer, dict) else outer for outer in level]
        values += sum(map(len, parts))
        if values > MAX_VALUES:
            raise invalid_request(_TOO_MANY_VALUES)
        level = [inner for part in parts for inner in part if type(inner) in _PARTS]
        if not level:
            return
        count += len(level)
        if count > MAX_PARTS:
            raise invalid_request(_TOO_MANY_PARTS)
    raise invalid_request("The JSON body of your request is nested too deeply")
