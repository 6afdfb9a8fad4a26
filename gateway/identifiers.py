"""Random identifiers of requests and answers, generated in batches to save system calls."""

import os

_BYTES = 16
_BATCH = 256
_ready: list[str] = []
os.register_at_fork(after_in_child=_ready.clear)


def new_id() -> str:
    """32 hex digits: 128 bits from the system's random generator."""
    if not _ready:
        digits = os.urandom(_BYTES * _BATCH).hex()
        _ready.extend(digits[at : at + 2 * _BYTES] for at in range(0, len(digits), 2 * _BYTES))
    return _ready.pop()
