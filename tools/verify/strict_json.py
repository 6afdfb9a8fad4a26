"""Strict JSON parsing: anything on which two parsers could disagree is rejected."""

import json
import re
from typing import Any, NoReturn

from tools.verify.errors import MalformedError

Json = Any

MAX_DEPTH = 200

_BRACKET_OR_STRING = re.compile(rb'[\[{]|[\]}]|"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def loads(data: bytes) -> Json:
    """Decode UTF-8 JSON.

    Raises MalformedError with a one-line message for malformed JSON, a duplicate key, NaN, Infinity, or more than
    MAX_DEPTH levels (counted here, because a raised recursion limit could exceed the stack).
    """
    if _depth(data) > MAX_DEPTH:
        raise MalformedError("nested too deeply")
    try:
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise MalformedError("not JSON that can be parsed: a number is too long") from None


def loads_object(data: bytes) -> dict[str, Json]:
    """Like ``loads``, for a document that must be an object."""
    value = loads(data)
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise MalformedError(f"JSON in which {next(key for key in keys if keys.count(key) > 1)!r} appears twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedError(f"not JSON, which has no {name}")


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for match in _BRACKET_OR_STRING.finditer(data):
        if match[0] in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in (b"]", b"}"):
            depth -= 1
    return deepest
