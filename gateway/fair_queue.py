"""A queue in which those take turns who would otherwise stand in each other's way.

Items wait under a path of keys, all paths of one queue equally long. At every level of the path the branches take
turns; items with the same path keep their order. So whoever sends more waits longer, and nobody else does.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """One level of the queue, and all below it. ``size`` counts its items."""

    __slots__ = ("_branches", "_items", "size")

    def __init__(self) -> None:
        self.size = 0
        self._branches: dict[str, Turns[T]] = {}
        self._items: dict[T, None] = {}

    def __contains__(self, key: str) -> bool:
        """Whether somebody waits in the branch ``key``."""
        return key in self._branches

    def add(self, path: tuple[str, ...], item: T) -> None:
        """Join at the end of the own line; a new line joins at the end of the others."""
        self.size += 1
        if not path:
            self._items[item] = None
            return
        branch = self._branches.get(path[0])
        if branch is None:
            branch = self._branches[path[0]] = Turns()
        branch.add(path[1:], item)

    def remove(self, path: tuple[str, ...], item: T) -> None:
        """Leave the line; raises KeyError when it is not there."""
        if path:
            branch = self._branches[path[0]]
            branch.remove(path[1:], item)
            if not branch.size:
                del self._branches[path[0]]
        else:
            del self._items[item]
        self.size -= 1

    def next(self, allowed: Callable[[str], bool] | None = None) -> T | None:
        """Take the item whose turn it is out of the queue, of the branches of this level that ``allowed`` lets pass."""
        if self._items:
            item = next(iter(self._items))
            del self._items[item]
            self.size -= 1
            return item
        key = next((key for key in self._branches if allowed is None or allowed(key)), None)
        if key is None:
            return None
        branch = self._branches.pop(key)
        taken = branch.next()
        if branch.size:
            self._branches[key] = branch
        self.size -= 1
        return taken

    def crowded_out(self, path: tuple[str, ...]) -> T | None:
        """Who should make room for a newcomer under ``path``: the last of the longest line, unless the newcomer's own
        would then be as long."""
        if not path or not self._branches:
            return None
        own = self._branches.get(path[0])
        longest = self._longest()
        if (own.size if own else 0) + 1 < longest.size:
            return longest._last()
        return own.crowded_out(path[1:]) if own else None

    def _last(self) -> T:
        return next(reversed(self._items)) if self._items else self._longest()._last()

    def _longest(self) -> "Turns[T]":
        return max(self._branches.values(), key=lambda branch: branch.size)
