"""Hints that messages carry, for vendors that have no place for them."""

from typing import Any

NAME = "messages.name"
DETAIL = "messages.image_url.detail"


def find(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    """Those of NAME and DETAIL that occur in the caller's ``messages``; a tool's name is no hint, its id tells more."""
    hints: dict[str, None] = {}
    for message in messages:
        if message.get("name") is not None and message["role"] != "tool":
            hints[NAME] = None
        if type(content := message.get("content")) is list and any(map(_detailed, content)):
            hints[DETAIL] = None
    return tuple(hints)


def _detailed(part: dict[str, Any]) -> bool:
    """``auto`` is how closely a vendor looks when told nothing."""
    return part["type"] == "image_url" and part["image_url"].get("detail") not in (None, "auto")
