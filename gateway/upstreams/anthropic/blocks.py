"""Decoders of content blocks (facts/providers.md 3.11, 12.2)."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from gateway.openai_api.deltas import Delta, MessageField, Reasoning, ToolCallArguments, ToolCallStart
from gateway.upstreams.anthropic.output import Fields, Output
from gateway.upstreams.anthropic.partial_json import completion
from gateway.upstreams.anthropic.replay import FORMAT
from gateway.upstreams.anthropic.tools import JSON_TOOL


def string(fields: Fields, key: str) -> str:
    """The text under ``key``, empty where there is none; TypeError for anything that is no text."""
    value = fields.get(key) or ""
    if not isinstance(value, str):
        raise TypeError(key)
    return value


class BlockDecoder(Protocol):
    """Decodes one content block. ``start`` gets the initial block, which in a complete message is all of it."""

    def start(self, block: Fields) -> Iterable[Delta]: ...

    def feed(self, delta: Fields) -> Iterable[Delta]: ...

    def stop(self) -> Iterable[Delta]: ...


def decode_block(output: Output, block: Fields) -> Iterable[Delta]:
    """The deltas of a complete block."""
    if block.get("type") == "text" and not block.get("citations"):
        return output.text(string(block, "text"))
    decoder = block_decoder(output, block)
    return (*decoder.start(block), *decoder.stop())


def block_decoder(output: Output, block: Fields) -> BlockDecoder:
    """The decoder for ``block``; types without a counterpart in chat completions have no deltas."""
    match block.get("type"):
        case "text":
            return _TextBlock(output)
        case "thinking":
            return _ThinkingBlock(output)
        case "redacted_thinking":
            return _RedactedThinkingBlock(output)
        case "tool_use":
            return _JsonToolBlock(output) if block.get("name") == JSON_TOOL else _ToolUseBlock(output)
    output.hides_blocks = True
    return _IgnoredBlock()


class _IgnoredBlock:
    """Server-side tools, their results, and unknown types."""

    def start(self, block: Fields) -> Iterable[Delta]:
        return ()

    def feed(self, delta: Fields) -> Iterable[Delta]:
        return ()

    def stop(self) -> Iterable[Delta]:
        return ()


class _TextBlock:
    """Text; its web citations become OpenAI's ``annotations`` over the whole block."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._start = output.length
        self._citations: list[Fields] = []

    def start(self, block: Fields) -> Iterable[Delta]:
        self._citations += block.get("citations") or []
        return self._output.text(string(block, "text"))

    def feed(self, delta: Fields) -> Iterable[Delta]:
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
                    "start_index": self._start,
                    "end_index": self._output.length,
                },
            }
            for citation in self._citations
            if citation.get("type") == "web_search_result_location"
        ]
        return (MessageField("annotations", annotations),) if annotations else ()


class _ThinkingBlock:
    """Thinking and its signature, which names model and place; omitted thinking is empty with a signature."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._index = output.next_thinking_index()
        self._place = output.place
        self._thinking: list[str] = []
        self._signature: list[str] = []

    def start(self, block: Fields) -> Iterable[Delta]:
        return self._delta(string(block, "thinking"), string(block, "signature"))

    def feed(self, delta: Fields) -> Iterable[Delta]:
        kind = delta.get("type")
        if kind == "thinking_delta":
            return self._delta(string(delta, "thinking"), "")
        if kind == "signature_delta":
            return self._delta("", string(delta, "signature"))
        return ()

    def stop(self) -> Iterable[Delta]:
        if signature := "".join(self._signature):
            block = {"type": "thinking", "thinking": "".join(self._thinking), "signature": signature}
            self._output.add_thinking(block, self._place)
        return ()

    def _delta(self, text: str, signature: str) -> Iterable[Delta]:
        if not text and not signature:
            return ()
        self._thinking.append(text)
        self._signature.append(signature)
        model = self._output.model + self._place if signature else None
        return (Reasoning(text=text, signature=signature or None, id=model, format=FORMAT, index=self._index),)


class _RedactedThinkingBlock(_IgnoredBlock):
    """Encrypted thinking, complete in the initial block."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._index = output.next_thinking_index()

    def start(self, block: Fields) -> Iterable[Delta]:
        data, place = string(block, "data"), self._output.place
        self._output.add_thinking({"type": "redacted_thinking", "data": data}, place)
        return (Reasoning(data=data, id=self._output.model + place, format=FORMAT, index=self._index),)


class _JsonBuffer:
    """Collects fragments of JSON; the first is often empty."""

    def __init__(self) -> None:
        self._fragments: list[str] = []

    def start(self, block: Fields) -> str:
        """The JSON of the initial block's input; the ``{}`` of a streamed block is a placeholder."""
        return self.append(msgspec.json.encode(block["input"]).decode()) if block.get("input") else ""

    def append(self, fragment: str) -> str:
        self._fragments.append(fragment)
        return fragment

    def finish(self) -> str:
        """What completes the JSON: ``{}`` if there was nothing, the missing end if it was truncated."""
        text = str(self)
        try:
            msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return self.append(completion(text))
        return ""

    def __str__(self) -> str:
        return "".join(self._fragments)


class _ToolUseBlock:
    """A call of one of the caller's tools."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._index = output.next_call_index()
        self._arguments = _JsonBuffer()
        self._id = self._name = ""

    def start(self, block: Fields) -> Iterable[Delta]:
        self._id, self._name = string(block, "id"), self._output.names.inbound(string(block, "name"))
        start = ToolCallStart(index=self._index, id=self._id, name=self._name)
        return (start, *self._delta(self._arguments.start(block)))

    def feed(self, delta: Fields) -> Iterable[Delta]:
        if delta.get("type") == "input_json_delta":
            return self._delta(self._arguments.append(string(delta, "partial_json")))
        return ()

    def stop(self) -> Iterable[Delta]:
        rest = self._delta(self._arguments.finish())
        self._output.calls.append((self._id, self._name, str(self._arguments)))
        return rest

    def _delta(self, fragment: str) -> Iterable[Delta]:
        return (ToolCallArguments(self._index, fragment),) if fragment else ()


class _JsonToolBlock:
    """The call of the tool that emulates structured output: its input is the answer's text."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._input = _JsonBuffer()

    def start(self, block: Fields) -> Iterable[Delta]:
        return self._output.text(self._input.start(block))

    def feed(self, delta: Fields) -> Iterable[Delta]:
        if delta.get("type") == "input_json_delta":
            return self._output.text(self._input.append(string(delta, "partial_json")))
        return ()

    def stop(self) -> Iterable[Delta]:
        return self._output.text(self._input.finish())
