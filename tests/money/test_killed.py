"""A gateway process that is killed between answer and settlement, and the next one on its journal (row 27)."""

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import aiohttp
import pytest

from gateway.billing.journal import State
from tests.event_streams import events
from tests.money.paid_gateway import CHAT_PATH, chat, decode_header, environment, read_journal, sign
from tests.waiting import until
from tools.chain.deployment import USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Drop, Slow
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.deployment import gateway_process
from tools.demo.price_source import PriceSource
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import Scenario


@pytest.fixture
def payee() -> str:
    return Wallet().address


@pytest.fixture
def variables(
    fleet: Fleet, chain: LocalChain, facilitator: LocalFacilitator, prices: PriceSource, payee: str, tmp_path: Path
) -> Mapping[str, str]:
    """One operator's environment, the journal with it."""
    told = environment(fleet, chain, facilitator, prices, payee, tmp_path / "journal.sqlite3")
    listen = {"API_SERVER_HOST": "127.0.0.1", "API_SERVER_PORT": "0", "GATEWAY_WORKERS": "1"}
    return {**os.environ, **told, **listen, "GATEWAY_DRAIN_SECONDS": "10"}


def running(variables: Mapping[str, str]) -> AbstractAsyncContextManager[tuple[str, asyncio.subprocess.Process]]:
    return gateway_process(variables)


async def post(url: str, signature: str | None = None, *, stream: bool = False) -> tuple[int, Mapping[str, str], bytes]:
    headers = {} if signature is None else {"PAYMENT-SIGNATURE": signature}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + CHAT_PATH, json=chat(stream=stream), headers=headers) as response,
    ):
        return response.status, response.headers, await response.read()


async def signed(url: str, wallet: Wallet) -> str:
    status, headers, _ = await post(url)
    assert status == 402
    return await sign(wallet, decode_header(headers["PAYMENT-REQUIRED"]))


async def until_ended(journal: Path, state: State) -> None:
    async with asyncio.timeout(40):
        while [entry.state for entry in await asyncio.to_thread(read_journal, journal)] != [state]:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("lost", ["before", "after"])
async def test_kill_between_answer_and_settlement(
    chain: LocalChain, facilitator: LocalFacilitator, variables: Mapping[str, str], payee: str, lost: str
) -> None:
    """Settled exactly once, whether or not the facilitator had done so when the gateway died."""
    wallet = await chain.wallet(usdc=10**6, approve=True)
    facilitator.faults.set("settle", *([Slow(2.0), Drop()] if lost == "before" else [Slow(2.0, "after")]))
    async with running(variables) as (url, process):
        signature = await signed(url, wallet)
        answering = asyncio.create_task(post(url, signature))
        async with asyncio.timeout(10):
            while not facilitator.called("settle") or (lost == "after" and not await chain.balance(USDC, payee)):
                await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await answering
    [entry] = read_journal(Path(variables["GATEWAY_JOURNAL"]))
    assert entry.state is State.SETTLING
    facilitator.faults.clear()
    async with running(variables) as (url, _):
        assert (await post(url, signature))[0] in (402, 409), "never served again"
        await until_ended(Path(variables["GATEWAY_JOURNAL"]), State.SETTLED)
    [transfer] = await chain.transfers(USDC, payee=payee)
    assert transfer.amount == entry.amount


@pytest.mark.slow
async def test_another_worker_takes_over_from_one_that_is_killed(
    chain: LocalChain, facilitator: LocalFacilitator, variables: Mapping[str, str], payee: str
) -> None:
    """The gateway stays; what the lost worker was settling is found by the next sweep of another."""
    wallet = await chain.wallet(usdc=10**6, approve=True)
    facilitator.faults.set("settle", Slow(2.0), Drop())
    journal = Path(variables["GATEWAY_JOURNAL"])
    async with running({**variables, "GATEWAY_WORKERS": "2"}) as (url, process):
        signature = await signed(url, wallet)
        answering = asyncio.create_task(post(url, signature))
        await until(lambda: facilitator.called("settle"))
        os.kill(serving_worker(process.pid, url), signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await answering
        facilitator.faults.clear()
        await until_ended(journal, State.SETTLED)
        assert (await post(url, signature))[0] in (402, 409)
    [entry] = read_journal(journal)
    [transfer] = await chain.transfers(USDC, payee=payee)
    assert transfer.amount == entry.amount


def serving_worker(supervisor: int, url: str) -> int:
    """The child that holds an accepted connection to the gateway's port."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    table = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    accepted = {
        f"socket:[{fields[9]}]" for fields in map(str.split, table) if fields[1].endswith(port) and fields[3] == "01"
    }
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii").split()
    [holder] = [
        int(child)
        for child in children
        if accepted & {str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()}
    ]
    return holder


async def test_kill_while_answering_charges_nothing(
    fleet: Fleet, chain: LocalChain, facilitator: LocalFacilitator, variables: Mapping[str, str], payee: str
) -> None:
    """The answer was not complete and nobody knows what it used; its authorization is used up."""
    fleet.openai.enqueue(Scenario(text="word " * 400, event_delay=0.05))
    async with running(variables) as (url, process):
        signature = await signed(url, await chain.wallet(usdc=10**6, approve=True))
        answering = asyncio.create_task(post(url, signature, stream=True))
        await until(lambda: fleet.openai.requests)
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await answering
    async with running(variables) as (url, _):
        await until_ended(Path(variables["GATEWAY_JOURNAL"]), State.WAIVED)
        assert (await post(url, signature))[0] == 402
    assert facilitator.called("settle") == []
    assert await chain.balance(USDC, payee) == 0


async def test_an_end_in_peace_settles_what_is_under_way(
    chain: LocalChain, facilitator: LocalFacilitator, variables: Mapping[str, str], payee: str
) -> None:
    """SIGTERM drains: the pending settlement is brought to its end before the process exits."""
    facilitator.faults.set("settle", Drop("after"), times=1)
    async with running(variables) as (url, _):
        signature = await signed(url, await chain.wallet(usdc=10**6, approve=True))
        status, _, body = await post(url, signature, stream=True)
        assert status == 200
    payment = events(body)[-1]["payment"]
    assert await chain.balance(USDC, payee) == int(payment["amount"])
    [entry] = read_journal(Path(variables["GATEWAY_JOURNAL"]))
    assert entry.state is State.SETTLED
