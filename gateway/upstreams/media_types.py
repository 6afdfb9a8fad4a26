"""Media types by magic number; the type that a server or a vendor declares is not trusted."""

import binascii
import re

_BASE64_HEAD = 16
"""Characters of base64 for the longest magic number, of 12 bytes."""

_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftyp(heic|heix|hevc|hevx)", re.DOTALL), "image/heic"),
    (re.compile(rb"....ftyp(mif1|msf1)", re.DOTALL), "image/heif"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
    (re.compile(rb"\xff[\xf1\xf9]"), "audio/aac"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"FORM....AIF[FC]", re.DOTALL), "audio/aiff"),
    (re.compile(rb"....ftypqt", re.DOTALL), "video/quicktime"),
    (re.compile(rb"....ftyp", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/webm"),
)


def sniff(data: bytes) -> str | None:
    """The media type of a file that starts with ``data``; None for a type that no vendor reads."""
    return next((media_type for magic, media_type in _MAGIC if magic.match(data)), None)


def sniff_base64(text: str) -> str | None:
    """``sniff`` for a file in base64. Raises ValueError where it does not begin as such."""
    return sniff(binascii.a2b_base64(text[:_BASE64_HEAD], strict_mode=True))
