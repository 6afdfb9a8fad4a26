"""Settlement jobs, settlement data and relayed heartbeats (facts/x402.md 2.3)."""

import asyncio
import base64
import json
import time
from typing import Any

import aiohttp
import pytest
from x402.http import FacilitatorConfig, HTTPFacilitatorClient

from gateway.keccak import keccak256
from tests.tools.chain.conftest import CAP
from tests.waiting import until_answer
from tools.chain.deployment import TEE_REGISTRY, USDC
from tools.chain.facilitator import LocalFacilitator
from tools.chain.faults import JobMode, OtherAmount
from tools.chain.local_chain import LocalChain
from tools.chain.payments import Payment
from tools.chain.registry import TEERecord, active_tees, register


class Client:
    """Submits settlements and polls their jobs."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def submit(self, body: Any) -> dict[str, Any]:
        async with self._http.post(f"{self._url}/settle", json=body) as response:
            assert response.status == 202
            job: dict[str, Any] = (await response.json())["paymentJob"]
            return job

    async def poll(self, job_id: str) -> tuple[int, dict[str, Any]]:
        async with self._http.get(f"{self._url}/settle/{job_id}") as response:
            answer = await response.json()
            return response.status, answer.get("paymentJob", answer)

    async def finished(self, job_id: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                status, job = await self.poll(job_id)
                assert status == 200
                if job["status"] in {"succeeded", "failed"}:
                    return job
                await asyncio.sleep(0.02)


@pytest.fixture
def client(facilitator: LocalFacilitator, http: aiohttp.ClientSession) -> Client:
    return Client(http, facilitator.url)


async def test_a_job_settles(
    chain: LocalChain, facilitator: LocalFacilitator, client: Client, payment: Payment, payee: str
) -> None:
    facilitator.jobs = JobMode()
    job = await client.submit(payment.body(amount=12) | {"usageMetadata": {"model": "gpt-5"}})
    assert job["jobId"].startswith("payment-")
    assert job["status"] == "queued"
    done = await client.finished(job["jobId"])
    assert (done["status"], done["result"]["success"], done["result"]["amount"]) == ("succeeded", True, "12")
    assert await chain.balance(USDC, payee) == 12
    assert facilitator.called("settle")[0].body["usageMetadata"] == {"model": "gpt-5"}


async def test_two_jobs_for_one_payment_both_succeed_and_one_result_fails(
    chain: LocalChain, facilitator: LocalFacilitator, client: Client, payment: Payment, payee: str
) -> None:
    facilitator.jobs = JobMode()
    jobs = [await client.submit(payment.body()) for _ in range(2)]
    done = [await client.finished(job["jobId"]) for job in jobs]
    assert [job["status"] for job in done] == ["succeeded", "succeeded"]
    assert [job["result"]["success"] for job in done] == [True, False]
    assert await chain.balance(USDC, payee) == CAP


async def test_a_job_may_lie_like_a_direct_answer(
    chain: LocalChain, facilitator: LocalFacilitator, client: Client, payment: Payment, payee: str
) -> None:
    facilitator.jobs = JobMode()
    facilitator.faults.set("settle", OtherAmount(7))
    done = await client.finished((await client.submit(payment.body(amount=12)))["jobId"])
    assert done["result"]["amount"] == "12"
    assert await chain.balance(USDC, payee) == 7


async def test_a_failed_job_settles_nothing(
    chain: LocalChain, facilitator: LocalFacilitator, client: Client, payment: Payment, payee: str
) -> None:
    facilitator.jobs = JobMode(outcome="failed")
    done = await client.finished((await client.submit(payment.body()))["jobId"])
    assert done["status"] == "failed"
    assert "result" not in done
    assert await chain.balance(USDC, payee) == 0


async def test_a_lost_job_has_settled(
    chain: LocalChain, facilitator: LocalFacilitator, client: Client, payment: Payment, payee: str
) -> None:
    facilitator.jobs = JobMode(outcome="lost")
    job = await client.submit(payment.body())
    await until_answer(lambda: client.poll(job["jobId"]), lambda answer: answer[0] == 404)
    assert await chain.balance(USDC, payee) == CAP


async def test_a_stalled_job_stays_in_progress(
    chain: LocalChain, facilitator: LocalFacilitator, client: Client, payment: Payment, payee: str
) -> None:
    facilitator.jobs = JobMode(seconds=0, outcome="stalled")
    job = await client.submit(payment.body())
    await asyncio.sleep(0.2)
    assert (await client.poll(job["jobId"]))[1]["status"] == "processing"
    assert await chain.balance(USDC, payee) == 0


async def test_the_stock_client_takes_a_job_for_an_error(facilitator: LocalFacilitator, payment: Payment) -> None:
    facilitator.jobs = JobMode()
    async with HTTPFacilitatorClient(FacilitatorConfig(url=facilitator.url)) as stock:
        with pytest.raises(ValueError, match=r"settle failed \(202\)"):
            await stock.settle(payment.payload, payment.requirements)


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("private", "", 202),
        ("batch", base64.b64encode(json.dumps({"tee_id": "0x00"}).encode()).decode(), 202),
        ("batch", "%%%", 400),
        ("batch", base64.b64encode(b"[]").decode(), 400),
        ("unknown", "", 400),
    ],
)
async def test_settlement_data(
    facilitator: LocalFacilitator, http: aiohttp.ClientSession, kind: str, data: str, status: int
) -> None:
    headers = {"X-SETTLEMENT-TYPE": kind, "X-SETTLEMENT-DATA": data}
    async with http.post(f"{facilitator.url}/settle_data", json={}, headers=headers) as response:
        assert response.status == status
        if status == 202:
            assert ((await response.json())["settlementJob"] is None) is (kind == "private")
    [call] = facilitator.called("settle_data")
    assert call.headers["x-settlement-data"] == data


async def test_registry_answers_as_clients_read_it(chain: LocalChain) -> None:
    operator = await chain.wallet()
    key = operator.address.encode()
    record = TEERecord("https://tee.example", key, b"\x30certificate", operator.address, pcr_hash=b"\x11" * 32)
    assert await register(chain, operator, record) == keccak256(key)
    [found] = [each for each in await active_tees(chain) if each[3] == key]
    assert len(found) == 11
    assert found[:8] == (
        operator.address.lower(),
        operator.address.lower(),
        "https://tee.example",
        key,
        b"\x30certificate",
        b"\x11" * 32,
        0,
        True,
    )
    assert abs(found[9] - time.time()) < 10
    assert found[10] == (0, 0, 0, 0, b"", b"", 0)


async def test_disabled_tees_are_not_active(chain: LocalChain) -> None:
    operator = await chain.wallet()
    record = TEERecord("https://tee.example", operator.address.encode(), b"", operator.address)
    await register(chain, operator, record)
    await chain.send(operator, "TEERegistry", TEE_REGISTRY, "setEnabled", record.tee_id, False)
    assert not [each for each in await active_tees(chain) if each[3] == record.public_key]


@pytest.mark.parametrize(("age", "success"), [(0, True), (3600, False), (-3600, False)])
async def test_heartbeats_reach_the_registry(
    chain: LocalChain, facilitator: LocalFacilitator, http: aiohttp.ClientSession, age: int, success: bool
) -> None:
    operator = await chain.wallet()
    record = TEERecord("https://tee.example", operator.address.encode(), b"", operator.address)
    await register(chain, operator, record)
    beat = {
        "teeId": f"0x{record.tee_id.hex()}",
        "timestamp": int(time.time()) - age,
        "signature": base64.b64encode(bytes(256)).decode(),
        "contractAddress": TEE_REGISTRY,
    }
    async with http.post(f"{facilitator.url}/heartbeat", json=beat) as response:
        assert response.status == (200 if success else 500)
        answer = await response.json()
    assert answer["success"] is success
    receipt = await chain.receipt(answer["txHash"])
    assert receipt is not None
    assert receipt["status"] == ("0x1" if success else "0x0")
    assert facilitator.called("heartbeat")[0].body == beat


async def test_heartbeat_without_its_fields(facilitator: LocalFacilitator, http: aiohttp.ClientSession) -> None:
    async with http.post(f"{facilitator.url}/heartbeat", json={"teeId": "0x00"}) as response:
        assert response.status == 400
        assert "timestamp" in (await response.json())["error"]
