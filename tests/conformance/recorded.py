"""Recorded exchanges; decodes OpenAI-shaped answers independently of the gateway."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TRANSCRIPTS = Path(__file__).parent.parent.parent.parent / "shared" / "transcripts"


@dataclass
class Recorded:
    """The answer of one recording. ``usage`` is prompt, cached, completion (reasoning inside) and reasoning.

    ``seals`` are signatures and sealed thoughts in the order of the answer, ``images`` its pictures as data: URIs.
    """

    content: str = ""
    reasoning: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    finish: str | None = None
    usage: tuple[int, int, int, int] | None = None
    seals: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)


def recordings(provider: str, *, errors: bool) -> list[str]:
    """Names of the recordings of one provider that are errors, or that are not; empty where they are absent."""
    index = TRANSCRIPTS / "index.json"
    if not index.is_file():
        return []
    entries = json.loads(index.read_text(encoding="utf-8"))["entries"]
    return [
        entry["file"] for entry in entries if entry["provider"] == provider and ("error" in entry["kind"]) == errors
    ]


def load(name: str) -> dict[str, Any]:
    """A recording; the test that needs one which is not here is skipped."""
    if not (TRANSCRIPTS / name).is_file():
        pytest.skip(f"../shared/transcripts/{name} is not here")
    transcript: dict[str, Any] = json.loads((TRANSCRIPTS / name).read_text(encoding="utf-8"))
    return transcript


def read(transcript: dict[str, Any]) -> Recorded:
    """Fold the recorded answer, streamed or not."""
    response = transcript["response"]
    recorded = Recorded()
    if "json" in response:
        _take(recorded, response["json"], "message")
    else:
        for line in response["body"].splitlines():
            data = line.removeprefix("data:").strip()
            if line.startswith("data:") and data != "[DONE]":
                _take(recorded, json.loads(data), "delta")
    return recorded


def _take(recorded: Recorded, chunk: dict[str, Any], key: str) -> None:
    for choice in chunk["choices"]:
        piece = choice[key]
        recorded.content += piece.get("content") or ""
        recorded.reasoning += piece.get("reasoning_content") or ""
        for call in piece.get("tool_calls") or []:
            if call.get("id"):
                recorded.calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
            recorded.calls[-1]["arguments"] += call["function"].get("arguments") or ""
        recorded.finish = choice.get("finish_reason") or recorded.finish
    usage = chunk.get("usage")
    if usage:
        prompt, completion, total = usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]
        reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        recorded.usage = (prompt, cached, total - prompt if total > prompt + completion else completion, reasoning)
