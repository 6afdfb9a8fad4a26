"""Trial of partial settlement, which ``upto`` depends on (facts/x402.md 4 row 21).

With a payer account of the operator, it runs at the start: the payer signs two units, one is settled to the payee, and
``upto`` is offered once the transfer is confirmed. Without one, ``upto`` is offered until the facilitator refuses a
partial amount. Payer and payee have the same owner, so the trial is free on every network.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Self

import coincurve
import msgspec

from gateway.billing import authorization
from gateway.billing.authorization import Authorization, RefusedPaymentError
from gateway.billing.capabilities import Capabilities
from gateway.billing.claims import ClaimPolicy, ClaimRefusedError
from gateway.billing.definitions import Offer
from gateway.billing.evm import eip712
from gateway.billing.evm import values as evm
from gateway.billing.facilitator import FacilitatorUnavailableError
from gateway.billing.journal import Entry, State
from gateway.billing.journal_entry import new_entry
from gateway.billing.storage.store import StoreUnavailableError
from gateway.billing.terms import PaymentTerms
from gateway.billing.verification import Verifier
from gateway.billing.x402 import Requirements
from gateway.billing.x402_payment import PaymentContext
from gateway.openai_api.errors import GatewayError

log = logging.getLogger(__name__)

_REFUSALS = (RefusedPaymentError, FacilitatorUnavailableError, GatewayError)
SIGNED, CHARGED = 2, 1
_AMOUNT_WORDS = ("amount", "_value")
"""Parts of reason codes of refused amounts: of x402, and of Coinbase (``..._authorization_value_too_low``). Some
facilitators give an error's text instead, which may name the value that they lack gas for."""


@dataclass(frozen=True, slots=True)
class TrialPayer:
    """An account with a Permit2 allowance and a balance in an ``upto`` token.

    It needs two units per worker: unsettled payments of other workers must be covered as well.
    """

    key: coincurve.PrivateKey = field(repr=False)

    @classmethod
    def from_key(cls, text: str) -> Self:
        """The account of a private key in hexadecimal (``0x`` and 64 digits). Raises ValueError."""
        return cls(coincurve.PrivateKey(evm.bytes32(text)))

    @property
    def address(self) -> bytes:
        return eip712.address_of(self.key.public_key)


class UptoTrial:
    """Support of partial settlement by network. ``payer`` is None without an account for the trial."""

    def __init__(
        self, context: PaymentContext, verifier: Verifier, policy: ClaimPolicy, payee: bytes, payer: TrialPayer | None
    ) -> None:
        self._context = context
        self._verifier = verifier
        self._policy = policy
        self._payee = payee
        self._payer = payer
        self._passed: set[str] = set()
        self._refused: set[str] = set()

    def restrict(self, capabilities: Capabilities) -> Capabilities:
        """``capabilities`` without ``upto`` on networks where partial settlement is unconfirmed or was refused."""
        offered = {network for scheme, network in capabilities.kinds if scheme == "upto"}
        doubtful = offered & self._refused if self._payer is None else offered - self._passed
        if not doubtful:
            return capabilities
        return replace(capabilities, kinds=capabilities.kinds - {("upto", network) for network in doubtful})

    def is_pending(self, capabilities: Capabilities) -> bool:
        """Whether ``upto`` is withheld on any network that the facilitator supports it on."""
        return self.restrict(capabilities) is not capabilities

    def on_settlement_end(self, entry: Entry) -> None:
        """Withdraw ``upto`` on the network of a settlement that was refused for an amount below its cap.

        A contract account proves nothing: facilitators find reasons in what its code reverts with.
        """
        partial = entry.scheme == "upto" and (entry.amount or 0) < entry.cap
        if entry.state is not State.FAILED or entry.payers_fault or entry.by_contract or not partial:
            return
        if any(word in entry.reason for word in _AMOUNT_WORDS):
            self._passed.discard(entry.network)
            self._refused.add(entry.network)
            log.error(
                "the facilitator refuses partial settlement", extra={"network": entry.network, "reason": entry.reason}
            )

    async def run(self, capabilities: Capabilities) -> None:
        """Run the trial on every network that has not passed it; one token is enough.

        A trial in progress is finished even if the caller is cancelled, so that it does not leave its claim open.
        """
        if self._payer is None:
            return
        for network in sorted(network for scheme, network in capabilities.kinds if scheme == "upto"):
            if network not in self._passed:
                trial = self._try_network(self._payer, network, capabilities.facilitators[network])
                await asyncio.shield(self._context.settlements.detach(trial))

    async def _try_network(self, payer: TrialPayer, network: str, settler: bytes) -> None:
        definitions = self._context.definitions
        for offer in definitions.offers:
            if offer.scheme != "upto" or definitions.tokens[offer.token].network != network:
                continue
            if await self._settle_partially(payer, self._terms(offer, settler)):
                self._passed.add(network)
                log.info("upto passed its trial", extra={"network": network})
                return

    async def _settle_partially(self, payer: TrialPayer, terms: PaymentTerms) -> bool:
        store, contracts = self._context.store, self._context.definitions.contracts
        entry = new_entry(self._signed(payer, terms), terms, contracts, store.owner)
        try:
            claim = await store.claim(entry, self._policy)
            try:
                await self._verifier.verify(entry, terms, claim, sponsored=False)
            except _REFUSALS as error:
                await store.move(entry, State.RELEASED, note=str(error))
                raise
            await store.move(entry, State.VERIFIED, State.SERVING)
            entry = await self._context.settlements.settle(entry, amount=CHARGED, cost_usd=Decimal(0))
        except (*_REFUSALS, ClaimRefusedError, StoreUnavailableError) as error:
            log.warning("upto not tried", extra={"token": terms.token.id, "reason": str(error)})
            return False
        if entry.state is State.SETTLED and entry.settled_amount == CHARGED:
            return True
        log.error("upto failed its trial", extra={"token": terms.token.id, "state": entry.state, "reason": entry.note})
        return False

    def _terms(self, offer: Offer, settler: bytes) -> PaymentTerms:
        token = self._context.definitions.tokens[offer.token]
        requirements = Requirements(
            scheme=offer.scheme,
            network=token.network,
            amount=str(SIGNED),
            asset=token.address,
            pay_to=evm.checksummed(self._payee),
            max_timeout_seconds=self._context.definitions.quotes.max_timeout_seconds,
            extra={
                "name": token.name,
                "version": token.version,
                "assetTransferMethod": offer.method,
                "facilitatorAddress": evm.checksummed(settler),
            },
        )
        return PaymentTerms.read(requirements, offer, token, self._context.definitions.network(token), rate=Decimal(0))

    def _signed(self, payer: TrialPayer, terms: PaymentTerms) -> Authorization:
        contracts, now = self._context.definitions.contracts, int(self._context.clock())
        unsigned = Authorization(
            payer=payer.address,
            payee=terms.payee,
            amount=terms.amount,
            nonce=secrets.randbits(256),
            valid_after=0,
            deadline=now + self._context.definitions.quotes.max_timeout_seconds,
            signature=b"",
            token=evm.address(terms.token.address),
            spender=evm.address(contracts.upto_proxy),
            facilitator=terms.facilitator,
        )
        return msgspec.structs.replace(
            unsigned, signature=eip712.sign(authorization.digest(unsigned, terms, contracts), payer.key)
        )
