"""What happens in a run of random payments, drawn from a seed: requests in groups that run at the same time, with
clients that leave, vendors that break, a facilitator that fails and a gateway that is restarted or killed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.chain.deployment import OPG, USDC, Token
from tools.chain.faults import Denied, Drop, Endpoint, Fault, Pending, Slow, Status

LONGEST_GROUP = 6

Client = Literal["waits", "leaves", "repeats", "burns"]
"""``repeats`` sends the same payment several times at once, ``burns`` invalidates its nonce after it was verified."""

VENDORS = {"gpt-4.1": "openai", "claude-haiku-4-5": "anthropic", "gemini-2.5-flash": "google"}

UPSTREAMS: dict[str, dict[str, Any]] = {
    "answers": {},
    "answers slowly": {"text": "word " * 20, "event_delay": 0.02, "first_byte_delay": 0.1},
    "does not count": {"omit_usage": True},
    "costs nothing": {"prompt_tokens": 0, "completion_tokens": 0, "reasoning_tokens": 0},
    "overruns the cap": {"completion_tokens": 900_000},
    "refuses": {"finish": "refusal"},
    "breaks": {"error": "bad_key"},
    "is cut off": {"text": "word " * 20, "cut_after": 6},
}
FAULTS: list[tuple[Endpoint, tuple[Fault, ...]]] = [
    ("verify", (Status(500),)),
    ("verify", (Drop(),)),
    ("settle", (Status(500),)),
    ("settle", (Drop(),)),
    ("settle", (Drop("after"),)),
    ("settle", (Pending(),)),
    ("settle", (Denied(),)),
    ("settle", (Slow(0.4),)),
    ("settle", (Slow(1.2, "after"),)),
]


@dataclass(frozen=True, slots=True)
class Step:
    """One request. ``number`` is in its prompt, so that vendors can be asked how often they saw it."""

    number: int
    model: str
    stream: bool
    scheme: str
    token: Token
    upstream: str
    client: Client
    leaves_after: float
    wallet: int

    @property
    def label(self) -> str:
        return f"step {self.number}."

    @property
    def upfront(self) -> bool:
        """An exact payment of a stream is settled before the work."""
        return self.scheme == "exact" and self.stream


@dataclass(frozen=True, slots=True)
class Group:
    """Steps that start together, what is wrong at the facilitator by then, and what happens to the gateway."""

    steps: list[Step]
    faults: list[tuple[Endpoint, tuple[Fault, ...], int]] = field(default_factory=list)
    gateway: Literal["stays", "restarts", "is killed"] = "stays"
    killed_after: float = 0.0


def draw(seed: int, count: int, wallets: int) -> Iterator[Group]:
    """``count`` steps in groups; the same for the same arguments."""
    chooser = random.Random(seed)
    number = 0
    while number < count:
        size = min(chooser.randint(1, LONGEST_GROUP), count - number)
        steps = [_step(chooser, number + place, wallets) for place in range(size)]
        number += size
        faults = [
            (endpoint, kinds, chooser.randint(1, 3))
            for endpoint, kinds in (chooser.choice(FAULTS) for _ in range(chooser.choice([0, 0, 1, 2])))
        ]
        fate = chooser.random()
        yield Group(
            steps,
            faults,
            "is killed" if fate < 0.04 else "restarts" if fate < 0.06 else "stays",
            chooser.uniform(0.05, 0.8),
        )


def _step(chooser: random.Random, number: int, wallets: int) -> Step:
    scheme = chooser.choice(["upto", "upto", "exact"])
    return Step(
        number=number,
        model=chooser.choice(list(VENDORS)),
        stream=chooser.random() < 0.5,
        scheme=scheme,
        token=chooser.choice([USDC, OPG]) if scheme == "upto" else USDC,
        upstream=chooser.choice(["answers"] * 6 + list(UPSTREAMS)),
        client=chooser.choices(("waits", "leaves", "repeats", "burns"), (70, 15, 12, 3))[0],
        leaves_after=chooser.uniform(0.02, 0.6),
        wallet=chooser.randrange(wallets),
    )
