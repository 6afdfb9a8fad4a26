"""The ledger in SQLite: each function is one operation inside a transaction that the caller begins and commits.

An operation raises its documented errors before its first write. After any error later than that, the transaction must
be rolled back.
"""

import sqlite3
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from gateway.billing.claims import Claim, ClaimPolicy
from gateway.billing.journal import (
    BEFORE_SETTLING,
    PAID,
    UNFINISHED,
    UNSERVED,
    Entry,
    IllegalTransitionError,
    State,
    decode_entry,
    decode_unfinished,
    encode_entry,
    require_unmatched_transfer,
)
from gateway.billing.standing import CHANGES_STANDING, Standing, remaining_credit, standing_changes
from gateway.billing.storage.store import NO_OWNER

_IS_UNFINISHED, _IS_BEFORE_SETTLING, _IS_PAID = (
    "(" + " OR ".join(f"state = '{state}'" for state in states) + ")"
    for states in (sorted(UNFINISHED), sorted(BEFORE_SETTLING), (*PAID, UNSERVED))
)
"""Conditions on a row, with the states in an order that does not change: SQLite uses a partial index only where a query
repeats its condition. For ``state IN (...)`` it would fill a temporary table per index, before and after each write."""
sqlite3.register_adapter(bytes, bytes)
"""For bytes without an adapter sqlite3 raises and drops an error each time, which costs more than to bind them."""
_CHECK_BYTES = 64 * 1024
_TRANSACTION = "lower(json_extract(CAST(entry AS TEXT), '$.transaction'))"

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS payments (
    key BLOB PRIMARY KEY, payer BLOB NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL, deadline INTEGER NOT NULL,
    entry BLOB NOT NULL
);
DROP INDEX IF EXISTS unfinished; -- both of earlier journals, with state IN (...)
DROP INDEX IF EXISTS paid;
CREATE INDEX IF NOT EXISTS payments_unfinished ON payments (payer, owner) WHERE {_IS_UNFINISHED};
CREATE INDEX IF NOT EXISTS unserved ON payments (owner) WHERE state = '{UNSERVED}';
CREATE INDEX IF NOT EXISTS payments_by_deadline ON payments (deadline);
CREATE INDEX IF NOT EXISTS released ON payments (deadline) WHERE state = '{State.RELEASED}';
CREATE INDEX IF NOT EXISTS payments_paid ON payments (payer, {_TRANSACTION}) WHERE {_IS_PAID};
CREATE TABLE IF NOT EXISTS payers (payer BLOB PRIMARY KEY, settled TEXT NOT NULL, debt TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credits (
    payer BLOB, asset TEXT, amount TEXT NOT NULL, PRIMARY KEY (payer, asset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""

_CLAIM_CONTEXT = f"""
SELECT 'earlier', entry, NULL FROM payments WHERE key = ?
UNION ALL SELECT 'unfinished', entry, NULL FROM payments WHERE payer = ? AND {_IS_UNFINISHED}
UNION ALL SELECT 'standing', settled, debt FROM payers WHERE payer = ?
"""  # noqa: S608


def quote_key(db: sqlite3.Connection, proposed: bytes) -> bytes:
    db.execute("INSERT OR IGNORE INTO keys VALUES ('quotes', ?)", (proposed,))
    key: bytes = db.execute("SELECT value FROM keys WHERE name = 'quotes'").fetchone()[0]
    return key


def check(db: sqlite3.Connection) -> None:
    """Write more pages than any other operation: on a full disk, small writes can fit into space allocated before."""
    db.execute("REPLACE INTO keys VALUES ('check', zeroblob(?))", (_CHECK_BYTES,))


def free_bytes(db: sqlite3.Connection) -> int:
    """What is free in the file, which does not shrink."""
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    return int(pages * size)


def claim(db: sqlite3.Connection, entry: Entry, policy: ClaimPolicy) -> Claim:
    """Insert ``entry`` if ``policy`` admits it; raises ClaimRefusedError."""
    earlier, unfinished, standing = None, [], Standing()
    for kind, value, debt in db.execute(_CLAIM_CONTEXT, (entry.key, entry.payer, entry.payer)):
        match kind:
            case "earlier":
                earlier = decode_entry(value).state
            case "unfinished":
                unfinished.append(decode_unfinished(value))
            case _:
                standing = Standing(Decimal(value), Decimal(debt))
    claimed = policy.admit(entry, earlier, unfinished, standing)
    _write(db, entry)
    return claimed


def find(db: sqlite3.Connection, key: bytes) -> Entry | None:
    row = db.execute("SELECT entry FROM payments WHERE key = ?", (key,)).fetchone()
    return None if row is None else decode_entry(row[0])


def find_all(db: sqlite3.Connection, keys: Collection[bytes]) -> list[Entry]:
    query = f"SELECT entry FROM payments WHERE key IN ({', '.join('?' * len(keys))})"  # noqa: S608
    return [decode_entry(row[0]) for row in db.execute(query, tuple(keys))]


def move(db: sqlite3.Connection, known: Entry, to: Iterable[State], changes: dict[str, Any]) -> Entry:
    """Move an entry and update its payer's standing; return the new entry. Raises IllegalTransitionError, LookupError.

    The stored entry is not read if its state and owner are still those of ``known``: only the owner changes it.
    """
    if (entry := _compare_and_move(db, known, to, changes)) is None:
        before = find(db, known.key)
        if before is None:
            raise LookupError(f"no payment {known.key.hex()}")
        entry = before.transition_through(to, changes)
        _write(db, entry)
    if "credited" in changes:
        _add_credit(db, entry.payer, entry.asset, entry.credited)
    if entry.state in CHANGES_STANDING:
        standing = _standing(db, entry.payer)
        if (after := standing.after(entry)) != standing:
            _set_standing(db, entry.payer, after)
    return entry


def reconcile(db: sqlite3.Connection, known: Entry, matches: int, changes: dict[str, Any]) -> Entry:
    """``move`` to SETTLED; also raises TransferAlreadyMatchedError."""
    query = f"SELECT entry FROM payments WHERE payer = ? AND {_IS_PAID} AND {_TRANSACTION} = ?"  # noqa: S608
    rows = db.execute(query, (known.payer, changes["transaction"]))
    require_unmatched_transfer(known, (decode_entry(row[0]) for row in rows), matches, changes)
    return move(db, known, (State.SETTLED,), changes)


def _compare_and_move(
    db: sqlite3.Connection, known: Entry, to: Iterable[State], changes: dict[str, Any]
) -> Entry | None:
    """Compare and swap: None, with nothing written, if state or owner differ from those of ``known``."""
    try:
        entry = known.transition_through(to, changes)
    except IllegalTransitionError:
        return None
    row = (entry.row_state, encode_entry(entry), entry.key, known.row_state, known.owner)
    done = db.execute("UPDATE payments SET state = ?, entry = ? WHERE key = ? AND state = ? AND owner = ?", row)
    return entry if done.rowcount else None


def owners(db: sqlite3.Connection) -> list[str]:
    """Every worker with unfinished or unserved payments.

    Left alone, SQLite may take the index of paid payments instead, and read every payment that has ended.
    """
    rows = db.execute(
        f"SELECT owner FROM payments WHERE {_IS_UNFINISHED}"  # noqa: S608
        f" UNION SELECT owner FROM payments INDEXED BY unserved WHERE state = '{UNSERVED}'"
    )
    return [row[0] for row in rows]


def adopt(db: sqlite3.Connection, orphaned: Iterable[str], owner: str) -> list[Entry]:
    """Reassign the unfinished and unserved payments of ``orphaned`` workers to ``owner``; return them."""
    query = (
        f"SELECT entry FROM payments WHERE owner = ? AND {_IS_UNFINISHED}"  # noqa: S608
        f" UNION ALL SELECT entry FROM payments WHERE owner = ? AND state = '{UNSERVED}'"
    )
    adopted = [_with_owner(decode_entry(row[0]), owner) for gone in orphaned for row in db.execute(query, (gone, gone))]
    for entry in adopted:
        _write(db, entry)
    return adopted


def overdue(db: sqlite3.Connection, owner: str, now: float) -> list[Entry]:
    """Claims of ``owner`` that were neither settled nor released before the payer's deadline.

    Left alone, SQLite takes the index of deadlines instead, and reads every payment that has ended.
    """
    query = (
        f"SELECT entry FROM payments INDEXED BY payments_unfinished WHERE {_IS_UNFINISHED}"  # noqa: S608
        f" AND owner = ? AND deadline < ? AND {_IS_BEFORE_SETTLING}"
    )
    return [decode_entry(row[0]) for row in db.execute(query, (owner, int(now)))]


def restore(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    entered = [_with_owner(entry, NO_OWNER) for entry in entries if find(db, entry.key) is None]
    for entry in entered:
        _write(db, entry)
    for (payer, asset), amount in remaining_credit(entered).items():
        _add_credit(db, payer, asset, amount)
    for payer, ended in standing_changes(entered).items():
        _set_standing(db, payer, _standing(db, payer).after_all(ended))


def take_credit(db: sqlite3.Connection, entry: Entry) -> Entry | None:
    if _credit(db, entry.payer, entry.asset) < entry.cap:
        return None
    _add_credit(db, entry.payer, entry.asset, -entry.cap)
    paid = msgspec.structs.replace(entry, by_credit=True)
    _write(db, paid)
    return paid


def prune(db: sqlite3.Connection, before: float, released_before: float, limit: int) -> int:
    """Delete up to ``limit`` payments: finished with a deadline before ``before``, or released, ``released_before``."""
    found = (
        f"SELECT key FROM payments WHERE deadline < ? AND NOT {_IS_UNFINISHED}"  # noqa: S608
        f" UNION ALL SELECT key FROM payments WHERE deadline < ? AND state = '{State.RELEASED}' LIMIT ?"
    )
    done = db.execute(f"DELETE FROM payments WHERE key IN ({found})", (int(before), int(released_before), limit))  # noqa: S608
    return done.rowcount


def _write(db: sqlite3.Connection, entry: Entry) -> None:
    row = (entry.key, entry.payer, entry.owner, entry.row_state, min(entry.deadline, 2**62), encode_entry(entry))
    db.execute("REPLACE INTO payments VALUES (?, ?, ?, ?, ?, ?)", row)


def _add_credit(db: sqlite3.Connection, payer: bytes, asset: str, amount: int) -> None:
    db.execute("REPLACE INTO credits VALUES (?, ?, ?)", (payer, asset, str(_credit(db, payer, asset) + amount)))


def _with_owner(entry: Entry, owner: str) -> Entry:
    return msgspec.structs.replace(entry, owner=owner)


def _standing(db: sqlite3.Connection, payer: bytes) -> Standing:
    row = db.execute("SELECT settled, debt FROM payers WHERE payer = ?", (payer,)).fetchone()
    return Standing() if row is None else Standing(Decimal(row[0]), Decimal(row[1]))


def _set_standing(db: sqlite3.Connection, payer: bytes, standing: Standing) -> None:
    db.execute("REPLACE INTO payers VALUES (?, ?, ?)", (payer, str(standing.settled), str(standing.debt)))


def _credit(db: sqlite3.Connection, payer: bytes, asset: str) -> int:
    row = db.execute("SELECT amount FROM credits WHERE payer = ? AND asset = ?", (payer, asset)).fetchone()
    return 0 if row is None else int(row[0])
