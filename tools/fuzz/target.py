"""Fuzz targets."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

Case = TypeVar("Case")


@dataclass(frozen=True)
class Target(Generic[Case]):
    """``make`` draws an input from a seeded generator; ``check`` raises if the code under test mishandles it."""

    name: str
    make: Callable[[Random], Case]
    check: Callable[[Case], None]


AnyTarget = Target[Any]


class BrokenPropertyError(AssertionError):
    """The code under test returned a wrong result instead of an error."""
