"""Logs as JSON lines on standard error: their encoding, and ``logging``'s handler and formatter."""

import errno
import json
import logging
import re
import sys
import threading
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

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
    log_output.open()
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
            log_output.write(f"{self.format(record)}\n".encode())
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Called at the exit."""
        log_output.wait_and_flush(WAIT_SECONDS)


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": timestamp(record.created),
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
        return encode_ascii(line).decode("ascii")


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


def encode_ascii(line: dict[str, object] | msgspec.Struct) -> bytes:
    """JSON on one line, in ASCII: no control character of any alphabet reaches a terminal."""
    try:
        encoded = msgspec.json.encode(line)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(line)).encode()
    return encoded if encoded.isascii() else json.dumps(msgspec.to_builtins(line)).encode()


def _dropped_line(count: int) -> bytes:
    event = f"{count} log lines were dropped: standard error was not read"
    line: dict[str, object] = {"time": timestamp(time.time()), "level": "error", "logger": __name__, "event": event}
    return encode_ascii(line) + b"\n"


log_output = StandardError(_dropped_line)


def timestamp(seconds: float) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    whole = int(seconds)
    return f"{_without_fraction(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _without_fraction(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).replace(tzinfo=None).isoformat()
