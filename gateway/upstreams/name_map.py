"""Names that one vendor gave or allows, rewritten for another (facts/providers.md 4)."""

import re

_LONGEST_SUFFIX = len("_9999999")


class NameMap:
    """Names of one request and what they are called at the upstream: each has its own, and the way back is known.

    ``refused`` matches a character that the upstream does not allow, ``limit`` is the longest name that it takes.
    ``reserved`` are for the gateway's own use there: no name of the caller's becomes one of them.
    Names are given out first come, first served, so a map fed in the same order twice is the same map. A map without
    a limit never shortens: tool-call ids must stay apart. Callers choose names, so any number of them that look alike
    is told apart in linear time.
    """

    def __init__(self, refused: re.Pattern[str], limit: int | None = None, reserved: tuple[str, ...] = ()) -> None:
        self._refused = refused
        self._limit = limit
        self._outbound: dict[str, str] = {}
        self._inbound = dict(zip(reserved, reserved, strict=True))
        self._alike: dict[str, int] = {}

    def outbound(self, name: str) -> str:
        """What ``name`` is called at the upstream."""
        if (known := self._outbound.get(name)) is not None:
            return known
        base = self._refused.sub("_", name)[: self._limit] or "_"
        safe = base if base not in self._inbound else self._apart(base)
        self._outbound[name] = safe
        self._inbound[safe] = name
        return safe

    def reissue(self, name: str) -> str:
        """Another name for ``name``, which stands for something new from here on."""
        self._outbound.pop(name, None)
        return self.outbound(name)

    def inbound(self, name: str) -> str:
        """What the caller calls the upstream's ``name``; one that was never sent is returned as it is."""
        return self._inbound.get(name, name)

    def _apart(self, base: str) -> str:
        """``base``, which is taken, with the next number that makes it a name of its own."""
        stem = base if self._limit is None else base[: self._limit - _LONGEST_SUFFIX]
        count = self._alike.get(stem, 1)
        safe = base
        while safe in self._inbound:
            count += 1
            suffix = f"_{count}"
            safe = (base if self._limit is None else base[: self._limit - len(suffix)]) + suffix
        self._alike[stem] = count
        return safe
