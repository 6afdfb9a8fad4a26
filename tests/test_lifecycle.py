"""Properties of the state table that orders payment, upstream call and signature."""

import itertools

import pytest

from gateway.lifecycle import MEANINGS, TRANSITIONS, IllegalTransitionError, Lifecycle, State, diagram
from gateway.telemetry.request_record import RequestRecord

ENDS = {State.SETTLED, State.RELEASED, State.REFUSED}


def reachable(start: State) -> set[State]:
    found, frontier = {start}, [start]
    while frontier:
        news = TRANSITIONS[frontier.pop()] - found
        found |= news
        frontier += news
    return found


def test_the_tables_know_every_state() -> None:
    assert TRANSITIONS.keys() == MEANINGS.keys() == set(State)


def test_every_state_is_reachable() -> None:
    assert reachable(State.RECEIVED) == set(State)


def test_every_state_leads_to_an_end() -> None:
    for state in State:
        assert reachable(state) & ENDS, state


def test_ends_are_ends() -> None:
    assert {state for state, targets in TRANSITIONS.items() if not targets} == ENDS


def test_there_is_no_way_back() -> None:
    for state in State:
        assert state not in set().union(*(reachable(target) for target in TRANSITIONS[state])), state


def paths(state: State = State.RECEIVED) -> list[list[State]]:
    if not TRANSITIONS[state]:
        return [[state]]
    return [[state, *rest] for target in sorted(TRANSITIONS[state]) for rest in paths(target)]


@pytest.mark.parametrize("path", paths(), ids="-".join)
def test_order_of_money_work_and_signature(path: list[State]) -> None:
    """No call before the payment is admitted, no settlement before the signature, never both settled and released."""
    order = {state: place for place, state in enumerate(path)}
    for earlier, later in itertools.pairwise(
        [State.ADMITTED, State.DISPATCHED, State.ANSWERING, State.SIGNED, State.SETTLING, State.SETTLED]
    ):
        if later in order:
            assert order[earlier] < order[later]
    if State.SIGNED in order:
        assert State.RELEASED not in order
    assert len(ENDS & set(path)) == 1


@pytest.mark.parametrize(("state", "target"), list(itertools.product(State, State)))
def test_moves(state: State, target: State) -> None:
    life = Lifecycle(RequestRecord("req_1", "POST", "/"))
    life.state = state
    if target in TRANSITIONS[state]:
        life.transition(target)
        assert life.state is target
        return
    with pytest.raises(IllegalTransitionError, match=f"{state} → {target}"):
        life.transition(target)
    assert life.state is state


def test_a_request_begins_received_and_its_record_keeps_the_latest_state() -> None:
    record = RequestRecord("req_1", "POST", "/")
    life = Lifecycle(record)
    assert life.state is State.RECEIVED
    for state in (State.ADMITTED, State.RELEASED):
        life.transition(state)
        assert record.state is life.state is state


def test_the_diagram_shows_every_arrow() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> received"]
    arrows = {tuple(line.strip().split(" --> ")) for line in lines[2:]}
    moves = {(str(state), str(target)) for state, targets in TRANSITIONS.items() for target in targets}
    assert arrows == moves | {(str(state), "[*]") for state in ENDS}
    assert len(lines) == len(set(lines))
