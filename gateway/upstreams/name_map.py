"""Reversible renaming of tools and tool calls for vendors with other alphabets and lengths (facts/providers.md 4)."""

import re

_LONGEST_SUFFIX = len("_9999999")


class NameMap:
    """An injective map from the caller's names to names that the upstream accepts, and back.

    ``invalid`` matches a character that the upstream does not allow, ``limit`` is its longest name (None: names are
    never shortened, because tool-call ids must stay distinct). No name is mapped to one of ``reserved``, which are in
    use already. The map depends only on the order of the calls. Callers choose names, so resolving any number of
    collisions takes linear time.
    """

    def __init__(self, invalid: re.Pattern[str], limit: int | None = None, reserved: tuple[str, ...] = ()) -> None:
        self._invalid = invalid
        self._limit = limit
        self._outbound: dict[str, str] = {}
        self._inbound = dict(zip(reserved, reserved, strict=True))
        self._last_suffix: dict[str, int] = {}

    def outbound(self, name: str) -> str:
        """The upstream's name for ``name``."""
        if (known := self._outbound.get(name)) is not None:
            return known
        base = self._invalid.sub("_", name)[: self._limit] or "_"
        safe = base if base not in self._inbound else self._disambiguate(base)
        self._outbound[name] = safe
        self._inbound[safe] = name
        return safe

    def reissue(self, name: str) -> str:
        """A new upstream name for ``name``, which from here on means something else."""
        self._outbound.pop(name, None)
        return self.outbound(name)

    def __contains__(self, name: str) -> bool:
        """``name`` is one of the upstream's names."""
        return name in self._inbound

    def inbound(self, name: str) -> str:
        """The caller's name for the upstream's ``name``; one that was never sent is returned unchanged."""
        return self._inbound.get(name, name)

    def _disambiguate(self, base: str) -> str:
        """``base``, which is taken, with the next numeric suffix that is free."""
        stem = base if self._limit is None else base[: self._limit - _LONGEST_SUFFIX]
        count = self._last_suffix.get(stem, 1)
        safe = base
        while safe in self._inbound:
            count += 1
            suffix = f"_{count}"
            safe = (base if self._limit is None else base[: self._limit - len(suffix)]) + suffix
        self._last_suffix[stem] = count
        return safe
