"""A facilitator's word held against the chain (facts/x402.md 4 rows 6, 20, 25).

Without an RPC endpoint for the network the word stands alone, with one exception: a refusal after an outcome that
was unknown proves nothing, because a second settlement of a paid authorization is refused as well (facts 3.4).
"""

import asyncio
import logging

from gateway.billing.definitions import Definitions
from gateway.billing.evm.chain import Chain, ChainUnavailableError
from gateway.billing.journal import Entry
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.terms import asset_id

log = logging.getLogger(__name__)

_LOOKS = 4
_BETWEEN_LOOKS = 0.5

NONCE_SPENT = "nonce_spent_elsewhere"


class Reconciler:
    """Judges outcomes; ``chain`` is None without an RPC endpoint."""

    def __init__(self, chain: Chain | None, definitions: Definitions) -> None:
        self._chain = chain
        self._definitions = definitions

    async def judge(self, entry: Entry, outcome: Outcome, *, first: bool) -> Outcome:
        """What to make of a facilitator's answer; ``first`` when nothing was unknown before it."""
        doubtful = (
            Unknown(f"refused after an unknown outcome: {outcome.reason}") if isinstance(outcome, Refused) else outcome
        )
        try:
            chain = await self._for(entry)
            if chain is None:
                return outcome if first else doubtful
            if isinstance(outcome, Settled):
                return await self._prove(chain, entry, outcome)
            if isinstance(outcome, Refused):
                return await self._check_refusal(chain, entry, outcome)
        except ChainUnavailableError as error:
            log.warning("settlement not checked on the chain", extra={"payment": entry.id, "reason": str(error)})
            return outcome if first else doubtful
        return outcome

    async def look(self, entry: Entry) -> Outcome | None:
        """What the chain alone says; None while the payment can still be settled or nothing is known."""
        try:
            chain = await self._for(entry)
            return None if chain is None else await self._look(chain, entry)
        except ChainUnavailableError:
            return None

    async def _for(self, entry: Entry) -> Chain | None:
        """None too for a network that this version does not know: the journal may be an earlier one's."""
        network = self._definitions.networks.get(entry.asset.partition("/")[0])
        if self._chain is None or network is None:
            return None
        return self._chain if await self._chain.serves(network) else None

    async def _prove(self, chain: Chain, entry: Entry, claimed: Settled) -> Outcome:
        """The transfer itself; the endpoint may be a block behind the facilitator's."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_BETWEEN_LOOKS)
            if (transfer := await chain.transfer(entry, claimed.transaction)) is not None:
                return Settled(transfer.transaction, transfer.amount)
        return await self._look(chain, entry) or Unknown("the chain does not show it", claimed.transaction)

    async def _check_refusal(self, chain: Chain, entry: Entry, refused: Refused) -> Outcome:
        """A refused transaction may have paid after all. One that is named and in no block yet still can: a facilitator
        that has waited long enough for it calls it failed."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_BETWEEN_LOOKS)
            unmined = await chain.is_unmined(refused.transaction)
            if (seen := await self._look(chain, entry)) is not None:
                return seen
            if not unmined:
                return await self._explain(chain, entry, refused)
        return Unknown(f"{refused.reason}, but it may still be mined", refused.transaction)

    async def _explain(self, chain: Chain, entry: Entry, refused: Refused) -> Refused:
        """A refusal by its cause: facilitators call a payer without money a failed transaction."""
        token = next((token for token in self._definitions.tokens.values() if asset_id(token) == entry.asset), None)
        if token is None:
            return refused
        funds = await chain.funds(token, entry.payer)
        if funds.balance < (entry.amount or 0):
            return Refused("insufficient_funds", refused.reason, refused.transaction)
        return refused

    async def _look(self, chain: Chain, entry: Entry) -> Outcome | None:
        if (used := await chain.nonce_used(entry)) is None:
            return None
        found = await chain.transfer(entry, entry.transaction) or await chain.find(entry, used)
        return (
            Refused(NONCE_SPENT, "used or cancelled by its payer")
            if found is None
            else Settled(found.transaction, found.amount, found.matches)
        )
