"""Vendor-looking ids that follow from the request, so that a run can be repeated."""

import base64
import hashlib
import random
import string
import uuid

CREATED = 1_795_305_600
"""The `created` time of every answer: 2026-11-22T00:00:00Z in Unix seconds."""

ALPHANUMERIC = string.ascii_letters + string.digits


class Identifiers:
    """A stream of ids; equal seeds give equal streams."""

    def __init__(self, seed: bytes) -> None:
        self._random = random.Random(seed)

    def alphanumeric(self, length: int) -> str:
        return "".join(self._random.choices(ALPHANUMERIC, k=length))

    def lower(self, length: int) -> str:
        return "".join(self._random.choices(string.ascii_lowercase + string.digits, k=length))

    def digits(self, length: int) -> str:
        return "".join(self._random.choices(string.digits, k=length))

    def hex(self, length: int) -> str:
        return "".join(self._random.choices("0123456789abcdef", k=length))

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def blank(self, most: int) -> str:
        """Up to `most` spaces."""
        return " " * self._random.randint(0, most)

    def octets(self, length: int) -> bytes:
        return self._random.randbytes(length)


class ReasoningSigner:
    """Signs reasoning with a key that only the vendor has.

    A signature covers the model family and the text, so that altered, foreign or swapped reasoning is detected when it
    is sent back (facts/providers.md 3.8, 5.6).
    """

    def __init__(self, vendor: str) -> None:
        self._key = hashlib.sha256(f"simulated {vendor}".encode()).digest()

    def sign(self, family: str, text: str, nonce: bytes) -> str:
        """Base64 of a 16-byte nonce and a 32-byte tag."""
        return base64.b64encode(nonce + self._tag(family, text, nonce)).decode()

    def valid(self, signature: str, family: str, text: str) -> bool:
        try:
            raw = base64.b64decode(signature.replace("-", "+").replace("_", "/") + "=" * (-len(signature) % 4))
        except ValueError:
            return False
        return len(raw) == 48 and raw[16:] == self._tag(family, text, raw[:16])

    def _tag(self, family: str, text: str, nonce: bytes) -> bytes:
        content = nonce + family.encode() + b"\0" + text.encode()
        return hashlib.blake2b(content, key=self._key, digest_size=32).digest()
