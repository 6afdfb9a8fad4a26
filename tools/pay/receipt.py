"""Checks of the payment against the offer, the answer and the chain."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.billing.pricing import atomic
from gateway.billing.x402 import PAYMENT_RESPONSE
from tools.pay.chain import ChainReader
from tools.pay.offers import Offer, is_amount
from tools.pay.request import Answer
from tools.verify.claims import Claim, failed, one_line, passed, skipped
from tools.verify.errors import MalformedError, UnreachableError
from tools.verify.response import read_answer

_MAX_DIGITS = 78
"""Decimal digits of 256 bits."""


def read_payment(answer: Answer) -> dict[str, Any]:
    """The ``payment`` object of an answer; raises MalformedError if the answer is malformed or has none."""
    payment = read_answer(answer.body).get("payment")
    if not isinstance(payment, dict):
        raise MalformedError("a response without a payment object")
    return payment


def read_settlement(answer: Answer) -> dict[str, Any] | None:
    """What the ``PAYMENT-RESPONSE`` of an answer says of a payment that was settled."""
    try:
        settled = json.loads(base64.b64decode(answer.headers.get(PAYMENT_RESPONSE, ""), validate=True))
    except (binascii.Error, ValueError):
        return None
    return settled if isinstance(settled, dict) and settled.get("success") else None


def summary(offer: Offer, payment: Mapping[str, Any]) -> str:
    """Quote, charge and transaction, one line each."""
    amount = str(payment.get("amount"))
    charge = offer.show(int(amount)) if is_amount(amount) else amount
    lines = [
        f"quote        {offer}",
        f"charge       {charge}, for an answer worth {payment.get('cost_usd')} USD",
        f"transaction  {payment.get('transaction') or 'none'} ({payment.get('status')})",
    ]
    return "\n".join(map(one_line, lines))


def check(
    offer: Offer, answer: Answer, payment: Mapping[str, Any], payer: str, chain: ChainReader | None
) -> Iterator[Claim]:
    """Two claims: ``charge``, the amount is what is due, and ``transfer``, the chain shows the same amount."""
    problems = list(_problems(offer, answer, payment, payer))
    if problems:
        yield failed("charge", "; ".join(problems))
    else:
        yield passed("charge", f"{offer.show(int(payment['amount']))}: {_rule(offer, payment)}, and within the quote")
    yield _transfer(offer, payment, payer, chain)


def _problems(offer: Offer, answer: Answer, payment: Mapping[str, Any], payer: str) -> Iterator[str]:
    required = offer.requirements
    expected = {"scheme": required.scheme, "network": required.network, "asset": required.asset, "payer": payer}
    for name, value in expected.items():
        if str(payment.get(name)).lower() != str(value).lower():
            yield f"{name} is {payment.get(name)}, not {value}"
    amount = str(payment.get("amount"))
    if not is_amount(amount) or int(amount) > offer.amount:
        yield f"the amount {amount} is above the quote of {offer.amount}"
        return
    if (due := _amount_due(offer, payment)) != int(amount):
        yield f"the amount is {amount}, where {due} is due"
    if (settled := read_settlement(answer)) is not None:
        for name in ("amount", "transaction"):
            if settled.get(name) != payment.get(name):
                yield f"{PAYMENT_RESPONSE} says {name} {settled.get(name)}"


def _rule(offer: Offer, payment: Mapping[str, Any]) -> str:
    """What the amount due is."""
    if payment.get("status") == "waived":
        return "waived"
    return "the metered cost, rounded up once" if offer.requirements.scheme == "upto" else "the quoted price"


def _amount_due(offer: Offer, payment: Mapping[str, Any]) -> int | None:
    """The amount due for the stated cost, in atomic units; None if it cannot be computed."""
    if payment.get("status") == "waived":
        return 0
    if offer.requirements.scheme != "upto":
        return offer.amount
    try:
        cost = Decimal(str(payment.get("cost_usd")))
    except InvalidOperation:
        return None
    if not offer.rate or not cost.is_finite() or cost < 0:
        return None
    if cost.adjusted() > _MAX_DIGITS:
        return offer.amount
    return min(offer.amount, atomic(cost, offer.rate, offer.token.decimals))


def _transfer(offer: Offer, payment: Mapping[str, Any], payer: str, chain: ChainReader | None) -> Claim:
    if payment.get("status") != "settled":
        return skipped("transfer", f"not on the chain: the payment is {payment.get('status')}")
    if chain is None:
        return skipped("transfer", "no --rpc given to check it on the chain")
    transaction = str(payment.get("transaction"))
    try:
        transferred = chain.transferred(transaction, offer.token, payer, offer.requirements.pay_to)
    except UnreachableError as error:
        return skipped("transfer", str(error))
    if transferred is None:
        return failed("transfer", f"the chain does not have the transaction {transaction}")
    if str(transferred) != payment.get("amount"):
        return failed("transfer", f"{offer.show(transferred)} went to {offer.requirements.pay_to}")
    return passed("transfer", f"{offer.show(transferred)} went from {payer} to {offer.requirements.pay_to}")
