"""Anthropic's answers as deltas: a stream's events, or a complete message taken as if it were one
(facts/providers.md 3.11, 3.12, 12.2).
"""

from collections.abc import Callable, Iterable

import msgspec

from gateway.catalog import Model
from gateway.openai_api.deltas import Delta, Finish, Paused, Refusal, Served
from gateway.openai_api.errors import GatewayError, upstream_error
from gateway.upstreams.anthropic import errors
from gateway.upstreams.anthropic.blocks import BlockReader, Fields, Output, reader, string, whole
from gateway.upstreams.anthropic.turn import Turn
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

_decode = msgspec.json.Decoder().decode


class AnthropicDecoder:
    """One answer. ``done`` is called with the output of one that came to its end and calls tools.

    ``turn``, where the vendor may pause, keeps what has to be sent back then; without it ``pause_turn`` is ``length``.
    ``paused`` is what this answer goes on from. A stream in which the answer begins anew, as some proxies send it,
    keeps the id of the first and the usage of the last beginning; what was open is closed.
    """

    def __init__(
        self,
        model: Model,
        output: Output,
        done: Callable[[Output], None],
        *,
        turn: Turn | None = None,
        paused: Paused | None = None,
    ) -> None:
        self._model = model
        self._output = output
        self._done = done
        self._turn = turn
        self._paused = paused
        self._pausing = False
        self._usage = UsageCounter()
        self._blocks: dict[int, BlockReader] = {}
        self._current: str | None = None
        self._stopped = False
        self._finish = "stop"

    def feed(self, event: Event) -> Iterable[Delta]:
        """The deltas of one event. Unknown types, ``ping`` among them, say nothing."""
        try:
            try:
                fields = _decode(event.data)
            except ValueError:
                fields = decode_repaired(_decode, event.data)
            return self._take(fields)
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise _unreadable() from None

    def complete(self, body: bytes) -> Iterable[Delta]:
        """The deltas of a complete message."""
        try:
            try:
                message = _decode(body)
            except ValueError:
                message = decode_repaired(_decode, body)
            if message["type"] == "error":
                raise errors.from_message(self._model, message)
            deltas = [*self._begin(message), *self._content(message["content"])]
            deltas += self._message_delta(message, message.get("usage"))
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise _unreadable() from None
        self._stopped = True
        return deltas

    def finish(self) -> Iterable[Delta]:
        """The answer's end, held back until the stream's; raises upstream_truncated if it never came."""
        if not self._stopped:
            raise upstream_error("upstream_truncated", "The upstream's answer ended before it was complete")
        deltas: list[Delta] = []
        if (provisional := self._usage.provisional()) is not None:
            deltas.append(provisional)
        if self._pausing and (paused := self._pause()) is not None:
            return [*deltas, paused]
        deltas += self._output.finish()
        if self._output.calls:
            self._done(self._output)
        reason = "stop" if self._finish == "tool_calls" and not self._output.called else self._finish
        return [*deltas, Finish(reason)]

    def _pause(self) -> Paused | None:
        """The answer so far; None when it cannot be sent back."""
        if self._turn is None:
            return None
        try:
            content = self._turn.content()
        except ValueError:
            return None
        before = self._paused
        self._output.message_id = self._current
        return Paused(
            content=[*before.content, *content] if before else content,
            state=self._output,
            spent=self._usage.update(None).completion_tokens + (before.spent if before else 0),
        )

    def _take(self, fields: Fields) -> Iterable[Delta]:
        match fields["type"]:
            case "content_block_delta":
                if self._turn is not None:
                    self._turn.grow(fields["index"], fields["delta"])
                return self._blocks[fields["index"]].grow(fields["delta"])
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
                return self._close()
            case "error":
                raise errors.from_message(self._model, fields)
        return ()

    def _message_start(self, message: Fields) -> Iterable[Delta]:
        """A message may begin with blocks in it, and its end even, where code that Anthropic runs calls a tool."""
        repeated = self._current == string(message, "id")
        deltas = self._begin(message)
        counts = message.get("usage")
        usage = self._usage.start(counts)
        if counts:  # none at all is for others to estimate, not a count of zero
            deltas.append(usage)
        if not repeated and (content := message.get("content")):
            deltas += [*self._content(content), *self._message_delta(message, None)]
        return deltas

    def _content(self, content: list[Fields]) -> Iterable[Delta]:
        """Blocks that came in one piece."""
        deltas: list[Delta] = []
        for index, block in enumerate(content):
            if self._turn is not None:
                self._turn.begin(index, block)
            deltas += whole(self._output, block)
        return deltas

    def _begin(self, message: Fields) -> list[Delta]:
        """What a message that begins says of itself, besides its usage."""
        deltas: list[Delta] = []
        again, current = self._current is not None, string(message, "id")
        if again and current != self._current:
            deltas += self._close()
            self._output.forget()
            self._turn = self._turn and Turn()
        if self._paused is not None and current == self._output.message_id:
            raise upstream_error("upstream_bad_response", "The upstream repeats its answer instead of going on")
        self._current = current
        deltas.append(Served(model=string(message, "model") or None, id=None if again or self._paused else current))
        return deltas

    def _block_start(self, index: int, block: Fields) -> Iterable[Delta]:
        if self._turn is not None:
            self._turn.begin(index, block)
        self._blocks[index] = opened = reader(self._output, block)
        return opened.start(block)

    def _block_stop(self, index: int) -> Iterable[Delta]:
        block = self._blocks.pop(index, None)
        return block.stop() if block is not None else ()

    def _message_delta(self, delta: Fields, usage: Fields | None) -> Iterable[Delta]:
        deltas: list[Delta] = []
        if (reason := delta.get("stop_reason")) is not None:
            self._finish = _FINISH_REASONS.get(reason, "stop")
            self._pausing = reason == "pause_turn"
            if reason == "refusal" and (explanation := string(delta.get("stop_details") or {}, "explanation")):
                deltas.append(Refusal(explanation))
        if usage:
            deltas.append(self._usage.update(usage))
        return deltas

    def _close(self) -> Iterable[Delta]:
        """Stop the blocks that the upstream left open."""
        return [delta for index in sorted(self._blocks) for delta in self._block_stop(index)]


def _unreadable() -> GatewayError:
    return upstream_error("upstream_bad_response", "The upstream's answer could not be read")
