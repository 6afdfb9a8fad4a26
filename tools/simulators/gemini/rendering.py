"""Renders an answer as GenerateContentResponse objects: facts/providers.md 5.7, 5.8, 5.10."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tools.simulators.composition import Answer, Call

SENTENCE = re.compile(r"(?s).{1,60}")

FINISH_REASONS = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
CALL_MESSAGE = "Model generated function call(s)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    answer: Answer
    response_id: str
    calls: tuple[tuple[str | None, Call], ...]
    """Calls with their ids, if this model's responses have any."""
    show_thoughts: bool
    signature: str | None
    closing_chunk: bool
    """A stream ends with an empty text part (Gemini 3) instead of with its last content."""
    pictures: tuple[str, ...] = ()
    """Base64 of PNGs."""
    picture_tokens: int = 0
    modalities: Mapping[str, int]
    """Prompt tokens of what is not text, by modality."""
    candidates: int = 1


def document(render: Render) -> bytes:
    """Pretty-printed, as the API does."""
    return msgspec.json.format(msgspec.json.encode(_whole(render)), indent=2) + b"\n"


def events(render: Render) -> list[bytes]:
    """SSE frames end with CR LF CR LF; there is no end-of-stream marker."""
    return [b"data: " + compact(value) + b"\r\n\r\n" for value in _chunks(render)]


def array(render: Render) -> list[bytes]:
    """The stream without alt=sse: one JSON array that grows."""
    pieces = [
        (b"," if number else b"[") + msgspec.json.format(compact(value), indent=2) + b"\r\n"
        for number, value in enumerate(_chunks(render))
    ]
    return [*pieces, b"]"]


def compact(value: Any) -> bytes:
    """JSON with the API's spacing inside a frame."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ": ")).encode()


def _whole(render: Render) -> dict[str, Any]:
    answer = render.answer
    if answer.ending == "refusal":
        return _response(render, [], _usage(render), blocked=True)
    parts = [part for step in _steps(render) for part in step]
    if render.signature is not None and not render.calls and parts:
        parts[-1] = {**parts[-1], "thoughtSignature": render.signature}
    candidates = []
    for index in range(render.candidates):
        shown = parts if index == 0 else [_numbered(part, index) for part in parts]
        content: dict[str, Any] = {"parts": shown, "role": "model"} if shown else {"role": "model"}
        candidates.append({"content": content, **_finish(answer), "index": index})
    return _response(render, candidates, _usage(render))


def _numbered(part: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {**part, "text": f"{part['text']} ({index + 1})"} if part.get("text") else dict(part)


def _steps(render: Render) -> Iterator[list[dict[str, Any]]]:
    """The parts of the answer, thoughts first."""
    answer = render.answer
    if answer.reasoning and render.show_thoughts:
        yield [{"text": answer.reasoning, "thought": True}]
    if answer.text:
        yield [{"text": answer.text}]
    for data in render.pictures:
        yield [{"inlineData": {"mimeType": "image/png", "data": data}}]
    for number, (id_, call) in enumerate(render.calls):
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": call.input}}
        if id_ is not None:
            part["functionCall"]["id"] = id_
        if number == 0 and render.signature is not None:
            part["thoughtSignature"] = render.signature
        yield [part]


def _chunks(render: Render) -> Iterator[dict[str, Any]]:
    """Usage is cumulative; the count of candidates is absent until there is some output."""
    answer = render.answer
    if answer.ending == "refusal":
        yield _whole(render)
        return
    pieces = list(_pieces(render))
    closing = render.closing_chunk or not pieces
    for number, part in enumerate(pieces, 1):
        last = number == len(pieces) and not closing
        share = 0.0 if part.get("thought") and not last else number / len(pieces)
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}}
        yield _response(
            render,
            [{**candidate, **(_finish(answer) if last else {}), "index": 0}],
            _usage(render, share),
        )
    if closing:
        yield _response(render, [_closing(render, pieces)], _usage(render))


def _closing(render: Render, pieces: list[dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {"role": "model"}
    if pieces or render.answer.ending != "length":
        part: dict[str, Any] = {"text": ""}
        if render.signature is not None and not render.calls:
            part["thoughtSignature"] = render.signature
        content = {"parts": [part], "role": "model"}
    return {"content": content, **_finish(render.answer), "index": 0}


def _pieces(render: Render) -> Iterator[dict[str, Any]]:
    for step in _steps(render):
        for part in step:
            if "text" not in part:
                yield part
                continue
            for sentence in SENTENCE.findall(part["text"]):
                yield {**part, "text": sentence}


def _finish(answer: Answer) -> dict[str, Any]:
    finish: dict[str, Any] = {"finishReason": FINISH_REASONS[answer.ending]}
    if answer.ending == "tool_calls":
        finish["finishMessage"] = CALL_MESSAGE
    if answer.ending == "content_filter":
        finish["safetyRatings"] = [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        ]
    return finish


def _response(
    render: Render, candidates: list[dict[str, Any]], usage: dict[str, Any] | None, *, blocked: bool = False
) -> dict[str, Any]:
    return {
        **({"candidates": candidates} if candidates else {}),
        **({"promptFeedback": {"blockReason": "SAFETY"}} if blocked else {}),
        **({"usageMetadata": usage} if usage is not None else {}),
        "modelVersion": render.answer.model,
        "responseId": render.response_id,
    }


def _usage(render: Render, share: float = 1.0) -> dict[str, Any] | None:
    """Usage after `share` of the output; zero counts are absent, candidates exclude thoughts (facts 1.4)."""
    tokens = render.answer.tokens
    if tokens is None:
        return None
    painted = render.picture_tokens * len(render.pictures)
    candidates = math.ceil((tokens.completion + painted) * share)
    counts = {
        "promptTokenCount": tokens.prompt,
        "cachedContentTokenCount": tokens.cached,
        "candidatesTokenCount": candidates,
        "totalTokenCount": tokens.prompt + candidates + tokens.reasoning,
        "thoughtsTokenCount": tokens.reasoning,
    }
    usage: dict[str, Any] = {name: count for name, count in counts.items() if count}
    usage["promptTokensDetails"] = _modalities(render.modalities, tokens.prompt)
    if tokens.cached:
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens.cached}]
    if painted and share == 1.0:
        usage["candidatesTokensDetails"] = [{"modality": "IMAGE", "tokenCount": painted}]
    usage["serviceTier"] = "standard"
    return usage


def _modalities(attached: Mapping[str, int], prompt: int) -> list[dict[str, Any]]:
    counts = {"TEXT": max(0, prompt - sum(attached.values())), **attached}
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]
