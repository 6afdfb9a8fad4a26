"""Whether payers' funds can be read from the chain: without them no work begins (facts/x402.md 1.11)."""

import asyncio
import logging
import time

from gateway.billing.definitions import Definitions
from gateway.billing.evm.chain import Chain
from gateway.billing.evm.chain_clock import ChainClock
from gateway.billing.evm.permit_support import PermitSupport
from gateway.billing.evm.rpc import ChainUnavailableError

log = logging.getLogger(__name__)

_ANYBODY = bytes(20)


class ChainCheck:
    """Reads the block time into ``clock``, and which tokens implement EIP-2612 into ``permits``.

    ``run`` does, every ``interval`` seconds and once ``requested`` is set. ``reason`` is why payments are refused, None
    if they are not, or if ``chain`` is None.
    """

    def __init__(
        self, chain: Chain | None, clock: ChainClock, permits: PermitSupport, definitions: Definitions
    ) -> None:
        self._chain = chain
        self._clock = clock
        self._permits = permits
        self._definitions = definitions
        self._attempted_at = 0.0
        self.requested = asyncio.Event()
        self.reason: str | None = None

    def interval(self) -> float:
        """Seconds until the next check."""
        if self.reason is None:
            return self._definitions.facilitator.supported_refresh_seconds
        return self._definitions.settlement.retry_seconds

    async def run(self) -> None:
        if self._chain is None:
            return
        self._attempted_at = time.monotonic()
        reason: str | None = "payers' funds cannot be read from the chain"
        try:
            await self._read_funds(self._chain)
            reason = None
            self._clock.observe(await self._chain.time())
            await self._permits.refresh(self._chain)
        except ChainUnavailableError as error:
            log.warning("chain not readable", extra={"reason": str(error)})
        self.reason = reason

    def on_refusal(self, code: str | None) -> None:
        """Request a check if a payment was refused with a ``code`` that a chain which fails may explain."""
        retry_seconds = self._definitions.settlement.retry_seconds
        if code == "payments_unavailable" and time.monotonic() - self._attempted_at > retry_seconds:
            self.requested.set()

    async def _read_funds(self, chain: Chain) -> None:
        """Ask what each payment asks. Raises ChainUnavailableError."""
        tokens = self._definitions.tokens.values()
        served = [token for token in tokens if await chain.serves(self._definitions.network(token))]
        if not served:
            log.warning("the node is of a chain without offers: payers' funds go unchecked")
        for token in served:
            await chain.funds(token, _ANYBODY)
