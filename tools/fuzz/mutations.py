"""Generates and mutates JSON values and bytes."""

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
    """A random small JSON value."""
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


def mutate_json(random: Random, value: Json, changes: int = 1) -> Json:
    """A copy of ``value`` with ``changes`` members replaced, removed, duplicated or moved."""
    return mutate_tree(random, value, changes, json_value)


def mutate_tree(random: Random, value: Any, changes: int, generate: Callable[[Random], Any]) -> Any:
    """The same for any tree of dicts and lists; replacements are drawn from ``generate``."""
    copy = _copy(value)
    for _ in range(changes):
        copy = _mutate_once(random, copy, generate)
    return copy


def _mutate_once(random: Random, value: Any, generate: Callable[[Random], Any]) -> Any:
    places = [(container, key) for container in _containers(value) for key in _keys(container)]
    if not places:
        return generate(random)
    container, key = random.choice(places)
    match random.randrange(6):
        case 0:
            del container[key]
        case 1:
            other, place = random.choice(places)
            container[key] = _copy(other[place]) if place in _keys(other) else None
        case 2 if isinstance(container, list):
            container.insert(key, _copy(container[key]))
        case 2:
            container[random.choice(_ODD_STRINGS)] = generate(random)
        case 3:
            container[key] = [container[key]]
        case _:
            container[key] = generate(random)
    return value


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copy(item) for key, item in tree.items()}
    return [_copy(item) for item in tree] if isinstance(tree, list) else tree


def _containers(value: Json) -> list[Json]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [container for item in inner for container in _containers(item)]


def _keys(container: Json) -> Sequence[Any]:
    return list(container) if isinstance(container, dict) else range(len(container))


def mutate_bytes(random: Random, data: bytes, changes: int = 1) -> bytes:
    """``data`` with bits flipped, or bytes removed, inserted, duplicated or truncated."""
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


def insert_invalid_utf8(random: Random, data: bytes) -> bytes:
    """``data`` with bytes that are not UTF-8 after one of its quotes."""
    place = random.choice([place + 1 for place, byte in enumerate(data) if byte == ord('"')] or [0])
    return data[:place] + random.choice((b"\xff", b"\xc3", b"\xed\xa0\x80")) + data[place:]


def split(random: Random, data: bytes) -> list[bytes]:
    """``data`` split at random positions."""
    cuts = sorted(random.randint(0, len(data)) for _ in range(random.randrange(6)))
    if random.random() < 0.1:
        return [data[place : place + 1] for place in range(len(data))]
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
