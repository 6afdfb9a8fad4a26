"""``python -m tools.demo.balances RPC_URL``: what the demo's payer and payee hold on the local chain."""

import asyncio
import sys
from decimal import Decimal

from tools.chain.deployment import PAYEE, PAYER, TOKENS
from tools.chain.local_chain import LocalChain


def main() -> int:
    [rpc_url] = sys.argv[1:]
    return asyncio.run(show(rpc_url))


async def show(rpc_url: str) -> int:
    """One line per wallet."""
    chain = LocalChain()
    chain.rpc_url = rpc_url
    for name, wallet in (("payer", PAYER), ("payee", PAYEE)):
        held = [await chain.balance(token, wallet.address) for token in TOKENS]
        amounts = [
            f"{Decimal(amount).scaleb(-token.decimals):f} {token.symbol}"
            for token, amount in zip(TOKENS, held, strict=True)
        ]
        print(f"{name} {wallet.address} holds {', '.join(amounts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
