"""The request log: one line per request."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import astuple

from gateway.telemetry.logs import encode_ascii, log_output, timestamp
from gateway.telemetry.request_record import RequestRecord

_requests_log = logging.getLogger("gateway.requests")
_RECORD_FIELDS = RequestRecord.__struct_fields__[: RequestRecord.__struct_fields__.index("started")]
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
    values = [*astuple(record)[: len(_RECORD_FIELDS)]]
    for place in _DURATIONS:
        if values[place] is not None:
            values[place] = round(values[place] * 1e6) / 1e6
    _pending.append(encode_ascii(_Line(timestamp(time.time()), "info", "gateway.requests", "request", *values)))
    if len(_pending) == 1:
        try:
            asyncio.get_running_loop().call_soon(_flush)
        except RuntimeError:
            _flush()


def _flush() -> None:
    data = b"\n".join([*_pending, b""])
    _pending.clear()
    log_output.write(data)
