"""About how many tokens a picture, document, recording or film puts before a model, told before any vendor has seen it.

Vendors count pages and seconds. Those are looked for in the file, and else told from its size. Figures: pictures
facts/providers.md 10.3; pages Anthropic, "PDF support" (1,500 to 3,000 each, the most of all vendors); seconds Google,
"Audio understanding" and "Video understanding".
"""

import binascii
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import Any

_PICTURE_TOKENS = 1120
_PAGE_TOKENS = 1500
_SOUND_TOKENS = 32
"""A second, and so are the other figures of sound and film."""
_FILM_TOKENS = 300
"""Its sound track included; a frame a second."""

_PAGE_BYTES = 20_000
_SOUND_BYTES = 4_000
"""32 kbit/s: speech is packed to that, music hardly ever."""
_FILM_BYTES = 60_000
_UNSEEN_PAGES = 10
_UNSEEN_SECONDS = 300
_WAV_RATES = range(_SOUND_BYTES, 400_000)

_CONTENT = {"image_url": "url", "video_url": "url", "input_audio": "data", "file": "file_data"}
_DATA = re.compile(r"data:\s*([^;,\s]*)[^,]*,", re.IGNORECASE)
_PAGE = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_MOST_PAGES = 10_000
_MOST_PACKED = 4096
_LONGEST_HEAD = 400
_PACKED_BYTES = 128 * 1024
_UNPACKED_BYTES = 16 * 1024 * 1024


def tokens(name: str, medium: Any) -> int:
    """Of what stands in a request under ``name``: an ``image_url``, ``input_audio``, ``video_url`` or ``file``, or one
    of ``images``."""
    content, frames = _content(name, medium), _frames(medium)
    if name == "input_audio":
        return _recording(content)
    uri = _DATA.match(content)
    if uri is None:
        return _unseen(name, frames)
    return _file(uri[1].lower(), content[uri.end() :], frames)


def _file(media_type: str, data: str, frames: int) -> int:
    match media_type.partition("/")[0]:
        case "text":
            return _size(data) // 4
        case "application":
            return _document(data)
        case "audio":
            return _recording(data)
        case "video":
            return _seconds(data, _FILM_BYTES) * _FILM_TOKENS * frames
        case _:
            return _PICTURE_TOKENS


def _unseen(name: str, frames: int) -> int:
    """Of a file that only its vendor will fetch."""
    match name:
        case "file":
            return _UNSEEN_PAGES * _PAGE_TOKENS
        case "video_url":
            return _UNSEEN_SECONDS * _FILM_TOKENS * frames
        case _:
            return _PICTURE_TOKENS


def _content(name: str, medium: Any) -> str:
    content = medium.get(_CONTENT.get(name)) if isinstance(medium, dict) else medium
    return content if isinstance(content, str) else ""


def _frames(medium: Any) -> int:
    """How many frames of a film's second are looked at."""
    asked = medium.get("fps") if isinstance(medium, dict) else None
    return ceil(min(max(asked, 1), 24)) if isinstance(asked, int | float) else 1


def _size(data: str) -> int:
    return len(data) * 3 // 4


def _seconds(data: str, bytes_a_second: int) -> int:
    return 1 + _size(data) // bytes_a_second


def _recording(data: str) -> int:
    """Those in WAV say how many bytes make a second."""
    head = _decoded(data[:64])
    rate = int.from_bytes(head[28:32], "little") if head[:4] == b"RIFF" and head[8:16] == b"WAVEfmt " else 0
    return _seconds(data, rate if rate in _WAV_RATES else _SOUND_BYTES) * _SOUND_TOKENS


def _document(data: str) -> int:
    pages = _pages(_decoded(data)) or 1 + _size(data) // _PAGE_BYTES
    return pages * _PAGE_TOKENS


def _pages(pdf: bytes) -> int:
    """How many pages a PDF has; 0 when none can be found in it."""
    found = (page for objects in (pdf, *_unpacked(pdf)) for page in _PAGE.finditer(objects))
    return sum(1 for _ in islice(found, _MOST_PAGES))


def _unpacked(pdf: bytes) -> Iterator[bytes]:
    """What is in a PDF's object streams, where pages are since version 1.5 (ISO 32000-1, 7.5.7). Bounded in work, not
    only in what comes of it."""
    left, at = _UNPACKED_BYTES, 0
    for _ in range(_MOST_PACKED):
        at = pdf.find(b"/ObjStm", at + 1)
        start = pdf.find(b"stream", at, at + _LONGEST_HEAD) + len(b"stream")
        if at < 0 or left <= 0:
            return
        if start < at:
            continue
        packed = pdf[start : start + _PACKED_BYTES].lstrip(b"\r\n")
        try:
            objects = zlib.decompressobj().decompress(packed, left)
        except zlib.error:
            left -= len(packed)
        else:
            left -= len(packed) // 8 + len(objects)
            yield objects


def _decoded(data: str) -> bytes:
    try:
        return binascii.a2b_base64(data)
    except ValueError:
        return b""
