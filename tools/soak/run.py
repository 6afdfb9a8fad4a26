"""Run one soak test."""

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
from tools.soak.testbed import Testbed, outages, start_testbed
from tools.verify.signing_key import load_signing_key

CLIENTS = 40


@dataclass
class Outcome:
    """``problems`` is empty if all invariants held."""

    seed: int
    problems: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    faults: Counter[str] = field(default_factory=Counter)
    payments: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)


async def soak(seconds: float, seed: int, catalog: Catalog, signer: Signer | None = None) -> Outcome:
    """Load the gateway for ``seconds`` with behaviours and faults drawn from ``seed``, and check the invariants."""
    sockets = invariants.open_sockets()
    outcome, recorder = Outcome(seed), Recorder()
    recorder.open()
    try:
        async with start_testbed(Random(seed), catalog, signer) as testbed:
            budget = testbed.services.bodies._left
            await _load(testbed, seconds, outcome)
            outcome.problems += await invariants.check_idle(testbed, budget)
            outcome.problems += invariants.reconcile(testbed, recorder, outcome.findings)
            outcome.faults = sum((proxy.injected for proxy in testbed.proxies.values()), Counter())
            outcome.payments = testbed.payments.ends
    finally:
        recorder.close()
    if not outcome.findings.verified:
        outcome.problems.append("no answer was verified")
    await asyncio.sleep(0.1)
    outcome.problems += invariants.after_shutdown(sockets)
    outcome.problems += invariants.memory_growth(outcome.memory)
    outcome.ends = recorder.ends
    return outcome


async def _load(testbed: Testbed, seconds: float, outcome: Outcome) -> None:
    key = load_signing_key(testbed.services.signer.public_pem.encode())
    until = asyncio.get_running_loop().time() + seconds
    background = [
        asyncio.create_task(outages(testbed, Random(outcome.seed + 1))),
        asyncio.create_task(_sample(outcome.memory, seconds / 40)),
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                client = Client(testbed.url, key, Random(f"{outcome.seed}/{number}"), outcome.findings)
                group.create_task(client.run(until))
    finally:
        for task in background:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*background)


async def _sample(samples: list[int], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        gc.collect()
        samples.append(invariants.resident())
