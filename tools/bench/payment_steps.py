"""Micro-benchmarks of a payment: quoting, verification of the signed payment, and journal writes."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import uvloop
from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.schemas import PaymentRequired

from gateway.billing import authorization, capabilities, x402
from gateway.billing.claims import ClaimPolicy
from gateway.billing.definitions import Definitions, Token, bundled
from gateway.billing.journal import Entry, State
from gateway.billing.journal_entry import new_entry
from gateway.billing.quote import Quoter
from gateway.billing.refusals import payment_required
from gateway.billing.storage.sqlite_store import SqliteStore
from tools.bench.facilitator import PRICE_USD, SUPPORTED
from tools.chain.deployment import PAYEE
from tools.chain.wallet import Wallet

PAYMENTS = 300
TRIES = 3
_PATH = "/v1/chat/completions"
_URL = f"http://127.0.0.1:8000{_PATH}"
_USD = Decimal("0.0051")
_TRANSACTION = "0x" + "7a" * 32


class _FixedPrices:
    def usd(self, token: Token) -> Decimal | None:
        return token.usd or Decimal(str(PRICE_USD))


@dataclass(frozen=True)
class _PaymentFixture:
    """A quoter, and the header of a payment of one of its offers, signed by the x402 package's client."""

    definitions: Definitions
    quoter: Quoter
    header: str

    def quote(self) -> Any:
        required = self.quoter.required(_URL, _USD, "PAYMENT-SIGNATURE header is required", time.time(), stream=False)
        return payment_required(required, "payment_required")

    def check(self) -> Entry:
        """Verify the payment as at admission, up to the journal entry. Raises ValueError for a forged signature."""
        definitions, now = self.definitions, time.time()
        payment = x402.read_payment(
            self.header, max_bytes=definitions.wire.payment_header_bytes, max_depth=definitions.wire.json_depth
        )
        signed = authorization.read(payment.payload)
        terms = self.quoter.accept(payment.accepted, payment.resource, _PATH, now, stream=False)
        authorization.check(signed, terms, definitions.contracts, definitions.deadlines, now)
        if not authorization.signed_by_payer(signed, terms, definitions.contracts):
            raise ValueError("not signed by its payer")
        return new_entry(signed, terms, definitions.contracts, "bench", resource_url=_URL)


def _payment_fixture() -> _PaymentFixture:
    definitions = bundled()
    offered = capabilities.read(msgspec.convert(SUPPORTED, x402.Supported), definitions)
    quoter = Quoter(
        definitions, _FixedPrices(), lambda: offered, payee=PAYEE.address, mac_key=bytes(32), max_usd=Decimal("0.9")
    )
    required = quoter.required(_URL, _USD, "", time.time(), stream=False)
    decoded = decode_payment_required_header(x402.write_header(required))
    if not isinstance(decoded, PaymentRequired):
        raise TypeError("x402 reads another version in our offer")
    narrowed = decoded.model_copy(update={"accepts": decoded.accepts[:1]})
    payload = asyncio.run(Wallet().x402_client().create_payment_payload(narrowed))
    return _PaymentFixture(definitions, quoter, encode_payment_signature_header(payload))


def benchmarks() -> Mapping[str, Callable[[], Any]]:
    """Each step on the event loop's thread as a callable without arguments."""
    fixture = _payment_fixture()
    return {
        "402: every offer quoted and authenticated": fixture.quote,
        "signed payment: read, compared, signer recovered": fixture.check,
    }


def journal_microseconds() -> float:
    """CPU microseconds, in both threads, of journalling one settled payment: the best of TRIES runs. Payments are
    sequential, so that none shares a commit."""
    with TemporaryDirectory() as folder:
        return uvloop.run(_journal(Path(folder) / "journal.sqlite3", _payment_fixture().check())) * 1e6


async def _journal(path: Path, entry: Entry) -> float:
    store = await SqliteStore.open(path)
    policy = ClaimPolicy(bundled().exposure, funds_known=False)
    entry = msgspec.structs.replace(entry, owner=store.owner)
    try:
        return min([await _settled(store, policy, entry) for _ in range(TRIES)])
    finally:
        await store.close()


async def _settled(store: SqliteStore, policy: ClaimPolicy, entry: Entry) -> float:
    started = time.process_time()
    for _ in range(PAYMENTS):
        payment = msgspec.structs.replace(entry, key=os.urandom(len(entry.key)))
        await store.claim(payment, policy)
        payment = await store.defer_move(payment, State.VERIFIED, State.SERVING)
        payment = await store.move(payment, State.SETTLING, amount=1, cost_usd=_USD)
        await store.defer_move(payment, State.SETTLED, settled_amount=1, transaction=_TRANSACTION)
    return (time.process_time() - started) / PAYMENTS
