"""The enclave image boots under QEMU, is attested, is given its keys and answers, paid and signed (facts/enclave.md 5).

Not nitriding but a stand-in speaks inside, and QEMU signs no attestation: what this proves and what not is in
docs/enclave-boot.md.
"""

import asyncio
import base64
import json
import logging
import re
import secrets
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import cbor2
import httpx
import pytest
import pytest_asyncio
from x402.http.clients.httpx import x402_httpx_transport

from gateway.billing.journal import State, decode_entry
from gateway.billing.storage.records import RecordCipher
from gateway.billing.storage.sink import FrameDecoder
from gateway.key_sealing import seal
from nitro.command import run
from tests.enclave_boot.machine import Machine, MachineError
from tests.enclave_boot.parent import Parent
from tests.enclave_boot.paths import EIF, FOLDER, PREPARE, missing
from tests.enclave_boot.variant import CHAIN_PORT, FACILITATOR_PORT, OPENAI_PORT, PRICE_PORT
from tests.event_streams import events
from tests.money.paid_gateway import CHAT_PATH, Json, chat
from tools.chain.deployment import OPG
from tools.chain.facilitator import LocalFacilitator
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.demo.price_source import PriceSource
from tools.inject.host_link import RejectedError, fetch_sealing_key, post_bundle
from tools.simulators.chat_completions.openai import OpenAI
from tools.simulators.simulator import Simulator
from tools.verify.claims import Verdict
from tools.verify.enclave import NITRIDING_NONCE_BYTES, fetch_document, fetch_signing_key
from tools.verify.response import verify_response
from tools.verify.signing_key import SigningKey, load_signing_key

BOOT_SECONDS = 400.0
CLOCK_SECONDS = 30
REQUEST_TIMEOUT = httpx.Timeout(120.0)
UNSIGNED = bytes.fromhex("a10120")
"""QEMU's protected header: an algorithm that COSE knows nothing of, where hardware says ES384."""
MULTIHASH = bytes.fromhex("1220")
PROMPT = "Hello from outside"
OPENAI_KEY = "sk-injected-into-the-enclave"
JOURNAL_KEY = "5a" * 32

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.enclave, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Booted:
    """A healthy enclave without keys, and the services around it on this machine."""

    machine: Machine
    chain: LocalChain
    facilitator: LocalFacilitator
    openai: Simulator
    payee: str
    journal: Path


@dataclass
class Serving:
    """A booted enclave with its keys, which ``sealed`` injected. ``pinned`` trusts only the attested certificate."""

    booted: Booted
    key: SigningKey
    sealed: str
    pinned: ssl.SSLContext

    async def pay(self, request: Json) -> httpx.Response:
        """The response to a request that a new wallet pays for in OPG, by usage."""
        wallet = await self.booted.chain.wallet(opg=10**20, approve=True)
        url = self.booted.machine.public_url + CHAT_PATH
        transport = x402_httpx_transport(wallet.x402_client(), httpx.AsyncHTTPTransport(verify=self.pinned))
        async with httpx.AsyncClient(transport=transport, timeout=REQUEST_TIMEOUT) as client:
            return await client.post(url, json=request)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def booted() -> AsyncIterator[Booted]:
    if lacking := missing():
        pytest.skip(f"not prepared, lacks {', '.join(lacking)}: {PREPARE}")
    folder = Path(tempfile.mkdtemp(prefix="enclave-"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        chain = stack.enter_context(LocalChain())
        facilitator = await stack.enter_async_context(LocalFacilitator(chain.rpc_url))
        prices = await stack.enter_async_context(PriceSource())
        openai = Simulator(OpenAI())
        await openai.start()
        stack.push_async_callback(openai.stop)
        behind = {
            OPENAI_PORT: openai.base_url,
            FACILITATOR_PORT: facilitator.url,
            CHAIN_PORT: chain.rpc_url,
            PRICE_PORT: prices.url,
        }
        parent = await stack.enter_async_context(
            Parent(folder / "vsock", {port: httpx.URL(url).port or 80 for port, url in behind.items()})
        )
        await stack.enter_async_context(keeping(folder / "journal"))
        machine = await stack.enter_async_context(Machine(folder, parent))
        stack.callback(lambda: shutil.copy(folder / "console.log", FOLDER / "console.log"))
        await until_healthy(machine)
        yield Booted(machine, chain, facilitator, openai, Wallet().address, folder / "journal")


@asynccontextmanager
async def keeping(folder: Path) -> AsyncIterator[None]:
    """The journal's sink, started as by nitro/run-enclave.sh, on the port that the image has."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.journal_sink", "--folder", str(folder)), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert (await process.stdout.readline()).startswith(b"http://127.0.0.1:8010/"), "port 8010 is taken"
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def until_healthy(machine: Machine) -> None:
    """Return once ``/health`` on the public side reports ``tee_enabled``."""
    begun = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        try:
            async with asyncio.timeout(BOOT_SECONDS):
                while not await is_attested(session, machine.public_url):
                    machine.check()
                    await asyncio.sleep(1)
        except (TimeoutError, MachineError) as error:
            pytest.fail(f"no health: {error!r}; the console's end: {machine.console[-3000:]}")
    log.info("public side after %.0f s", time.monotonic() - begun)


async def is_attested(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url + "/health", ssl=False) as answer:
            return answer.status == 200 and (await answer.json())["tee_enabled"] is True
    except (aiohttp.ClientError, TimeoutError):
        return False


@dataclass
class Unsigned:
    """QEMU's document: the NSM's fields without a signature."""

    nonce: bytes
    certificate: bytes | None
    header: bytes
    payload: dict[str, Any]
    signature: bytes


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def document(booted: Booted) -> Unsigned:
    """Request a new one through the public side."""
    nonce = secrets.token_bytes(NITRIDING_NONCE_BYTES)
    fetched = await asyncio.to_thread(fetch_document, booted.machine.public_url, nonce)
    header, _, payload, signature = cbor2.loads(base64.b64decode(fetched.body))
    return Unsigned(nonce, fetched.certificate, header, cbor2.loads(payload), signature)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def serving(booted: Booted, document: Unsigned) -> Serving:
    """The enclave with its keys, sealed and injected as by ``tools.inject`` after verification."""
    machine = booted.machine
    key = load_signing_key(await asyncio.to_thread(fetch_signing_key, machine.public_url))
    sealing_key = await asyncio.to_thread(fetch_sealing_key, machine.host_url, key)
    fields = {
        "openai_api_key": OPENAI_KEY,
        "facilitator_url": f"http://127.0.0.1:{FACILITATOR_PORT}",
        "evm_rpc_url": f"http://127.0.0.1:{CHAIN_PORT}",
        "evm_payment_address": booted.payee,
        "journal_key": JOURNAL_KEY,
    }
    sealed = seal(json.dumps(fields).encode(), key.tee_id, sealing_key)
    await asyncio.to_thread(post_bundle, machine.host_url, sealed, key)
    assert document.certificate is not None
    pinned = ssl.create_default_context(cadata=document.certificate)
    pinned.check_hostname = False
    return Serving(booted, key, sealed, pinned)


async def test_the_parent_had_its_heartbeat(booted: Booted) -> None:
    assert booted.machine.parent.alive.is_set()


async def test_the_registers_are_those_of_the_file(document: Unsigned) -> None:
    printed = await asyncio.to_thread(run, [sys.executable, "-m", "tools.eif", "pcrs", "--json", EIF])
    computed = json.loads(printed)["Measurements"]
    for index in range(3):
        register = document.payload["pcrs"][index]
        assert any(register)
        assert register.hex() == computed[f"PCR{index}"]
        log.info("PCR%d, NSM and tools.eif alike: %s", index, register.hex())


async def test_the_document_names_certificate_key_and_nonce(booted: Booted, document: Unsigned) -> None:
    key = load_signing_key(await asyncio.to_thread(fetch_signing_key, booted.machine.public_url))
    assert document.certificate is not None
    assert document.payload["nonce"] == document.nonce
    assert document.payload["user_data"] == (
        MULTIHASH + sha256(document.certificate).digest() + MULTIHASH + key.key_hash
    )


async def test_nobody_takes_an_unsigned_document(booted: Booted, document: Unsigned, tmp_path: Path) -> None:
    assert document.header == UNSIGNED
    assert not any(document.signature)
    measurements, env = tmp_path / "measurements.txt", tmp_path / ".env"
    measurements.write_bytes(run([sys.executable, "-m", "tools.eif", "pcrs", "--json", EIF]))
    env.write_text(f"OPENAI_API_KEY={OPENAI_KEY}\n")
    machine = booted.machine
    commands: tuple[list[str | Path], ...] = (
        ["tools.verify", "attestation", "--url", machine.public_url, "--measurements", measurements],
        [
            *("tools.inject", "--url", machine.host_url, "--attestation-url", machine.public_url),
            *("--measurements", measurements, "--env-file", env),
        ],
    )
    for command in commands:
        ended, said = await python(*command)
        assert ended == 1, said
        assert "protected header" in said
        log.info("%s: %s", command[0], said.strip().splitlines()[-1])


async def test_keys_come_over_the_host_link_and_once(serving: Serving) -> None:
    machine = serving.booted.machine
    for url, status in ((machine.public_url, 403), (machine.host_url, 409)):
        with pytest.raises(RejectedError, match=str(status)):
            await asyncio.to_thread(post_bundle, url, serving.sealed, serving.key)


async def test_the_clock_is_the_hypervisor_s(booted: Booted) -> None:
    """Read through the NSM: without it the uncertainty is infinite and paid routes stop."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{booted.machine.host_url}/metrics") as response,
    ):
        text = await response.text()
    found = re.findall(r"^gateway_clock_uncertainty_seconds\S* (\S+)$", text, re.MULTILINE)
    assert found
    assert all(0 < float(seconds) < CLOCK_SECONDS for seconds in found)
    log.info("clock known to %s s", " and ".join(found))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_paid_answer_is_signed(serving: Serving, stream: bool) -> None:
    booted, request = serving.booted, chat(PROMPT, stream=stream)
    before = await booted.chain.balance(OPG, booted.payee)
    begun = time.monotonic()
    response = await serving.pay(request)
    assert response.status_code == 200, response.text
    log.info("paid answer, %s, after %.1f s", "streamed" if stream else "whole", time.monotonic() - begun)
    claims = verify_response(serving.key, request, response.content)
    assert all(claim.verdict is Verdict.PASS for claim in claims)
    answer = events(response.content)[-1] if stream else response.json()
    assert answer["payment"]["status"] == "settled"
    assert await booted.chain.balance(OPG, booted.payee) - before == int(answer["payment"]["amount"]) > 0
    assert booted.openai.requests[-1].headers["authorization"] == f"Bearer {OPENAI_KEY}"
    assert abs(answer["tee_timestamp"] - time.time()) < CLOCK_SECONDS
    for claim in claims:
        log.info(claim.line())


async def test_the_journal_is_kept_on_the_host(serving: Serving) -> None:
    """From the enclave's TAP device through gvproxy to this machine's loopback, sealed with the injected key."""
    assert (await serving.pay(chat(PROMPT))).status_code == 200
    records = [
        record for file in sorted(serving.booted.journal.iterdir()) for record in FrameDecoder().feed(file.read_bytes())
    ]
    opened = [RecordCipher(bytes.fromhex(JOURNAL_KEY)).decrypt(record) for record in records]
    states = [decode_entry(plain).state for plain in opened if plain is not None]
    assert len(states) == len(records)
    assert states[-3:] == [State.SERVING, State.SETTLING, State.SETTLED]
    assert not any(PROMPT.encode() in plain for plain in opened if plain is not None)
    log.info("%d records of the journal on the host", len(records))


async def test_the_console_tells_no_secrets(serving: Serving) -> None:
    """The parent can read the console in debug mode; here it is a serial port."""
    response = await serving.pay(chat(PROMPT))
    console = serving.booted.machine.console
    assert response.status_code == 200
    assert '"path":"/v1/chat/completions"' in console
    assert [secret for secret in (OPENAI_KEY, JOURNAL_KEY, PROMPT) if secret in console] == []


async def python(*arguments: str | Path) -> tuple[int | None, str]:
    """Run a module of this repository; return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()
