"""A hierarchical fair queue.

Items wait under a path of keys; all paths of one queue have the same length. At every level the branches are served
round-robin; items with the same path are served first in, first out. So whoever queues more waits longer, and delays
nobody else.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """One level of the queue and everything below it. ``size`` is the number of its items."""

    __slots__ = ("_branches", "_items", "size")

    def __init__(self) -> None:
        self.size = 0
        self._branches: dict[str, FairQueue[T]] = {}
        self._items: dict[T, None] = {}

    def __contains__(self, key: str) -> bool:
        """Whether items wait in the branch ``key``."""
        return key in self._branches

    def add(self, path: tuple[str, ...], item: T) -> None:
        """Append ``item`` to its branch; a new branch is served last."""
        self.size += 1
        if not path:
            self._items[item] = None
            return
        branch = self._branches.get(path[0])
        if branch is None:
            branch = self._branches[path[0]] = FairQueue()
        branch.add(path[1:], item)

    def remove(self, path: tuple[str, ...], item: T) -> None:
        """Remove ``item``; raises KeyError if it is not in the queue."""
        if path:
            branch = self._branches[path[0]]
            branch.remove(path[1:], item)
            if not branch.size:
                del self._branches[path[0]]
        else:
            del self._items[item]
        self.size -= 1

    def pop(self, allowed: Callable[[str], bool] | None = None) -> T | None:
        """Remove and return the next item, of branches of this level that are ``allowed``; None if there is none."""
        if self._items:
            item = next(iter(self._items))
            del self._items[item]
            self.size -= 1
            return item
        key = next((key for key in self._branches if allowed is None or allowed(key)), None)
        if key is None:
            return None
        branch = self._branches.pop(key)
        popped = branch.pop()
        if branch.size:
            self._branches[key] = branch
        self.size -= 1
        return popped

    def eviction_candidate(self, path: tuple[str, ...]) -> T | None:
        """The item to evict for a new one under ``path``: the last of the longest branch.

        None if the new item's own branch would then be as long as the longest.
        """
        if not path or not self._branches:
            return None
        own = self._branches.get(path[0])
        longest = self._longest()
        if (own.size if own else 0) + 1 < longest.size:
            return longest._last()
        return own.eviction_candidate(path[1:]) if own else None

    def _last(self) -> T:
        return next(reversed(self._items)) if self._items else self._longest()._last()

    def _longest(self) -> "FairQueue[T]":
        return max(self._branches.values(), key=lambda branch: branch.size)
