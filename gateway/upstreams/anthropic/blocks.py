"""The content blocks of an answer, each turned into deltas as it grows (facts/providers.md 3.11, 12.2)."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Protocol

import msgspec

from gateway.openai_api.deltas import Delta, MessageField, Reasoning, Text, ToolCallArguments, ToolCallStart
from gateway.openai_api.request import Tool
from gateway.upstreams.anthropic.fences import FenceStripper
from gateway.upstreams.anthropic.partial_json import completion
from gateway.upstreams.anthropic.replay import FORMAT
from gateway.upstreams.anthropic.tools import JSON_TOOL, name_map
from gateway.upstreams.name_map import NameMap

Fields = dict[str, Any]


def string(fields: Fields, key: str) -> str:
    """The text under ``key``, empty where there is none; TypeError for anything that is no text."""
    value = fields.get(key) or ""
    if not isinstance(value, str):
        raise TypeError(key)
    return value


class Output:
    """What the blocks of one answer share.

    ``tools`` are the caller's. ``calls`` are the finished tool calls as (id, name, arguments); ``thoughts`` the blocks
    to be sent back with them. ``message_id`` is the vendor's id of the message in which the answer was paused, if it
    was.
    """

    def __init__(self, tools: list[Tool] | None, fences: FenceStripper | None) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.thoughts: list[Fields] = []
        self.message_id: str | None = None
        self.length = 0
        self._tools = tools
        self._fences = fences
        self._call_count = 0
        self._thought_count = 0

    @cached_property
    def names(self) -> NameMap:
        """What the caller calls its tools; wanted only when one is called."""
        return name_map(self._tools)

    @property
    def called(self) -> bool:
        """A tool of the caller's was called."""
        return self._call_count > 0

    def next_call(self) -> int:
        self._call_count += 1
        return self._call_count - 1

    def next_thought(self) -> int:
        self._thought_count += 1
        return self._thought_count - 1

    def text(self, text: str) -> Iterable[Delta]:
        if self._fences is not None:
            text = self._fences.feed(text)
        if not text:
            return ()
        self.length += len(text)
        return (Text(text),)

    def finish(self) -> Iterable[Delta]:
        """Text held back until the answer's end."""
        text = "" if self._fences is None else self._fences.finish()
        return (Text(text),) if text else ()

    def forget(self) -> None:
        """The answer starts again: what came before belongs to another one."""
        self.calls.clear()
        self.thoughts.clear()


class BlockReader(Protocol):
    """One content block. ``start`` gets the block as it begins, which in a complete answer is all of it."""

    def start(self, block: Fields) -> Iterable[Delta]: ...

    def grow(self, delta: Fields) -> Iterable[Delta]: ...

    def stop(self) -> Iterable[Delta]: ...


def whole(output: Output, block: Fields) -> Iterable[Delta]:
    """The deltas of a block that came in one piece."""
    if block.get("type") == "text" and not block.get("citations"):
        return output.text(string(block, "text"))
    opened = reader(output, block)
    return (*opened.start(block), *opened.stop())


def reader(output: Output, block: Fields) -> BlockReader:
    """The reader for a block that begins; kinds that the client has no use for are swallowed."""
    match block.get("type"):
        case "text":
            return _Text(output)
        case "thinking":
            return _Thinking(output)
        case "redacted_thinking":
            return _RedactedThinking(output)
        case "tool_use":
            return _JsonAnswer(output) if block.get("name") == JSON_TOOL else _ToolUse(output)
    return _Hidden()


class _Hidden:
    """Server-side tools, their results, and what is not known yet."""

    def start(self, block: Fields) -> Iterable[Delta]:
        return ()

    def grow(self, delta: Fields) -> Iterable[Delta]:
        return ()

    def stop(self) -> Iterable[Delta]:
        return ()


class _Text:
    """Visible text; citations of web pages become OpenAI's ``annotations`` over the whole block."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._from = output.length
        self._citations: list[Fields] = []

    def start(self, block: Fields) -> Iterable[Delta]:
        self._citations += block.get("citations") or []
        return self._output.text(string(block, "text"))

    def grow(self, delta: Fields) -> Iterable[Delta]:
        kind = delta.get("type")
        if kind == "text_delta":
            return self._output.text(string(delta, "text"))
        if kind == "citations_delta":
            self._citations.append(delta["citation"])
        return ()

    def stop(self) -> Iterable[Delta]:
        if not self._citations:
            return ()
        annotations = [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": string(citation, "url"),
                    "title": string(citation, "title"),
                    "start_index": self._from,
                    "end_index": self._output.length,
                },
            }
            for citation in self._citations
            if citation.get("type") == "web_search_result_location"
        ]
        return (MessageField("annotations", annotations),) if annotations else ()


class _Thinking:
    """A thought and its signature; a thought kept from sight comes empty, with a signature."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._index = output.next_thought()
        self._block = {"type": "thinking", "thinking": "", "signature": ""}

    def start(self, block: Fields) -> Iterable[Delta]:
        return self._piece(string(block, "thinking"), string(block, "signature"))

    def grow(self, delta: Fields) -> Iterable[Delta]:
        kind = delta.get("type")
        if kind == "thinking_delta":
            return self._piece(string(delta, "thinking"), "")
        if kind == "signature_delta":
            return self._piece("", string(delta, "signature"))
        return ()

    def stop(self) -> Iterable[Delta]:
        if self._block["signature"]:
            self._output.thoughts.append(self._block)
        return ()

    def _piece(self, text: str, signature: str) -> Iterable[Delta]:
        if not text and not signature:
            return ()
        self._block["thinking"] += text
        self._block["signature"] += signature
        return (Reasoning(text=text, signature=signature or None, format=FORMAT, index=self._index),)


class _RedactedThinking(_Hidden):
    """A sealed thought, complete when it begins."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._index = output.next_thought()

    def start(self, block: Fields) -> Iterable[Delta]:
        data = string(block, "data")
        self._output.thoughts.append({"type": "redacted_thinking", "data": data})
        return (Reasoning(data=data, format=FORMAT, index=self._index),)


class _Json:
    """JSON that arrives in fragments, the first of which is often empty, and is whole JSON at the end."""

    def __init__(self) -> None:
        self._fragments: list[str] = []

    def take(self, block: Fields) -> str:
        """The text in a block that begins; the ``{}`` of a stream's block is a placeholder."""
        return self.more(msgspec.json.encode(block["input"]).decode()) if block.get("input") else ""

    def more(self, fragment: str) -> str:
        self._fragments.append(fragment)
        return fragment

    def rest(self) -> str:
        """What is missing at the end: ``{}`` where there was nothing, the other half of what broke off."""
        text = "".join(self._fragments)
        try:
            msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return self.more(completion(text))
        return ""

    def __str__(self) -> str:
        return "".join(self._fragments)


class _ToolUse:
    """A call of one of the caller's tools."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._index = output.next_call()
        self._arguments = _Json()
        self._id = self._name = ""

    def start(self, block: Fields) -> Iterable[Delta]:
        self._id, self._name = string(block, "id"), self._output.names.inbound(string(block, "name"))
        start = ToolCallStart(index=self._index, id=self._id, name=self._name)
        return (start, *self._more(self._arguments.take(block)))

    def grow(self, delta: Fields) -> Iterable[Delta]:
        if delta.get("type") == "input_json_delta":
            return self._more(self._arguments.more(string(delta, "partial_json")))
        return ()

    def stop(self) -> Iterable[Delta]:
        rest = self._more(self._arguments.rest())
        self._output.calls.append((self._id, self._name, str(self._arguments)))
        return rest

    def _more(self, fragment: str) -> Iterable[Delta]:
        return (ToolCallArguments(self._index, fragment),) if fragment else ()


class _JsonAnswer:
    """The call of the tool that stands in for structured output: its input is the answer's text."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._input = _Json()

    def start(self, block: Fields) -> Iterable[Delta]:
        return self._output.text(self._input.take(block))

    def grow(self, delta: Fields) -> Iterable[Delta]:
        if delta.get("type") == "input_json_delta":
            return self._output.text(self._input.more(string(delta, "partial_json")))
        return ()

    def stop(self) -> Iterable[Delta]:
        return self._output.text(self._input.rest())
