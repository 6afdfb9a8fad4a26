"""One soak from start to verdict."""

import asyncio
import gc
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from gateway.catalog import Catalog
from gateway.signing import Signer
from tools.soak import invariants
from tools.soak.clients import Client, Findings
from tools.soak.recorder import Recorder
from tools.soak.stage import Stage, outages, staged
from tools.verify.signing_key import load_signing_key

CLIENTS = 40


@dataclass
class Outcome:
    """``problems`` is empty when all invariants held."""

    seed: int
    problems: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    faults: Counter[str] = field(default_factory=Counter)
    payments: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)


async def soak(seconds: float, seed: int, catalog: Catalog, signer: Signer | None = None) -> Outcome:
    """Load the gateway for so long, with everything drawn from ``seed``, and look whether all is well afterwards."""
    sockets = invariants.open_sockets()
    outcome, recorder = Outcome(seed), Recorder()
    recorder.open()
    try:
        async with staged(Random(seed), catalog, signer) as stage:
            budget = stage.services.bodies._left
            await _load(stage, seconds, outcome)
            outcome.problems += await invariants.at_rest(stage, budget)
            outcome.problems += invariants.accounts(stage, recorder, outcome.findings)
            outcome.faults = sum((link.met for link in stage.links.values()), Counter())
            outcome.payments = stage.till.ends
    finally:
        recorder.close()
    await asyncio.sleep(0.1)
    outcome.problems += invariants.after_shutdown(sockets)
    outcome.problems += invariants.memory(outcome.memory)
    outcome.ends = recorder.ends
    return outcome


async def _load(stage: Stage, seconds: float, outcome: Outcome) -> None:
    key = load_signing_key(stage.services.signer.public_pem.encode())
    until = asyncio.get_running_loop().time() + seconds
    around = [
        asyncio.create_task(outages(stage, Random(outcome.seed + 1))),
        asyncio.create_task(_sample(outcome.memory, seconds / 40)),
    ]
    clients = [
        Client(stage.url, key, Random(f"{outcome.seed}/{number}"), outcome.findings) for number in range(CLIENTS)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(until))
    finally:
        for task in around:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*around)


async def _sample(samples: list[int], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        gc.collect()
        samples.append(invariants.resident())
