"""The books after a run: chain, journal and what clients were told must agree, and what was not paid be explained."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from gateway.billing.definitions import Token, bundled
from gateway.billing.journal import PAID, Entry, State
from gateway.billing.pricing import atomic
from gateway.billing.terms import asset_id
from tests.money.market import Outcome
from tools.chain.local_chain import Transfer

TOKENS: Mapping[str, Token] = {asset_id(token): token for token in bundled().tokens.values()}


def audit(
    outcomes: Iterable[Outcome], entries: Iterable[Entry], transfers: Iterable[Transfer], served: Counter[int]
) -> None:
    """``served`` counts the vendors' calls by the number of their step. Raises AssertionError."""
    journal = {int.from_bytes(entry.nonce): entry for entry in entries}
    clients = {outcome.nonce: outcome for outcome in outcomes if outcome.nonce}
    chain_equals_journal(list(transfers), list(journal.values()))
    for outcome in clients.values():
        entry = journal.get(outcome.nonce)
        served_once(outcome, entry, served[outcome.step.number])
        if outcome.payment is not None:
            assert entry is not None, outcome
            as_told(outcome, entry)
    for nonce, entry in journal.items():
        assert nonce in clients, f"nobody signed {entry}"
        charged_rightly(entry)
        explained(clients[nonce], entry)
    settled = [nonce for nonce, entry in journal.items() if entry.state in PAID]
    payments = {nonce: outcome.payment for nonce, outcome in clients.items() if outcome.payment is not None}
    told = sum(int(payments[nonce]["amount"]) for nonce in settled if nonce in payments)
    untold = sum(journal[nonce].settled_amount or 0 for nonce in settled if nonce not in payments)
    assert told + untold == sum(transfer.amount for transfer in transfers)


def chain_equals_journal(transfers: list[Transfer], entries: list[Entry]) -> None:
    """Every settlement moved its amount once, and nothing else moved."""
    settled = {entry.transaction: entry for entry in entries if entry.state in PAID}
    assert len(settled) == sum(entry.state in PAID for entry in entries), "one transaction for two payments"
    assert sorted(transfer.transaction for transfer in transfers) == sorted(settled)
    for transfer in transfers:
        entry = settled[transfer.transaction]
        assert transfer.amount == entry.settled_amount, (transfer, entry)
        assert transfer.payer.lower() == f"0x{entry.payer.hex()}"


def served_once(outcome: Outcome, entry: Entry | None, calls: int) -> None:
    """No work without a claim, and none twice for one payment."""
    assert calls <= 1, f"{calls} upstream calls for {outcome}"
    assert outcome.statuses.count(200) <= 1
    if calls:
        assert entry is not None, f"claim lost: {outcome}"
        assert entry.state is not State.RELEASED, f"work for a payment that may come again: {outcome} {entry}"


def as_told(outcome: Outcome, entry: Entry) -> None:
    """What the answer said of its payment is what became of it."""
    payment = outcome.payment
    assert payment is not None
    match payment["status"]:
        case "settled":
            assert entry.state in PAID, (outcome, entry)
            assert (payment["transaction"], payment["amount"]) == (entry.transaction, str(entry.settled_amount))
        case "pending":
            assert entry.state in PAID or outcome.step.client == "burns", (outcome, entry)
            assert payment["amount"] == str(entry.amount)
        case "waived":
            assert (entry.state, payment["amount"]) == (State.WAIVED, "0"), (outcome, entry)
    if not outcome.step.upfront:
        assert Decimal(payment["cost_usd"]) == entry.cost_usd


def charged_rightly(entry: Entry) -> None:
    """The metered cost rounded up once and no more than the cap, or the price that was agreed."""
    if entry.amount is None:
        return
    if entry.scheme == "exact":
        assert entry.amount == entry.cap
    else:
        assert entry.cost_usd is not None
        assert entry.amount == min(entry.cap, atomic(entry.cost_usd, entry.rate, TOKENS[entry.asset].decimals))


def explained(outcome: Outcome, entry: Entry) -> None:
    """Every payment came to an end, and where nothing was settled, or nobody was told, there was a reason for it."""
    step = outcome.step
    interrupted = outcome.killed or step.client == "leaves"
    match entry.state:
        case State.SETTLED | State.SERVED:
            broken = step.upstream == "is cut off" or (step.upfront and step.upstream == "breaks")
            unknown = step.upfront and "settlement_pending" in outcome.refusals
            assert outcome.payment is not None or interrupted or broken or unknown, (outcome, entry)
        case State.WAIVED:
            refused_by_claude = step.upstream == "refuses" and step.model.startswith("claude")  # before any output
            reasons = {
                "client_left": step.client == "leaves" or outcome.killed,
                "upstream_failed": step.upstream in ("breaks", "is cut off"),
                "nothing to charge": step.upstream == "costs nothing" or refused_by_claude,
                "paid by credit": step.upfront,
                "its worker was lost before the answer was complete": outcome.killed,
            }
            assert reasons.get(entry.note), (outcome, entry)
        case State.FAILED:
            assert (step.client, entry.reason) == ("burns", "nonce_spent_elsewhere"), (outcome, entry)
        case State.RELEASED:
            assert entry.note, (outcome, entry)
            assert outcome.payment is None
        case _:
            raise AssertionError(f"left unfinished: {entry}")
