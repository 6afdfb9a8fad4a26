"""CPU seconds and resident memory of a process tree, from /proc, and CPU pinning."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of ``/proc/PID/stat``. ``children_cpu`` is the CPU seconds of children that were waited for."""

    pid: int
    parent: int
    children_cpu: float


def pin(pid: int, *, measured: bool) -> None:
    """Pin the measured server to the first CPU, and everything else to the last.

    Otherwise it varies from run to run whether a server shares its CPU with its upstream, and so how many events it
    finds per wakeup.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {processors[0] if measured else processors[-1]})


def unpin(pid: int) -> None:
    """Let a process and its threads run on every CPU that this process may use."""
    processors = os.sched_getaffinity(0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), processors)


def parse_stat(line: str) -> ProcessStat:
    """Parse ``/proc/PID/stat`` (proc(5)); the program name may contain blanks and parentheses."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return ProcessStat(
        pid=int(head.split()[0]), parent=int(fields[1]), children_cpu=(int(fields[13]) + int(fields[14])) / _TICK
    )


def process_tree(root: int) -> list[ProcessStat]:
    """``root`` and its running descendants; empty if ``root`` has exited."""
    entries: dict[int, ProcessStat] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            entry = parse_stat(stat.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        entries[entry.pid] = entry
        children[entry.parent].append(entry.pid)
    found = [root] if root in entries else []
    for pid in found:
        found += children[pid]
    return [entries[pid] for pid in found]


def cpu_seconds(root: int) -> float:
    """CPU seconds of the tree since its start, at nanosecond resolution for running processes."""
    return sum(_process_clock(entry.pid) + entry.children_cpu for entry in process_tree(root))


def cpu_by_process(root: int) -> dict[int, float]:
    """CPU seconds by pid of each running process of the tree."""
    return {entry.pid: _process_clock(entry.pid) for entry in process_tree(root)}


def resident_bytes(root: int) -> int:
    """Resident memory of the tree; pages shared by processes are counted once per process."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{entry.pid}/statm").read_text().split()[1]) * page for entry in process_tree(root))


def _process_clock(pid: int) -> float:
    """The process's CPU clock, whose id is computed like clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)
