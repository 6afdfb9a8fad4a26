"""Decode recorded Gemini answers independently of the gateway, and convert between stream and complete response."""

import json
from collections.abc import Iterator
from typing import Any

from tests.conformance.recorded import Recorded
from tests.upstreams.gemini_chats import frames
from tests.upstreams.test_gemini_transcripts import responses

Json = dict[str, Any]


def read(response: Json) -> Recorded:
    """The result that the caller must get for a complete response. A call without an id has an empty one here."""
    [candidate] = response["candidates"]
    parts = candidate.get("content", {}).get("parts", [])
    calls = [part["functionCall"] for part in parts if part.get("functionCall", {}).get("name")]
    usage = response["usageMetadata"]
    thoughts = usage.get("thoughtsTokenCount", 0)
    ending = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length"}
    return Recorded(
        content="".join(part.get("text", "") for part in parts if not part.get("thought")),
        reasoning="".join(part.get("text", "") for part in parts if part.get("thought")),
        calls=[
            {"id": call.get("id", ""), "name": call["name"], "arguments": json.dumps(call.get("args", {}))}
            for call in calls
        ],
        finish=ending[candidate["finishReason"]],
        usage=(
            usage["promptTokenCount"],
            usage.get("cachedContentTokenCount", 0),
            usage.get("candidatesTokenCount", 0) + thoughts,
            thoughts,
        ),
        seals=[part["thoughtSignature"] for part in parts if "thoughtSignature" in part],
        images=[
            f"data:{part['inlineData']['mimeType']};base64,{part['inlineData']['data']}"
            for part in parts
            if "inlineData" in part
        ],
    )


def response_of(transcript: Json) -> Json:
    """The recorded answer as one response: all parts, the last finish reason, the last counts."""
    chunks = responses(transcript)
    candidates = [candidate for chunk in chunks for candidate in chunk.get("candidates", [])]
    parts = [part for candidate in candidates for part in candidate.get("content", {}).get("parts", [])]
    finish = [candidate["finishReason"] for candidate in candidates if "finishReason" in candidate][-1]
    usage = [chunk["usageMetadata"] for chunk in chunks if "usageMetadata" in chunk][-1]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}
    return chunks[-1] | {"candidates": [candidate], "usageMetadata": usage}


def events_for(response: Json) -> bytes:
    """The chunks that would have streamed a complete response: long texts in two chunks, everything else in one."""
    [candidate] = response["candidates"]
    pieces = list(_pieces(candidate.get("content", {}).get("parts", []))) or [{"text": ""}]
    chunks = [
        response | {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]} for part in pieces
    ]
    chunks[-1]["candidates"][0]["finishReason"] = candidate["finishReason"]
    return frames(*chunks)


def _pieces(parts: list[Json]) -> Iterator[Json]:
    for part in parts:
        text = part.get("text", "")
        if len(text) > 1 and "thoughtSignature" not in part:
            yield part | {"text": text[: len(text) // 2]}
            part = part | {"text": text[len(text) // 2 :]}
        yield part
