"""Assembles deltas into finished choices, for streamed and complete answers alike."""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from gateway.openai_api.deltas import (
    Delta,
    Finish,
    Image,
    MessageField,
    Reasoning,
    Refusal,
    Text,
    ToolCallArguments,
    ToolCallStart,
    UpstreamMetadata,
)
from gateway.openai_api.usage import Usage

_UNKNOWN = UpstreamMetadata()


class _Choice:
    """The parts of one choice received so far."""

    __slots__ = (
        "arguments",
        "calls",
        "details",
        "fields",
        "finish",
        "images",
        "logprobs",
        "reasoning",
        "refusal",
        "text",
    )

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: list[str] = []
        self.details: list[dict[str, Any]] = []
        self.calls: dict[int, ToolCallStart] = {}
        self.arguments: dict[int, list[str]] = {}
        self.images: list[str] = []
        self.fields: dict[str, Any] = {}
        self.logprobs: list[dict[str, Any]] = []
        self.finish: str | None = None


class Assembler:
    """Assembles one answer.

    ``usage`` is the last plausible one received, marked as estimated if an implausible one followed. ``metadata`` is
    what the upstream reported of the call. ``output_bytes`` counts text, reasoning and arguments, for estimates.
    """

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self.usage: Usage | None = None
        self.metadata = _UNKNOWN
        self.output_bytes = 0

    def add(self, delta: Delta) -> None:
        """Add one delta; deltas of a kind are joined in the order of arrival."""
        if type(delta) is Text:
            text = delta.text
            choice = self._choices.get(delta.choice) or self._choice(delta.choice)
            choice.text.append(text)
            self.output_bytes += len(text) if text.isascii() else len(text.encode())
            if delta.logprobs is not None:
                choice.logprobs.append(delta.logprobs)
            return
        if isinstance(delta, Usage):
            if delta.plausible:
                self.usage = delta
            elif self.usage is not None:
                self.usage = replace(self.usage, estimated=True)
        elif isinstance(delta, UpstreamMetadata):
            self.metadata = _merged(self.metadata, delta)
        elif isinstance(delta, Finish):
            self._choice(delta.choice).finish = delta.reason
        else:
            self._add_to_choice(self._choice(delta.choice), delta)

    def meter(self, delta: Delta) -> None:
        """Count a delta for usage only, without its content: for output that is no longer delivered."""
        if isinstance(delta, Usage | UpstreamMetadata):
            self.add(delta)
        elif isinstance(delta, Text | Refusal | Reasoning):
            self.output_bytes += _size(delta.text)
        elif isinstance(delta, ToolCallStart | ToolCallArguments):
            self.output_bytes += _size(delta.arguments)

    def extend(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            self.add(delta)

    @property
    def images(self) -> list[str]:
        """All images, in the order of choices."""
        return [url for _, choice in sorted(self._choices.items()) for url in choice.images]

    def finish_reasons(self) -> dict[int, str | None]:
        """The finish reason of each choice by index; None for one that was cut off."""
        return {index: self._choices[index].finish for index in sorted(self._choices)}

    def choices(self) -> list[dict[str, Any]]:
        """OpenAI's ``choices`` of a chat answer (facts/providers.md 1.1)."""
        return [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": _logprobs(choice.logprobs),
                "finish_reason": choice.finish,
            }
            for index, choice in sorted(self._choices.items())
        ]

    def texts(self) -> list[dict[str, Any]]:
        """OpenAI's ``choices`` of a legacy completion (facts/providers.md 1.7)."""
        return [
            {"text": "".join(choice.text), "index": index, "logprobs": None, "finish_reason": choice.finish}
            for index, choice in sorted(self._choices.items())
        ]

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def _add_to_choice(self, choice: _Choice, delta: Delta) -> None:
        match delta:
            case ToolCallArguments(index=index, arguments=arguments):
                choice.arguments[index].append(arguments)
                self.output_bytes += _size(arguments)
            case ToolCallStart(index=index, arguments=arguments):
                choice.calls[index] = delta
                choice.arguments[index] = [arguments]
                self.output_bytes += _size(arguments)
            case Reasoning(text=text):
                choice.reasoning.append(text)
                self.output_bytes += _size(text)
                if delta.format is not None:
                    merge_detail(choice.details, reasoning_detail(delta))
            case Refusal(text=text):
                choice.refusal.append(text)
                self.output_bytes += _size(text)
            case Image(url=url):
                choice.images.append(url)
            case MessageField(name=name, value=value):
                known = choice.fields.get(name)
                if isinstance(known, list) and isinstance(value, list):
                    known.extend(value)
                else:
                    choice.fields[name] = [*value] if isinstance(value, list) else value


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def tool_call(start: ToolCallStart, arguments: str) -> dict[str, Any]:
    """A complete tool call as OpenAI's object."""
    body = {"name": start.name, "arguments" if start.type == "function" else "input": arguments}
    call: dict[str, Any] = {"id": start.id, "type": start.type, start.type: body}
    if start.extra_content is not None:
        call["extra_content"] = start.extra_content
    return call


def reasoning_detail(delta: Reasoning) -> dict[str, Any]:
    """The ``reasoning_details`` item of one fragment (facts/providers.md 1.5)."""
    detail: dict[str, Any] = {"type": "reasoning.text" if delta.data is None else "reasoning.encrypted"}
    if delta.data is not None:
        detail["data"] = delta.data
    elif delta.text:
        detail["text"] = delta.text
    if delta.signature is not None:
        detail["signature"] = delta.signature
    if delta.id is not None:
        detail["id"] = delta.id
    return detail | {"format": delta.format, "index": delta.index}


def merge_detail(details: list[dict[str, Any]], detail: dict[str, Any]) -> None:
    """Append ``detail``, or merge it into the last item if both are text of the same block.

    The ``text`` of an item of ``details`` is a list of pieces, to be joined at the end.
    """
    pieces = [detail["text"]] if "text" in detail else []
    last = details[-1] if details else None
    if last and last["type"] == detail["type"] == "reasoning.text" and last["index"] == detail["index"]:
        known: list[str] = last.get("text", [])
        known += pieces
        last.update(detail)
        pieces = known
    else:
        last = {**detail}
        details.append(last)
    if pieces:
        last["text"] = pieces


def _joined(detail: dict[str, Any]) -> dict[str, Any]:
    return {**detail, "text": "".join(detail["text"])} if "text" in detail else detail


def _message(choice: _Choice) -> dict[str, Any]:
    text = "".join(choice.text)
    refusal = "".join(choice.refusal) or None
    absent = not text and (choice.calls or refusal)
    message: dict[str, Any] = {"role": "assistant", "content": None if absent else text, "refusal": refusal}
    if choice.calls:
        message["tool_calls"] = [
            tool_call(start, "".join(choice.arguments[index])) for index, start in sorted(choice.calls.items())
        ]
    if reasoning := "".join(choice.reasoning):
        message["reasoning_content"] = reasoning
    if choice.details:
        message["reasoning_details"] = [_joined(detail) for detail in choice.details]
    if choice.images:
        message["images"] = choice.images
    return message | choice.fields if choice.fields else message


def _logprobs(pieces: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not pieces:
        return None
    return {
        key: [token for piece in pieces for token in piece.get(key) or ()] or None for key in ("content", "refusal")
    }


def _merged(old: UpstreamMetadata, new: UpstreamMetadata) -> UpstreamMetadata:
    return UpstreamMetadata(
        model=new.model or old.model,
        service_tier=new.service_tier or old.service_tier,
        system_fingerprint=new.system_fingerprint or old.system_fingerprint,
        id=new.id or old.id,
        moderation=new.moderation or old.moderation,
    )
