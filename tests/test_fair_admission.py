"""Fair queueing: upstreams, addresses and callers take turns, and no flood of requests starves the others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.admission
from gateway.admission import Admission, Slot
from gateway.fair_queue import FairQueue
from gateway.openai_api.errors import GatewayError
from tests.waiting import run_ready_tasks


class Requests:
    """Requests that acquire places in order of arrival and hold them until released."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._released: dict[str, asyncio.Event] = {}
        self.slots: dict[str, Slot] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.served: list[str] = []

    async def arrive(self, *names: str) -> None:
        """Each name is ``upstream address caller``, with an optional suffix to make it unique."""
        for name in names:
            upstream, address, caller, *_ = name.split()
            self._released[name] = asyncio.Event()
            self.slots[name] = self._admission.slot(upstream, partial(_caller, address, caller))
            self.tasks[name] = asyncio.create_task(self._hold(name))
            await run_ready_tasks()

    async def release(self, *names: str) -> None:
        for name in names:
            self._released[name].set()
            await run_ready_tasks()

    async def serve_all(self) -> list[str]:
        """Release the served requests one after another; return the order in which all were served."""
        for name in self.served:
            await self.release(name)
        return self.served

    async def _hold(self, name: str) -> None:
        async with self.slots[name]:
            self.served.append(name)
            await self._released[name].wait()


def _caller(address: str, caller: str) -> tuple[str, ...]:
    return address, caller


@asynccontextmanager
async def requests_of(admission: Admission) -> AsyncIterator[Requests]:
    requests = Requests(admission)
    try:
        yield requests
    finally:
        for task in requests.tasks.values():
            task.cancel()
        await asyncio.gather(*requests.tasks.values(), return_exceptions=True)
        assert (admission.active, admission.waiting) == (0, 0)


async def test_callers_take_turns() -> None:
    async with requests_of(Admission(1, 10)) as requests:
        await requests.arrive("v a x 1", "v a x 2", "v a x 3", "v a x 4", "v a y 1", "v a z 1")
        assert await requests.serve_all() == ["v a x 1", "v a x 2", "v a y 1", "v a z 1", "v a x 3", "v a x 4"]


async def test_an_address_gains_nothing_by_many_callers() -> None:
    async with requests_of(Admission(1, 10)) as requests:
        await requests.arrive("v a 0", "v a 1", "v a 2", "v a 3", "v b 1", "v b 2")
        assert await requests.serve_all() == ["v a 0", "v a 1", "v b 1", "v a 2", "v b 2", "v a 3"]


async def test_upstreams_take_turns() -> None:
    async with requests_of(Admission(1, 10)) as requests:
        await requests.arrive("v a x 1", "v a x 2", "v a x 3", "w a x 1", "w a x 2")
        assert await requests.serve_all() == ["v a x 1", "v a x 2", "w a x 1", "v a x 3", "w a x 2"]


async def test_a_slow_upstream_leaves_places_to_others() -> None:
    async with requests_of(Admission(4, 10)) as requests:
        await requests.arrive("fast a x 1")
        await requests.arrive(*(f"slow a x {number}" for number in range(5)))
        assert requests.served == ["fast a x 1", "slow a x 0", "slow a x 1", "slow a x 2"]
        await requests.release("fast a x 1")
        assert "slow a x 3" not in requests.served
        await requests.arrive("fast a x 2")
        assert requests.served[-1] == "fast a x 2"
        await requests.release("slow a x 0")
        assert requests.served[-1] == "slow a x 3"


async def test_places_are_kept_for_an_upstream_at_work() -> None:
    async with requests_of(Admission(4, 10, share=0.5)) as requests:
        await requests.arrive("w a x", "v a x 1", "v a x 2", "v a x 3")
        assert requests.served == ["w a x", "v a x 1", "v a x 2"]


async def test_the_only_upstream_has_all_places() -> None:
    async with requests_of(Admission(4, 10)) as requests:
        await requests.arrive(*(f"v a x {number}" for number in range(4)))
        assert len(requests.served) == 4


async def test_places_kept_for_an_upstream_that_is_not_used_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given to those who wait already, not to the next one."""
    async with requests_of(Admission(4, 10)) as requests:
        await requests.arrive("w a x")
        await requests.release("w a x")
        await requests.arrive(*(f"v a x {number}" for number in range(4)))
        assert len(requests.served) == 4
        monkeypatch.setattr(gateway.admission, "RECENT_SECONDS", 0.0)
        await requests.arrive("v a x 4")
        assert len(requests.served) == 4
        await requests.release("v a x 0")
        assert requests.served[4:] == ["v a x 3", "v a x 4"]


async def test_an_upstream_that_holds_all_lets_the_next_one_in_first() -> None:
    async with requests_of(Admission(2, 10, share=0.5)) as requests:
        await requests.arrive("v a x 1", "v a x 2", "v a x 3", "w a x 1")
        await requests.release("v a x 1")
        assert requests.served == ["v a x 1", "v a x 2", "w a x 1"]
        await requests.release("w a x 1")
        assert len(requests.served) == 3
        await requests.release("v a x 2")
        assert requests.served[-1] == "v a x 3"


async def test_a_full_queue_makes_room_for_the_newcomer_of_a_short_line() -> None:
    async with requests_of(Admission(1, 3)) as requests:
        await requests.arrive("v a x 0", "v a x 1", "v a x 2", "v a x 3")
        await requests.arrive("v b y 1")
        with pytest.raises(GatewayError) as caught:
            await requests.tasks["v a x 3"]
        assert (caught.value.status, caught.value.http_headers()["Retry-After"]) == (503, "1")
        await requests.arrive("v b y 2")
        with pytest.raises(GatewayError):
            await requests.tasks["v b y 2"]
        await requests.arrive("v a z 1")
        with pytest.raises(GatewayError):
            await requests.tasks["v a x 2"]
        assert await requests.serve_all() == ["v a x 0", "v a x 1", "v b y 1", "v a z 1"]


async def test_who_leaves_the_queue_is_told_so_at_once() -> None:
    async with requests_of(Admission(1, 3)) as requests:
        await requests.arrive("v a x 0", "v a x 1", "v a x 2")
        requests.slots["v a x 1"].cancel()
        requests.slots["v a x 0"].cancel()
        with pytest.raises(ConnectionResetError):
            await requests.tasks["v a x 1"]
        requests.tasks["v a x 2"].cancel()
        requests.slots["v a x 2"].cancel()
        await requests.arrive("v a x 3")
        assert await requests.serve_all() == ["v a x 0", "v a x 3"]


@given(st.lists(st.tuples(st.sampled_from("vw"), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40))
def test_everybody_is_served_once_and_in_his_own_order(paths: list[tuple[str, str, str]]) -> None:
    queue: FairQueue[int] = FairQueue()
    for item, path in enumerate(paths):
        queue.add(path, item)
    taken = [queue.pop() for _ in paths]
    assert sorted(item for item in taken if item is not None) == list(range(len(paths)))
    assert (queue.size, queue.pop()) == (0, None)
    for path in set(paths):
        own = [item for item in taken if item is not None and paths[item] == path]
        assert own == sorted(own)


@given(st.lists(st.tuples(st.sampled_from("vw"), st.sampled_from("ab")), min_size=1, max_size=40))
def test_no_line_is_two_ahead_of_another_that_still_waits(paths: list[tuple[str, str]]) -> None:
    queue: FairQueue[int] = FairQueue()
    for item, path in enumerate(paths):
        queue.add(path, item)
    left = {key: sum(path[0] == key for path in paths) for key in "vw"}
    served = dict.fromkeys("vw", 0)
    while (taken := queue.pop()) is not None:
        key = paths[taken][0]
        served[key] += 1
        left[key] -= 1
        other = "w" if key == "v" else "v"
        assert not left[other] or served[key] - served[other] <= 1


@given(st.lists(st.tuples(st.sampled_from("vw"), st.sampled_from("xyz")), min_size=1, max_size=30), st.data())
def test_making_room_never_harms_a_shorter_line(paths: list[tuple[str, str]], data: st.DataObject) -> None:
    queue: FairQueue[int] = FairQueue()
    for item, path in enumerate(paths):
        queue.add(path, item)
    newcomer = data.draw(st.tuples(st.sampled_from("vw"), st.sampled_from("xyz")))
    out = queue.eviction_candidate(newcomer)
    if out is None:
        return
    level = 0 if paths[out][0] != newcomer[0] else 1
    line = [path[: level + 1] for path in paths]
    assert line.count(paths[out][: level + 1]) > line.count(newcomer[: level + 1]) + 1
    queue.remove(paths[out], out)
    queue.add(newcomer, -1)
    assert queue.size == len(paths)
