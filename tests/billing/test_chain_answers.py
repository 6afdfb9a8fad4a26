"""What an RPC endpoint may answer: figures of 256 bits, events that are events; all else is no answer."""

import json
from collections.abc import Coroutine
from typing import Any, cast

import aiohttp
import msgspec
import pytest

from gateway.billing.definitions import bundled
from gateway.billing.evm import values as evm
from gateway.billing.evm.chain import Block, Chain, Funds, Transfer
from gateway.billing.evm.rpc import ChainUnavailableError
from gateway.billing.journal import Entry
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.reconciliation import NONCE_SPENT, Reconciler
from tests.billing.entries import PAYER, entry
from tools.fuzz.stub_peers import Reply, session

TOKEN = bundled().tokens["usdc"]
NONCE = b"\x33" * 32
PAYEE = "0x" + "bb" * 20
ASSET = f"{TOKEN.network}/{TOKEN.address.lower()}"
ENTRY = entry(
    key=bytes(28) + PAYER + NONCE,
    asset=ASSET,
    requirements={"payTo": PAYEE},
    payment={"payload": {"authorization": {"validAfter": "0"}}},
    amount=10,
)
HASH = "0x" + "44" * 32
TOPICS = [
    "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
    "0x" + "00" * 12 + PAYER.hex(),
    "0x" + "00" * 12 + PAYEE[2:],
]
EVENT = {"address": TOKEN.address, "topics": TOPICS, "data": "0x" + "0" * 62 + "0a"}
SIGNED = evm.words((PAYER, evm.address(PAYEE), ENTRY.cap, 0, ENTRY.deadline, NONCE)).hex()
SENT = {"input": f"0xe3ee160e{SIGNED}", "to": TOKEN.address}
CONTRACTS = bundled().contracts
PERMIT = entry(
    key=bytes(8) + evm.address(CONTRACTS.permit2) + PAYER + NONCE, asset=ASSET, requirements={"payTo": PAYEE}
)
PERMITTED = evm.words((evm.address(TOKEN.address), PERMIT.cap, NONCE, PERMIT.deadline)).hex()
WORD = "0" * 64
ELSEWHERE = "0x" + "77" * 20
BLOCK = {"number": "0x64", "timestamp": "0x3e8"}
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
        chain(word, BLOCK).nonce_used(ENTRY),
        chain("0x1", {"number": word, "timestamp": "0x1"}).nonce_used(ENTRY),
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
    """Else permits were no longer asked for, and whoever has given no allowance could not pay."""
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


class Node:
    """An endpoint that answers by method, and knows what it was asked last by each."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"eth_chainId": "0x2105", "eth_call": f"0x{1:064x}", "eth_getBlockByNumber": BLOCK, **answers}
        self.asked: dict[str, list[Any]] = {}

    def chain(self) -> Chain:
        return Chain(cast("aiohttp.ClientSession", self), "https://rpc.example", bundled())

    def post(self, url: str, *, data: bytes, **options: Any) -> Any:
        answers = [{"id": call["id"], "result": self._answer(**call)} for call in json.loads(data)]
        return session(Reply(200, [json.dumps(answers).encode()])).post(url)

    def _answer(self, *, method: str, params: list[Any], **_: Any) -> Any:
        self.asked[method] = params
        return self.answers[method]


PAID = {
    "eth_getTransactionReceipt": {"status": "0x1", "blockNumber": "0x63", "logs": [EVENT]},
    "eth_getTransactionByHash": SENT,
}
LISTED = {"eth_getLogs": [{**EVENT, "transactionHash": HASH}]}
REFUSED = Refused("transaction_failed")


@pytest.mark.parametrize(
    ("node", "judged"),
    [
        (Node(eth_blockNumber="0x64", **LISTED, **PAID), Settled(HASH, 10, 1)),
        (Node(eth_blockNumber="0x64", eth_getLogs=[]), Refused(NONCE_SPENT, "used or cancelled by its payer")),
        (Node(eth_blockNumber="0x63", eth_getLogs=[]), REFUSED),
        (
            Node(eth_blockNumber="0x64", **LISTED, eth_getTransactionReceipt=None, eth_getTransactionByHash=SENT),
            REFUSED,
        ),
    ],
    ids=["paid", "spent elsewhere", "logs of a node behind", "receipts of a node behind"],
)
async def test_only_a_node_that_has_come_as_far_can_say_that_a_used_nonce_paid_somebody_else(
    node: Node, judged: Outcome
) -> None:
    """Behind one name there are several, and the payer would be held liable for what it has paid."""
    reconciler = Reconciler(node.chain(), bundled())
    assert await reconciler.check(ENTRY, REFUSED, first=True) == judged
    if judged is REFUSED:
        assert isinstance(await reconciler.check(ENTRY, REFUSED, first=False), Unknown)


WRAPPED = {**SENT, "to": ELSEWHERE}
TRAILING = {"to": TOKEN.address, "input": f"0x23b872dd{evm.words((PAYER, evm.address(PAYEE), 10, 0, 0)).hex()}{SIGNED}"}
TWICE = {"status": "0x1", "logs": [EVENT, {**EVENT, "data": "0x1f"}]}
ALIKE = {"status": "0x1", "logs": [EVENT, {**EVENT, "data": "0x1f"}, EVENT]}


@pytest.mark.parametrize(
    ("asked", "receipt", "sent", "found"),
    [
        (10, PAID["eth_getTransactionReceipt"], WRAPPED, Settled(HASH, 10, 1)),
        (999, PAID["eth_getTransactionReceipt"], WRAPPED, Refused(NONCE_SPENT, "used or cancelled by its payer")),
        (999, PAID["eth_getTransactionReceipt"], TRAILING, Refused(NONCE_SPENT, "used or cancelled by its payer")),
        (31, TWICE, WRAPPED, Settled(HASH, 31, 1)),
        (31, TWICE, SENT, Settled(HASH, 31, 1)),
        (10, ALIKE, WRAPPED, Settled(HASH, 10, 2)),
    ],
    ids=[
        "what was asked",
        "less, by a contract of the payer's",
        "less, by the token's transferFrom",
        "one of two",
        "the second",
        "two alike",
    ],
)
async def test_a_payer_cannot_pay_less_by_repeating_what_it_signed(
    asked: int, receipt: Any, sent: Any, found: Outcome
) -> None:
    """In a call of its own, behind what the call reads, with the nonce cancelled: that would free it of its debt."""
    node = Node(eth_blockNumber="0x64", **LISTED, eth_getTransactionReceipt=receipt, eth_getTransactionByHash=sent)
    owed = msgspec.structs.replace(ENTRY, amount=asked)
    assert await Reconciler(node.chain(), bundled()).check(owed, REFUSED, first=True) == found


async def test_a_facilitator_may_settle_through_a_contract_of_its_own() -> None:
    """What it settled instead of what it was asked for is for the books to show."""
    node = Node(**{**PAID, "eth_getTransactionByHash": WRAPPED})
    owed = msgspec.structs.replace(ENTRY, amount=999)
    assert await Reconciler(node.chain(), bundled()).check(owed, Settled(HASH, 999), first=True) == Settled(HASH, 10)


@pytest.mark.parametrize(
    ("now", "since", "until"),
    [(ENTRY.deadline - 4200, 4_999_700, "latest"), (ENTRY.deadline + 6 * 86_400, 4_738_400, hex(4_741_100))],
    ids=["just signed", "six days after its deadline"],
)
async def test_a_payment_is_looked_for_where_it_was_good(now: int, since: int, until: str) -> None:
    node = Node(eth_blockNumber=hex(5_000_000), eth_getLogs=[])
    assert await node.chain().find_transfer(ENTRY, Block(5_000_000, now)) is None
    [criteria] = node.asked["eth_getLogs"]
    assert (int(criteria["fromBlock"], 16), criteria["toBlock"]) == (since, until)


@pytest.mark.parametrize(("balance", "reason"), [(8, "insufficient_funds"), (10, "transaction_failed")])
async def test_a_payer_lacks_funds_who_has_not_what_was_asked(balance: int, reason: str) -> None:
    """Not who has less than it signed. The figure is even, so that the nonce is unused."""
    judged = await Reconciler(Node(eth_call=f"0x{balance:064x}").chain(), bundled()).check(ENTRY, REFUSED, first=True)
    assert isinstance(judged, Refused)
    assert judged.reason == reason


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("execution reverted: anything", "0xef01", "contract_account_refused"),
        ("execution reverted: anything", "0x", "transaction_failed"),
        ("out of gas money", "0xef01", "transaction_failed"),
    ],
)
async def test_a_contract_is_at_fault_for_a_call_that_was_never_sent_because_it_reverts(
    message: str, code: str, reason: str
) -> None:
    node = Node(eth_call=f"0x{10:064x}", eth_getCode=code)
    judged = await Reconciler(node.chain(), bundled()).check(ENTRY, Refused("transaction_failed", message), first=True)
    assert isinstance(judged, Refused)
    assert judged.reason == reason


@pytest.mark.parametrize("transaction", [HASH, ""])
@pytest.mark.parametrize(
    ("balance", "code", "reason"), [(8, "0x", "insufficient_funds"), (10, "0xef01", "contract_account_refused")]
)
@pytest.mark.parametrize("late", [False, True])
async def test_nobody_is_at_fault_for_what_was_sent_too_late(
    transaction: str, balance: int, code: str, reason: str, late: bool
) -> None:
    """After its deadline a payment reverts for every payer, and what it was to be paid with is free again."""
    mined = {"status": "0x0", "blockNumber": "0x63"}
    block = {"number": "0x63", "timestamp": hex(ENTRY.deadline if late else ENTRY.deadline - 1)}
    node = Node(
        eth_call=f"0x{balance:064x}",
        eth_getCode=code,
        eth_getTransactionReceipt=mined,
        eth_getBlockByNumber=block,
    )
    refused = Refused("transaction_failed", "execution reverted", transaction)
    judged = await Reconciler(node.chain(), bundled()).check(ENTRY, refused, first=True)
    assert isinstance(judged, Refused)
    assert judged.reason == ("transaction_failed" if late else reason)


async def test_a_refusal_stands_where_the_node_does_not_keep_the_block_s_state() -> None:
    """Also after an unknown outcome: the nonce is unused, and the transaction was mined."""
    mined = {"status": "0x0", "blockNumber": "0x64"}

    class PruningNode(Node):
        def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
            answer = super()._answer(method=method, params=params, **more)
            return None if params[-1:] == ["0x64"] else answer

    node = PruningNode(eth_call=UNUSED, eth_getTransactionReceipt=mined)
    refused = Refused("transaction_failed", transaction=HASH)
    assert await Reconciler(node.chain(), bundled()).check(ENTRY, refused, first=False) == refused


@pytest.mark.parametrize(
    ("used", "judged"),
    [
        (0, Unknown("the chain does not show it", HASH)),
        (1, Refused(NONCE_SPENT, "used or cancelled by its payer")),
    ],
)
async def test_a_settlement_that_the_chain_does_not_show(
    used: int, judged: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.billing.reconciliation._RETRY_SECONDS", 0.0)
    answers: dict[str, Any] = {
        "eth_getTransactionReceipt": None,
        "eth_getTransactionByHash": None,
        "eth_getLogs": [],
    }
    node = Node(eth_call=f"0x{used:064x}", eth_blockNumber="0x64", **answers)
    assert await Reconciler(node.chain(), bundled()).check(ENTRY, Settled(HASH, 10), first=True) == judged


UNUSED, USED_NONCE = f"0x{0:064x}", f"0x{1:064x}"


class LandingNode(Node):
    """Mines the transaction after a few looks for its receipt."""

    def __init__(self, looks: int) -> None:
        super().__init__(eth_call=UNUSED, eth_blockNumber="0x64", eth_getLogs=[], eth_getTransactionReceipt=None)
        self._looks = looks

    def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
        if method == "eth_getTransactionReceipt":
            self._looks -= 1
            if self._looks == 0:
                self.answers.update(PAID, eth_call=USED_NONCE, **LISTED)
        return super()._answer(method=method, params=params, **more)


@pytest.mark.parametrize(
    ("node", "transaction", "judged"),
    [
        (LandingNode(2), HASH, Settled(HASH, 10, 1)),
        (LandingNode(99), HASH, Unknown("transaction_failed, but it may still be mined", HASH)),
        (Node(eth_call=UNUSED, eth_getTransactionReceipt={"status": "0x0", "blockNumber": "0x64"}), HASH, None),
        (LandingNode(2), "", None),
        (LandingNode(2), "payment-1", None),
    ],
    ids=["is mined meanwhile", "is not mined yet", "was mined in vain", "is not named", "is named by a queue's job"],
)
async def test_a_refused_transaction_that_may_still_be_mined_is_not_refused(
    node: Node, transaction: str, judged: Outcome | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The payer would be charged for an answer that was withheld."""
    monkeypatch.setattr("gateway.billing.reconciliation._RETRY_SECONDS", 0.0)
    refused = Refused("transaction_failed", transaction=transaction)
    outcome = await Reconciler(node.chain(), bundled()).check(ENTRY, refused, first=True)
    assert outcome == judged if judged is not None else isinstance(outcome, Refused)


class NodeBehind(Node):
    """Shows the settlement only from the third look at the nonce on."""

    looks = 0

    def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
        self.looks += method == "eth_call"
        if self.looks == 3:
            self.answers.update(PAID, eth_call=USED_NONCE, **LISTED)
        return super()._answer(method=method, params=params, **more)


@pytest.mark.parametrize("reason", ["transaction_failed", "invalid_exact_evm_nonce_already_used"])
async def test_a_repeated_settlement_is_not_refused_before_the_node_can_show_the_first(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The facilitator's own node shows it already; the payer would be told that nothing was charged."""
    monkeypatch.setattr("gateway.billing.reconciliation._RETRY_SECONDS", 0.0)
    node = NodeBehind(eth_call=UNUSED, eth_blockNumber="0x64", eth_getLogs=[])
    outcome = await Reconciler(node.chain(), bundled()).check(ENTRY, Refused(reason), first=False)
    assert outcome == Settled(HASH, 10, 1)


async def test_an_endpoint_of_another_network_says_nothing() -> None:
    reconciler = Reconciler(Node(eth_chainId="0x1", eth_blockNumber="0x64", **LISTED, **PAID).chain(), bundled())
    assert await reconciler.check(ENTRY, Settled(HASH, 999), first=True) == Settled(HASH, 999)
    assert await reconciler.check(ENTRY, REFUSED, first=True) == REFUSED
    assert isinstance(await reconciler.check(ENTRY, REFUSED, first=False), Unknown)
    assert await reconciler.look_up(ENTRY) is None


async def test_results_may_come_in_any_order() -> None:
    body = b'[{"id": 1, "result": "0x2"}, {"id": 0, "result": "0x1"}]'
    assert await answering(body).funds(TOKEN, PAYER) == Funds(1, 2)


async def test_a_permits_nonce_is_one_bit_of_a_word() -> None:
    bit = 1 << 0xB3
    permit = msgspec.structs.replace(PERMIT, key=PERMIT.key[:-1] + b"\xb3")
    node = Node(eth_call=f"0x{bit:064x}")
    assert await node.chain().nonce_used(permit) == USED
    assert node.asked["eth_call"][0]["data"].endswith("00" + "33" * 31)
    assert await Node(eth_call=f"0x{2**256 - 1 - bit:064x}").chain().nonce_used(permit) is None


async def test_a_transaction_that_is_known_needs_no_logs() -> None:
    paid = msgspec.structs.replace(ENTRY, transaction=HASH)
    assert await Reconciler(Node(**PAID).chain(), bundled()).look_up(paid) == Settled(HASH, 10)


@pytest.mark.parametrize("asset", [f"eip155:1/{TOKEN.address.lower()}", f"{TOKEN.network}/{ELSEWHERE}"])
async def test_a_journal_may_be_of_a_version_that_took_other_tokens(asset: str) -> None:
    node = Node(eth_call=f"0x{0:064x}", eth_blockNumber="0x64", eth_getLogs=[])
    reconciler, other = Reconciler(node.chain(), bundled()), msgspec.structs.replace(ENTRY, asset=asset)
    assert await reconciler.check(other, REFUSED, first=True) == REFUSED
    assert await reconciler.look_up(other) is None
