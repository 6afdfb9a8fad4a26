"""`python -m tools.chain`: a chain and a facilitator on free ports of 127.0.0.1 until SIGTERM or Ctrl-C.

It prints one JSON object with all that a gateway, a payer and a test need to know.
"""

import argparse
import asyncio
import json
import os
import signal

from tools.chain.deployment import CHAIN_ID, PAYEE, PAYER, PERMIT2, TEE_REGISTRY, TOKENS
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.command_line import exit_with


def description(chain: LocalChain, facilitator: LocalFacilitator) -> dict[str, object]:
    return {
        "chain_id": CHAIN_ID,
        "rpc_url": chain.rpc_url,
        "facilitator_url": facilitator.url,
        "facilitator": facilitator.address,
        "payee": PAYEE.address,
        "payer": PAYER.address,
        "payer_key": PAYER.key,
        "tokens": {token.symbol: token.address for token in TOKENS},
        "tee_registry": TEE_REGISTRY,
        "permit2": PERMIT2,
    }


async def run(*, approve_permit2: bool) -> None:
    stop = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    async with (
        LocalChain() as chain,
        LocalFacilitator(chain.rpc_url) as facilitator,
    ):
        if approve_permit2:
            for token in TOKENS:
                await chain.approve_permit2(Wallet(PAYER.key), token)
        print(json.dumps(description(chain, facilitator), indent=2), flush=True)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.chain", description=__doc__)
    parser.add_argument(
        "--approve-permit2",
        action="store_true",
        help="let the demo payer approve Permit2 first, so that it can pay over Permit2 without an EIP-2612 permit",
    )
    arguments = parser.parse_args()
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"  # all requests are local
    asyncio.run(run(approve_permit2=arguments.approve_permit2))


if __name__ == "__main__":
    exit_with(main)
