"""Random identifiers of requests and answers, made many at a time: every call of the system's generator costs."""

import os

_BYTES = 16
_AT_ONCE = 256
_ready: list[str] = []
os.register_at_fork(after_in_child=_ready.clear)


def new_id() -> str:
    """32 hex digits, which nobody can guess from others."""
    if not _ready:
        digits = os.urandom(_BYTES * _AT_ONCE).hex()
        _ready.extend(digits[at : at + 2 * _BYTES] for at in range(0, len(digits), 2 * _BYTES))
    return _ready.pop()
