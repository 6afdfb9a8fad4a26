"""Media types detected by their first bytes."""

from base64 import b64encode

import pytest

from gateway.upstreams.media_types import sniff, sniff_base64

KNOWN = {
    b"\xff\xd8\xff\xe0\x00\x10JFIF": "image/jpeg",
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR": "image/png",
    b"GIF89a": "image/gif",
    b"RIFF\x24\x00\x00\x0aWEBPVP8 ": "image/webp",
    b"RIFF\x24\x00\x00\x0aWAVEfmt ": "audio/wav",
    b"\x00\x00\x00\x18ftypheic": "image/heic",
    b"\x00\x00\x00\x18ftypmif1": "image/heif",
    b"\x00\x00\x00\x18ftypisom": "video/mp4",
    b"\x00\x00\x00\x14ftypqt  ": "video/quicktime",
    b"%PDF-1.7": "application/pdf",
    b"ID3\x04": "audio/mpeg",
    b"\xff\xfb\x90": "audio/mpeg",
    b"\xff\xf1\x50": "audio/aac",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"FORM\x00\x00\x00\x00AIFF": "audio/aiff",
    b"\x1aE\xdf\xa3": "video/webm",
}


@pytest.mark.parametrize(("head", "media_type"), KNOWN.items(), ids=[*map(str, KNOWN)])
def test_known_kinds(head: bytes, media_type: str) -> None:
    assert sniff(head + b"\n" * 9) == media_type
    assert sniff_base64(b64encode(head + b"\n" * 9).decode() + "!") == media_type


@pytest.mark.parametrize("head", [b"", b"<svg", b"<html>", b"RIFF\x00\x00\x00\x00AVI ", b"PK\x03\x04", b" %PDF-1.7"])
def test_everything_else_is_unknown(head: bytes) -> None:
    assert sniff(head) is None
    assert sniff_base64(b64encode(head).decode()) is None
