"""Chat completions as deltas, complete or in chunks (facts/providers.md 2, 6, 7, 8)."""

from collections.abc import Iterable

import msgspec

from gateway.openai_api.deltas import Delta, Finish, MessageField, Reasoning, Refusal, Text, UpstreamMetadata
from gateway.openai_api.errors import GatewayError, upstream_error, upstream_truncated
from gateway.openai_api.request import Tool
from gateway.upstreams.error_rules import map_error
from gateway.upstreams.openai.chunk_template import ChunkTemplate
from gateway.upstreams.openai.dialects import Dialect
from gateway.upstreams.openai.think_tags import ThinkTagParser
from gateway.upstreams.openai.tool_calls import ToolCallDecoder
from gateway.upstreams.openai.tools import tool_names
from gateway.upstreams.openai.usage import usage_of
from gateway.upstreams.openai.wire import (
    Chunk,
    Function,
    Logprobs,
    Message,
    ToolCall,
    decode_broken_chunk,
    decode_chunk,
)
from gateway.upstreams.sse import Event
from gateway.upstreams.vendor_errors import parse_embedded

_FINISH_REASONS = frozenset({"length", "content_filter"})
"""Besides ``stop``, which all others become, and ``tool_calls``."""
_CALLED = frozenset({"", "tool_calls", "function_call"})
"""Finish reasons for ``tool_calls``, if there are any."""
_ABORTED = frozenset({"abort", "error"})
"""Finish reasons of vLLM, SGLang and routers for a response that they could not complete."""
_MAX_TEMPLATES = 4
"""Templates tried in one stream."""
_MAX_TEMPLATE_BYTES = 4096
"""Longest chunk that a template is made of: the search takes a hundred times the memory of what it runs over."""


class OpenAIDecoder:
    """Decodes one response. Finish reasons are held back until the end, because usage comes after them.

    ``tools`` are the caller's. ``complete`` marks a response in one piece; a stream is complete when each choice has
    a finish reason or ``[DONE]`` came.
    """

    def __init__(self, dialect: Dialect, tools: list[Tool] | None = None, *, complete: bool = False) -> None:
        self._dialect = dialect
        self._tools = tools
        self._finish: dict[int, str] = {}
        self._tool_calls: dict[int, ToolCallDecoder] = {}
        self._think_tags: dict[int, ThinkTagParser] = {}
        self._metadata: tuple[str | None, str | None, str | None] | None = None
        self._service_tier = ""
        self._complete = self._done = complete
        self._template: ChunkTemplate | None = None
        self._template_choice = 0
        self._templates_left = 0 if dialect.think_tags else _MAX_TEMPLATES

    def feed(self, event: Event) -> Iterable[Delta]:
        data = event.data
        if self._template is not None and (text := self._template.text(data)) is not None:
            return (Text(text, self._template_choice),) if text else ()
        if data == b"[DONE]":
            self._done = True
            return ()
        deltas = self.decode(data) if data else []
        if (
            self._templates_left
            and len(deltas) == 1
            and isinstance(deltas[0], Text)
            and len(data) <= _MAX_TEMPLATE_BYTES
        ):
            self._make_template(data, deltas[0])
        return deltas

    def _make_template(self, data: bytes, known: Text) -> None:
        def text_of(other: bytes) -> str | None:
            match self.decode(other):
                case [Text(text=text, choice=known.choice, logprobs=None)]:
                    return text
            return None

        self._templates_left -= 1
        self._template = ChunkTemplate.from_chunk(data, known.text, text_of)
        self._template_choice = known.choice

    def decode(self, data: bytes) -> list[Delta]:
        """The deltas of one JSON object, a chunk or a complete response."""
        try:
            chunk = decode_chunk(data)
        except (ValueError, RecursionError):
            chunk = decode_broken_chunk(data)
        if chunk.error:
            raise self._error(chunk)
        deltas: list[Delta] = []
        metadata = (chunk.model, chunk.service_tier, chunk.system_fingerprint)
        if self._metadata != metadata:
            self._metadata = metadata
            self._service_tier = chunk.service_tier or self._service_tier
            self._template = None
            deltas.append(
                UpstreamMetadata(
                    model=chunk.model, service_tier=chunk.service_tier, system_fingerprint=chunk.system_fingerprint
                )
            )
        for choice in chunk.choices or ():
            index, message = choice.index, choice.delta or choice.message
            if choice.finish_reason:
                self._finish[index] = choice.finish_reason
            elif index not in self._finish:
                self._finish[index] = ""
            if message is None:
                continue
            if choice.logprobs is not None or self._dialect.think_tags or message != Message(content=message.content):
                deltas += self._message(index, message, choice.logprobs)
            elif message.content:
                deltas.append(Text(message.content, index))
        usage = chunk.usage
        if usage is not None and (usage.prompt_tokens is not None or usage.completion_tokens is not None):
            deltas.append(usage_of(usage, self._service_tier, reasoning_counted=self._dialect.reasoning_counted))
        if chunk.moderation:
            deltas.append(UpstreamMetadata(moderation=chunk.moderation))
        return deltas

    def finish(self) -> list[Delta]:
        reasons = self._finish.values()
        if self._complete and not reasons:
            raise upstream_error("upstream_bad_response", "The upstream's response has no choices")
        if not reasons or (not self._done and "" in reasons) or not _ABORTED.isdisjoint(reasons):
            raise upstream_truncated()
        deltas: list[Delta] = []
        for index, reason in self._finish.items():
            if index in self._think_tags:
                deltas += self._think_tags[index].finish()
            calls = self._tool_calls.get(index)
            if calls:
                deltas += calls.finish()
            if calls and reason in _CALLED:
                deltas.append(Finish("tool_calls", index))
            else:
                deltas.append(Finish(reason if reason in _FINISH_REASONS else "stop", index))
        return deltas

    def _message(self, index: int, message: Message, logprobs: Logprobs | None) -> list[Delta]:
        deltas: list[Delta] = []
        if reasoning := message.reasoning_content or message.reasoning:
            deltas.append(Reasoning(text=reasoning, choice=index))
        if message.content or logprobs:
            text = message.content or ""
            if self._dialect.think_tags:
                deltas += self._think_tags.setdefault(index, ThinkTagParser(index)).feed(text)
            else:
                deltas.append(Text(text, index, None if logprobs is None else msgspec.structs.asdict(logprobs)))
        if message.refusal:
            deltas.append(Refusal(message.refusal, index))
        if fragments := message.tool_calls or _from_function_call(message.function_call):
            calls = self._tool_calls.get(index)
            if calls is None:
                calls = ToolCallDecoder(index, tool_names(self._tools), complete=self._complete)
                self._tool_calls[index] = calls
            for fragment in fragments:
                deltas += calls.feed(fragment)
        for name in ("annotations", "audio", "encrypted_content"):
            if value := getattr(message, name):
                deltas.append(MessageField(name, value, index))
        return deltas

    def _error(self, chunk: Chunk) -> GatewayError:
        """An error inside a response with status 200."""
        error = {"error": chunk.error, "code": chunk.code, "type": chunk.type}
        return map_error(self._dialect.errors, parse_embedded(error))


def _from_function_call(call: Function | None) -> list[ToolCall]:
    """A ``function_call`` as tool calls; some vendors send an empty one beside other content."""
    return [ToolCall(function=call)] if call is not None and (call.name or call.arguments) else []
