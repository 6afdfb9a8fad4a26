"""nitriding's user_data: the hashes that bind a document to a TLS certificate and to the application's key.

``12 20 ‖ SHA-256(leaf certificate DER) ‖ 12 20 ‖ appKeyHash``; 0x12 0x20 is the multihash tag of a 32-byte SHA2-256
(facts/enclave.md 1.3). A hash that was never set is 32 zero bytes.
"""

import hashlib
from dataclasses import dataclass

_TAG = b"\x12\x20"
_LENGTH = 68


@dataclass(frozen=True, slots=True)
class Binding:
    tls_certificate_hash: bytes
    app_key_hash: bytes

    def user_data(self) -> bytes:
        return _TAG + self.tls_certificate_hash + _TAG + self.app_key_hash


def read_binding(user_data: bytes | None) -> Binding | None:
    """The two hashes, or None for user_data that is not nitriding's."""
    if user_data is None or len(user_data) != _LENGTH or user_data[:2] != _TAG or user_data[34:36] != _TAG:
        return None
    return Binding(user_data[2:34], user_data[36:])


def bind(tls_certificate: bytes, app_key_hash: bytes) -> Binding:
    """The binding that nitriding attests for a certificate (DER) and a registered hash."""
    return Binding(hashlib.sha256(tls_certificate).digest(), app_key_hash)
