"""Keccak-256, the hash that Ethereum uses (not NIST SHA3-256)."""

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """The 32-byte Keccak-256 digest of ``data``."""
    return keccak.new(digest_bits=256, data=data).digest()
