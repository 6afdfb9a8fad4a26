"""The lifetime of what a request has cached (facts/providers.md 3.9)."""

from collections.abc import Iterator
from typing import Any

from gateway.openai_api.messages import AssistantMessage
from gateway.openai_api.request import ChatRequest, FunctionTool

_LONG = "1h"
_DEFAULT = "5m"


def caches_for_an_hour(request: ChatRequest) -> bool:
    """The request has cache breakpoints, and all of them are for an hour."""
    return {mark.get("ttl") or _DEFAULT for mark in _breakpoints(request)} == {_LONG}


def _breakpoints(request: ChatRequest) -> Iterator[dict[str, Any]]:
    holders: list[Any] = [request, *request.messages]
    holders += [tool for tool in request.tools or () if isinstance(tool, FunctionTool)]
    for message in request.messages:
        if isinstance(message.content, list):
            holders += message.content
        if isinstance(message, AssistantMessage):
            holders += message.tool_calls or ()
    for holder in holders:
        mark = getattr(holder, "cache_control", None)
        if mark is not None:
            yield mark
