"""Network faults between gateway and vendor, drawn from a seeded random source."""

from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal["none", "reset", "close", "stall", "trickle", "garbage", "length", "refuse"]

_WEIGHTS: dict[Kind, int] = {
    "none": 60,
    "reset": 6,
    "close": 6,
    "stall": 4,
    "trickle": 6,
    "garbage": 6,
    "length": 6,
    "refuse": 6,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """The fault of one response, injected after ``at`` bytes of it.

    ``seconds`` is the duration of a stall. ``size`` is the chunk size of a trickle, a third of the bytes of garbage, or
    the error of a Content-Length.
    """

    kind: Kind = "none"
    at: int = 0
    seconds: float = 0.0
    size: int = 1


def draw(random: Random) -> Fault:
    """Draw the next response's fault. Half of the faults are within the first 400 bytes, where the headers are."""
    [kind] = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    at = random.randrange(400) if random.random() < 0.5 else random.randrange(8000)
    return Fault(kind, at, random.choice((0.05, 0.3, 1.5)), random.choice((1, 7, 64)))


def corrupt_content_length(head: bytes, by: int) -> bytes:
    """Add ``by`` to the Content-Length of a response head, if it has one."""
    lines = head.split(b"\r\n")
    for number, line in enumerate(lines):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            lines[number] = b"%s: %d" % (name, int(value) + by)
    return b"\r\n".join(lines)
