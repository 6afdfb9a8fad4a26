"""Random payments, faults, departures and restarts, and the books audited at the end.

The seed is printed. ``MONEY_SEED`` replays one, ``MONEY_INTERLEAVINGS`` sets the number of requests.
"""

import asyncio
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from gateway.billing.journal import UNFINISHED, Entry
from tests.money.audit import audit
from tests.money.interleaving import VENDORS, draw
from tests.money.market import Market
from tests.money.paid_gateway import environment, read_journal
from tools.chain.deployment import OPG, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource
from tools.simulators.fleet import Fleet

WALLETS = 8


async def ended(journal: Path, seconds: float = 60.0) -> list[Entry]:
    async with asyncio.timeout(seconds):
        while True:
            entries = await asyncio.to_thread(read_journal, journal)
            if not any(entry.state in UNFINISHED for entry in entries):
                return entries
            await asyncio.sleep(0.1)


def calls_by_step(fleet: Fleet) -> Counter[int]:
    """How often the vendors were asked, by the number in the prompt."""
    return Counter(
        int(number)
        for name in VENDORS.values()
        for received in fleet.simulators[name].requests
        for number in re.findall(rb"step (\d+)\.", received.body)
    )


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
async def test_the_books_agree(chain: LocalChain, prices: PriceSource, tmp_path: Path, count: int) -> None:
    seed = int(os.environ.get("MONEY_SEED") or random.SystemRandom().randrange(2**32))
    count = int(os.environ.get("MONEY_INTERLEAVINGS") or count)
    print(f"MONEY_SEED={seed} MONEY_INTERLEAVINGS={count}")
    payee, journal = Wallet().address, tmp_path / "journal.sqlite3"
    wallets = [await chain.wallet(usdc=10**10, opg=10**24, approve=True) for _ in range(WALLETS)]
    async with (
        Fleet(keep=4 * count, serve_retired=True) as fleet,
        LocalFacilitator(chain.rpc_url, confirmation_timeout=1.0) as facilitator,
    ):
        told = environment(fleet, chain, facilitator, prices, payee, journal)
        listen = {"API_SERVER_HOST": "127.0.0.1", "API_SERVER_PORT": "0", "GATEWAY_WORKERS": "1"}
        market = Market(chain, facilitator, wallets, {**os.environ, **told, **listen, "GATEWAY_DRAIN_SECONDS": "5"})
        async with market.open():
            await market.run(draw(seed, count, WALLETS))
            entries = await ended(journal)
        transfers = [transfer for token in (USDC, OPG) for transfer in await chain.transfers(token, payee=payee)]
        audit(market.outcomes, entries, transfers, calls_by_step(fleet))
    states = Counter(entry.state.value for entry in entries)
    print(f"{len(market.outcomes)} requests, {len(transfers)} transfers, journal {dict(states)}")
