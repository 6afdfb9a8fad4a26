"""How settlements ended, judged by what a node of the chain shows, which may be behind or another."""

from typing import Any

import msgspec
import pytest

from gateway.billing.definitions import bundled
from gateway.billing.evm import values as evm
from gateway.billing.journal import State
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.reconciliation import NONCE_SPENT, Reconciler
from tests.billing.chain_node import ELSEWHERE, ENTRY, EVENT, HASH, PAYEE, SENT, SIGNED, TOKEN, Node
from tests.billing.entries import PAYER

PAID = {
    "eth_getTransactionReceipt": {"status": "0x1", "blockNumber": "0x63", "logs": [EVENT]},
    "eth_getTransactionByHash": SENT,
}
LISTED = {"eth_getLogs": [{**EVENT, "transactionHash": HASH}]}
REFUSED = Refused("transaction_failed")
UNUSED, USED_NONCE = f"0x{0:064x}", f"0x{1:064x}"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.billing.reconciliation._RETRY_SECONDS", 0.0)


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


async def test_each_call_of_a_batch_may_be_answered_by_another_node() -> None:
    """Here the settlement is in the block after the latest of all nodes but the one that is asked for the nonce."""

    class NodeAhead(Node):
        def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
            answer = super()._answer(method=method, params=params, **more)
            return USED_NONCE if method == "eth_call" and params[-1] == "latest" else answer

    unmined: dict[str, Any] = {"eth_getTransactionReceipt": None, "eth_getTransactionByHash": None}
    node = NodeAhead(eth_call=UNUSED, eth_blockNumber="0x64", eth_getLogs=[], **unmined)
    judged = await Reconciler(node.chain(), bundled()).check(ENTRY, Settled(HASH, 10), first=True)
    assert judged == Unknown("the chain does not show it", HASH)


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
    listed = [{**event, "transactionHash": HASH} for event in receipt["logs"]]
    node = Node(
        eth_blockNumber="0x64", eth_getLogs=listed, eth_getTransactionReceipt=receipt, eth_getTransactionByHash=sent
    )
    owed = msgspec.structs.replace(ENTRY, amount=asked)
    assert await Reconciler(node.chain(), bundled()).check(owed, REFUSED, first=True) == found


async def test_a_payer_s_transfers_of_other_amounts_are_not_looked_into() -> None:
    """A wallet that pays for everybody's requests has thousands, and each was two calls, one after the other."""
    asked: list[str] = []

    class CountingNode(Node):
        def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
            asked.append(method)
            return super()._answer(method=method, params=params, **more)

    later = [{**EVENT, "data": hex(amount), "transactionHash": "0x" + "55" * 32} for amount in range(11, 1011)]
    node = CountingNode(eth_blockNumber="0x64", eth_getLogs=[*LISTED["eth_getLogs"], *later], **PAID)
    assert await Reconciler(node.chain(), bundled()).look_up(ENTRY) == Settled(HASH, 10, 1)
    assert len(asked) < 10


async def test_a_facilitator_may_settle_through_a_contract_of_its_own() -> None:
    """What it settled instead of what it was asked for is for the books to show."""
    node = Node(**{**PAID, "eth_getTransactionByHash": WRAPPED})
    owed = msgspec.structs.replace(ENTRY, amount=999)
    assert await Reconciler(node.chain(), bundled()).check(owed, Settled(HASH, 999), first=True) == Settled(HASH, 10)


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


async def test_a_node_that_is_away_leaves_the_outcome_open() -> None:
    """So that a settlement with an unknown outcome is repeated before its deadline all the same."""
    assert await Reconciler(Node(eth_call=None).chain(), bundled()).look_up(ENTRY) is None


async def test_a_refusal_stands_where_the_node_does_not_keep_the_block_s_state() -> None:
    """Also after an unknown outcome: the nonce is unused, and the transaction was mined."""
    mined = {"status": "0x0", "blockNumber": "0x1"}

    class PruningNode(Node):
        def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
            answer = super()._answer(method=method, params=params, **more)
            return None if params[-1:] == ["0x1"] else answer

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
async def test_a_settlement_that_the_chain_does_not_show(used: int, judged: Outcome) -> None:
    answers: dict[str, Any] = {
        "eth_getTransactionReceipt": None,
        "eth_getTransactionByHash": None,
        "eth_getLogs": [],
    }
    node = Node(eth_call=f"0x{used:064x}", eth_blockNumber="0x64", **answers)
    assert await Reconciler(node.chain(), bundled()).check(ENTRY, Settled(HASH, 10), first=True) == judged


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
    node: Node, transaction: str, judged: Outcome | None
) -> None:
    """The payer would be charged for an answer that was withheld."""
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


@pytest.mark.parametrize("first", [True, False], ids=["by the facilitator", "by the gateway"])
@pytest.mark.parametrize("reason", ["transaction_failed", "invalid_exact_evm_nonce_already_used"])
async def test_a_repeated_settlement_is_not_refused_before_the_node_can_show_the_first(
    reason: str, first: bool
) -> None:
    """The facilitator's own node shows it already; the payer would be told that nothing was charged."""
    node = NodeBehind(eth_call=UNUSED, eth_blockNumber="0x64", eth_getLogs=[])
    outcome = await Reconciler(node.chain(), bundled()).check(ENTRY, Refused(reason), first=first)
    assert outcome == Settled(HASH, 10, 1)


@pytest.mark.parametrize(("state", "kind"), [(State.SETTLING, Unknown), (State.PENDING, Refused)])
async def test_a_repeated_settlement_is_not_refused_at_once_where_the_node_stays_behind(
    state: State, kind: type[Outcome]
) -> None:
    """By two blocks, of the nodes behind one name: the payer had paid for an answer that was withheld for good."""
    node = Node(eth_call=UNUSED, eth_blockNumber="0x64", eth_getLogs=[])
    payment = msgspec.structs.replace(ENTRY, state=state)
    assert isinstance(await Reconciler(node.chain(), bundled()).check(payment, REFUSED, first=False), kind)


async def test_a_repeated_settlement_that_failed_on_the_chain_is_judged_by_a_node_that_has_come_as_far() -> None:
    """The first one's success is in an earlier block, which the node that is asked for the nonce does not have."""
    failed = {"status": "0x0", "blockNumber": "0x65"}
    node = Node(eth_call=UNUSED, eth_getTransactionReceipt=failed)
    refused = Refused("transaction_failed", transaction=HASH)
    judged = await Reconciler(node.chain(), bundled()).check(ENTRY, refused, first=False)
    assert judged == Unknown("refused after an unknown outcome: transaction_failed", HASH)


async def test_a_payer_is_at_fault_as_well_where_the_node_is_a_block_behind() -> None:
    """Of a stream it has all but the last event."""

    class CatchingUp(Node):
        latest = 0x63

        def _answer(self, *, method: str, params: list[Any], **more: Any) -> Any:
            if method == "eth_getBlockByNumber":
                self.latest += 1
                return {"number": hex(self.latest), "timestamp": "0x1"}
            return super()._answer(method=method, params=params, **more)

    node = CatchingUp(eth_call=UNUSED, eth_getTransactionReceipt={"status": "0x0", "blockNumber": "0x65"})
    refused = Refused("transaction_failed", transaction=HASH)
    judged = await Reconciler(node.chain(), bundled()).check(ENTRY, refused, first=True)
    assert isinstance(judged, Refused)
    assert judged.reason == "insufficient_funds"


async def test_an_endpoint_of_another_network_says_nothing() -> None:
    reconciler = Reconciler(Node(eth_chainId="0x1", eth_blockNumber="0x64", **LISTED, **PAID).chain(), bundled())
    assert await reconciler.check(ENTRY, Settled(HASH, 999), first=True) == Settled(HASH, 999)
    assert await reconciler.check(ENTRY, REFUSED, first=True) == REFUSED
    assert isinstance(await reconciler.check(ENTRY, REFUSED, first=False), Unknown)
    assert await reconciler.look_up(ENTRY) is None


async def test_a_transaction_that_is_known_needs_no_logs() -> None:
    paid = msgspec.structs.replace(ENTRY, transaction=HASH)
    assert await Reconciler(Node(**PAID).chain(), bundled()).look_up(paid) == Settled(HASH, 10)


@pytest.mark.parametrize("asset", [f"eip155:1/{TOKEN.address.lower()}", f"{TOKEN.network}/{ELSEWHERE}"])
async def test_a_journal_may_be_of_a_version_that_took_other_tokens(asset: str) -> None:
    node = Node(eth_call=f"0x{0:064x}", eth_blockNumber="0x64", eth_getLogs=[])
    reconciler, other = Reconciler(node.chain(), bundled()), msgspec.structs.replace(ENTRY, asset=asset)
    assert await reconciler.check(other, REFUSED, first=True) == REFUSED
    assert await reconciler.look_up(other) is None
