"""Anthropic messages as deltas, complete or as stream events (facts/providers.md 3.11, 3.12, 12.2)."""

from collections.abc import Callable, Iterable

import msgspec

from gateway.openai_api.deltas import Delta, Finish, Paused, Refusal, UpstreamMetadata
from gateway.openai_api.errors import upstream_truncated, upstream_undecodable
from gateway.upstreams.anthropic import errors
from gateway.upstreams.anthropic.blocks import BlockDecoder, block_decoder, decode_block, string
from gateway.upstreams.anthropic.output import Fields, Output
from gateway.upstreams.anthropic.turn_recorder import TurnRecorder
from gateway.upstreams.anthropic.usage import UsageCounter
from gateway.upstreams.lenient_json import decode_repaired
from gateway.upstreams.sse import Event

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}

_BILLED_REFUSALS = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
"""The categories of refusals that Anthropic bills even before any output, since September 24, 2026; it bills no others
(platform.claude.com/docs/en/build-with-claude/refusals-and-fallback#how-refusals-are-billed)."""

_decode = msgspec.json.Decoder().decode


class AnthropicDecoder:
    """Decodes one message. ``on_tool_calls`` is called at the end of a message with tool calls.

    ``recorder``, given where the vendor may pause, records the message to be sent back; without it ``pause_turn``
    becomes ``length``. ``paused`` is the answer that this one resumes. If a stream starts its message a second time, as
    some proxies do, the first id is kept, the last usage counts, and blocks go on, unless they are numbered anew.
    """

    def __init__(
        self,
        output: Output,
        on_tool_calls: Callable[[Output], None],
        *,
        caches_for_an_hour: Callable[[], bool],
        recorder: TurnRecorder | None = None,
        paused: Paused | None = None,
    ) -> None:
        self._output = output
        self._on_tool_calls = on_tool_calls
        self._recorder = recorder
        self._paused = paused
        self._pausing = False
        self._usage = UsageCounter(caches_for_an_hour)
        self._blocks: dict[int, BlockDecoder] = {}
        self._message_id: str | None = None
        self._restarted = False
        self._stopped = False
        self._finish_reason = "stop"

    def feed(self, event: Event) -> Iterable[Delta]:
        """The deltas of one event; unknown types, ``ping`` among them, have none."""
        try:
            return self._event(decode_repaired(_decode, event.data))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise upstream_undecodable() from None

    def decode(self, body: bytes) -> Iterable[Delta]:
        """The deltas of a complete message."""
        try:
            message = decode_repaired(_decode, body)
            if message["type"] == "error":
                raise errors.from_event(message)
            deltas = [*self._start_message(message), *self._content(message["content"])]
            deltas += self._message_delta(message, message.get("usage"))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise upstream_undecodable() from None
        self._stopped = True
        return deltas

    def finish(self) -> Iterable[Delta]:
        """The end of the message, held back until the end of the stream. Raises upstream_truncated if it is missing."""
        if not self._stopped:
            raise upstream_truncated()
        deltas: list[Delta] = []
        if (provisional := self._usage.provisional()) is not None:
            deltas.append(provisional)
        if self._pausing and (paused := self._pause()) is not None:
            return [*deltas, paused]
        deltas += self._output.finish()
        if self._output.calls:
            self._on_tool_calls(self._output)
        reason = "stop" if self._finish_reason == "tool_calls" and not self._output.called else self._finish_reason
        return [*deltas, Finish(reason)]

    def _pause(self) -> Paused | None:
        """The answer so far; None when it cannot be resumed."""
        if self._recorder is None:
            return None
        try:
            content = self._recorder.content()
        except ValueError:
            return None
        before = self._paused
        return Paused(
            content=[*before.content, *content] if before else content,
            state=self._output,
            output_tokens=self._usage.update(None).completion_tokens + (before.output_tokens if before else 0),
        )

    def _event(self, fields: Fields) -> Iterable[Delta]:
        match fields["type"]:
            case "content_block_delta":
                if self._recorder is not None:
                    self._recorder.extend_block(fields["index"], fields["delta"])
                return self._blocks[fields["index"]].feed(fields["delta"])
            case "content_block_start":
                return self._block_start(fields["index"], fields["content_block"])
            case "content_block_stop":
                return self._block_stop(fields["index"])
            case "message_start":
                return self._message_start(fields["message"])
            case "message_delta":
                return self._message_delta(fields["delta"], fields.get("usage"))
            case "message_stop":
                self._stopped = True
                return self._close_blocks()
            case "error":
                raise errors.from_event(fields)
        return ()

    def _message_start(self, message: Fields) -> Iterable[Delta]:
        """A message may begin with blocks in it, and its end even, where code that Anthropic runs calls a tool."""
        repeated = self._message_id == string(message, "id")
        deltas = self._start_message(message)
        counts = message.get("usage")
        usage = self._usage.start(counts)
        if counts:  # without any counts, usage is estimated elsewhere rather than zero
            deltas.append(usage)
        if not repeated and (content := message.get("content")):
            deltas += [*self._content(content), *self._message_delta(message, None)]
        return deltas

    def _content(self, content: list[Fields]) -> Iterable[Delta]:
        """The deltas of complete blocks."""
        deltas: list[Delta] = []
        for index, block in enumerate(content):
            deltas += [*self._begin_block(index, block), *decode_block(self._output, block)]
        return deltas

    def _start_message(self, message: Fields) -> list[Delta]:
        """Start a message: the deltas of its fields, usage excepted."""
        self._restarted, self._message_id = self._message_id is not None, string(message, "id")
        answer_id = None if self._restarted or self._paused else self._message_id
        return [UpstreamMetadata(model=string(message, "model") or None, id=answer_id)]

    def _begin_block(self, index: int, block: Fields) -> Iterable[Delta]:
        """Record a block; the first of a message started again closes those before it, and returns their deltas."""
        closed: Iterable[Delta] = ()
        if self._restarted and index == 0:
            self._restarted = False
            closed = self._close_blocks()
            self._output.reset()
            self._recorder = self._recorder and TurnRecorder()
        if self._recorder is not None:
            self._recorder.start_block(index, block)
        return closed

    def _block_start(self, index: int, block: Fields) -> Iterable[Delta]:
        deltas = [*self._begin_block(index, block)]
        self._blocks[index] = decoder = block_decoder(self._output, block)
        deltas += decoder.start(block)
        if block.get("type") == "web_search_tool_result" and (usage := self._usage.search(block)) is not None:
            deltas.append(usage)
        return deltas

    def _block_stop(self, index: int) -> Iterable[Delta]:
        block = self._blocks.pop(index, None)
        return block.stop() if block is not None else ()

    def _message_delta(self, delta: Fields, usage: Fields | None) -> Iterable[Delta]:
        deltas: list[Delta] = []
        if (reason := delta.get("stop_reason")) is not None:
            self._finish_reason = _FINISH_REASONS.get(reason, "stop")
            self._pausing = reason == "pause_turn"
            if reason == "refusal":
                deltas += self._refusal(delta.get("stop_details") or {})
        if usage:
            deltas.append(self._usage.update(usage))
        return deltas

    def _refusal(self, details: Fields) -> Iterable[Delta]:
        if details.get("category") not in _BILLED_REFUSALS:
            self._usage.waive()
        explanation = string(details, "explanation")
        return (Refusal(explanation),) if explanation else ()

    def _close_blocks(self) -> Iterable[Delta]:
        """Stop the blocks that are still open."""
        return [delta for index in sorted(self._blocks) for delta in self._block_stop(index)]
