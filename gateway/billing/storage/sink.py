"""Where journal entries are kept outside an enclave that has no disk of its own, and how they are sealed.

The sink is on the host, which is not trusted: it sees sealed records only, cannot change or forge one, and can lose
them. A lost record costs the operator what was not settled yet, never the payer: the chain takes no nonce twice.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiohttp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PURPOSE = b"tee-gateway journal 1"
_NONCE = 12
_LENGTH = 4
_CHUNK = 1 << 16
_SECONDS = 5.0
"""For one record to be taken, and between two pieces of all records."""
MAX_RECORD_BYTES = 256 * 1024


class SinkUnavailableError(Exception):
    """A record was not taken, or the records could not be read; says why."""


class SinkSilentError(SinkUnavailableError):
    """The sink took a record neither nor refused it, for so long that nobody should wait for it again soon."""


class Sink(Protocol):
    """Keeps records in the order in which they were appended. Both methods raise SinkUnavailableError."""

    async def append(self, record: bytes) -> None:
        """Returns once the record is kept."""
        ...

    def records(self) -> AsyncIterator[bytes]:
        """Every record that is still kept, oldest first."""
        ...


class RecordCipher:
    """AES-256-GCM under the injected journal key: a random nonce, then ciphertext and tag."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a journal key has 32 bytes")
        self._cipher = AESGCM(key)

    def encrypt(self, plain: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, _PURPOSE)

    def decrypt(self, record: bytes) -> bytes | None:
        """None for a record that was not sealed under this key."""
        try:
            return self._cipher.decrypt(record[:_NONCE], record[_NONCE:], _PURPOSE)
        except (InvalidTag, ValueError):
            return None


class HttpSink:
    """POST appends the body as one record; GET answers all of them, each behind its length in four bytes."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def append(self, record: bytes) -> None:
        """Once more where a kept connection turns out to be gone: a record that is kept twice counts once."""
        for again in (True, False):
            try:
                await self._post(record)
            except (TimeoutError, aiohttp.ClientError) as error:
                if not (again and isinstance(error, (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError))):
                    raise _unreachable(error) from None
            else:
                return

    async def _post(self, record: bytes) -> None:
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with self._session.post(self._url, data=record, timeout=timeout, allow_redirects=False) as response:
            _check(response.status)

    async def records(self) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SECONDS, sock_read=_SECONDS)
        frames = FrameDecoder()
        try:
            async with self._session.get(self._url, timeout=timeout, allow_redirects=False) as response:
                _check(response.status)
                async for piece in response.content.iter_chunked(_CHUNK):
                    for record in frames.feed(piece):
                        yield record
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _unreachable(error) from None


class FileSink:
    """The same records in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = RecordFile(path)

    async def append(self, record: bytes) -> None:
        try:
            await asyncio.to_thread(self._file.append, encode_frame(record))
        except OSError as error:
            raise SinkUnavailableError(f"journal sink: {error}") from None

    async def records(self) -> AsyncIterator[bytes]:
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            return
        except OSError as error:
            raise SinkUnavailableError(f"journal sink: {error}") from None
        for record in FrameDecoder().feed(content):
            yield record


class RecordFile:
    """Framed records one after the other, on disk before ``append`` returns. Several processes may append.

    What a crash or a full disk left of a record is cut off before the next one, which would be unreadable behind it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = 0

    def append(self, frames: bytes) -> None:
        """Raises OSError, and then nothing was appended."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = self._mend(descriptor)
            try:
                _write(descriptor, frames)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            self._whole = end + len(frames)
        finally:
            os.close(descriptor)

    def whole(self) -> int:
        """How many bytes of the file are whole records; 0 for a file that is not there."""
        with suppress(FileNotFoundError):
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                self._whole = _whole(descriptor, self._whole)
            finally:
                os.close(descriptor)
        return self._whole

    def _mend(self, descriptor: int) -> int:
        end = _whole(descriptor, self._whole)
        if end < os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
        return end


class FrameDecoder:
    """Records out of pieces of any size; a last one that was cut short never comes."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Raises SinkUnavailableError for a length that no record has."""
        self._rest += piece
        position = 0
        while position + _LENGTH <= len(self._rest):
            length = int.from_bytes(self._rest[position : position + _LENGTH], "big")
            if length > MAX_RECORD_BYTES:
                raise SinkUnavailableError(f"the journal sink answers with something else than records: {length} bytes")
            if position + _LENGTH + length > len(self._rest):
                break
            yield bytes(self._rest[position + _LENGTH : position + _LENGTH + length])
            position += _LENGTH + length
        del self._rest[:position]


def open_sink(url: str, session: aiohttp.ClientSession) -> Sink:
    """The sink behind a ``file:``, ``http:`` or ``https:`` URL."""
    parts = urlsplit(url)
    return FileSink(Path(unquote(parts.path))) if parts.scheme == "file" else HttpSink(session, url)


def encode_frame(record: bytes) -> bytes:
    """A record behind its length."""
    return len(record).to_bytes(_LENGTH, "big") + record


def _check(status: int) -> None:
    if status // 100 != 2:
        raise SinkUnavailableError(f"the journal sink answered {status}")


def _unreachable(error: Exception) -> SinkUnavailableError:
    kind = SinkSilentError if isinstance(error, TimeoutError) else SinkUnavailableError
    return kind(f"the journal sink cannot be reached: {type(error).__name__}")


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _whole(descriptor: int, known: int) -> int:
    """Where the last whole record ends, looked for from ``known`` on, where one begins."""
    size = os.fstat(descriptor).st_size
    end = known if known <= size else 0
    while end + _LENGTH <= size:
        after = end + _LENGTH + int.from_bytes(os.pread(descriptor, _LENGTH, end), "big")
        if after > size:
            break
        end = after
    return end
