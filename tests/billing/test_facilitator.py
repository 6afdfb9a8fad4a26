"""The facilitator's answers, one by one, from a scripted server (facts/x402.md 1.5, 2.3)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import closing, suppress
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gateway.billing.facilitator import Facilitator, FacilitatorUnavailableError, connection_pool
from gateway.billing.outcome import Refused, Settled, Unknown
from gateway.billing.x402 import ForwardedPayment
from gateway.http_client.pool import ConnectionPool
from tests.billing.harness import quick

NETWORK = "eip155:8453"
PAYMENT = ForwardedPayment(
    x402_version=2, payload=msgspec.Raw(b'{"p":1}'), accepted=msgspec.Raw(b'{"network":"eip155:8453","amount":"9"}')
)
SUCCESS = {"success": True, "transaction": "0xab", "network": "eip155:8453", "payer": "0x1", "amount": "7"}
SENT = {"transaction": "0xcd", "network": "eip155:8453"}
FAILED = {"success": False, "errorReason": "transaction_failed"}
NONCE_TOO_LOW = "Nonce provided for the transaction is lower than the current nonce of the account."
NOT_ACCEPTED = f'Missing parameters.\nURL: {"u" * 300}\nRequest body: {{"method":"eth_sendRawTransaction"'
"""viem's words; those of the node come last, and x402 cuts them off."""


class Double:
    """Answers by path, all with ``headers``; the last answer of a path is repeated."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []

    def answer(self, path: str, *answers: tuple[int, Any]) -> None:
        self.answers[path] = list(answers)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.path, request.headers.copy(), body))
        answers = self.answers[request.path]
        status, answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, bytes):
            return web.Response(status=status, body=answer, headers=self.headers)
        return web.json_response(answer, status=status, headers=self.headers)


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
async def server(double: Double) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", double.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def pool(server: str) -> AsyncIterator[ConnectionPool]:
    opened = connection_pool(server + "/")
    yield opened
    await opened.close()


@pytest.fixture
def facilitator(pool: ConnectionPool) -> Facilitator:
    return Facilitator(pool, quick())


@pytest.mark.parametrize(
    ("status", "answer", "outcome"),
    [
        (200, SUCCESS, Settled("0xab", 7)),
        (200, {"success": True, "transaction": "0xab", "network": "eip155:8453"}, Settled("0xab", None)),
        (200, SUCCESS | {"network": "eip155:84532"}, Unknown("settle returned the network eip155:84532", "0xab")),
        (200, SUCCESS | {"amount": "9" * 5000}, Settled("0xab", None)),
        (200, SUCCESS | {"transaction": ""}, Unknown("settle returned no transaction")),
        (200, SUCCESS | {"transaction": None}, Unknown("settle returned no transaction")),
        (200, SUCCESS | {"amount": "\u0667"}, Settled("0xab", None)),
        (500, SUCCESS, Unknown("settle returned 500")),
        (200, {"success": False, "errorReason": "transaction_failed"}, Refused("transaction_failed")),
        (
            200,
            {"success": False, "errorReason": "r" * 9000, "errorMessage": "m" * 9000, "transaction": "t" * 9000},
            Refused("r" * 300, "m" * 300, "t" * 300),
        ),
        (200, SUCCESS | {"transaction": "t" * 9000}, Settled("t" * 300, 7)),
        (
            402,
            {"success": False, "errorReason": "a", "errorMessage": "b", "transaction": "0xcd"},
            Refused("a", "b", "0xcd"),
        ),
        (
            200,
            {"success": False, "errorReason": "settlement_pending", "transaction": "0xcd"},
            Unknown("settlement_pending", "0xcd"),
        ),
        (200, {"success": False, "errorReason": "unexpected_settle_error"}, Unknown("unexpected_settle_error")),
        (
            200,
            FAILED | SENT | {"errorMessage": "settlement_pending, but failed to persist for retry: disk full"},
            Unknown("transaction_failed", "0xcd"),
        ),
        (
            200,
            {
                "success": False,
                "errorReason": 'transaction_failed: Timed out while waiting for transaction with hash "0xcd" to be',
                "transaction": "",
            },
            Unknown('transaction_failed: Timed out while waiting for transaction with hash "0xcd" to be'),
        ),
        (
            200,
            FAILED | {"errorMessage": "Transaction HexBytes('0xcd') is not in the chain after 120 seconds"},
            Unknown("transaction_failed"),
        ),
        (
            200,
            FAILED | {"errorMessage": "execution reverted: is not in the chain after"},
            Refused("transaction_failed", "execution reverted: is not in the chain after"),
        ),
        (200, FAILED | {"errorMessage": NONCE_TOO_LOW}, Unknown("transaction_failed")),
        (200, FAILED | {"errorMessage": NOT_ACCEPTED}, Unknown("transaction_failed")),
        (200, FAILED | {"errorMessage": "failed to send transaction: nonce too low"}, Unknown("transaction_failed")),
        (200, FAILED | {"errorMessage": "replacement transaction underpriced"}, Unknown("transaction_failed")),
        (
            200,
            FAILED | {"errorMessage": "reverted: nonce too low"},
            Refused("transaction_failed", "reverted: nonce too low"),
        ),
        (
            200,
            {
                "success": False,
                "errorReason": "settle_exact_node_failure",
                "errorMessage": "no receipt",
                "payer": "0x1",
            },
            Unknown("settle_exact_node_failure"),
        ),
        (
            200,
            {"success": False, "errorReason": "settle_exact_evm_transaction_confirmation_timed_out", **SENT},
            Unknown("settle_exact_evm_transaction_confirmation_timed_out", "0xcd"),
        ),
        (
            200,
            {"success": False, "errorReason": "invalid_upto_evm_failed_to_get_receipt", **SENT},
            Unknown("invalid_upto_evm_failed_to_get_receipt", "0xcd"),
        ),
        (400, {"success": False, "errorReason": "unknown_error"}, Unknown("unknown_error")),
        (
            500,
            {"success": False, "errorReason": "unexpected_error", "errorMessage": "code 3: execution reverted: ERC20"},
            Refused("unexpected_error", "code 3: execution reverted: ERC20"),
        ),
        (500, {"success": False, "errorReason": "unexpected_error", "network": ""}, Unknown("unexpected_error")),
        (503, {"success": False, "errorReason": "rpc_down", **SENT}, Unknown("rpc_down", "0xcd")),
        (429, {"success": False, "errorReason": "slow_down"}, Unknown("slow_down")),
        (200, {"success": False, "errorReason": "rate_limited", "transaction": ""}, Unknown("rate_limited")),
        (200, SUCCESS | {"network": "base"}, Settled("0xab", 7)),
        (200, SUCCESS | {"network": "base-sepolia"}, Unknown("settle returned the network base-sepolia", "0xab")),
        (200, SUCCESS | {"network": ""}, Settled("0xab", 7)),
        (200, {"success": True, "transaction": "0xab", "payer": ""}, Settled("0xab", None)),
        (201, SUCCESS, Settled("0xab", 7)),
        (202, SUCCESS, Unknown("settle returned 202")),
        (400, {"error": "missing"}, Unknown("settle returned 400")),
        (401, {}, Unknown("settle returned 401")),
        (429, {"error": "slow down"}, Unknown("settle returned 429")),
        (500, {"error": "boom"}, Unknown("settle returned 500")),
        (200, b"", Unknown("settle returned 200")),
        (200, b"\xff\xfe", Unknown("settle returned 200")),
        (200, b'{"success": false, "errorReason": "\xff"}', Unknown("settle returned 200")),
        (200, b"[" * 5000, Unknown("settle returned 200")),
        (200, b'{"success": true, "x": ' + b"[" * 5000, Unknown("settle returned 200")),
        (200, {"success": "yes"}, Unknown("settle returned 200")),
        (400, {"success": False, "errorReason": "r", "transaction": None, "network": None}, Refused("r")),
        (202, {"settlementJob": None}, Unknown("settle returned 202")),
        (301, {}, Unknown("settle returned 301")),
        (200, b"x" * (1 << 21), Unknown("a response larger than 1048576 bytes")),
    ],
)
async def test_settlements_are_settled_refused_or_unknown(
    facilitator: Facilitator, double: Double, status: int, answer: Any, outcome: object
) -> None:
    double.answer("/settle", (status, answer))
    assert await facilitator.settle(PAYMENT, 7, {}) == outcome
    assert double.requests[0][2] == {
        "x402Version": 2,
        "paymentPayload": {
            "x402Version": 2,
            "payload": {"p": 1},
            "accepted": {"network": NETWORK, "amount": "9"},
        },
        "paymentRequirements": {"network": NETWORK, "amount": "7"},
    }


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        ({"status": "succeeded", "result": SUCCESS}, Settled("0xab", 7)),
        ({"status": "succeeded", "result": {"success": False, "errorReason": "r"}}, Refused("r")),
        (
            {"status": "succeeded", "result": {**SUCCESS, "network": "eip155:1"}},
            Unknown("settle returned the network eip155:1", "0xab"),
        ),
        ({"status": "failed"}, Unknown("the settlement job failed without a result")),
        ({"status": "failed", "result": {"success": False, "errorReason": "r"}}, Refused("r")),
    ],
)
async def test_jobs_are_polled_to_their_result(
    facilitator: Facilitator, double: Double, wrap: bool, end: dict[str, Any], outcome: object
) -> None:
    def job(**fields: Any) -> Any:
        made = {"jobId": "payment-1", "queue": "q", **fields}
        return {"paymentJob": made} if wrap else made

    double.answer("/settle", (202, {"paymentJob": {"jobId": "payment-1", "status": "queued"}}))
    double.answer("/settle/payment-1", (200, job(status="queued")), (200, job(status="processing")), (200, job(**end)))
    assert await facilitator.settle(PAYMENT, 7, {"total_tokens": 3}) == outcome
    assert "usageMetadata" not in double.requests[0][2]
    await facilitator.settle(PAYMENT, 7, {"total_tokens": 3})
    sent = [body for path, _, body in double.requests if path == "/settle"]
    assert sent[1]["usageMetadata"] == {"total_tokens": 3}


async def test_a_job_that_is_retried_is_asked_for_once(facilitator: Facilitator, double: Double) -> None:
    """Retries take turns: while a few waited for their jobs, the others would not hear that theirs have ended."""
    double.answer("/settle/payment-1", (200, {"jobId": "payment-1", "status": "queued"}))
    assert await facilitator.poll_job("payment-1", NETWORK) == Unknown("the settlement is queued", job="payment-1")
    assert len(double.requests) == 1


@pytest.mark.parametrize(
    ("answers", "valid", "calls"),
    [
        ([(200, {"isValid": True, "payer": "0x1"})], True, 1),
        ([(200, {"isValid": False, "invalidReason": "r"})], False, 1),
        ([(201, {"isValid": True, "payer": ""})], True, 1),
        ([(400, {"isValid": False, "invalidReason": "r"})], False, 1),
        ([(500, {"error": "x"}), (200, {"isValid": True})], True, 2),
        ([(500, {"isValid": True}), (200, {"isValid": True})], True, 2),
        ([(500, {"isValid": False, "invalidReason": "unexpected_error"}), (200, {"isValid": True})], True, 2),
        ([(500, {"isValid": False, "invalidReason": "unexpected_error", "payer": ""})], None, 2),
        ([(429, {"isValid": False, "invalidReason": "rate_limited"}), (200, {"isValid": True})], True, 2),
        ([(412, {"isValid": False, "invalidReason": "insufficient_allowance"})], False, 1),
        ([(500, {"error": "x"})], None, 2),
        ([(200, {"isValid": 1})], None, 2),
        ([(200, b'{"isValid": true, "payer": "\xff"}')], None, 2),
        ([(200, b'{"isValid": true, "x": ' + b"[" * 5000)], None, 2),
        ([(302, {})], None, 2),
    ],
)
async def test_verdicts(
    facilitator: Facilitator, double: Double, answers: list[tuple[int, Any]], valid: bool | None, calls: int
) -> None:
    double.answer("/verify", *answers)
    if valid is None:
        with pytest.raises(FacilitatorUnavailableError):
            await facilitator.verify(PAYMENT)
    else:
        assert (await facilitator.verify(PAYMENT)).is_valid is valid
    assert len(double.requests) == calls


@pytest.mark.parametrize("status", [200, 429, 503])
async def test_a_settlement_that_must_wait_says_how_long(facilitator: Facilitator, double: Double, status: int) -> None:
    double.headers = {"Retry-After": "40"}
    double.answer("/settle", (status, {"error": "slow down"}))
    double.answer("/settle/job", (status, {"error": "slow down"}))
    assert await facilitator.settle(PAYMENT, 7, {}) == Unknown(f"settle returned {status}", retry_after=40.0)
    said = await facilitator.poll_job("job", NETWORK)
    assert said == Unknown(f"/settle/{{job}} returned {status}", job="job", retry_after=40.0)
    double.answer("/settle", (200, SUCCESS))
    assert await facilitator.settle(PAYMENT, 7, {}) == Settled("0xab", 7)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "calls", "told"),
    [({"Retry-After": "3600"}, 1, 3600.0), ({"Retry-After": "0"}, 2, 0.0), ({"retry-after-ms": "300"}, 2, 0.3)],
)
async def test_a_facilitator_that_wants_to_be_left_alone_is(
    facilitator: Facilitator, double: Double, status: int, headers: dict[str, str], calls: int, told: float
) -> None:
    double.headers = headers
    double.answer("/verify", (status, {"error": "slow down"}))
    began = asyncio.get_running_loop().time()
    with pytest.raises(FacilitatorUnavailableError) as unavailable:
        await facilitator.verify(PAYMENT)
    assert (len(double.requests), unavailable.value.retry_after) == (calls, told)
    assert calls == 1 or asyncio.get_running_loop().time() - began >= told


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b'{"kinds": [], "extensions": ["\xff"]}', b"[" * 5000, b'{"kinds": [], "x": ' + b"[" * 5000]
)
async def test_an_answer_that_is_no_list_of_kinds_supports_nothing(
    facilitator: Facilitator, double: Double, answer: bytes
) -> None:
    double.answer("/supported", (200, answer))
    with pytest.raises(FacilitatorUnavailableError):
        await facilitator.supported()


@pytest.mark.parametrize("location", ["https://www.fac.example/supported", "/" + "x" * 9000])
async def test_a_redirect_is_not_followed_but_says_where_it_leads_to(
    facilitator: Facilitator, double: Double, location: str
) -> None:
    double.headers = {"Location": location}
    double.answer("/supported", (308, {}))
    with pytest.raises(FacilitatorUnavailableError) as unavailable:
        await facilitator.supported()
    assert str(unavailable.value) == f"/supported returned 308, a redirect to {location[:300]}"
    assert len(double.requests) == 1


@pytest.mark.parametrize("signers", [None, {"eip155:*": None}])
async def test_a_list_that_is_null_is_empty(facilitator: Facilitator, double: Double, signers: object) -> None:
    kinds = [{"x402Version": 2, "scheme": "exact", "network": "eip155:8453"}]
    double.answer("/supported", (200, {"kinds": kinds, "extensions": None, "signers": signers}))
    supported = await facilitator.supported()
    assert supported.kinds == {("exact", "eip155:8453")}
    assert supported.extensions == frozenset()


async def test_a_hosted_facilitator_gets_headers_for_every_call(pool: ConnectionPool, double: Double) -> None:
    async def headers(method: str, path: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {method} {path}"}

    double.answer("/settle", (200, SUCCESS))
    await Facilitator(pool, quick(), headers).settle(PAYMENT, 7, {})
    assert double.requests[0][1]["Authorization"] == "Bearer POST /settle"


async def test_a_facilitator_without_settlement_data_is_asked_once(facilitator: Facilitator, double: Double) -> None:
    double.answer("/settle_data", (500, {}), (404, {}))
    with pytest.raises(FacilitatorUnavailableError):
        await facilitator.settle_data({"input_hash": "0x"})
    for _ in range(3):
        await facilitator.settle_data({"input_hash": "0x"})
    assert len(double.requests) == 2


async def test_nobody_listening_is_unknown_or_unavailable() -> None:
    pool = connection_pool("http://127.0.0.1:9")
    nowhere = Facilitator(pool, quick())
    assert isinstance(await nowhere.settle(PAYMENT, 7, {}), Unknown)
    for call in (nowhere.supported(), nowhere.verify(PAYMENT)):
        with pytest.raises(FacilitatorUnavailableError):
            await call
    await pool.close()


async def test_a_job_is_asked_for_by_its_name_and_nothing_else(facilitator: Facilitator, double: Double) -> None:
    job = {"jobId": "a b?c#d/é", "status": "queued"}
    double.answer("/settle", (202, {"paymentJob": job}))
    double.answer("/settle/a b?c#d/é", (200, {**job, "status": "succeeded", "result": SUCCESS}))
    assert await facilitator.settle(PAYMENT, 7, {}) == Settled("0xab", 7)


async def test_credentials_in_the_url_are_sent(server: str, double: Double) -> None:
    double.answer("/settle", (200, SUCCESS))
    pool = connection_pool(server.replace("//", "//user:secret@"))
    await Facilitator(pool, quick()).settle(PAYMENT, 7, {})
    await pool.close()
    assert double.requests[0][1]["Authorization"] == "Basic dXNlcjpzZWNyZXQ="


async def test_an_answer_that_trickles_is_not_waited_for() -> None:
    hung_up = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError), closing(writer):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)
        hung_up.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server:
        pool = connection_pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        slow = Facilitator(pool, quick(facilitator={"settle_seconds": 0.2}))
        assert await slow.settle(PAYMENT, 7, {}) == Unknown("settle: no response within 0.2 s")
        assert pool.in_use == 0
        await pool.close()
        await asyncio.wait_for(hung_up.wait(), 10)
