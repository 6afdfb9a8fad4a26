"""Usage that an upstream did not report, because the answer broke off or the vendor left it out.

An estimate goes by size: about four bytes of UTF-8 per token (facts/providers.md 1.4, last paragraph).
"""

from typing import Any

import msgspec

from gateway.openai_api.usage import Usage

_BYTES_PER_TOKEN = 4
_MEDIUM_TOKENS = 1120  # an input picture on Gemini 3 (10.3); for other media and vendors no figure is known
_PICTURE_TOKENS = 1120  # a picture of 1K that was drawn (10.3)

_CONTENT = ("messages", "prompt", "tools", "functions", "response_format")
_MEDIA = frozenset({"image_url", "input_audio", "file", "video_url", "images"})


def estimate(body: dict[str, Any], produced_bytes: int, seen: Usage | None = None, pictures: int = 0) -> Usage:
    """The usage of an answer to ``body`` that produced ``produced_bytes`` of text, reasoning and arguments included,
    and ``pictures``.

    What the vendor had reported before it fell silent, ``seen``, is kept: its prompt count is final, its completion
    count only a lower bound, because some vendors open with a provisional one.
    """
    seen = seen or Usage()
    drawn = pictures * _PICTURE_TOKENS
    return msgspec.structs.replace(
        seen,
        prompt_tokens=seen.prompt_tokens or prompt_tokens(body),
        completion_tokens=max(seen.completion_tokens, -(-produced_bytes // _BYTES_PER_TOKEN) + drawn),
        image_tokens=max(seen.image_tokens, drawn),
        estimated=True,
    )


def prompt_tokens(body: dict[str, Any]) -> int:
    """About how many tokens the decoded request ``body`` puts before a model."""
    size, media = _measure([body.get(name) for name in _CONTENT])
    return -(-size // _BYTES_PER_TOKEN) + media * _MEDIUM_TOKENS


def prompt_bound(body: dict[str, Any]) -> int:
    """The most tokens that the text of ``body`` can be: tokenizers that work on bytes make at most one of each.

    Media have no bound that their size would tell; they count as in ``prompt_tokens``.
    """
    size, media = _measure([body.get(name) for name in _CONTENT])
    return size + media * _MEDIUM_TOKENS


def _measure(value: Any) -> tuple[int, int]:
    """Bytes of text, keys included, and number of media in a decoded JSON value, however deep it is nested."""
    texts: list[str] = []
    media = 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, dict):
            for name, field in item.items():
                if name in _MEDIA:
                    media += len(field) if isinstance(field, list) else 1
                else:
                    texts.append(name)
                    pending.append(field)
    text = "".join(texts)
    return (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))), media
