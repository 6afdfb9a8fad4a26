"""A request that a simulator received, and what became of its response."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec


@dataclass(eq=False)
class ReceivedRequest:
    """A received request and the state of its response. Times are `time.monotonic()` seconds."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: float
    status: int | None = None
    events_sent: int = 0
    finished_at: float | None = None
    aborted_at: float | None = None
    """When the simulator detected that the client had disconnected."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @cached_property
    def json(self) -> Any:
        """The decoded body. Raises `msgspec.DecodeError`."""
        return msgspec.json.decode(self.body)
