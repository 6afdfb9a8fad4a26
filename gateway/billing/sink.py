"""Where journal entries are kept outside an enclave that has no disk of its own, and how they are sealed.

The sink is on the host, which is not trusted: it sees sealed records only, cannot change or forge one, and can lose
them. A lost record costs the operator what was not settled yet, never the payer: the chain takes no nonce twice.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiohttp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PURPOSE = b"tee-gateway journal 1"
_NONCE = 12
_LENGTH = 4
_SECONDS = 5.0


class SinkUnavailableError(Exception):
    """A record was not taken, or the records could not be read; says why."""


class Sink(Protocol):
    """Keeps records in the order in which they were appended. Both methods raise SinkUnavailableError."""

    async def append(self, record: bytes) -> None:
        """Returns once the record is kept."""
        ...

    async def records(self) -> list[bytes]:
        """Every record that is still kept, oldest first."""
        ...


class Seal:
    """AES-256-GCM under the injected journal key: a random nonce, then ciphertext and tag."""

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError("a journal key has 32 bytes")
        self._cipher = AESGCM(key)

    def close(self, plain: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, _PURPOSE)

    def open(self, record: bytes) -> bytes | None:
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
        await self._call("POST", record)

    async def records(self) -> list[bytes]:
        return list(_split(await self._call("GET", None)))

    async def _call(self, method: str, body: bytes | None) -> bytes:
        try:
            async with self._session.request(
                method,
                self._url,
                data=body,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                allow_redirects=False,
            ) as response:
                answer = await response.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise SinkUnavailableError(f"the journal sink cannot be reached: {type(error).__name__}") from None
        if response.status // 100 != 2:
            raise SinkUnavailableError(f"the journal sink answered {response.status}")
        return answer


class FileSink:
    """The same records in one file, flushed to the disk one by one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def append(self, record: bytes) -> None:
        await asyncio.to_thread(self._append, framed(record))

    async def records(self) -> list[bytes]:
        return await asyncio.to_thread(self._records)

    def _append(self, frame: bytes) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, frame)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SinkUnavailableError(f"journal sink: {error}") from None

    def _records(self) -> list[bytes]:
        try:
            return list(_split(self._path.read_bytes()))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SinkUnavailableError(f"journal sink: {error}") from None


def open_sink(url: str, session: aiohttp.ClientSession) -> Sink:
    """The sink behind a ``file:``, ``http:`` or ``https:`` URL."""
    parts = urlsplit(url)
    return FileSink(Path(unquote(parts.path))) if parts.scheme == "file" else HttpSink(session, url)


def framed(record: bytes) -> bytes:
    """A record behind its length."""
    return len(record).to_bytes(_LENGTH, "big") + record


def _split(data: bytes) -> Iterator[bytes]:
    """The records of a file or answer; a last one that was cut short is left out."""
    position = 0
    while position + _LENGTH <= len(data):
        start = position + _LENGTH
        position = start + int.from_bytes(data[position:start], "big")
        if position <= len(data):
            yield data[start:position]
