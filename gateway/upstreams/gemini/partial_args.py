"""Assembles the arguments of a function call from fragments, each with its JSON path (RFC 9535).

A string is extended by fragments at the same path.
"""

import re
from itertools import pairwise
from typing import Any

from gateway.upstreams.gemini.wire import PartialArg

_STEP = re.compile(r"""\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|\[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]""")


def extend(arguments: dict[str, Any], fragment: PartialArg) -> None:
    """Add one fragment to a call's ``arguments``. Raises ValueError for a path that does not fit them."""
    steps = _steps(fragment.json_path)
    container: Any = arguments
    for step, following in pairwise(steps):
        container = _descend(container, step, [] if isinstance(following, int) else {})
    _assign(container, steps[-1], _value(fragment))


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 1
    while match := _STEP.match(path, position):
        steps.append(int(match["index"]) if match["index"] else match["name"] or match["quoted"])
        position = match.end()
    if not steps or position != len(path) or path[0] != "$":
        raise ValueError(f"not a path to an argument: {path!r}")
    return steps


def _value(fragment: PartialArg) -> Any:
    if fragment.string_value is not None:
        return fragment.string_value
    if fragment.bool_value is not None:
        return fragment.bool_value
    if fragment.number_value is not None:
        return int(fragment.number_value) if fragment.number_value.is_integer() else fragment.number_value
    return None


def _descend(container: Any, step: str | int, empty: Any) -> Any:
    if isinstance(container, dict) and isinstance(step, str):
        return container.setdefault(step, empty)
    if isinstance(container, list) and isinstance(step, int) and step <= len(container):
        if step == len(container):
            container.append(empty)
        return container[step]
    raise ValueError(f"no place for {step!r}")


def _assign(container: Any, step: str | int, value: Any) -> None:
    previous = _descend(container, step, None)
    container[step] = previous + value if isinstance(previous, str) and isinstance(value, str) else value
