"""Estimates of the prompt tokens of pictures, documents, audio and video.

Vendors charge by page and second. Both are read from the file if possible, and otherwise estimated from its size.
Sources: pictures facts/providers.md 10.3, and the catalogue's ``image_tokens``; pages Anthropic, "PDF support" (1,500
to 3,000 each, the most of all vendors); seconds Google, "Audio understanding" and "Video understanding".
"""

import binascii
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import Any

from gateway.catalog import IMAGE_TOKENS

_PAGE_TOKENS = 1500
_AUDIO_TOKENS = 32
"""Per second, like the other figures of audio and video."""
_VIDEO_TOKENS = 300
"""With the sound track, at one frame per second."""

_PAGE_BYTES = 20_000
_AUDIO_BYTES = 4_000
"""32 kbit/s: common for speech, below the usual rates of music."""
_VIDEO_BYTES = 60_000
_DEFAULT_PAGES = 10
_DEFAULT_SECONDS = 300
_WAV_RATES = range(_AUDIO_BYTES, 400_000)

_CONTENT = {"image_url": "url", "video_url": "url", "input_audio": "data", "file": "file_data"}
_DATA_URI = re.compile(r"data:\s*+([^;,\s]*+)[^,]*+,", re.IGNORECASE)
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_MAX_PAGES = 10_000
_MAX_STREAMS = 4096
_MAX_DICTIONARY_BYTES = 400
_MAX_COMPRESSED_BYTES = 128 * 1024
_MAX_DECOMPRESSED_BYTES = 16 * 1024 * 1024
_MAX_RATIO = 100
"""Decompressed bytes per byte of a document: ten times what is usual, a tenth of what zlib can make of zeros."""


class DecompressionBudget:
    """The bytes that the documents of one request may still be decompressed to: ``left``, for all of them together.

    A small compressed stream holds a thousand times its size, and a small request has room for many documents.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MAX_DECOMPRESSED_BYTES


def tokens(name: str, medium: Any, image_tokens: int = IMAGE_TOKENS, budget: DecompressionBudget | None = None) -> int:
    """The prompt tokens of ``medium``, the value of a field ``name`` of a request; an image counts ``image_tokens``.

    ``name`` is ``image_url``, ``input_audio``, ``video_url`` or ``file``, or ``images`` for an item of that list.
    ``budget`` is shared by the media of a request.
    """
    key = _content_key(name, medium)
    content, frames = _content(key, medium), _frames(medium)
    if key == "data":
        return _recording_tokens(content)
    uri = _DATA_URI.match(content)
    if uri is None:
        return _unfetched_tokens(name, frames, image_tokens)
    return _file_tokens(uri[1].lower(), content[uri.end() :], frames, image_tokens, budget or DecompressionBudget())


def labels(name: str, medium: Any) -> list[Any]:
    """What a field ``name`` has beside its content, such as the name of the file, which models read as text."""
    content = _content_key(name, medium)
    return [value for key, value in medium.items() if key != content] if isinstance(medium, dict) else []


def _file_tokens(media_type: str, data: str, frames: int, image_tokens: int, budget: DecompressionBudget) -> int:
    match media_type.partition("/")[0]:
        case "text":
            return _size(data) // 4
        case "application":
            return _document_tokens(data, budget)
        case "audio":
            return _recording_tokens(data)
        case "video":
            return _seconds(data, _VIDEO_BYTES) * _VIDEO_TOKENS * frames
        case _:
            return image_tokens


def _unfetched_tokens(name: str, frames: int, image_tokens: int) -> int:
    """The estimate for a URL that only the vendor fetches."""
    match name:
        case "file":
            return _DEFAULT_PAGES * _PAGE_TOKENS
        case "video_url":
            return _DEFAULT_SECONDS * _VIDEO_TOKENS * frames
        case "input_audio":
            return _DEFAULT_SECONDS * _AUDIO_TOKENS
        case _:
            return image_tokens


def _content_key(name: str, medium: Any) -> str | None:
    """The key of the content in a field ``name``; audio may have a URL in place of its data."""
    if name == "input_audio" and isinstance(medium, dict) and medium.get("url") is not None:
        return "url"
    return _CONTENT.get(name)


def _content(key: str | None, medium: Any) -> str:
    content = medium.get(key) if isinstance(medium, dict) else medium
    return content if isinstance(content, str) else ""


def _frames(medium: Any) -> int:
    """Frames per second that the model samples a video at."""
    asked = medium.get("fps") if isinstance(medium, dict) else None
    return ceil(min(max(asked, 1), 24)) if isinstance(asked, int | float) else 1


def _size(data: str) -> int:
    return len(data) * 3 // 4


def _seconds(data: str, bytes_per_second: int) -> int:
    return 1 + _size(data) // bytes_per_second


def _recording_tokens(data: str) -> int:
    """Tokens of a recording; the header of WAV files has the byte rate."""
    head = _base64_decode(data[:64])
    rate = int.from_bytes(head[28:32], "little") if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " else 0
    return _seconds(data, rate if rate in _WAV_RATES else _AUDIO_BYTES) * _AUDIO_TOKENS


def _document_tokens(data: str, budget: DecompressionBudget) -> int:
    pages = _pages(_base64_decode(data), budget) or 1 + _size(data) // _PAGE_BYTES
    return pages * _PAGE_TOKENS


def _pages(pdf: bytes, budget: DecompressionBudget) -> int:
    """The number of pages of a PDF; 0 if none are found."""
    found = (page for objects in (pdf, *_object_streams(pdf, budget)) for page in _PAGE.finditer(objects))
    return sum(1 for _ in islice(found, _MAX_PAGES))


def _object_streams(pdf: bytes, budget: DecompressionBudget) -> Iterator[bytes]:
    """The decompressed object streams of a PDF, which hold its pages since version 1.5 (ISO 32000-1, 7.5.7).

    Bounded in work, not only in output.
    """
    at = 0
    reserve = max(0, budget.left - _MAX_RATIO * len(pdf))
    for _ in range(_MAX_STREAMS):
        at = pdf.find(b"/ObjStm", at + 1)
        start = pdf.find(b"stream", at, at + _MAX_DICTIONARY_BYTES) + len(b"stream")
        if at < 0 or budget.left <= reserve:
            return
        if start < at:
            continue
        compressed = pdf[start : start + _MAX_COMPRESSED_BYTES].lstrip(b"\r\n")
        try:
            objects = zlib.decompressobj().decompress(compressed, budget.left - reserve)
        except zlib.error:
            budget.left -= len(compressed)
        else:
            budget.left -= len(compressed) // 8 + len(objects)
            yield objects


def _base64_decode(data: str) -> bytes:
    try:
        return binascii.a2b_base64(data)
    except ValueError:
        return b""
