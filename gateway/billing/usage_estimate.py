"""Estimates of usage that an upstream did not report, or not completely.

Tokens are estimated from size: about four bytes of UTF-8 per token (facts/providers.md 1.4, last paragraph).
"""

from typing import Any

import msgspec

from gateway.billing import media_tokens as media
from gateway.catalog import IMAGE_TOKENS
from gateway.openai_api.usage import Usage

_BYTES_PER_TOKEN = 4
_GENERATED_IMAGE_TOKENS = 1120
"""Of an image at 1K (facts/providers.md 10.3)."""
_MOST_PROVISIONAL_TOKENS = 100
"""Lower counts may be provisional: Anthropic reports 1 or 26, say, before an answer begins (1.4)."""
_PROMPT_SECONDS = 2.0
"""Before the first output that do not count as reasoning: for the vendor's queue, and for reading the prompt."""
_LEAST_MEASURED_SECONDS = 1.0
_TOKENS_PER_SECOND = (30.0, 150.0)
"""The slowest and the fastest speed that a model is believed to have."""

_CONVERSATION = ("messages", "prompt")
_DEFINITIONS = ("tools", "functions", "response_format")
_READ = frozenset({"role", "content", "name", "refusal", "tool_call_id"})
_READ_OF_CALLS = frozenset({"id", "type", "function", "custom"})
_MEDIA = frozenset({"image_url", "input_audio", "file", "video_url", "images"})


def estimate(
    body: dict[str, Any], produced_bytes: int, reported: Usage | None = None, images: int = 0, hidden_tokens: int = 0
) -> Usage:
    """Estimate the usage of an answer to ``body`` of ``produced_bytes`` (text, reasoning, arguments) and ``images``.

    ``reported`` is the usage that the vendor has sent so far. Its prompt count is final; its completion count is a
    lower bound, because some vendors start with a provisional one. ``hidden_tokens`` of reasoning count unless the
    vendor has counted what was produced.
    """
    reported = reported or Usage()
    image_tokens = images * _GENERATED_IMAGE_TOKENS
    completion_tokens = -(-produced_bytes // _BYTES_PER_TOKEN) + image_tokens
    if reported.reasoning_tokens or reported.completion_tokens > _MOST_PROVISIONAL_TOKENS:
        hidden_tokens = 0
    return msgspec.structs.replace(
        reported,
        prompt_tokens=reported.prompt_tokens or prompt_tokens(_as_read(body)),
        completion_tokens=max(reported.completion_tokens, completion_tokens + hidden_tokens),
        reasoning_tokens=max(reported.reasoning_tokens, hidden_tokens),
        image_tokens=max(reported.image_tokens, image_tokens),
        estimated=True,
    )


def _as_read(body: dict[str, Any]) -> dict[str, Any]:
    """``body`` without what earlier answers carry for the vendors that gave them: reasoning, signatures and images.

    Vendors that report the prompt's count only at the end of an answer are sent none of it, except ModelArk, which is
    sent its own reasoning.
    """
    if not isinstance(messages := body.get("messages"), list):
        return body
    return {**body, "messages": [_only(_READ, message) | _calls_as_read(message) for message in messages]}


def _calls_as_read(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls") if message["role"] == "assistant" else None  # unchecked in other messages
    return {"tool_calls": [_only(_READ_OF_CALLS, call) for call in calls]} if calls else {}


def _only(names: frozenset[str], fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in names}


def hidden_reasoning(silent: float, visible: float, produced_bytes: int) -> int:
    """Tokens that a model reasoned in the ``silent`` seconds before its first output.

    At the speed of its output: ``produced_bytes`` in the ``visible`` seconds since.
    """
    slowest, fastest = _TOKENS_PER_SECOND
    speed = slowest
    if visible >= _LEAST_MEASURED_SECONDS:
        speed = min(max(slowest, produced_bytes / _BYTES_PER_TOKEN / visible), fastest)
    return int(max(0.0, silent - _PROMPT_SECONDS) * speed)


def prompt_tokens(body: dict[str, Any], image_tokens: int = IMAGE_TOKENS) -> int:
    """Estimate the prompt tokens of the decoded request ``body``, with ``image_tokens`` for each image.

    In tools and schemas, keys with the names of media fields are text.
    """
    found: list[tuple[str, Any]] = []
    texts = _texts([body.get(name) for name in _CONVERSATION], found)
    if defined := [body[name] for name in _DEFINITIONS if name in body]:
        texts += _texts(defined, None)
    text = "".join(texts)
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    read = -(-size // _BYTES_PER_TOKEN)
    budget = media.DecompressionBudget() if found else None
    for name, medium in found:
        items = medium if isinstance(medium, list) else (medium,)
        read += sum(media.tokens(name, item, image_tokens, budget) for item in items)
    return read


def _texts(value: Any, found: list[tuple[str, Any]] | None) -> list[str]:
    """All keys and values of decoded JSON as text; media are appended to ``found`` instead, unless it is None.

    Of a medium only its content is not text.
    """
    texts: list[str] = []
    pending = [value]
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is dict:
            for name, field in item.items():
                if found is not None and name in _MEDIA:
                    found.append((name, field))
                    pending += media.labels(name, field)
                else:
                    texts.append(name)
                    if type(field) is str:
                        texts.append(field)
                    else:
                        pending.append(field)
        elif kind is list:
            pending += item
        elif item is not None:
            texts.append(str(item))
    return texts
