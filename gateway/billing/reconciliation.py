"""Reconciles what a facilitator reports with the chain (facts/x402.md 4 rows 6, 20, 25).

Without an RPC endpoint for the network the report is taken as it is, with one exception: a refusal after an unknown
outcome proves nothing, because settling a paid authorization again is refused as well (facts 3.4).
"""

import asyncio
import logging

from gateway.billing.definitions import Definitions, Token
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import LATEST, Chain
from gateway.billing.evm.rpc import ChainUnavailableError
from gateway.billing.journal import Entry, State
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.terms import asset_id

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_RETRY_SECONDS = 0.5
"""The attempts span the two seconds in which Base makes a block."""

NONCE_SPENT = "nonce_spent_elsewhere"
CONTRACT_REFUSED = "contract_account_refused"


class Reconciler:
    """Checks settlement outcomes. ``chain`` is None without an RPC endpoint."""

    def __init__(self, chain: Chain | None, definitions: Definitions) -> None:
        self._chain = chain
        self._definitions = definitions

    async def check(self, entry: Entry, outcome: Outcome, *, first: bool) -> Outcome:
        """The outcome after checking the facilitator's response; ``first`` if no earlier outcome was unknown."""
        unconfirmed = (
            Unknown(f"refused after an unknown outcome: {outcome.reason}", outcome.transaction)
            if isinstance(outcome, Refused)
            else outcome
        )
        try:
            chain = await self._chain_for(entry)
            if chain is None:
                return outcome if first else unconfirmed
            if isinstance(outcome, Settled):
                return await self._confirm(chain, entry, outcome)
            if isinstance(outcome, Refused):
                return await self._check_refusal(chain, entry, outcome, first=first)
        except ChainUnavailableError as error:
            log.warning("settlement not checked on the chain", extra={"payment": entry.id, "reason": str(error)})
            return outcome if first else unconfirmed
        return outcome

    async def look_up(self, entry: Entry) -> Outcome | None:
        """The outcome according to the chain alone; None while it is open or the chain cannot be read."""
        try:
            chain = await self._chain_for(entry)
            return None if chain is None else await self._look_up(chain, entry)
        except ChainUnavailableError:
            return None

    async def _chain_for(self, entry: Entry) -> Chain | None:
        """None without an endpoint for the entry's network, which may be one that only an earlier version supported."""
        network = self._definitions.networks.get(entry.network)
        if self._chain is None or network is None:
            return None
        return self._chain if await self._chain.serves(network) else None

    async def _confirm(self, chain: Chain, entry: Entry, claimed: Settled) -> Outcome:
        """Look for the reported transfer; the endpoint may be a block behind the facilitator's."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_RETRY_SECONDS)
            if (transfer := await chain.transfer(entry, claimed.transaction)) is not None:
                return Settled(transfer.transaction, transfer.amount)
        return await self._look_up(chain, entry) or Unknown("the chain does not show it", claimed.transaction)

    async def _check_refusal(self, chain: Chain, entry: Entry, refused: Refused, *, first: bool) -> Outcome:
        """Look for a transfer in spite of the refusal.

        A transaction that is named but not mined yet can still succeed: facilitators report it as failed once their own
        wait for it times out. A refusal that names none may be due to the payment itself, which the facilitator sent
        before, and which the endpoint does not show while it is behind the facilitator's. After an unknown outcome such
        a refusal counts once the payment has been PENDING since an earlier one.
        """
        block = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_RETRY_SECONDS)
            block = await chain.block_of(refused.transaction)
            try:
                found = await self._look_up(chain, entry, block or LATEST)
            except ChainUnavailableError:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            if found is not None:
                return found
            if block not in {None, LATEST}:
                break
        if block is None or (block == LATEST and not first and entry.state is not State.PENDING):
            return Unknown(f"{refused.reason}, but it may still be mined", refused.transaction)
        return await self._explain(chain, entry, refused, block)

    async def _explain(self, chain: Chain, entry: Entry, refused: Refused, block: str) -> Refused:
        """The refusal with its cause: facilitators report all that a payer withdraws as a failed transaction.

        ``block`` is that of the transaction: the payer may have restored its funds since.
        """
        token = next((token for token in self._definitions.tokens.values() if asset_id(token) == entry.asset), None)
        if token is None:
            return refused
        try:
            cause = await self._payers_fault(chain, entry, token, refused, block)
        except ChainUnavailableError as error:
            log.warning("refusal not explained", extra={"payment": entry.id, "reason": str(error)})
            return refused
        return refused if cause is None else Refused(cause, refused.reason, refused.transaction)

    async def _payers_fault(self, chain: Chain, entry: Entry, token: Token, refused: Refused, block: str) -> str | None:
        """The reason code of what the payer has withdrawn as of ``block``, if anything.

        Nothing from the deadline on, when the payment fails by itself and the payer's funds are free again.
        """
        if await chain.time(block) >= entry.deadline:
            return None
        funds, due = await chain.funds(token, entry.payer, block), entry.amount or 0
        if funds.balance < due:
            return "insufficient_funds"
        permit2 = entry.nonce_contract == evm.address(self._definitions.contracts.permit2)
        if permit2 and funds.allowance < due and not await chain.can_permit(entry, token, block):
            return "permit2_allowance_required"
        report = f"{refused.reason} {refused.message}"
        if block == LATEST and "signature" not in report and "revert" not in report:
            return None
        return CONTRACT_REFUSED if entry.by_contract or await chain.has_code(entry.payer, block) else None

    async def _look_up(self, chain: Chain, entry: Entry, since: str = LATEST) -> Outcome | None:
        if (used := await chain.nonce_used(entry, since)) is None:
            return None
        found = await chain.transfer(entry, entry.transaction) or await chain.find_transfer(entry, used)
        return (
            Refused(NONCE_SPENT, "used or cancelled by its payer")
            if found is None
            else Settled(found.transaction, found.amount, found.matches)
        )
