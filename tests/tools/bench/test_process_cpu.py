"""CPU and memory of a process tree, running and exited children included."""

import os
import subprocess
import sys
import time

import pytest

from tools.bench.machine import steal_share
from tools.bench.process_cpu import ProcessStat, cpu_by_process, cpu_seconds, parse_stat, process_tree, resident_bytes

BUSY = (
    "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint('done', flush=True)\n"
)


@pytest.mark.parametrize("name", ["python", "a b", "x) R 1 (y", "("])
def test_stat_lines_with_any_program_name(name: str) -> None:
    rest = "S 17 1 1 0 -1 4194560 0 0 0 0 455 280 " + f"{3 * os.sysconf('SC_CLK_TCK')} 0 20 0 1 0 23"
    assert parse_stat(f"42 ({name}) {rest}") == ProcessStat(pid=42, parent=17, children_cpu=3.0)


def test_own_cpu_is_this_process_clock() -> None:
    first = time.process_time()
    second = cpu_by_process(os.getpid())[os.getpid()]
    third = time.process_time()
    assert first <= second <= third


def test_a_living_child_is_on_the_bill() -> None:
    before = cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", BUSY + "input()"], stdout=-1, stdin=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in [entry.pid for entry in process_tree(os.getpid())]
        assert cpu_seconds(child.pid) >= 0.2
        assert cpu_seconds(os.getpid()) - before >= 0.2
        child.communicate(b"\n")


def test_an_ended_child_stays_on_the_bill() -> None:
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", BUSY], check=True, capture_output=True)
    assert cpu_seconds(os.getpid()) - before >= 0.18


def test_nobody_costs_nothing() -> None:
    assert process_tree(2**30) == []
    assert cpu_seconds(2**30) == 0


def test_memory_is_in_bytes() -> None:
    assert 2**20 < resident_bytes(os.getpid()) < 2**40


def test_stolen_time_is_a_share() -> None:
    assert steal_share((100.0, 1000.0), (130.0, 1300.0)) == pytest.approx(0.1)
    assert steal_share((100.0, 1000.0), (100.0, 1000.0)) == 0
