"""What an RPC endpoint may answer: figures of 256 bits, events that are events; all else is no answer."""

import json
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from gateway.billing.definitions import bundled
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Block, Chain, Funds, Transfer
from gateway.billing.evm.rpc import ChainUnavailableError
from gateway.billing.journal import Entry
from tests.billing.chain_node import (
    ASSET,
    BLOCK,
    ELSEWHERE,
    ENTRY,
    EVENT,
    HASH,
    NONCE,
    PAYMENT,
    SENT,
    SIGNED,
    TOKEN,
    TOPICS,
    Node,
)
from tests.billing.entries import PAYER, entry
from tests.upstreams.scripted_server import ScriptedServer, http
from tools.fuzz.stub_peers import Reply, session

CONTRACTS = bundled().contracts
PERMIT = entry(key=bytes(8) + evm.address(CONTRACTS.permit2) + PAYER + NONCE, asset=ASSET, payment=PAYMENT)
PERMITTED = evm.words((evm.address(TOKEN.address), PERMIT.cap, NONCE, PERMIT.deadline)).hex()
WORD = "0" * 64
USED = Block(100, 1000)


def chain(*results: Any) -> Chain:
    return answering(json.dumps([{"id": number, "result": result} for number, result in enumerate(results)]).encode())


def answering(body: bytes) -> Chain:
    return Chain(session(Reply(200, [body])), "https://rpc.example", bundled())


@pytest.mark.parametrize(
    "word", ["0xzz", "0x_1", "0x 1", "1", "0x1" + "0" * 64, "0x0data", "-0x1", "0x\u0661", None, 7, ["0x1"], {}]
)
async def test_what_is_no_number(word: Any) -> None:
    calls: tuple[Coroutine[Any, Any, Any], ...] = (
        chain(word).serves(bundled().network(TOKEN)),
        chain(word, "0x1").funds(TOKEN, PAYER),
        chain("0x1", word).funds(TOKEN, PAYER),
        chain({"number": "0x1", "timestamp": word}).time(),
        Node(eth_call=word).chain().nonce_used(ENTRY),
        Node(eth_getBlockByNumber={"number": word, "timestamp": "0x1"}).chain().nonce_used(ENTRY),
        chain(word, []).find_transfer(ENTRY, USED),
    )
    for call in calls:
        with pytest.raises(ChainUnavailableError):
            await call


@pytest.mark.parametrize(("word", "number"), [("0x", 0), ("0x0", 0), ("0x0A", 10), ("0x" + "f" * 64, 2**256 - 1)])
async def test_numbers(word: str, number: int) -> None:
    assert await chain(word, word).funds(TOKEN, PAYER) == Funds(number, number)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[" * 5000,
        b'[{"id": 0, "result": "\xff"}]',
        b'[{"id": 0, "result": ' + b"[" * 5000,
        b'[{"id": [], "result": "0x1"}]',
        b'[{"id": 0}]',
        b'{"id": 0, "result": "0x1"}',
        b"[0]",
        b'[{"id": 0, "result": "0x1"}]' + b" " * (16 << 20),
    ],
    ids=lambda body: f"{body[:32]!r} {len(body)}",
)
async def test_what_is_no_batch_of_results(body: bytes) -> None:
    with pytest.raises(ChainUnavailableError):
        await answering(body).has_code(PAYER)


async def test_results_may_come_in_any_order() -> None:
    body = b'[{"id": 1, "result": "0x2"}, {"id": 0, "result": "0x1"}]'
    assert await answering(body).funds(TOKEN, PAYER) == Funds(1, 2)


REVERTED = {"code": 3, "message": "execution reverted", "data": "0x"}
RATE_LIMITED = {"code": -32005, "message": "rate limit exceeded"}


@pytest.mark.parametrize("error", [REVERTED, {"code": -32000, "message": "invalid opcode: INVALID"}])
async def test_a_token_that_knows_no_permits_says_so(error: Any) -> None:
    assert (
        await answering(json.dumps([{"id": 0, "error": error}, {"id": 1, "result": WORD}]).encode()).supports_permits(
            TOKEN
        )
        is False
    )


@pytest.mark.parametrize("error", [RATE_LIMITED, {"code": -32603, "message": "internal error"}, None, "x"])
async def test_a_node_that_is_busy_says_nothing_of_a_tokens_permits(error: Any) -> None:
    """Else permits would no longer be asked for, and whoever has given no allowance could not pay."""
    with pytest.raises(ChainUnavailableError):
        await answering(json.dumps([{"id": number, "error": error} for number in (0, 1)]).encode()).supports_permits(
            TOKEN
        )


@pytest.mark.parametrize(
    "odd",
    [
        *(None, 7, "x", [], {}, {"topics": 0}, {**EVENT, "topics": None}, {**EVENT, "topics": [0]}),
        {**EVENT, "address": ELSEWHERE},
        *({**EVENT, "topics": [*TOPICS[:place], TOPICS[place - 1], *TOPICS[place + 1 :]]} for place in range(3)),
    ],
)
async def test_what_is_no_event_of_the_payment_is_passed_over(odd: Any) -> None:
    found = await chain({"status": "0x1", "logs": [odd, EVENT]}, SENT).transfer(ENTRY, HASH)
    assert found == Transfer(HASH, 10)
    assert await chain({"status": "0x1", "logs": [odd]}, SENT).transfer(ENTRY, HASH) is None


@pytest.mark.parametrize("logs", [None, 7, "0x", {}])
async def test_logs_that_are_no_list_hold_no_transfer(logs: Any) -> None:
    assert await chain({"status": "0x1", "logs": logs}, SENT).transfer(ENTRY, HASH) is None


@pytest.mark.parametrize("status", ["0x0", None, 1])
async def test_a_transaction_that_failed_paid_nothing(status: Any) -> None:
    assert await chain({"status": status, "logs": [EVENT]}, SENT).transfer(ENTRY, HASH) is None


@pytest.mark.parametrize("data", [None, 7, "", "latest", "0x1" + "0" * 64])
async def test_a_transfer_of_no_amount_is_no_answer(data: Any) -> None:
    with pytest.raises(ChainUnavailableError):
        await chain({"status": "0x1", "logs": [{**EVENT, "data": data}]}, SENT).transfer(ENTRY, HASH)


@pytest.mark.parametrize(
    ("paid", "to", "data", "found"),
    [
        (ENTRY, TOKEN.address, SIGNED, True),
        (ENTRY, TOKEN.address, WORD + SIGNED, False),
        (ENTRY, TOKEN.address, NONCE.hex(), False),
        (ENTRY, ELSEWHERE, "77" * 9 + SIGNED, True),
        (PERMIT, CONTRACTS.upto_proxy, PERMITTED, True),
        (PERMIT, CONTRACTS.upto_proxy.lower(), PERMITTED.upper(), True),
        (PERMIT, CONTRACTS.exact_proxy, 5 * WORD + PERMITTED, True),
        (PERMIT, CONTRACTS.exact_proxy, 9 * WORD + PERMITTED, False),
        (PERMIT, CONTRACTS.upto_proxy, 2 * WORD + NONCE.hex(), False),
        (PERMIT, ELSEWHERE, "77" * 9 + PERMITTED, True),
        (PERMIT, ELSEWHERE, NONCE.hex(), False),
        (PERMIT, None, PERMITTED, True),
    ],
)
async def test_a_transfer_counts_where_what_was_signed_is_in_its_call(
    paid: Entry, to: str | None, data: str, found: bool
) -> None:
    """In its place, where one of the contracts of x402 is called; anywhere and whole, where another hands it on."""
    sent = {"to": to, "input": f"0x12345678{data}"}
    transfer = await chain({"status": "0x1", "logs": [EVENT]}, sent).transfer(paid, HASH)
    assert (transfer is not None) is found


@pytest.mark.parametrize(
    ("now", "ranges"),
    [
        (ENTRY.deadline - 4200, [(4_999_700, 5_000_000)]),
        (
            ENTRY.deadline + 6 * 86_400,
            [(4_738_400, 4_738_600), *((first, first + 499) for first in range(4_738_601, 4_741_000, 500))],
        ),
    ],
    ids=["just signed", "six days after its deadline"],
)
async def test_a_payment_is_looked_for_where_it_was_good(now: int, ranges: list[tuple[int, int]]) -> None:
    """In steps, the latest first: nodes list 10,000 transfers and search 1,000 blocks at most."""
    searched: list[tuple[int, int]] = []

    class SearchedNode(Node):
        def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
            if method == "eth_getLogs":
                searched.append((int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)))
            return super()._answer(method=method, params=params, **more)

    node = SearchedNode(eth_blockNumber=hex(5_000_000), eth_getLogs=[])
    assert await node.chain().find_transfer(ENTRY, Block(5_000_000, now)) is None
    assert searched == ranges[::-1]


async def test_a_permits_nonce_is_one_bit_of_a_word() -> None:
    bit = 1 << 0xB3
    permit = msgspec.structs.replace(PERMIT, key=PERMIT.key[:-1] + b"\xb3")
    node = Node(eth_call=f"0x{bit:064x}")
    assert await node.chain().nonce_used(permit) == USED
    assert node.asked["eth_call"][0]["data"].endswith("00" + "33" * 31)
    assert await Node(eth_call=f"0x{2**256 - 1 - bit:064x}").chain().nonce_used(permit) is None


async def test_a_connection_that_the_endpoint_closes_costs_no_answer() -> None:
    """Many close one that has been idle for as long as aiohttp keeps it, 15 s."""
    answer = http(200, json.dumps([{"id": 0, "result": BLOCK}]).encode())
    async with ScriptedServer([answer, None, answer, None]) as server, ClientSession() as connected:
        node = Chain(connected, server.url, bundled())
        assert await node.time() == await node.time() == int(BLOCK["timestamp"], 16)
        with pytest.raises(ChainUnavailableError):
            await node.time()
    assert (len(server.requests), server.connections) == (5, 3)
