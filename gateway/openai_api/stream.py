"""Encodes deltas as OpenAI stream chunks, in server-sent event framing.

What all chunks of a stream share is encoded once. ``usage`` is never null, and finish reason, usage and signature are
sent together in one last event (design 4.3).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from gateway.openai_api.assembler import reasoning_detail
from gateway.openai_api.deltas import (
    Delta,
    Image,
    MessageField,
    Reasoning,
    Refusal,
    Text,
    ToolCallArguments,
    ToolCallStart,
)

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

_encode = msgspec.json.Encoder().encode
_LINE_SEPARATORS = ((b"\xc2\x85", rb"\u0085"), (b"\xe2\x80\xa8", rb"\u2028"), (b"\xe2\x80\xa9", rb"\u2029"))


def encode_json(value: Any) -> bytes:
    """JSON without Unicode line separators, at which some clients split lines, the OpenGradient SDK among them."""
    data = _encode(value)
    return data if data.isascii() else _escape_separators(data)


def _escape_separators(data: bytes) -> bytes:
    for character, escape in _LINE_SEPARATORS:
        data = data.replace(character, escape)
    return data


class ChunkEncoder(Protocol):
    """Encodes the stream of one endpoint."""

    def describe(self, model: str, service_tier: str | None) -> None:
        """Name the model and the tier that answer, before the first chunk. What was encoded by then is kept."""
        ...

    def encode(self, delta: Delta) -> bytes:
        """The events of one delta; empty for a kind that the endpoint does not send."""
        ...

    def last(self, finish: Mapping[int, str | None], extra: Mapping[str, Any], *, separate_usage: bool) -> bytes:
        """The end of the stream: finish reasons, then ``extra`` (usage, tee_*, payment), and ``[DONE]``.

        As in OpenAI's streams, every choice has a chunk of its own. ``extra`` is in the last of them, or with
        ``separate_usage`` (the client set ``stream_options.include_usage``) in another with empty ``choices``.
        """
        ...


def error_event(envelope: Mapping[str, Any]) -> bytes:
    """The event of a failed stream; no ``[DONE]`` may follow."""
    return b"data: " + encode_json(envelope) + b"\n\n"


class _Encoder(ABC):
    """What the encoders of both endpoints share.

    ``service_tier`` is the one known at the beginning, as chat chunks carry it: ``openai``'s stream helpers take it
    from the first. The one known at the end is among the last event's details.
    """

    object: str

    def __init__(self, id: str, created: int, model: str, service_tier: str | None = None) -> None:  # noqa: A002
        self._id = id
        self._created = created
        self.describe(model, service_tier)

    def describe(self, model: str, service_tier: str | None) -> None:
        head = {"id": self._id, "object": self.object, "created": self._created, "model": model}
        self._head = b"data: " + _encode(head)[:-1]
        tier = b"" if service_tier is None else b',"service_tier":' + encode_json(service_tier)
        self._open = self._head + tier + b',"choices":[{"index":'

    def last(self, finish: Mapping[int, str | None], extra: Mapping[str, Any], *, separate_usage: bool) -> bytes:
        endings = [encode_json([self._final_choice(index, reason)]) for index, reason in finish.items()]
        details = b"," + encode_json(extra)[1:-1] if extra else b""
        last = b"[]" if separate_usage or not endings else endings.pop()
        opening = self._head + b',"choices":'
        frames = b"".join([opening + ending + b"}\n\n" for ending in endings]) if endings else b""
        return frames + opening + last + details + b"}\n\n" + DONE

    @abstractmethod
    def _final_choice(self, index: int, reason: str | None) -> dict[str, Any]:
        """The entry of ``choices`` that carries the finish reason."""


class ChatChunkEncoder(_Encoder):
    """``chat.completion.chunk`` (facts/providers.md 1.2).

    A choice begins with its role, and no choice begins before those of lower index: ``openai``'s stream helpers find
    choices by position. A list (``annotations``) is sent whole before the last chunk: they cannot merge lists whose
    items have no index.
    """

    object = "chat.completion.chunk"

    def __init__(self, id: str, created: int, model: str, service_tier: str | None = None) -> None:  # noqa: A002
        super().__init__(id, created, model, service_tier)
        self._role_sent: set[int] = set()
        self._lists: dict[tuple[int, str], list[Any]] = {}
        self._text_open = b""

    def encode(self, delta: Delta) -> bytes:
        if type(delta) is Text and delta.choice == 0 and delta.logprobs is None and 0 in self._role_sent:
            text = _encode(delta.text)
            return self._text_open + (text if text.isascii() else _escape_separators(text)) + _CLOSE
        shape = _CHAT_DELTAS.get(type(delta))
        if shape is None:
            return b""
        if isinstance(delta, MessageField) and isinstance(delta.value, list):
            self._lists.setdefault((delta.choice, delta.name), []).extend(delta.value)
            return b""
        choice: int = delta.choice  # type: ignore[union-attr] # every kind in the table has one
        logprobs = delta.logprobs if isinstance(delta, Text) else None
        frame = self._chunk(choice, shape(delta), logprobs)
        if choice in self._role_sent:
            return frame
        self._role_sent.add(choice)
        self._text_open = self._open + b'0,"delta":{"content":'
        frame = self._chunk(choice, _ROLE, None) + frame
        return self._earlier_roles(choice) + frame if choice else frame

    def _earlier_roles(self, choice: int) -> bytes:
        """The role chunks still missing of the choices before ``choice``."""
        missing = [index for index in range(min(choice, _MAX_CHOICES)) if index not in self._role_sent]
        self._role_sent.update(missing)
        return b"".join(self._chunk(index, _ROLE, None) for index in missing)

    def last(self, finish: Mapping[int, str | None], extra: Mapping[str, Any], *, separate_usage: bool) -> bytes:
        before = b"".join(self._chunk(choice, _ROLE, None) for choice in finish if choice not in self._role_sent)
        if self._lists:
            before += b"".join(
                self._chunk(choice, {name: found}, None) for (choice, name), found in self._lists.items()
            )
        return before + super().last(finish, extra, separate_usage=separate_usage)

    def _chunk(self, choice: int, delta: dict[str, Any], logprobs: dict[str, Any] | None) -> bytes:
        tail = b"null" if logprobs is None else encode_json(logprobs)
        return (
            self._open
            + b'%d,"delta":' % choice
            + encode_json(delta)
            + b',"logprobs":'
            + tail
            + b',"finish_reason":null}]}\n\n'
        )

    def _final_choice(self, index: int, reason: str | None) -> dict[str, Any]:
        return {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason}


class TextChunkEncoder(_Encoder):
    """``text_completion`` chunks of the legacy endpoint: text only (facts/providers.md 1.7)."""

    object = "text_completion"

    def encode(self, delta: Delta) -> bytes:
        if type(delta) is not Text:
            return b""
        return (
            self._head
            + b',"choices":[{"text":'
            + encode_json(delta.text)
            + b',"index":%d,"logprobs":null,"finish_reason":null}]}\n\n' % delta.choice
        )

    def _final_choice(self, index: int, reason: str | None) -> dict[str, Any]:
        return {"text": "", "index": index, "logprobs": None, "finish_reason": reason}


_CLOSE = b'},"logprobs":null,"finish_reason":null}]}\n\n'
_MAX_CHOICES = 128
"""OpenAI's limit on ``n``; an upstream may number its choices as it likes."""
_ROLE = {"role": "assistant", "content": "", "refusal": None}


def _reasoning(delta: Reasoning) -> dict[str, Any]:
    shape: dict[str, Any] = {"reasoning_content": delta.text} if delta.text else {}
    if delta.format is not None:
        shape["reasoning_details"] = [reasoning_detail(delta)]
    return shape


def _tool_call_start(delta: ToolCallStart) -> dict[str, Any]:
    body = {"name": delta.name, "arguments" if delta.type == "function" else "input": delta.arguments}
    call: dict[str, Any] = {"index": delta.index, "id": delta.id, "type": delta.type, delta.type: body}
    if delta.extra_content is not None:
        call["extra_content"] = delta.extra_content
    return {"tool_calls": [call]}


def _tool_call_arguments(delta: ToolCallArguments) -> dict[str, Any]:
    body = {"arguments" if delta.type == "function" else "input": delta.arguments}
    return {"tool_calls": [{"index": delta.index, delta.type: body}]}


_CHAT_DELTAS: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    Text: lambda delta: {"content": delta.text},
    Refusal: lambda delta: {"refusal": delta.text},
    Reasoning: _reasoning,
    ToolCallStart: _tool_call_start,
    ToolCallArguments: _tool_call_arguments,
    Image: lambda delta: {"images": [delta.url]},
    MessageField: lambda delta: {delta.name: delta.value},
}
