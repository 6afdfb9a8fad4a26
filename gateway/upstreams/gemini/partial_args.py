"""Arguments of a function call that arrive in pieces, each with the JSON path where it belongs (RFC 9535).

Strings grow: a piece at the path of the piece before it, which announced that it will continue, is appended.
"""

import re
from itertools import pairwise
from typing import Any

from gateway.upstreams.gemini.wire import PartialArg

_STEP = re.compile(r"""\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]""")


class PartialArguments:
    """The object that the pieces of one call build. Raises ValueError for a path that fits no JSON value."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}

    def add(self, piece: PartialArg) -> None:
        """Put one piece in its place."""
        steps = _steps(piece.json_path)
        container: Any = self.value
        for step, following in pairwise(steps):
            container = _enter(container, step, [] if isinstance(following, int) else {})
        _place(container, steps[-1], _value(piece))


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 1
    while match := _STEP.match(path, position):
        steps.append(int(match["index"]) if match["index"] else match["name"] or match["quoted"])
        position = match.end()
    if not steps or position != len(path) or path[0] != "$":
        raise ValueError(f"not a path to an argument: {path!r}")
    return steps


def _value(piece: PartialArg) -> Any:
    if piece.string_value is not None:
        return piece.string_value
    if piece.bool_value is not None:
        return piece.bool_value
    if piece.number_value is not None:
        return int(piece.number_value) if piece.number_value.is_integer() else piece.number_value
    return None


def _enter(container: Any, step: str | int, empty: Any) -> Any:
    if isinstance(container, dict) and isinstance(step, str):
        return container.setdefault(step, empty)
    if isinstance(container, list) and isinstance(step, int) and step <= len(container):
        if step == len(container):
            container.append(empty)
        return container[step]
    raise ValueError(f"no place for {step!r}")


def _place(container: Any, step: str | int, value: Any) -> None:
    before = _enter(container, step, None)
    container[step] = before + value if isinstance(before, str) and isinstance(value, str) else value
