"""The concurrency limit and its queue: bounded, FIFO per caller, and nothing leaks when waiting tasks are cancelled."""

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.admission
from gateway.admission import Admission, Slot
from gateway.openai_api.errors import Fault, GatewayError


async def settle() -> None:
    """Run every ready task."""
    for _ in range(5):
        await asyncio.sleep(0)


def place(admission: Admission, upstream: str = "openai", *caller: str) -> Slot:
    """A slot for one address and caller, the same unless others are named."""
    return admission.slot(upstream, lambda: caller or ("address", "caller"))


class Guest:
    """A task that acquires a place and holds it until ``leave``."""

    def __init__(self, admission: Admission, arrivals: list[int], number: int) -> None:
        self._stay = asyncio.Event()
        self.task = asyncio.create_task(self._visit(admission, arrivals, number))

    async def _visit(self, admission: Admission, arrivals: list[int], number: int) -> None:
        async with place(admission):
            arrivals.append(number)
            await self._stay.wait()

    def leave(self) -> None:
        self._stay.set()


@pytest.fixture
def arrivals() -> list[int]:
    return []


async def visit(admission: Admission, arrivals: list[int], number: int) -> Guest:
    guest = Guest(admission, arrivals, number)
    await settle()
    return guest


async def test_places_are_given_in_order_of_arrival(arrivals: list[int]) -> None:
    admission = Admission(2, 10)
    guests = [await visit(admission, arrivals, number) for number in range(5)]
    assert (arrivals, admission.active, admission.waiting) == ([0, 1], 2, 3)
    guests[1].leave()
    await settle()
    guests[0].leave()
    await settle()
    assert (arrivals, admission.active, admission.waiting) == ([0, 1, 2, 3], 2, 1)
    for guest in guests:
        guest.leave()
    await asyncio.gather(*(guest.task for guest in guests))
    assert (arrivals, admission.active, admission.waiting) == ([0, 1, 2, 3, 4], 0, 0)


async def test_a_full_queue_refuses(arrivals: list[int]) -> None:
    admission = Admission(1, 1)
    guests = [await visit(admission, arrivals, number) for number in range(2)]
    with pytest.raises(GatewayError) as caught:
        async with place(admission):
            pytest.fail("there was no place")
    error = caught.value
    assert (error.status, error.type, error.code) == (503, "server_error", "overloaded")
    assert (error.fault, error.http_headers()["Retry-After"]) == (Fault.GATEWAY, "1")
    assert (admission.active, admission.waiting) == (1, 1)
    for guest in guests:
        guest.leave()
    await asyncio.gather(*(guest.task for guest in guests))


async def test_who_is_refused_is_told_how_long_the_last_one_has_waited(
    arrivals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that has been empty starts anew."""
    now = 100.0
    monkeypatch.setattr(gateway.admission, "time", SimpleNamespace(monotonic=lambda: now))
    admission = Admission(1, 2)

    async def refused() -> str:
        with pytest.raises(GatewayError) as caught:
            await place(admission).__aenter__()
        return caught.value.http_headers()["Retry-After"]

    guests = [await visit(admission, arrivals, number) for number in range(3)]
    assert await refused() == "1"
    now += 12.5
    guests[0].leave()
    await settle()
    guests.append(await visit(admission, arrivals, 3))
    assert await refused() == "13"
    for guest in guests:
        guest.leave()
    await asyncio.gather(*(guest.task for guest in guests))
    guests = [await visit(admission, arrivals, number) for number in range(3)]
    assert await refused() == "1"
    for guest in guests:
        guest.leave()
    await asyncio.gather(*(guest.task for guest in guests))


async def test_no_queue_at_all(arrivals: list[int]) -> None:
    admission = Admission(1, 0)
    guest = await visit(admission, arrivals, 0)
    with pytest.raises(GatewayError):
        await place(admission).__aenter__()
    guest.leave()
    await guest.task
    async with place(admission):
        assert admission.active == 1


async def test_nobody_overtakes_a_waiter(arrivals: list[int]) -> None:
    """A place that becomes free goes to the waiting request, even if another arrives at the same moment."""
    admission = Admission(1, 10)
    first, second = await visit(admission, arrivals, 0), await visit(admission, arrivals, 1)
    first.leave()
    await asyncio.sleep(0)
    third = Guest(admission, arrivals, 2)
    second.leave()
    third.leave()
    await asyncio.gather(first.task, second.task, third.task)
    assert arrivals == [0, 1, 2]


async def test_a_waiter_that_leaves_makes_room(arrivals: list[int]) -> None:
    admission = Admission(1, 1)
    guests = [await visit(admission, arrivals, number) for number in range(2)]
    guests[1].task.cancel()
    await settle()
    assert admission.waiting == 0
    third = await visit(admission, arrivals, 2)
    guests[0].leave()
    third.leave()
    await asyncio.gather(guests[0].task, third.task)
    assert (arrivals, admission.active) == ([0, 2], 0)


async def test_a_place_handed_to_one_who_leaves_in_the_same_moment_goes_on(arrivals: list[int]) -> None:
    admission = Admission(1, 10)
    guests = [await visit(admission, arrivals, number) for number in range(3)]
    guests[0].leave()
    while admission.waiting == 2:
        await asyncio.sleep(0)
    guests[1].task.cancel()
    await settle()
    assert (arrivals, admission.active) == ([0, 2], 1)
    guests[2].leave()
    await guests[2].task
    async with place(admission):
        assert admission.active == 1


async def test_an_error_inside_gives_the_place_back() -> None:
    admission = Admission(1, 0)
    with pytest.raises(ZeroDivisionError):
        async with place(admission):
            raise ZeroDivisionError
    assert admission.active == 0
    async with place(admission):
        pass


async def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch, arrivals: list[int]) -> None:
    monkeypatch.setattr(gateway.admission, "MAX_WAIT_SECONDS", 0.02)
    admission = Admission(1, 5)
    guest = await visit(admission, arrivals, 0)
    with pytest.raises(GatewayError) as caught:
        await place(admission).__aenter__()
    assert caught.value.code == "overloaded"
    assert (admission.active, admission.waiting) == (1, 0)
    guest.leave()
    await guest.task


async def test_idle(arrivals: list[int]) -> None:
    admission = Admission(2, 0)
    await admission.wait_idle()
    guests = [await visit(admission, arrivals, number) for number in range(2)]
    idle = asyncio.create_task(admission.wait_idle())
    guests[0].leave()
    await settle()
    assert not idle.done()
    guests[1].leave()
    await asyncio.wait_for(idle, 1)
    await asyncio.gather(*(guest.task for guest in guests))


@given(st.integers(1, 3), st.integers(0, 3), st.lists(st.sampled_from("alc"), max_size=30), st.data())
async def test_places_are_never_lost_nor_shared(places: int, queue: int, steps: list[str], data: st.DataObject) -> None:
    """Arrivals, releases and cancellations in any order: never more than the limit, and all places free in the end."""
    admission, arrivals, guests = Admission(places, queue), list[int](), list[Guest]()
    for number, step in enumerate(steps):
        if step == "a":
            guests.append(Guest(admission, arrivals, number))
        elif guests:
            guest = data.draw(st.sampled_from(guests))
            guest.leave() if step == "l" else guest.task.cancel()
        for _ in range(data.draw(st.integers(0, 3))):
            await asyncio.sleep(0)
        assert 0 <= admission.active <= places
        assert admission.waiting <= queue
    for guest in guests:
        guest.leave()
    await asyncio.gather(*(guest.task for guest in guests), return_exceptions=True)
    assert (admission.active, admission.waiting, admission._free) == (0, 0, places)
    assert arrivals == sorted(arrivals)
