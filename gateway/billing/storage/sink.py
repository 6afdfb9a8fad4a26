"""Sinks that keep journal records outside an enclave, which has no disk.

The sink is on the host, which is not trusted: it sees only sealed records, cannot modify or forge them, but can lose
them. A lost record can cost the operator an unsettled payment, never the payer: the chain accepts no nonce twice.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiohttp

from gateway.billing.storage.records import MAX_RECORD_BYTES, PREFIX_BYTES, RecordFile, encode_frame

_CHUNK = 1 << 16
_TIMEOUT = 5.0
"""Seconds to append a record, and between two chunks of the records."""


class SinkUnavailableError(Exception):
    """A record could not be appended, or the records could not be read."""


class SinkTimeoutError(SinkUnavailableError):
    """The sink did not respond in time; other callers should not wait for it either."""


class Sink(Protocol):
    """An append-only log of records. Both methods raise SinkUnavailableError."""

    async def append(self, record: bytes) -> None:
        """Append a record; return once the sink has acknowledged it."""
        ...

    def records(self) -> AsyncIterator[bytes]:
        """Every retained record, oldest first."""
        ...


class HttpSink:
    """POST appends the body as one record; GET returns all records as frames."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def append(self, record: bytes) -> None:
        """Retried once if a keep-alive connection was closed: a duplicate record is harmless."""
        try:
            try:
                await self._post(record)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                await self._post(record)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _connection_error(error) from None

    async def _post(self, record: bytes) -> None:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with self._session.post(self._url, data=record, timeout=timeout, allow_redirects=False) as response:
            _check(response.status)

    async def records(self) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_TIMEOUT)
        frames = FrameDecoder()
        try:
            async with self._session.get(self._url, timeout=timeout, allow_redirects=False) as response:
                _check(response.status)
                async for chunk in response.content.iter_chunked(_CHUNK):
                    for record in frames.feed(chunk):
                        yield record
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _connection_error(error) from None


class FileSink:
    """All records in one local file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = RecordFile(path)

    async def append(self, record: bytes) -> None:
        try:
            await asyncio.to_thread(self._file.append, encode_frame(record))
        except OSError as error:
            raise _file_error(error) from None

    async def records(self) -> AsyncIterator[bytes]:
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _file_error(error) from None
        for record in FrameDecoder().feed(content):
            yield record


class FrameDecoder:
    """Incremental decoder of frames in chunks of any size; an incomplete last frame is dropped."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the records completed by ``chunk``. Raises SinkUnavailableError for a length above the maximum."""
        self._buffer += chunk
        position = 0
        while position + PREFIX_BYTES <= len(self._buffer):
            length = int.from_bytes(self._buffer[position : position + PREFIX_BYTES], "big")
            if length > MAX_RECORD_BYTES:
                raise SinkUnavailableError(f"the journal sink returned data other than records: {length} bytes")
            if position + PREFIX_BYTES + length > len(self._buffer):
                break
            yield bytes(self._buffer[position + PREFIX_BYTES : position + PREFIX_BYTES + length])
            position += PREFIX_BYTES + length
        del self._buffer[:position]


def open_sink(url: str, session: aiohttp.ClientSession) -> Sink:
    """The sink at a ``file:``, ``http:`` or ``https:`` URL."""
    parts = urlsplit(url)
    return FileSink(Path(unquote(parts.path))) if parts.scheme == "file" else HttpSink(session, url)


def _check(status: int) -> None:
    if status // 100 != 2:
        raise SinkUnavailableError(f"the journal sink returned status {status}")


def _file_error(error: OSError) -> SinkUnavailableError:
    """Without the path: clients can read why payments are not taken."""
    return SinkUnavailableError(f"journal sink: {error.strerror or type(error).__name__}")


def _connection_error(error: Exception) -> SinkUnavailableError:
    kind = SinkTimeoutError if isinstance(error, TimeoutError) else SinkUnavailableError
    return kind(f"the journal sink cannot be reached: {type(error).__name__}")
