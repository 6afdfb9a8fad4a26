"""Recorded exchanges with the live API, replayed: every answer and every token count exactly.

Expectations are read from the recordings independently of the adapter's code.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.billing.pricing import cost
from gateway.catalog import bundled
from gateway.openai_api.assembler import Assembler
from gateway.upstreams.adapter import Chat
from tests.conformance.recorded import load
from tests.upstreams.decoding import put_together
from tests.upstreams.gemini_chats import adapter, chat, frames, streamed

FOLDER = Path(__file__).parents[3] / "shared" / "transcripts" / "google"
FILES = sorted(FOLDER.glob("*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="no recorded transcripts beside the repository")


def read(path: Path) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return decoded


def names(*, errors: bool) -> list[str]:
    return [path.stem for path in FILES if ("error" in (read(path)["response"].get("json") or {})) is errors]


def recording(name: str) -> dict[str, Any]:
    return load(f"google/{name}.json")


def bound(record: dict[str, Any]) -> Chat:
    known = bundled().get(record["model"] or "")
    return chat(known.id if known else "gemini-3-flash-preview", stream="body" in record["response"])


def stream_of(record: dict[str, Any]) -> bytes:
    """The event stream as received; of a recording that kept only its data, framed again."""
    body: str = record["response"]["body"]
    if "framing" in record["response"]:
        return b"".join(f"data: {line}\r\n\r\n".encode() for line in body.splitlines())
    return body.encode()


def responses(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The response objects of a recording, in order."""
    if "json" in record["response"]:
        return [record["response"]["json"]]
    lines = stream_of(record).decode().replace("\r", "").split("\n")
    return [msgspec.json.decode(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def replay(record: dict[str, Any], step: int = 0) -> Assembler:
    if "json" in record["response"]:
        body = msgspec.json.encode(record["response"]["json"])
        return put_together(adapter().decode_response(bound(record), body))
    return streamed(stream_of(record), bound(record), step=step)


def parts_of(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for response in responses(record):
        for candidate in response.get("candidates", []):
            yield from candidate.get("content", {}).get("parts", [])


def signatures(value: Any) -> list[str]:
    """All thoughtSignatures in ``value``, in order."""
    return [part["thoughtSignature"] for part in value if "thoughtSignature" in part]


@pytest.mark.parametrize("name", names(errors=False))
def test_an_answer_is_complete_to_the_letter(name: str) -> None:
    record = recording(name)
    answer = replay(record)
    [choice] = answer.choices()
    message, found = choice["message"], list(parts_of(record))
    texts = [part for part in found if "text" in part]
    assert (message["content"] or "") == "".join(part["text"] for part in texts if not part.get("thought"))
    assert message.get("reasoning_content", "") == "".join(part["text"] for part in texts if part.get("thought"))
    called = [part["functionCall"] for part in found if part.get("functionCall", {}).get("name")]
    calls = message.get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == [call["name"] for call in called]
    for call, original in zip(calls, called, strict=True):
        arguments = msgspec.json.decode(call["function"]["arguments"])
        assert isinstance(arguments, dict)
        if "args" in original:
            assert arguments == original["args"]
    pictures = [part["inlineData"] for part in found if "inlineData" in part]
    assert message.get("images", []) == [f"data:{each['mimeType']};base64,{each['data']}" for each in pictures]
    details = message.get("reasoning_details", [])
    assert [detail["data"] for detail in details if "data" in detail] == signatures(found)
    carried = [call.get("extra_content", {}).get("google", {}).get("thought_signature") for call in calls]
    assert [each for each in carried if each] == signatures(part for part in found if "functionCall" in part)


@pytest.mark.parametrize("name", names(errors=False))
def test_an_answer_ends_as_the_recording_does(name: str) -> None:
    record = recording(name)
    reasons = [
        candidate["finishReason"]
        for response in responses(record)
        for candidate in response.get("candidates", [])
        if "finishReason" in candidate
    ]
    calls = any("functionCall" in part for part in parts_of(record))
    stopped = "tool_calls" if calls else "stop"
    assert replay(record).finish_reasons() == {0: {"STOP": stopped, "MAX_TOKENS": "length"}[reasons[-1]]}


@pytest.mark.parametrize("name", names(errors=False))
def test_an_answer_is_counted_to_the_token(name: str) -> None:
    record = recording(name)
    counts = [response["usageMetadata"] for response in responses(record) if "usageMetadata" in response][-1]
    usage = replay(record).usage
    assert usage is not None
    assert usage.total_tokens == counts["totalTokenCount"]
    assert usage.prompt_tokens == counts["promptTokenCount"]
    assert usage.cached_tokens == counts.get("cachedContentTokenCount", 0)
    assert usage.reasoning_tokens == counts.get("thoughtsTokenCount", 0)
    assert usage.completion_tokens - usage.reasoning_tokens == counts.get("candidatesTokenCount", 0)
    by_modality = {each["modality"]: each["tokenCount"] for each in counts.get("promptTokensDetails", [])}
    assert usage.audio_tokens == by_modality.get("AUDIO", 0)
    made = {each["modality"]: each["tokenCount"] for each in counts.get("candidatesTokensDetails", [])}
    assert usage.image_tokens == made.get("IMAGE", 0)


@pytest.mark.parametrize("name", names(errors=False))
def test_the_model_that_answered_is_known(name: str) -> None:
    record = recording(name)
    assert replay(record).metadata.model == responses(record)[-1]["modelVersion"]


@pytest.mark.parametrize("name", names(errors=False))
@pytest.mark.parametrize("step", [1, 7, 1400, 65_536])
def test_a_streamed_answer_equals_the_same_in_one_piece(name: str, step: int) -> None:
    """Recorded streams cut anywhere, and recorded answers sent as a stream of one event."""
    record = recording(name)
    expected = replay(record)
    if "json" in record["response"]:
        stream = frames(record["response"]["json"])
        step = max(step, len(stream) // 5000)
        found = streamed(stream, bound(record), step=step)
    else:
        found = replay(record, step)
    assert found.choices() == expected.choices()
    assert found.usage == expected.usage


@pytest.mark.parametrize("name", names(errors=True))
def test_a_recorded_error_keeps_its_meaning(name: str) -> None:
    record = recording(name)
    error = record["response"]["json"]["error"]
    status = record["response"]["status"] or error["code"]
    body = msgspec.json.encode(record["response"]["json"])
    found = adapter().decode_error(status, record["response"]["headers"], body)
    reasons = [detail.get("reason") for detail in error.get("details", [])]
    delays = [detail["retryDelay"] for detail in error.get("details", []) if "retryDelay" in detail]
    assert found.status == (502 if "API_KEY_INVALID" in reasons else status)
    assert found.retry_after == (float(delays[0].removesuffix("s")) if delays else None)
    assert "API key" not in found.message


@pytest.mark.parametrize(
    ("name", "price"),
    [
        ("pai-google-model-cached-content-1", "0.00021776"),
        ("rbl-chat-audio-models-gemini-gemini-2-5-flash-can-understand-mp3-audio", "0.0002258"),
    ],
)
def test_worked_costs(name: str, price: str) -> None:
    """facts/providers.md 12.5."""
    usage = replay(recording(name)).usage
    assert usage is not None
    assert cost(bundled().find("gemini-2.5-flash"), usage, date(2026, 11, 22)) == Decimal(price)


def test_the_worked_cost_of_a_picture() -> None:
    """facts/providers.md 12.5: counted by one model, at the rates of gemini-3.1-flash-image."""
    usage = replay(recording("rbl-image-basic-functionality-gemini-gemini-3-1-flash-lite-image-can-paint-images")).usage
    assert usage is not None
    assert cost(bundled().find("gemini-3.1-flash-image"), usage, date(2026, 11, 22)) == Decimal("0.0683965")
