"""Renders an answer as a chat.completion object and as chat.completion.chunk events."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from tools.simulators.composition import Answer, Call
from tools.simulators.identifiers import CREATED, Identifiers

WORD = re.compile(r"\s*\S{1,12}|\s+")
FRAGMENT = re.compile(r"\W+|\w{1,8}")

FINISH_REASONS = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "stop",
}

REFUSAL = "I'm sorry, but I can't help with that."
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Variations of the wire format between vendors and models."""

    role_alone: bool = True
    """The role has a chunk of its own; otherwise it is in the first token's chunk."""
    role_always: bool = False
    fragments: bool = True
    """Tool call arguments are streamed in fragments; otherwise each call is one delta."""
    null_finish_reason: bool = True
    null_usage: bool = False
    """Chunks contain `usage: null` when usage was requested."""
    obfuscation: bool = False
    reasoning: Literal["hidden", "reasoning_content", "think_tags"] = "hidden"
    null_content: bool = True
    """Content is null with tool calls; otherwise an empty string."""
    annotations: bool = False
    fields: tuple[tuple[str, Any], ...] = ()
    """Extra fields of every object and chunk."""
    choice_fields: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """An answer and the options of its rendering."""

    answer: Answer
    style: Style
    id: str
    calls: tuple[tuple[str, Call], ...]
    """Tool calls with their ids."""
    usage: Mapping[str, Any] | None
    choices: int
    ids: Identifiers
    refusal: str | None
    logprobs: int | None = None
    """How many alternatives to report for each token; None: no log probabilities."""
    include_usage: bool = False
    include_obfuscation: bool = True
    last_reasoning: Mapping[str, Any] | None = None
    """A delta between reasoning and content."""


def document(render: Render) -> bytes:
    return msgspec.json.encode(
        {
            "id": render.id,
            "object": "chat.completion",
            "created": CREATED,
            "model": render.answer.model,
            "choices": [
                {
                    "index": index,
                    "message": _message(render, index),
                    **_choice_fields(render, _content(render, index)),
                    "finish_reason": FINISH_REASONS[render.answer.ending],
                }
                for index in range(render.choices)
            ],
            **({"usage": render.usage} if render.usage is not None else {}),
            **dict(render.style.fields),
        }
    )


def _message(render: Render, index: int) -> dict[str, Any]:
    answer, style = render.answer, render.style
    content: str | None = _content(render, index)
    if render.refusal is not None or (render.calls and not content and style.null_content):
        content = None
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if answer.reasoning and style.reasoning == "reasoning_content":
        message["reasoning_content"] = answer.reasoning
    if render.calls:
        message["tool_calls"] = [{"id": id_, **_called(call, call.arguments)} for id_, call in render.calls]
    message["refusal"] = render.refusal
    if style.annotations:
        message["annotations"] = []
    return message


def _content(render: Render, index: int) -> str:
    answer = render.answer
    text = answer.text if index == 0 else f"{answer.text} ({index + 1})"
    if answer.reasoning and render.style.reasoning == "think_tags":
        return f"<think>\n{answer.reasoning}\n</think>\n\n{text}"
    return text


def events(render: Render) -> list[bytes]:
    """The stream, with `[DONE]` as its last event."""
    frames = [
        _chunk(render, [_choice(render, index, delta, None)])
        for index in range(render.choices)
        for delta in _with_role(render.style, _deltas(render, index))
    ]
    finish = FINISH_REASONS[render.answer.ending]
    frames += [_chunk(render, [_choice(render, index, {}, finish)]) for index in range(render.choices)]
    if render.include_usage and render.usage is not None:
        frames.append(_chunk(render, [], usage=render.usage))
    return [*frames, DONE]


def _deltas(render: Render, index: int) -> Iterator[dict[str, Any]]:
    answer, style = render.answer, render.style
    if answer.reasoning and style.reasoning == "reasoning_content":
        for word in WORD.findall(answer.reasoning):
            yield {"reasoning_content": word}
    if render.last_reasoning is not None:
        yield dict(render.last_reasoning)
    key = "content" if render.refusal is None else "refusal"
    for word in WORD.findall(_content(render, index) if render.refusal is None else render.refusal):
        yield {key: word}
    for number, (id_, call) in enumerate(render.calls):
        yield from _call_deltas(number, id_, call, style)


def _call_deltas(number: int, id_: str, call: Call, style: Style) -> Iterator[dict[str, Any]]:
    arguments = "" if style.fragments else call.arguments
    yield {"tool_calls": [{"index": number, "id": id_, **_called(call, arguments)}]}
    if style.fragments:
        for piece in FRAGMENT.findall(call.arguments):
            part = {"custom": {"input": piece}} if call.custom else {"function": {"arguments": piece}}
            yield {"tool_calls": [{"index": number, **part}]}


def _called(call: Call, arguments: str) -> dict[str, Any]:
    if call.custom:
        return {"type": "custom", "custom": {"name": call.name, "input": arguments}}
    return {"type": "function", "function": {"name": call.name, "arguments": arguments}}


def _with_role(style: Style, deltas: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Add the role as the vendor does; a leading tool call shares the role's chunk."""
    first = next(deltas, {})
    if not style.role_alone:
        yield {"role": "assistant", **(first or {"content": ""})}
    elif "tool_calls" in first:
        yield {"role": "assistant", "content": None, **first, "refusal": None}
    else:
        yield {"role": "assistant", "content": "", "refusal": None}
        if first:
            yield first
    for delta in deltas:
        yield {"role": "assistant", **delta} if style.role_always else delta


def _choice(render: Render, index: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, **_choice_fields(render, delta.get("content"))}
    if finish is not None or render.style.null_finish_reason:
        choice["finish_reason"] = finish
    return choice


def _choice_fields(render: Render, content: str | None) -> dict[str, Any]:
    fields = dict(render.style.choice_fields)
    if render.logprobs is not None and content:
        fields["logprobs"] = {
            "content": [_log_probability(word, render.logprobs) for word in WORD.findall(content)],
            "refusal": None,
        }
    return fields


def _log_probability(word: str, alternatives: int) -> dict[str, Any]:
    entry = {"token": word, "logprob": -0.25, "bytes": list(word.encode())}
    return {**entry, "top_logprobs": [entry] * min(alternatives, 1)}


def _chunk(render: Render, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None = None) -> bytes:
    chunk = {
        "id": render.id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": render.answer.model,
        **dict(render.style.fields),
        "choices": choices,
    }
    if usage is not None or (render.style.null_usage and render.include_usage):
        chunk["usage"] = usage
    if render.style.obfuscation and render.include_obfuscation:
        chunk["obfuscation"] = render.ids.alphanumeric(4 + render.ids.octets(1)[0] % 12)
    return sse(chunk)


def sse(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
