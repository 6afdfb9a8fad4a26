"""An incremental parser of server-sent events (facts/providers.md 1.6).

Accepts chunks split anywhere, LF or CRLF, comments, several data lines, events without a blank line between them, and
the bare JSON error without ``data:`` with which Google may end a stream.
"""

import msgspec

from gateway.openai_api.errors import GatewayError, upstream_error

_LF, _CR = 0x0A, 0x0D
MAX_EVENT_BYTES = 32 * 1024 * 1024


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: the value of its ``event:`` field (often empty) and its data, lines joined with LF.

    ``bare`` marks JSON without ``data:``, which runs to the end of the stream.
    """

    name: str
    data: bytes
    bare: bool = False


class SSEReader:
    """Parses one stream. ``limit`` is the largest event, and the longest line, in bytes."""

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._partial_line: list[bytes] = []
        self._partial_size = 0
        self._name = ""
        self._names: list[str] = []
        self._data: list[bytes] = []
        self._data_size = 0
        self._bare: list[bytes] = []
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that ``chunk`` completes. Raises upstream_bad_response beyond the limit."""
        end = len(chunk) - 2
        if (  # fast path: nothing is buffered, and the chunk is one data line with its blank line
            chunk.find(b"\n") == end
            and chunk[-1] == _LF
            and chunk.startswith(b"data: ")
            and chunk[end - 1] != _CR
            and end <= self._limit
            and not (self._partial_line or self._data or self._name or self._bare)
        ):
            self._at_start = False
            return [Event("", chunk[6:end])]
        return self._feed_lines(chunk)

    def _feed_lines(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        newline = chunk.rfind(b"\n")
        if newline < 0:
            self._buffer(chunk)
            return events
        self._partial_line.append(chunk[:newline])
        lines = b"".join(self._partial_line).split(b"\n")
        self._partial_line.clear()
        self._partial_size = 0
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if self._bare:
                self._parse_bare(line)
            elif line:
                self._parse_line(line)
            elif self._data:
                events += self._end_event()
            else:
                self._name = ""
        self._buffer(chunk[newline + 1 :])
        return events

    def close(self) -> list[Event]:
        """What the end of the stream completes: events without their blank line, and bare JSON."""
        rest = b"".join(self._partial_line).removesuffix(b"\r")
        self._partial_line.clear()
        if rest:
            if self._bare:
                self._parse_bare(rest)
            else:
                self._parse_line(rest)
        events = self._end_event() if self._data else []
        if self._bare:
            events.append(Event("", b"\n".join(self._bare), bare=True))
        return events

    def _buffer(self, rest: bytes) -> None:
        if rest:
            self._partial_line.append(rest)
            self._partial_size += len(rest)
            if self._partial_size + self._data_size > self._limit:
                raise _too_large()

    def _parse_line(self, line: bytes) -> None:
        if self._at_start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._at_start = False
        if line.startswith(b"data:"):
            value = line[6:] if line[5:6] == b" " else line[5:]
            self._data.append(value)
            self._names.append(self._name)
            self._data_size += len(value)
            if self._data_size > self._limit:
                raise _too_large()
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif line[:1] in (b"{", b"["):
            self._parse_bare(line)

    def _parse_bare(self, line: bytes) -> None:
        self._bare.append(line)
        self._data_size += len(line)
        if self._data_size > self._limit:
            raise _too_large()

    def _end_event(self) -> list[Event]:
        """The buffered event. Several lines that are each a complete JSON object are as many events."""
        name, names, data = self._name, self._names, self._data
        self._name = ""
        self._names = []
        self._data = []
        self._data_size = 0
        if len(data) == 1:
            return [Event(name, data[0])]
        if all(map(_is_complete, data)):
            return [Event(*event) for event in zip(names, data, strict=True)]
        return [Event(name, b"\n".join(data))]


def _is_complete(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return line == b"[DONE]"
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _too_large() -> GatewayError:
    return upstream_error("upstream_bad_response", "The upstream sent an event that is too large")
