"""What the content blocks of one answer share while they are decoded."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from gateway.openai_api.deltas import Delta, Text
from gateway.openai_api.request import Tool
from gateway.upstreams.anthropic.fences import FenceStripper
from gateway.upstreams.anthropic.thoughts import place_after
from gateway.upstreams.anthropic.tools import tool_names
from gateway.upstreams.name_map import NameMap

Fields = dict[str, Any]


class Output:
    """State that the blocks of one answer share.

    ``tools`` are the caller's, ``model`` is the upstream id of the model that answers, and may search the web if it
    ``searches``. ``calls`` are the finished tool calls as (id, name, arguments), ``thinking_blocks`` the blocks to send
    back with them, and ``places`` where those were. ``length`` counts the characters of text. ``hides_blocks``: some
    blocks were not passed on.
    """

    def __init__(self, tools: list[Tool] | None, fences: FenceStripper | None, model: str, *, searches: bool) -> None:
        self.model = model
        self.calls: list[tuple[str, str, str]] = []
        self.thinking_blocks: list[Fields] = []
        self.places: list[str] = []
        self.hides_blocks = False
        self.length = 0
        self._tools = tools
        self._searches = searches
        self._fences = fences
        self._call_count = 0
        self._thinking_count = 0

    @cached_property
    def names(self) -> NameMap:
        """The map of the caller's tool names, built when a tool is called."""
        return tool_names(self._tools, searches=self._searches)

    @property
    def called(self) -> bool:
        """One of the caller's tools was called."""
        return self._call_count > 0

    def next_call_index(self) -> int:
        self._call_count += 1
        return self._call_count - 1

    def next_thinking_index(self) -> int:
        self._thinking_count += 1
        return self._thinking_count - 1

    @property
    def place(self) -> str:
        """The place of a block that begins now."""
        return place_after(self.length, None if self.hides_blocks else self._call_count)

    def add_thinking(self, block: Fields, place: str) -> None:
        self.thinking_blocks.append(block)
        self.places.append(place)

    def text(self, text: str) -> Iterable[Delta]:
        if self._fences is not None:
            text = self._fences.feed(text)
        if not text:
            return ()
        self.length += len(text)
        return (Text(text),)

    def finish(self) -> Iterable[Delta]:
        """Text that was held back until the end of the answer."""
        text = "" if self._fences is None else self._fences.finish()
        return (Text(text),) if text else ()

    def reset(self) -> None:
        """Forget the calls and thinking blocks of a message that the stream has replaced by another."""
        self.calls.clear()
        self.thinking_blocks.clear()
        self.places.clear()
