"""The ledger in PostgreSQL: each function is one operation inside a transaction that the caller begins and commits.

What belongs to one payer needs the lock of ``lock_payer`` first. ``db`` is an asyncpg connection.
"""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import msgspec

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import (
    BEFORE_SETTLING,
    UNFINISHED,
    UNSERVED,
    Entry,
    State,
    decode_entry,
    decode_unfinished,
    encode_entry,
    require_unmatched_transfer,
)
from gateway.billing.standing import Standing, remaining_credit, standing_changes
from gateway.billing.storage.store import NO_OWNER
from gateway.keccak import keccak256

_UNFINISHED = [state.value for state in UNFINISHED]
_BEFORE_SETTLING, _ADOPTABLE = (
    ", ".join(f"'{state}'" for state in sorted(states)) for states in (BEFORE_SETTLING, {*UNFINISHED, UNSERVED})
)
"""As literals: with parameters, a plan that PostgreSQL keeps cannot use a partial index."""
SCHEMA = f"""
SELECT pg_advisory_xact_lock(7402402402);
CREATE TABLE IF NOT EXISTS gateway_payments (
    key bytea PRIMARY KEY, payer bytea NOT NULL, owner text NOT NULL, state text NOT NULL, deadline bigint NOT NULL,
    updated double precision NOT NULL, entry bytea NOT NULL, transaction bytea NOT NULL DEFAULT ''
);
DO $$ BEGIN -- to a table of an earlier version only: it waits for a backup to end, and everybody for it
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'gateway_payments'::regclass AND attname = 'transaction'
    ) THEN
        ALTER TABLE gateway_payments ADD COLUMN transaction bytea NOT NULL DEFAULT '';
        UPDATE gateway_payments SET transaction = convert_to(lower(
            split_part(split_part(convert_from(entry, 'UTF8'), '"transaction":"', 2), '"', 1)), 'UTF8');
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS gateway_payments_payer ON gateway_payments (payer, state);
CREATE INDEX IF NOT EXISTS gateway_payments_paid ON gateway_payments (payer, transaction) WHERE transaction <> '';
CREATE INDEX IF NOT EXISTS gateway_payments_adoptable ON gateway_payments (owner) WHERE state IN ({_ADOPTABLE});
CREATE INDEX IF NOT EXISTS gateway_payments_deadline ON gateway_payments (deadline);
CREATE INDEX IF NOT EXISTS gateway_payments_released ON gateway_payments (deadline) WHERE state = 'released';
CREATE TABLE IF NOT EXISTS gateway_payers (payer bytea PRIMARY KEY, settled numeric NOT NULL, debt numeric NOT NULL);
CREATE TABLE IF NOT EXISTS gateway_credits (
    payer bytea, asset text, amount numeric NOT NULL, PRIMARY KEY (payer, asset)
);
CREATE TABLE IF NOT EXISTS gateway_keys (name text PRIMARY KEY, value bytea NOT NULL);
"""  # noqa: S608
_INSERT = "INSERT INTO gateway_payments VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"


def lock_key(name: bytes) -> int:
    """The 64-bit key of an advisory lock."""
    return int.from_bytes(keccak256(name)[:8], "big", signed=True)


async def lock_payer(db: Any, payer: bytes) -> None:
    """Serialize the transactions on one payer, until the end of this one."""
    await db.execute("SELECT pg_advisory_xact_lock($1)", lock_key(payer))


async def is_lock_free(db: Any, owner: str) -> bool:
    """Whether nobody holds a worker's lock; the probe takes it until the end of the transaction."""
    return bool(await db.fetchval("SELECT pg_try_advisory_xact_lock($1)", lock_key(owner.encode())))


async def quote_key(db: Any, proposed: bytes) -> bytes:
    await db.execute("INSERT INTO gateway_keys VALUES ('quotes', $1) ON CONFLICT DO NOTHING", proposed)
    key: bytes = await db.fetchval("SELECT value FROM gateway_keys WHERE name = 'quotes'")
    return key


async def check(db: Any) -> None:
    await db.execute("UPDATE gateway_keys SET value = value WHERE name = 'quotes'")


async def claim(db: Any, entry: Entry, policy: ClaimPolicy) -> Claim:
    """Insert ``entry`` if ``policy`` admits it; raises ClaimRefusedError."""
    earlier = await find(db, entry.key)
    rows = await db.fetch(
        "SELECT entry FROM gateway_payments WHERE payer = $1 AND state = ANY($2)", entry.payer, _UNFINISHED
    )
    claimed = policy.admit(
        entry,
        None if earlier is None else earlier.state,
        [decode_unfinished(row["entry"]) for row in rows],
        await _standing(db, entry.payer),
    )
    await _write(db, entry)
    return claimed


async def find(db: Any, key: bytes) -> Entry | None:
    row = await db.fetchrow("SELECT entry FROM gateway_payments WHERE key = $1 FOR UPDATE", key)
    return None if row is None else decode_entry(row["entry"])


async def find_all(db: Any, keys: Collection[bytes]) -> list[Entry]:
    rows = await db.fetch("SELECT entry FROM gateway_payments WHERE key = ANY($1)", list(keys))
    return [decode_entry(row["entry"]) for row in rows]


async def move(db: Any, payment: Entry, to: tuple[State, ...], changes: dict[str, Any]) -> Entry:
    """Move an entry and update its payer's standing; return it. Raises IllegalTransitionError, LookupError."""
    entry = await find(db, payment.key)
    if entry is None:
        raise LookupError(f"no payment {payment.key.hex()}")
    entry = entry.transition_through(to, changes)
    await _write(db, entry)
    if "credited" in changes:
        await _add_credit(db, entry.payer, entry.asset, entry.credited)
    before = await _standing(db, entry.payer)
    if (after := before.after(entry)) != before:
        await _set_standing(db, entry.payer, after)
    return entry


async def reconcile(db: Any, payment: Entry, matches: int, changes: dict[str, Any]) -> Entry:
    """``move`` to SETTLED; also raises TransferAlreadyMatchedError."""
    rows = await db.fetch(
        "SELECT entry FROM gateway_payments WHERE payer = $1 AND transaction = $2 AND transaction <> ''",
        payment.payer,
        changes["transaction"].encode(),
    )
    require_unmatched_transfer(payment, (decode_entry(row["entry"]) for row in rows), matches, changes)
    return await move(db, payment, (State.SETTLED,), changes)


async def missing_owners(db: Any, owner: str, before: float) -> list[str]:
    """The other workers whose lock is free, and that have adoptable payments last moved ``before``."""
    rows = await db.fetch(
        f"SELECT DISTINCT owner FROM gateway_payments WHERE state IN ({_ADOPTABLE})"  # noqa: S608
        " AND owner <> $1 AND updated < $2",
        owner,
        before,
    )
    return [row["owner"] for row in rows if await is_lock_free(db, row["owner"])]


async def adopt(db: Any, orphaned: list[str], owner: str, again: list[bytes], now: float) -> list[Entry]:
    """Reassign the unfinished and unserved payments of ``orphaned`` workers to ``owner``; return them.

    So are those of the keys ``again``, if they are the owner's already.
    """
    rows = await db.fetch(
        f"SELECT entry FROM gateway_payments WHERE state IN ({_ADOPTABLE})"  # noqa: S608
        " AND (owner = ANY($1) OR (owner = $2 AND key = ANY($3))) FOR UPDATE",
        orphaned,
        owner,
        again,
    )
    adopted = [msgspec.structs.replace(decode_entry(row["entry"]), owner=owner, updated=now) for row in rows]
    for entry in adopted:
        await _write(db, entry)
    return adopted


async def overdue(db: Any, owner: str, now: float) -> list[Entry]:
    """Claims of ``owner`` that were neither settled nor released before the payer's deadline."""
    rows = await db.fetch(
        f"SELECT entry FROM gateway_payments WHERE state IN ({_BEFORE_SETTLING})"  # noqa: S608
        " AND owner = $1 AND deadline < $2",
        owner,
        int(now),
    )
    return [decode_entry(row["entry"]) for row in rows]


async def restore(db: Any, entries: list[Entry]) -> None:
    inserted = [
        entry for entry in entries if await _insert_if_absent(db, msgspec.structs.replace(entry, owner=NO_OWNER))
    ]
    for (payer, asset), amount in remaining_credit(inserted).items():
        await _add_credit(db, payer, asset, amount)
    for payer, ended in standing_changes(inserted).items():
        await lock_payer(db, payer)
        await _set_standing(db, payer, (await _standing(db, payer)).after_all(ended))


async def take_credit(db: Any, payment: Entry) -> Entry | None:
    payer, asset = payment.payer, payment.asset
    credit = await db.fetchval("SELECT amount FROM gateway_credits WHERE payer = $1 AND asset = $2", payer, asset)
    if credit is None or credit < payment.cap:
        return None
    await _add_credit(db, payer, asset, -payment.cap)
    paid = msgspec.structs.replace(payment, by_credit=True)
    await _write(db, paid)
    return paid


async def prune(db: Any, before: float, released_before: float, limit: int) -> int:
    """Delete up to ``limit`` payments: finished with a deadline before ``before``, or released, ``released_before``."""
    done = await db.execute(
        "DELETE FROM gateway_payments WHERE key IN"
        " (SELECT key FROM gateway_payments WHERE deadline < $1 AND state <> ALL($2)"
        " UNION ALL SELECT key FROM gateway_payments WHERE deadline < $3 AND state = 'released' LIMIT $4)",
        int(before),
        _UNFINISHED,
        int(released_before),
        limit,
    )
    return int(done.rpartition(" ")[2])


async def _write(db: Any, entry: Entry) -> None:
    replacing = (
        " ON CONFLICT (key) DO UPDATE"
        " SET owner = $3, state = $4, deadline = $5, updated = $6, entry = $7, transaction = $8"
    )
    await db.execute(_INSERT + replacing, *_row(entry))


async def _insert_if_absent(db: Any, entry: Entry) -> bool:
    """Return False, with nothing written, if the entry exists, also if it is inserted concurrently."""
    done: str = await db.execute(_INSERT + " ON CONFLICT (key) DO NOTHING", *_row(entry))
    return done.endswith(" 1")


def _row(entry: Entry) -> tuple[Any, ...]:
    deadline, transaction = min(entry.deadline, 2**62), entry.transaction.lower().encode()
    row = entry.key, entry.payer, entry.owner, entry.row_state, deadline, entry.updated, encode_entry(entry)
    return *row, transaction


async def _standing(db: Any, payer: bytes) -> Standing:
    row = await db.fetchrow("SELECT settled, debt FROM gateway_payers WHERE payer = $1", payer)
    return Standing() if row is None else Standing(row["settled"], row["debt"])


async def _set_standing(db: Any, payer: bytes, standing: Standing) -> None:
    await db.execute(
        "INSERT INTO gateway_payers VALUES ($1, $2, $3) ON CONFLICT (payer) DO UPDATE SET settled = $2, debt = $3",
        payer,
        standing.settled,
        standing.debt,
    )


async def _add_credit(db: Any, payer: bytes, asset: str, amount: int) -> None:
    await db.execute(
        "INSERT INTO gateway_credits VALUES ($1, $2, $3)"
        " ON CONFLICT (payer, asset) DO UPDATE SET amount = gateway_credits.amount + $3",
        payer,
        asset,
        Decimal(amount),
    )
