"""A server-sent events reader that survives whatever the network and the vendors do (facts/providers.md 1.6).

Bytes in, events out: any split, LF or CRLF, comments, several data lines, and Google's habit of ending a stream
with a bare JSON error that is no event at all.
"""

import msgspec

_LF, _CR = 0x0A, 0x0D
MAX_EVENT_BYTES = 32 * 1024 * 1024


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: the value of its ``event:`` field (often empty) and its data, lines joined with LF.

    ``bare`` marks JSON that stood in the stream without ``data:``; it runs to the end of the stream.
    """

    name: str
    data: bytes
    bare: bool = False


class EventTooLargeError(Exception):
    """One event, or one line, grew past the reader's limit."""


class SSEReader:
    """Incremental reader of one stream."""

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._name = ""
        self._data: list[bytes] = []
        self._data_size = 0
        self._bare: list[bytes] = []
        self._first = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes. Raises EventTooLargeError."""
        end = len(chunk) - 2
        if (  # the commonest case: nothing is pending, and this is a single data line and its blank line
            chunk.find(b"\n") == end
            and chunk[-1] == _LF
            and chunk.startswith(b"data: ")
            and chunk[end - 1] != _CR
            and end <= self._limit
            and not (self._pending or self._data or self._name or self._bare)
        ):
            self._first = False
            return [Event("", chunk[6:end])]
        events: list[Event] = []
        newline = chunk.rfind(b"\n")
        if newline < 0:
            self._keep(chunk)
            return events
        self._pending.append(chunk[:newline])
        lines = b"".join(self._pending).split(b"\n")
        self._pending.clear()
        self._pending_size = 0
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if self._bare:
                self._take_bare(line)
            elif line:
                self._take(line)
            elif self._data:
                events.append(self._complete())
            else:
                self._name = ""
        self._keep(chunk[newline + 1 :])
        return events

    def close(self) -> list[Event]:
        """What the end of the stream completes: an event without its blank line, or bare JSON."""
        rest = b"".join(self._pending).removesuffix(b"\r")
        self._pending.clear()
        if rest:
            if self._bare:
                self._take_bare(rest)
            else:
                self._take(rest)
        if self._bare:
            return [Event("", b"\n".join(self._bare), bare=True)]
        return [self._complete()] if self._data else []

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._pending.append(rest)
            self._pending_size += len(rest)
            if self._pending_size + self._data_size > self._limit:
                raise EventTooLargeError

    def _take(self, line: bytes) -> None:
        if self._first:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._first = False
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._data_size += len(value)
            if self._data_size > self._limit:
                raise EventTooLargeError
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif line[:1] in (b"{", b"["):
            self._take_bare(line)

    def _take_bare(self, line: bytes) -> None:
        self._bare.append(line)
        self._data_size += len(line)
        if self._data_size > self._limit:
            raise EventTooLargeError

    def _complete(self) -> Event:
        event = Event(self._name, self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
        self._name = ""
        self._data = []
        self._data_size = 0
        return event
