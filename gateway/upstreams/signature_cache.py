"""Opaque vendor data that must be sent back with later requests, cached for clients that do not return it.

Gemini's thought signatures and Anthropic's thinking blocks belong to tool calls, whose ids, names and arguments every
client returns (facts/providers.md 1.5).
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from gateway.openai_api import long_json


class _Entry(NamedTuple):
    value: Any
    size: int
    expires: float


class SignatureCache:
    """An LRU cache, bounded in entries, bytes and age.

    A key is the caller, the tool-call id, and the call's name and arguments. Arguments are compared as JSON, so that a
    client may reformat them. ``ttl`` is in seconds of ``clock``; a value larger than ``max_bytes`` is not kept.
    ``share``, if there are other processes, tells them of new entries by their keys and their common value as JSON.
    """

    def __init__(
        self,
        max_entries: int = 50_000,
        ttl: float = 6 * 3600,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = 128 * 1024 * 1024,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bytes = 0
        self.share: Callable[[Sequence[bytes], bytes], None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Total size of the values in bytes, as JSON."""
        return self._bytes

    def put(self, caller: str, call_id: str, name: str, arguments: str, value: Any) -> None:
        """Store ``value`` (any JSON) for a tool call that is sent to ``caller``."""
        self.put_all(caller, [(call_id, name, arguments)], value)

    def put_all(self, caller: str, calls: Iterable[tuple[str, str, str]], value: Any) -> None:
        """Store ``value`` for each of ``calls``, given as (id, name, arguments)."""
        keys = [_key(caller, *call) for call in calls]
        encoded = msgspec.json.encode(value)
        self._keep(keys, value, len(encoded))
        if self.share is not None:
            self.share(keys, encoded)

    def put_shared(self, keys: Sequence[bytes], value: Any) -> None:
        """Store entries that another process has shared."""
        self._keep(keys, value, len(msgspec.json.encode(value)))

    def _keep(self, keys: Sequence[bytes], value: Any, size: int) -> None:
        for key in keys:
            self._remove(key)
            if size <= self._max_bytes:
                self._entries[key] = _Entry(value, size, self._clock() + self._ttl)
                self._bytes += size
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def get(self, caller: str, call_id: str, name: str, arguments: str) -> Any | None:
        """The value stored for this call, or None."""
        key = _key(caller, call_id, name, arguments)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def _remove(self, key: bytes) -> None:
        if entry := self._entries.pop(key, None):
            self._bytes -= entry.size


def _key(caller: str, call_id: str, name: str, arguments: str) -> bytes:
    try:
        canonical = msgspec.json.encode(long_json.decode(arguments or "{}"), order="deterministic")
    except (msgspec.DecodeError, RecursionError):
        canonical = arguments.encode("utf-8", "surrogatepass")
    digest = blake2b(digest_size=32)
    for field in (caller.encode("utf-8", "surrogateescape"), call_id.encode(), name.encode(), canonical):
        digest.update(len(field).to_bytes(8, "big"))
        digest.update(field)
    return digest.digest()
