"""``python -m tools.demo.balances RPC_URL``: what the demo's payer and payee hold on the local chain."""

import argparse
import asyncio
import sys
from decimal import Decimal

import aiohttp

from tools.chain.deployment import PAYEE, PAYER, TOKENS
from tools.chain.local_chain import LocalChain
from tools.chain.rpc_error import RpcError
from tools.command_line import exit_with


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.demo.balances", description=__doc__)
    parser.add_argument("rpc_url", metavar="RPC_URL", help="RPC URL of the demo's chain, as printed by the demo")
    url = parser.parse_args().rpc_url
    try:
        return asyncio.run(show(url))
    except (aiohttp.ClientError, TimeoutError, RpcError) as error:
        sys.stderr.write(
            f"balances: no answer from the chain at {url} ({type(error).__name__}): is the demo running?\n"
        )
        return 3


async def show(rpc_url: str) -> int:
    """Print one line per wallet."""
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
    exit_with(main)
