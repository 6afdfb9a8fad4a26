"""Logs as JSON lines on standard error: ``logging``'s handler and formatter, and the faster path of the request log."""

import asyncio
import errno
import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from select import PIPE_BUF
from typing import Any

import msgspec

from gateway.telemetry.request_record import RequestRecord
from gateway.telemetry.standard_error import WAIT_SECONDS, StandardError

EXTRA_FIELDS = (
    *("payment", "payments", "reason", "state", "status", "token", "network"),
    *("asked", "paid", "due", "seconds", "left"),
)
"""The names in ``extra`` that are logged beside the event."""
_MAX_VALUE_CHARS = 300
_MAX_JSON_INTEGER = 1 << 53
_LONG_HEX = re.compile(r"(0x)?[0-9a-fA-F]{32,}")
_AFTER_WORDS = re.compile(r"[^A-Za-z ].*", re.DOTALL)
log = logging.getLogger(__name__)


def configure_logging() -> None:
    """Send all loggers' records from INFO upwards to standard error, as JSON lines.

    So are exceptions that nothing catches, of which Python would print the text.
    """
    _standard_error.open()
    handler = _LineHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    sys.excepthook = lambda *failure: log.critical("uncaught exception", exc_info=failure)
    threading.excepthook = lambda failure: log.error("uncaught exception in a thread", exc_info=_exc_info(failure))
    sys.unraisablehook = lambda failure: log.error("exception ignored", exc_info=_exc_info(failure))


def _exc_info(failure: Any) -> Any:
    return failure.exc_type, failure.exc_value, failure.exc_traceback


class _LineHandler(logging.Handler):
    """Writes records to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _standard_error.write(f"{self.format(record)}\n".encode())
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Called at the exit."""
        _standard_error.wait_and_flush(WAIT_SECONDS)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
        }
        line |= {name: _redacted(value) for name in EXTRA_FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = _innermost_frame(record)
            if isinstance(error := record.exc_info[1], OSError) and error.errno:
                line["errno"] = errno.errorcode.get(error.errno, str(error.errno))
        return _encode_ascii(line).decode("ascii")


def _redacted(value: object) -> object:
    """A value that may quote a third party: addresses, hashes and signatures are cut, and so is a long text.

    Integers beyond JSON's safe range, as amounts of tokens are, become text.
    """
    if isinstance(value, int | float) and abs(value) < _MAX_JSON_INTEGER:
        return value
    return _LONG_HEX.sub(lambda found: f"{found[0][:10]}...", str(value)[: 2 * _MAX_VALUE_CHARS])[:_MAX_VALUE_CHARS]


def _event(record: logging.LogRecord) -> str:
    """The message; of asyncio's only its leading words, because reprs of the objects involved follow."""
    if record.name == "asyncio":
        return _AFTER_WORDS.sub("", record.getMessage()).strip()
    return record.getMessage()


def _innermost_frame(record: logging.LogRecord) -> str | None:
    """Where an exception was raised. Its text is not logged: it may quote a prompt."""
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else None


_requests_log = logging.getLogger("gateway.requests")
_UNLOGGED = frozenset({"started", "own_seconds", "dispatched", "last_output", "answered", "traceparent"})
_RECORD_FIELDS = tuple(name for name in RequestRecord.__struct_fields__ if name not in _UNLOGGED)
_values = attrgetter(*_RECORD_FIELDS)
_DURATIONS = tuple(place for place, name in enumerate(_RECORD_FIELDS) if name.endswith("seconds"))
_Line: Callable[..., msgspec.Struct] = msgspec.defstruct(
    "_Line",
    [*((name, str) for name in ("time", "level", "logger", "event")), *((name, Any, None) for name in _RECORD_FIELDS)],
    omit_defaults=True,
)
_pending: list[bytes] = []
"""Lines of the requests that ended in the current iteration of the event loop."""


def log_request(record: RequestRecord) -> None:
    """Log one request without ``logging``, whose record, handlers and locks cost several times the line itself.

    The lines of one event loop iteration are written together. A handler attached to the logger ``gateway.requests``
    receives the ``RequestRecord`` as the message instead.
    """
    if not _requests_log.isEnabledFor(logging.INFO):
        return
    if _requests_log.handlers:
        _requests_log.info(record)
        return
    values = [*_values(record)]
    for place in _DURATIONS:
        if values[place] is not None:
            values[place] = round(values[place], 6)
    _pending.append(_encode_ascii(_Line(_timestamp(time.time()), "info", "gateway.requests", "request", *values)))
    if len(_pending) == 1:
        try:
            asyncio.get_running_loop().call_soon(_flush)
        except RuntimeError:
            _flush()


def _flush() -> None:
    """Write the pending lines in one piece if a pipe takes it atomically, else one by one: lines stay whole."""
    data = b"\n".join([*_pending, b""])
    writes = [data] if len(data) <= PIPE_BUF else [line + b"\n" for line in _pending]
    _pending.clear()
    for write in writes:
        _standard_error.write(write)


def _encode_ascii(line: dict[str, object] | msgspec.Struct) -> bytes:
    """JSON on one line, in ASCII: no control character of any alphabet reaches a terminal."""
    try:
        encoded = msgspec.json.encode(line)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(line)).encode()
    return encoded if encoded.isascii() else json.dumps(msgspec.to_builtins(line)).encode()


def _dropped_line(count: int) -> bytes:
    event = f"{count} log lines were dropped: standard error was not read"
    line: dict[str, object] = {"time": _timestamp(time.time()), "level": "error", "logger": __name__, "event": event}
    return _encode_ascii(line) + b"\n"


_standard_error = StandardError(_dropped_line)


def _timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    whole = int(seconds)
    return f"{_without_fraction(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _without_fraction(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()
