"""Which tokens implement EIP-2612: those of the definitions, except where the chain shows otherwise."""

from gateway.billing.definitions import Definitions, Token
from gateway.billing.evm.chain import Chain


class PermitSupport:
    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._refuted: set[str] = set()

    def has(self, token: Token) -> bool:
        return token.eip2612 and token.id not in self._refuted

    async def refresh(self, chain: Chain) -> None:
        """Ask ``chain`` about the tokens of its network. Raises ChainUnavailableError."""
        for token in self._definitions.tokens.values():
            if not token.eip2612:
                continue
            if await chain.serves(self._definitions.network(token)) and not await chain.supports_permits(token):
                self._refuted.add(token.id)
            else:
                self._refuted.discard(token.id)
