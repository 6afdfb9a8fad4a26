"""Whether payments wait for the chain, which each worker finds out by itself before the first one."""

import time
from typing import Any

import pytest

from gateway.billing.chain_check import ChainCheck
from gateway.billing.definitions import bundled
from gateway.billing.evm.chain_clock import ChainClock
from gateway.billing.evm.permit_support import PermitSupport
from tests.billing.chain_node import Node


def check_of(node: Node) -> ChainCheck:
    return ChainCheck(node.chain(), ChainClock(time.time), PermitSupport(bundled()), bundled())


async def test_payments_wait_until_funds_can_be_read() -> None:
    node = Node(eth_call=None)
    check = check_of(node)
    await check.run()
    assert (check.reason, check.interval()) == ("payers' funds cannot be read from the chain", 5)
    node.answers["eth_call"] = f"0x{0:064x}"
    await check.run()
    assert (check.reason, check.interval()) == (None, 300)


@pytest.mark.parametrize(
    "answers",
    [{"eth_getBlockByNumber": None}, {"eth_chainId": "0x1", "eth_call": None}],
    ids=["block", "another chain"],
)
async def test_payments_do_not_wait_for_what_they_are_not_checked_by(answers: dict[str, Any]) -> None:
    check = check_of(Node(**answers))
    await check.run()
    assert check.reason is None


@pytest.mark.parametrize("unchecked", [False, True])
async def test_the_operator_hears_of_a_node_of_another_chain(unchecked: bool, caplog: pytest.LogCaptureFixture) -> None:
    await check_of(Node(**({"eth_chainId": "0x1"} if unchecked else {}))).run()
    assert ("payers' funds go unchecked" in caplog.text) == unchecked


async def test_a_token_that_does_not_answer_as_eip2612_says_is_not_taken_for_one_that_does() -> None:
    permits, definitions = PermitSupport(bundled()), bundled()
    claimed = [token for token in definitions.tokens.values() if token.eip2612]
    assert claimed
    assert all(permits.has(token) for token in claimed)
    await ChainCheck(Node().chain(), ChainClock(time.time), permits, definitions).run()
    assert not any(permits.has(token) for token in claimed)
