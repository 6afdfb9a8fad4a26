"""Creation of a payment's journal entry, with everything needed to settle it."""

from typing import Any

import msgspec

from gateway.billing import authorization, x402
from gateway.billing.authorization import Authorization
from gateway.billing.definitions import Contracts
from gateway.billing.journal import Entry
from gateway.billing.terms import PaymentTerms


def new_entry(
    signed: Authorization,
    terms: PaymentTerms,
    contracts: Contracts,
    owner: str,
    *,
    resource_url: str | None = None,
    permit: dict[str, Any] | None = None,
    by_contract: bool = False,
) -> Entry:
    """A RESERVED entry. ``resource_url`` is what is paid for, ``permit`` the payment's EIP-2612 permit, if any.

    ``by_contract`` if the payer's own key did not sign.
    """
    payment = x402.ForwardedPayment(
        x402_version=x402.VERSION,
        payload=msgspec.Raw(msgspec.json.encode(signed.payload())),
        accepted=msgspec.Raw(msgspec.json.encode(terms.requirements)),
        resource=None if resource_url is None else {"url": resource_url},
        extensions=None if permit is None else {x402.EIP2612_EXTENSION: permit},
    )
    return Entry(
        key=authorization.claim_key(signed, terms.network, terms.token, contracts),
        owner=owner,
        payer=signed.payer,
        asset=terms.asset,
        scheme=terms.scheme,
        cap=terms.amount,
        cap_usd=terms.amount_usd,
        rate=terms.rate,
        deadline=signed.deadline,
        payment=payment,
        upfront=terms.upfront,
        by_contract=by_contract,
    )
