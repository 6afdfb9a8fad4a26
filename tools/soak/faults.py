"""What can go wrong between the gateway and a vendor, drawn from a seeded source."""

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
    """One answer's fault: it strikes once ``at`` bytes of the answer have passed.

    ``seconds`` is how long a stall lasts; ``size`` is the size of the pieces of a trickle, the number of bytes of
    garbage, or by how much a stated length is wrong.
    """

    kind: Kind = "none"
    at: int = 0
    seconds: float = 0.0
    size: int = 1


def draw(random: Random) -> Fault:
    """The next answer's fault. Headers take the first few hundred bytes, so half of the faults strike there."""
    [kind] = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    at = random.randrange(400) if random.random() < 0.5 else random.randrange(8000)
    return Fault(kind, at, random.choice((0.05, 0.3, 1.5)), random.choice((1, 7, 64)))


def spoil_length(head: bytes, by: int) -> bytes:
    """The head of an answer with another Content-Length; unchanged when it states none."""
    lines = head.split(b"\r\n")
    for number, line in enumerate(lines):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip().isdigit():
            lines[number] = b"%s: %d" % (name, int(value) + by)
    return b"\r\n".join(lines)
