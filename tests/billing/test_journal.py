"""The life of a payment, and the rules for claiming one."""

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import msgspec
import pytest

from gateway.billing.claims import (
    AlreadyClaimedError,
    ExposureExceededError,
    PayerOwesError,
)
from gateway.billing.journal import (
    TRANSITIONS,
    UNFINISHED,
    IllegalTransitionError,
    State,
    decode_entry,
    encode_entry,
)
from gateway.billing.standing import Standing
from tests.billing.entries import PAYMENT, POLICY, entry


@pytest.mark.parametrize(
    ("changes", "state", "credited"),
    [
        ({"upfront": True, "state": State.SETTLED}, State.SERVED, 9),
        ({"upfront": True, "by_credit": True, "state": State.SERVING}, State.WAIVED, 9),
        ({"upfront": True, "state": State.SERVING}, State.WAIVED, 0),
        ({"state": State.SERVING}, State.WAIVED, 0),
    ],
)
def test_without_an_answer_a_payer_is_credited_what_it_paid(
    changes: dict[str, Any], state: State, credited: int
) -> None:
    payment = entry(cap=9, **changes)
    to, end = payment.uncharged_end("upstream_failed")
    assert (to, payment.transition(to, **end).credited) == (state, credited)


@pytest.mark.parametrize(("origin", "to"), list(product(State, State)))
def test_moves_follow_the_table(origin: State, to: State) -> None:
    payment = entry(state=origin)
    if to in TRANSITIONS[origin]:
        assert payment.transition(to, note="why").state is to
        return
    with pytest.raises(IllegalTransitionError, match=f"from {origin.value} to {to.value}"):
        payment.transition(to)


def test_every_state_ends_and_nothing_leaves_an_end_but_a_released_one() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {state for state in State if not TRANSITIONS[state]} == {State.SERVED, State.FAILED, State.WAIVED}
    assert {state for state in State if TRANSITIONS[state]} - {State.RELEASED, State.SETTLED} == UNFINISHED
    reached, frontier = set(), {State.RESERVED}
    while frontier:
        reached |= frontier
        frontier = {to for state in frontier for to in TRANSITIONS[state]} - reached
    assert reached == set(State)


def test_no_work_is_done_before_verification_and_nothing_settles_twice() -> None:
    assert [state for state in State if State.SERVING in TRANSITIONS[state]] == [State.VERIFIED]
    assert (
        State.SETTLING
        not in TRANSITIONS[State.SETTLING]
        | TRANSITIONS[State.PENDING]
        | TRANSITIONS[State.SETTLED]
        | TRANSITIONS[State.SERVED]
    )


def test_entries_survive_writing_with_amounts_beyond_64_bits() -> None:
    payment = entry(cap=2**200, amount=2**199, cost_usd=Decimal("0.000000125"), state=State.SETTLING, usage={"a": 1})
    assert decode_entry(encode_entry(payment)) == payment


def test_an_entry_of_an_earlier_version_can_be_settled() -> None:
    """It held the requirements twice."""
    payment = entry(payment=PAYMENT)
    earlier = msgspec.json.encode({**msgspec.json.decode(encode_entry(payment)), "requirements": {}})
    assert decode_entry(earlier) == payment


def test_a_payment_is_claimed_once_unless_it_was_released() -> None:
    for state in State:
        if state is State.RELEASED:
            POLICY.admit(entry(), state, [], Standing())
            continue
        with pytest.raises(AlreadyClaimedError) as refused:
            POLICY.admit(entry(), state, [], Standing())
        assert refused.value.state is state


def test_what_is_ahead_counts_the_same_asset_only() -> None:
    others = [entry(cap=3), entry(cap=4), entry(cap=100, asset="other")]
    policy = replace(POLICY, funds_known=True)
    assert policy.admit(entry(), None, others, Standing()).outstanding == 7


def test_exposure_grows_with_what_was_settled_up_to_the_ceiling() -> None:
    two = [entry(cap_usd=Decimal(1)) for _ in range(2)]
    POLICY.admit(entry(), None, two[:1], Standing())
    with pytest.raises(ExposureExceededError):
        POLICY.admit(entry(), None, two, Standing())
    POLICY.admit(entry(), None, two, Standing(settled=Decimal("0.5")))
    fifty = [entry(cap_usd=Decimal(1)) for _ in range(50)]
    with pytest.raises(ExposureExceededError):
        POLICY.admit(entry(), None, fifty, Standing(settled=Decimal(10**6)))
    replace(POLICY, funds_known=True).admit(entry(), None, fifty[:49], Standing())
    with pytest.raises(ExposureExceededError):
        replace(POLICY, funds_known=True).admit(entry(), None, fifty, Standing())


def test_one_request_passes_however_large() -> None:
    POLICY.admit(entry(cap_usd=Decimal(1000)), None, [], Standing())


def test_a_debtor_pays_upfront_until_the_debt_is_worked_off() -> None:
    failed = entry(state=State.FAILED, amount=5 * 10**18, payers_fault=True)
    owing = Standing(settled=Decimal(3)).after(failed)
    assert owing == Standing(settled=Decimal(3), debt=Decimal("0.5"))
    with pytest.raises(PayerOwesError):
        POLICY.admit(entry(), None, [], owing)
    POLICY.admit(entry(upfront=True), None, [], owing)
    paid = entry(upfront=True, state=State.SETTLED, amount=10**19)
    assert owing.after(paid) == Standing(settled=Decimal(4))
    assert owing.after(msgspec.structs.replace(paid, upfront=False)).debt == Decimal("0.5")
    assert owing.after(entry(state=State.WAIVED)) == owing
    assert owing.after(entry(state=State.FAILED, upfront=True, amount=1, payers_fault=True)) == owing
    assert owing.after(msgspec.structs.replace(failed, payers_fault=False)) == owing
