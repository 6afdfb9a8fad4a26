"""Inputs out of order: bytes and JSON values, made up or mangled."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Json = Any

_ODD_STRINGS = (
    "",
    " ",
    "\n",
    "\x00",
    "\u00e9",
    "\U0001f600",
    "\u202e",
    "\ufeff",
    "a" * 300,
    "data: x\n\n",
    "[DONE]",
    "<think>",
    "</think>",
    '"',
    "{}",
    '{"a":1}',
    "[" * 50,
    "../..",
    "0x" + "0" * 40,
    "data:image/png;base64,iVBORw0KGgo=",
    "https://example.com/a.png",
    "auto",
    "none",
    "high",
    "text",
    "function",
    "-1",
    "1e999",
)
_ODD_NUMBERS = (
    0,
    1,
    -1,
    2,
    16,
    128,
    129,
    2**31,
    2**53,
    2**63,
    -(2**63),
    2**64,
    10**30,
    0.0,
    -0.0,
    0.5,
    1.0,
    1e-9,
    1e300,
)
_TOKENS = (
    b"\n",
    b"\r\n",
    b"\n\n",
    b"data:",
    b"data: ",
    b"event: ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b"null",
    b"\xff",
    b"\xef\xbb\xbf",
    b"[DONE]",
    b"\\u",
    b"\x00",
)


def json_value(random: Random, depth: int = 3) -> Json:
    """A small JSON value of any kind."""
    kind = random.randrange(7 if depth else 5)
    if kind == 0:
        return random.choice((None, True, False))
    if kind in (1, 2):
        return random.choice(_ODD_NUMBERS)
    if kind in (3, 4):
        return random.choice(_ODD_STRINGS)
    size = random.randrange(4)
    if kind == 5:
        return [json_value(random, depth - 1) for _ in range(size)]
    return {random.choice(_ODD_STRINGS): json_value(random, depth - 1) for _ in range(size)}


def mangled_json(random: Random, value: Json, changes: int = 1) -> Json:
    """A copy of ``value`` in which some places are replaced, lost, repeated or moved."""
    return mangled(random, value, changes, json_value)


def mangled(random: Random, value: Any, changes: int, fresh: Callable[[Random], Any]) -> Any:
    """The same for any tree of dicts and lists, with what ``fresh`` makes in the replaced places."""
    copy = _copy(value)
    for _ in range(changes):
        copy = _changed(random, copy, fresh)
    return copy


def _changed(random: Random, value: Any, fresh: Callable[[Random], Any]) -> Any:
    places = [(holder, key) for holder in _holders(value) for key in _keys(holder)]
    if not places:
        return fresh(random)
    holder, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del holder[key]
        case 1:
            other, place = random.choice(places)
            holder[key] = _copy(other[place]) if place in _keys(other) else None
        case 2 if isinstance(holder, list):
            holder.insert(key, _copy(holder[key]))
        case 2:
            holder[random.choice(_ODD_STRINGS)] = fresh(random)
        case 3:
            holder[key] = [holder[key]]
        case _:
            holder[key] = fresh(random)
    return value


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copy(item) for key, item in tree.items()}
    return [_copy(item) for item in tree] if isinstance(tree, list) else tree


def _holders(value: Json) -> list[Json]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [holder for item in inner for holder in _holders(item)]


def _keys(holder: Json) -> Sequence[Any]:
    return list(holder) if isinstance(holder, dict) else range(len(holder))


def mangled_bytes(random: Random, data: bytes, changes: int = 1) -> bytes:
    """``data`` with bytes flipped, cut out, put in, repeated, or with its end lost."""
    for _ in range(changes):
        a, b = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        match random.randrange(6):
            case 0 if data:
                place = random.randrange(len(data))
                data = data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]
            case 1:
                data = data[:a] + data[min(b, a + 40) :]
            case 2:
                data = data[:a] + data[a : min(b, a + 200)] + data[a:]
            case 3:
                data = data[:a]
            case _:
                data = data[:a] + random.choice(_TOKENS) + data[a:]
    return data


def no_text(random: Random, data: bytes) -> bytes:
    """``data`` with bytes that are no UTF-8 behind one of its quotes."""
    place = random.choice([place + 1 for place, byte in enumerate(data) if byte == ord('"')] or [0])
    return data[:place] + random.choice((b"\xff", b"\xc3", b"\xed\xa0\x80")) + data[place:]


def pieces(random: Random, data: bytes) -> list[bytes]:
    """``data`` cut anywhere."""
    cuts = sorted(random.randint(0, len(data)) for _ in range(random.randrange(6)))
    if random.random() < 0.1:
        return [data[place : place + 1] for place in range(len(data))]
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
