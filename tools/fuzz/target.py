"""What a fuzz target is."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

Case = TypeVar("Case")


@dataclass(frozen=True)
class Target(Generic[Case]):
    """``make`` draws an input from a seeded generator, ``check`` raises whatever must not happen with it."""

    name: str
    make: Callable[[Random], Case]
    check: Callable[[Case], None]


AnyTarget = Target[Any]


class BrokenPropertyError(AssertionError):
    """The code under test did not fail, and did the wrong thing."""
