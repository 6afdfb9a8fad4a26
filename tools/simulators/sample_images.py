"""Small valid image files, padded to any size in bytes."""

import base64
import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ONE_CODE = bytes([1]) + bytes(15) + b"\0"


def png(seed: int, least: int = 0) -> bytes:
    """A 1×1 PNG whose colour follows from `seed`, padded to at least `least` bytes with a private chunk."""
    pixel = bytes([0, seed & 255, seed >> 8 & 255, seed >> 16 & 255])
    head = PNG_SIGNATURE + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    tail = _png_chunk(b"IDAT", zlib.compress(pixel)) + _png_chunk(b"IEND", b"")
    padding = _noise(seed, max(0, least - len(head) - len(tail) - 12))
    return head + _png_chunk(b"siMu", padding) + tail


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(seed: int, least: int = 0) -> bytes:
    """An 8×8 grey JPEG padded to at least `least` bytes with comment segments."""
    paddings = [_noise(seed + start, min(least - start, 65_000)) for start in range(0, least, 65_000)]
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            *(_segment(0xFE, comment) for comment in (b"seed %d" % seed, *paddings)),
            _segment(0xDB, b"\0" + bytes([16]) * 64),
            _segment(0xC0, b"\x08" + struct.pack(">HH", 8, 8) + b"\x01\x01\x11\0"),
            _segment(0xC4, b"\x00" + _ONE_CODE),
            _segment(0xC4, b"\x10" + _ONE_CODE),
            _segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            b"\x3f\xff\xd9",
        ]
    )


def _segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def _noise(seed: int, length: int) -> bytes:
    block = zlib.crc32(seed.to_bytes(8, "big")).to_bytes(4, "big") * 16
    return (block * (length // len(block) + 1))[:length]


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
