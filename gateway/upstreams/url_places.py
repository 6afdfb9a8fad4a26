"""Where URLs are in what the caller sent, so that errors can name the parameter."""

from collections.abc import Collection
from typing import Any, NamedTuple


class Place(NamedTuple):
    """The JSON path of a URL's first occurrence, and their number: the request to the vendor has the file at each."""

    param: str
    occurrences: int = 1


def places_of(urls: Collection[str], messages: list[Any]) -> dict[str, Place]:
    """The place of each of ``urls`` in a request's ``messages``, found in one walk through all of them."""
    places: dict[str, Place] = {}
    pending: list[tuple[Any, tuple[Any, ...]]] = [(messages, ())]
    wanted = frozenset(urls)
    while pending:
        outer, place = pending.pop()
        inner = []
        for key, value in outer.items() if isinstance(outer, dict) else enumerate(outer):
            if isinstance(value, str):
                if value in wanted:
                    first, count = places.get(value, (None, 0))
                    places[value] = Place(first or _json_path((place, key)), count + 1)
            elif value and isinstance(value, dict | list):
                inner.append((value, (place, key)))
        pending += reversed(inner)
    return {url: places.get(url, Place("messages")) for url in urls}


def _json_path(place: tuple[Any, ...]) -> str:
    """The path of ``(outer place, key)``, the place of the messages being empty."""
    if not place:
        return "messages"
    outer, key = place
    return _json_path(outer) + (f".{key}" if isinstance(key, str) else f"[{key}]")
