"""Keccak-256, the hash that Ethereum uses (not NIST SHA3-256).

Calls pycryptodome's C implementation directly: its Python classes and conversions cost several times the hash of a
short message, and every answer takes three. The library releases the GIL while it works, so each thread has a state of
its own.
"""

import threading
from typing import Any

from Crypto.Hash.keccak import _raw_keccak_lib as _library  # type: ignore[attr-defined]
from Crypto.Util import _raw_api

_raw: Any = _raw_api
if _raw.backend != "cffi":  # the only backend that takes bytes and integers as they are
    raise ImportError("pycryptodome does not use cffi")
_DIGEST_BYTES = 32
_CAPACITY_BYTES = 2 * _DIGEST_BYTES
_ROUNDS = 24
_PADDING = 1


class _Sponge(threading.local):
    """A reusable state and digest buffer, and a view of the buffer."""

    def __init__(self) -> None:
        state = _raw.VoidPointer()
        if _library.keccak_init(state.address_of(), _CAPACITY_BYTES, _ROUNDS):
            raise MemoryError("keccak")
        buffer = _raw.create_string_buffer(_DIGEST_BYTES)
        self.parts = state.get(), buffer, _raw.ffi.buffer(buffer, _DIGEST_BYTES)


_sponge = _Sponge()
_reset, _absorb, _squeeze = _library.keccak_reset, _library.keccak_absorb, _library.keccak_digest


def keccak256(data: bytes) -> bytes:
    """The 32-byte Keccak-256 digest of ``data``."""
    state, buffer, view = _sponge.parts
    _reset(state)
    _absorb(state, data, len(data))
    _squeeze(state, buffer, _DIGEST_BYTES, _PADDING)
    digest: bytes = view[:]
    return digest
