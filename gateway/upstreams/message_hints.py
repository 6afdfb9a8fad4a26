"""Hints inside messages that some vendors do not support."""

from typing import Any

NAME = "messages.name"
DETAIL = "messages.image_url.detail"


def find(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    """Those of NAME and DETAIL that occur in ``messages``; not a tool's name, which its tool_call_id implies."""
    hints: dict[str, None] = {}
    for message in messages:
        if message.get("name") is not None and message["role"] != "tool":
            hints[NAME] = None
        if type(content := message.get("content")) is list and any(map(_has_detail, content)):
            hints[DETAIL] = None
    return tuple(hints)


def _has_detail(part: dict[str, Any]) -> bool:
    """``auto`` is every vendor's default."""
    return part["type"] == "image_url" and part["image_url"].get("detail") not in (None, "auto")
