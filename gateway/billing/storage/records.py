"""Sealed journal records, and files of them: each record is framed by its length in four bytes, big-endian."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX_BYTES = 4
MAX_RECORD_BYTES = 256 * 1024
_ASSOCIATED_DATA = b"tee-gateway journal 1"
_NONCE_BYTES = 12


class RecordCipher:
    """AES-256-GCM under the injected journal key: a random nonce, then ciphertext and tag."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a journal key must be 32 bytes")
        self._cipher = AESGCM(key)

    def encrypt(self, plain: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _ASSOCIATED_DATA)

    def decrypt(self, record: bytes) -> bytes | None:
        """None for a record that was not sealed under this key."""
        try:
            return self._cipher.decrypt(record[:_NONCE_BYTES], record[_NONCE_BYTES:], _ASSOCIATED_DATA)
        except (InvalidTag, ValueError):
            return None


class RecordFile:
    """A file of frames, synced to disk before ``append`` returns. Several processes may append.

    An incomplete frame that a crash or a full disk left at the end is truncated before the next append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complete_length = 0

    def append(self, frames: bytes) -> None:
        """Append encoded frames. Raises OSError, with nothing appended."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = self._truncate_incomplete(descriptor)
            try:
                _write(descriptor, frames)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            self._complete_length = end + len(frames)
        finally:
            os.close(descriptor)

    def complete_length(self) -> int:
        """The length of the file in complete frames, in bytes; 0 if there is no file."""
        with suppress(FileNotFoundError):
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                self._complete_length = _complete_length(descriptor, self._complete_length)
            finally:
                os.close(descriptor)
        return self._complete_length

    def _truncate_incomplete(self, descriptor: int) -> int:
        end = _complete_length(descriptor, self._complete_length)
        if end < os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
        return end


def encode_frame(record: bytes) -> bytes:
    """A record with its length prefix."""
    return len(record).to_bytes(PREFIX_BYTES, "big") + record


def _write(descriptor: int, data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _complete_length(descriptor: int, known: int) -> int:
    """The offset of the end of the last complete frame, searched from ``known``, the start of a frame."""
    size = os.fstat(descriptor).st_size
    end = known if known <= size else 0
    while end + PREFIX_BYTES <= size:
        after = end + PREFIX_BYTES + int.from_bytes(os.pread(descriptor, PREFIX_BYTES, end), "big")
        if after > size:
            break
        end = after
    return end
