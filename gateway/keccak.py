"""Keccak-256, the hash that Ethereum uses (not NIST SHA3-256).

pycryptodome's sponge, called without its Python classes: they cost several times the hash of a short message, and
every answer has three. The library lets go of the GIL while it works, so each thread has a sponge of its own.
"""

import threading
from typing import Any

from Crypto.Hash.keccak import _raw_keccak_lib as _library  # type: ignore[attr-defined]
from Crypto.Util import _raw_api

_raw: Any = _raw_api
_DIGEST_BYTES = 32
_CAPACITY = _raw.c_size_t(2 * _DIGEST_BYTES)
_ROUNDS = _raw.c_ubyte(24)
_PADDING = _raw.c_ubyte(1)
_LENGTH = _raw.c_size_t(_DIGEST_BYTES)


class _Sponge(threading.local):
    """One state and one place for its digests, used over and over."""

    def __init__(self) -> None:
        state = _raw.VoidPointer()
        if _library.keccak_init(state.address_of(), _CAPACITY, _ROUNDS):
            raise MemoryError("keccak")
        self.state = state.get()
        self.digest = _raw.create_string_buffer(_DIGEST_BYTES)


_sponge = _Sponge()
_reset, _absorb, _squeeze = _library.keccak_reset, _library.keccak_absorb, _library.keccak_digest


def keccak256(data: bytes) -> bytes:
    """The 32-byte Keccak-256 digest of ``data``."""
    state, digest = _sponge.state, _sponge.digest
    _reset(state)
    _absorb(state, _raw.c_uint8_ptr(data), _raw.c_size_t(len(data)))
    _squeeze(state, digest, _LENGTH, _PADDING)
    value: bytes = _raw.get_raw_buffer(digest)
    return value
