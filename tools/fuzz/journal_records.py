"""The journal that an untrusted host stores: restored entries are those that were sealed, or the sink is unavailable.

The host may truncate, repeat, reorder and change records; none that it forged or changed may be restored.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, cast

from msgspec import Raw

from gateway.billing.journal import Entry, State, encode_entry
from gateway.billing.storage.records import MAX_RECORD_BYTES, RecordCipher, encode_frame
from gateway.billing.storage.sealed_store import SealedStore
from gateway.billing.storage.sink import HttpSink, SinkUnavailableError
from gateway.billing.storage.store import Store
from gateway.billing.x402 import ForwardedPayment
from tools.fuzz.mutations import mutate_bytes, split
from tools.fuzz.stub_peers import Reply, session
from tools.fuzz.target import BrokenPropertyError, Target

_KEY = b"j" * 32
_FOREVER = 4e9
_PAYMENT = ForwardedPayment(x402_version=2, payload=Raw(b"{}"), accepted=Raw(b"{}"))
_STATES = (State.SERVING, State.SETTLING, State.SETTLED)


@dataclass(frozen=True)
class Journal:
    """The entries in the order of their records, and the seed of the damage and splits of the host's response."""

    entries: list[Entry]
    foreign: bool
    damage: int | None
    status: int


def _make(random: Random) -> Journal:
    entries = [_entry(random) for _ in range(random.randrange(6))]
    damage = random.getrandbits(32) if random.random() < 0.7 else None
    return Journal(entries, random.random() < 0.2, damage, random.choice((200, 200, 200, 200, 404)))


def _entry(random: Random) -> Entry:
    return Entry(
        key=bytes(79) + bytes([random.randrange(3)]),
        owner="w",
        payer=b"\xaa" * 20,
        asset="eip155:8453/0x11",
        scheme="upto",
        cap=random.choice((1, 10**19, 2**256 - 1)),
        cap_usd=Decimal(1),
        rate=Decimal("0.1"),
        deadline=5_000_000_000,
        payment=_PAYMENT,
        state=random.choice(_STATES),
        updated=float(random.randrange(4)),
        note=random.choice(("", "\u00e9", "a" * 300)),
    )


def _sent(journal: Journal) -> tuple[bytes, dict[bytes, Entry]]:
    """The host's response, and the entries by their records."""
    cipher, other = RecordCipher(_KEY), RecordCipher(b"o" * 32)
    records = {cipher.encrypt(encode_entry(entry)): entry for entry in journal.entries}
    frames = [encode_frame(record) for record in records]
    if journal.foreign:
        frames += [
            encode_frame(other.encrypt(b"{}")),
            encode_frame(cipher.encrypt(b"{}")),
            encode_frame(b""),
            encode_frame(b"short"),
        ]
    if journal.damage is None:
        return b"".join(frames), records
    random = Random(journal.damage)
    match random.randrange(4):
        case 0:
            random.shuffle(frames)
        case 1:
            frames += random.choices(frames or [b""], k=3)
        case 2:
            place = random.randint(0, len(frames))
            frames.insert(place, random.choice((b"\xff\xff\xff\xff", b"\x00\x04\x00\x01", b"<html>", b"\x00")))
        case 3:
            return mutate_bytes(random, b"".join(frames), random.randint(1, 3)), records
    return b"".join(frames), records


def _whole(answer: bytes) -> Iterator[bytes]:
    """The complete records of a response. Raises SinkUnavailableError for one that is too long."""
    while len(answer) >= 4:
        length = int.from_bytes(answer[:4], "big")
        if length > MAX_RECORD_BYTES:
            raise SinkUnavailableError
        if len(answer) < 4 + length:
            return
        yield answer[4 : 4 + length]
        answer = answer[4 + length :]


class _Inner:
    """A store that accepts all entries."""

    def __init__(self) -> None:
        self.restored: list[Entry] = []

    async def restore(self, entries: list[Entry]) -> None:
        self.restored = entries


def _check(journal: Journal) -> None:
    answer, records = _sent(journal)
    cut = split(Random(journal.damage), answer)
    inner: Any = _Inner()
    sink = HttpSink(session(Reply(journal.status, cut)), "http://127.0.0.1:1")
    try:
        expected = _newest([records[record] for record in _whole(answer) if record in records])
    except SinkUnavailableError:
        expected = None
    try:
        asyncio.run(SealedStore(cast("Store", inner), sink, _KEY).replay(_FOREVER))
    except SinkUnavailableError:
        if journal.status == 200 and expected is not None:
            raise
        return
    if journal.status != 200 or expected is None:
        raise BrokenPropertyError("read from a sink that cannot be read")
    if {entry.key: entry for entry in inner.restored} != expected or len(inner.restored) != len(expected):
        raise BrokenPropertyError(f"{inner.restored} instead of {expected}")


def _newest(entries: list[Entry]) -> dict[bytes, Entry]:
    """The latest entry of each payment among those in its most advanced state."""
    newest: dict[bytes, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (_STATES.index(entry.state), entry.updated)):
        newest[entry.key] = entry
    return newest


JOURNAL_RECORDS = Target("journal-records", _make, _check)
