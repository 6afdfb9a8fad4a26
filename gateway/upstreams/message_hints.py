"""Hints inside messages and tools that some vendors do not support."""

from collections.abc import Iterator
from typing import Any

NAME = "messages.name"
DETAIL = "messages.image_url.detail"
CACHE_CONTROL = "messages.cache_control"
CACHE_BREAKPOINT = "messages.prompt_cache_breakpoint"


def in_messages(messages: list[dict[str, Any]], supported: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """The hints in ``messages`` without the ``supported`` ones; not a tool's name, which its tool_call_id implies."""
    hints: dict[str, None] = {}
    for message in messages:
        if message.get("name") is not None and message["role"] != "tool":
            hints[NAME] = None
        if _is_marked(message) or ("tool_calls" in message and any(map(_is_marked, message["tool_calls"] or ()))):
            hints[CACHE_CONTROL] = None
        if type(content := message.get("content")) is list:
            for part in content:
                hints |= dict.fromkeys(_in_part(part))
    return tuple(hint for hint in hints if hint not in supported) if hints else ()


def in_tools(tools: list[dict[str, Any]]) -> tuple[str, ...]:
    """The hints in ``tools`` that only Anthropic supports."""
    holders = [*tools, *(tool["function"] for tool in tools if tool["type"] == "function")]
    return ("tools.cache_control",) if any(map(_is_marked, holders)) else ()


def _is_marked(holder: dict[str, Any]) -> bool:
    return holder.get("cache_control") is not None


def _in_part(part: dict[str, Any]) -> Iterator[str]:
    """``auto`` is every vendor's default detail."""
    if part["type"] == "image_url" and part["image_url"].get("detail") not in (None, "auto"):
        yield DETAIL
    if _is_marked(part):
        yield CACHE_CONTROL
    if part.get("prompt_cache_breakpoint") is not None:
        yield CACHE_BREAKPOINT
