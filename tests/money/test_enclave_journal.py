"""An enclave's journal: in its memory, and sealed on its host once the operator has injected a key for it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from gateway import deferred_payments
from gateway.catalog import Catalog
from gateway.signing import Signer
from tests.enclave import enclave
from tests.money.conftest import Define
from tests.money.paid_gateway import CHAT_PATH, chat, decode_header, sign
from tests.nitriding_double import NitridingDouble
from tests.waiting import until_answer
from tools.chain.deployment import USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import Drop
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.deployment import gateway_process
from tools.demo.price_source import PriceSource
from tools.journal_sink.__main__ import PORT
from tools.simulators.fleet import Fleet

JOURNAL_KEY = "5a" * 32
LOST_WITH_IT = "no journal_key was injected: unsettled payments are lost when this enclave stops"


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch, define: Define) -> None:
    monkeypatch.setattr("gateway.listeners.HOST_LINK_PEER", "127.0.0.1")
    monkeypatch.setattr(deferred_payments, "_RETRY_SECONDS", 0.1)


@dataclass
class Host:
    """What stays when an enclave goes. ``sink`` is where its enclaves look for the journal."""

    folder: Path
    sink: str

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """The host's side of the journal runs, as nitro/run-enclave.sh starts it."""
        port = self.sink.rstrip("/").rpartition(":")[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tools.journal_sink", "--folder", str(self.folder / "journal"), "--port", port),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                assert (await process.stdout.readline()).decode().strip() == self.sink
            yield
        finally:
            process.terminate()
            await process.wait()

    def kept(self) -> bytes:
        return b"".join(file.read_bytes() for file in sorted((self.folder / "journal").glob("*")))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    assert f"http://192.168.127.254:{PORT}/" == deferred_payments.HOST_SINK, (
        "what is measured, and what the launcher runs"
    )
    host = Host(tmp_path, f"http://127.0.0.1:{unused_port()}/")
    monkeypatch.setattr(deferred_payments, "HOST_SINK", host.sink)
    return host


@dataclass
class Node:
    """Launches enclaves of one operator, one after the other."""

    folder: Path
    signer: Signer
    catalog: Catalog
    environment: dict[str, str]
    facts: dict[str, Any]
    launched: int = 0

    @asynccontextmanager
    async def launch(self, **changes: str | None) -> AsyncIterator["Live"]:
        """With keys, and a memory of its own; ``changes`` are to what is injected. Ends without settling anything."""
        self.launched += 1
        memory = self.folder / f"memory-{self.launched}"
        memory.mkdir()
        told = {**self.environment, "GATEWAY_JOURNAL": str(memory / "journal.sqlite3"), "GATEWAY_DRAIN_SECONDS": "0"}
        async with AsyncExitStack() as stack:
            daemon = await stack.enter_async_context(NitridingDouble(memory))
            inside = await stack.enter_async_context(
                enclave(daemon, self.signer, self.catalog, environment=told, payments=True)
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())
            facts = {name: value for name, value in {**self.facts, **changes}.items() if value is not None}
            async with session.post(inside.host_url + "/v1/keys", json=facts) as injected:
                assert injected.status == 200, await injected.text()
            yield Live(inside.proxied_url, inside.host_url, session)


@dataclass
class Live:
    """An enclave that serves, as its clients see it."""

    url: str
    host_url: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> dict[str, Any]:
        async with self.session.get(self.url + path) as response:
            body: dict[str, Any] = await response.json()
            return body

    async def reasons(self) -> list[str]:
        reasons: list[str] = (await self.get("/health/ready"))["reasons"]
        return reasons

    async def until_ready(self) -> None:
        await until_answer(self.reasons, lambda reasons: not reasons)

    async def post(self, signature: str | None = None) -> tuple[int, dict[str, Any], str]:
        headers = {} if signature is None else {"PAYMENT-SIGNATURE": signature}
        async with self.session.post(self.url + CHAT_PATH, json=chat(), headers=headers) as response:
            return response.status, await response.json(), response.headers.get("PAYMENT-REQUIRED", "")

    async def signed(self, wallet: Wallet) -> str:
        status, _, required = await self.post()
        assert status == 402
        return await sign(wallet, decode_header(required))


@pytest.fixture
def node(
    fleet: Fleet,
    chain: LocalChain,
    facilitator: LocalFacilitator,
    prices: PriceSource,
    signer: Signer,
    catalog: Catalog,
    tmp_path: Path,
) -> Node:
    vendors = {name: value for name, value in fleet.environment().items() if name.endswith("_BASE_URL")}
    facts = {
        "openai_api_key": "sk-injected",
        "evm_payment_address": Wallet().address,
        "facilitator_url": facilitator.url,
        "evm_rpc_url": chain.rpc_url,
        "journal_key": JOURNAL_KEY,
    }
    return Node(tmp_path, signer, catalog, {**vendors, "GATEWAY_PRICE_URL": prices.url}, facts)


async def test_the_next_enclave_is_paid_for_what_the_last_one_served(
    node: Node, host: Host, chain: LocalChain, facilitator: LocalFacilitator
) -> None:
    wallet, payee = await chain.wallet(usdc=10**6, approve=True), node.facts["evm_payment_address"]
    async with host.keeping():
        async with node.launch() as first:
            await first.until_ready()
            signature = await first.signed(wallet)
            facilitator.faults.set("settle", Drop())
            status, answer, _ = await first.post(signature)
            assert (status, answer["payment"]["status"]) == (200, "pending")
            assert "warning" not in await first.get("/health")
        assert await chain.balance(USDC, payee) == 0
        assert wallet.address[2:].lower().encode() not in host.kept().lower()
        facilitator.faults.clear()
        async with node.launch() as second:
            await second.until_ready()
            assert (await second.post(signature))[0] in (402, 409), "never served again"
            await until_answer(lambda: chain.balance(USDC, payee))
    [transfer] = await chain.transfers(USDC, payee=payee)
    assert str(transfer.amount) == answer["payment"]["amount"]


async def test_no_payment_is_taken_before_the_journal_has_been_read(node: Node, host: Host, chain: LocalChain) -> None:
    async with node.launch() as live:
        assert await live.reasons() == [
            "the journal cannot be restored: the journal sink cannot be reached: ClientConnectorError"
        ]
        status, answer, _ = await live.post()
        assert (status, answer["error"]["code"]) == (503, "payments_unavailable")
        async with host.keeping():
            await live.until_ready()
            signature = await live.signed(await chain.wallet(usdc=10**6, approve=True))
            status, answer, _ = await live.post(signature)
            assert (status, answer["payment"]["status"]) == (200, "settled")
        assert len(host.kept()) > 1000


async def test_several_workers_wait_for_the_journal_and_none_is_lost(node: Node, host: Host) -> None:
    facts = {**node.facts, "facilitator_url": "http://127.0.0.1:9"}
    listen = {"API_SERVER_HOST": "127.0.0.1", "API_SERVER_PORT": "0", "GATEWAY_WORKERS": "2"}
    told = {"GATEWAY_JOURNAL": str(host.folder / "memory.sqlite3"), "GATEWAY_JOURNAL_SINK": host.sink}
    environment = {**os.environ, **listen, **told}
    async with gateway_process(environment, module="tests.money.quick_gateway") as (url, process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        workers = await asyncio.to_thread(children.read_text)

        async def reasons() -> set[str]:
            """Of both, which take connections in turn."""
            told = []
            for _ in range(4):
                async with aiohttp.ClientSession() as session, session.get(url + "/health/ready") as ready:
                    told += (await ready.json())["reasons"]
            return {reason.split(":")[0] for reason in told}

        async with aiohttp.ClientSession() as session, session.post(url + "/v1/keys", json=facts) as injected:
            assert injected.status == 200
        assert await reasons() == {"the journal cannot be restored"}
        async with host.keeping():
            await until_answer(reasons, lambda told: told == {"the facilitator is not usable"})
        assert await asyncio.to_thread(children.read_text) == workers


async def test_an_enclave_that_ends_while_it_waits_for_its_journal(node: Node, host: Host) -> None:
    async with node.launch() as live:
        assert "the journal cannot be restored" in (await live.reasons())[0]


async def test_a_sink_that_fails_later_is_counted(node: Node, host: Host, chain: LocalChain) -> None:
    async with node.launch() as live:
        async with host.keeping():
            await live.until_ready()
        signature = await live.signed(await chain.wallet(usdc=10**6, approve=True))
        status, answer, _ = await live.post(signature)
        assert (status, answer["payment"]["status"]) == (200, "settled")
        async with live.session.get(live.host_url + "/metrics") as metrics:
            unkept = [
                line for line in (await metrics.text()).splitlines() if "_unkept_total" in line and line[0] != "#"
            ]
    assert unkept == ["gateway_journal_entries_unkept_total 3.0"], "serving, settling, settled"
    assert host.kept() == b""


async def test_without_a_key_the_journal_is_in_memory_and_that_is_said(
    node: Node, host: Host, chain: LocalChain, caplog: pytest.LogCaptureFixture
) -> None:
    async with host.keeping(), node.launch(journal_key=None) as live:
        await live.until_ready()
        assert (await live.get("/health"))["warning"] == LOST_WITH_IT
        assert LOST_WITH_IT in caplog.text
        status, answer, _ = await live.post(await live.signed(await chain.wallet(usdc=10**6, approve=True)))
        assert (status, answer["payment"]["status"]) == (200, "settled")
    assert host.kept() == b""


async def test_a_sink_that_the_environment_names_needs_a_key(node: Node, host: Host) -> None:
    node.environment["GATEWAY_JOURNAL_SINK"] = host.sink
    async with host.keeping(), node.launch(journal_key=None) as live:
        assert await live.reasons() == ["no journal_key was injected for GATEWAY_JOURNAL_SINK"]
