"""What a process tree costs, from the kernel's own books: CPU seconds and resident memory."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of ``/proc/PID/stat``. ``ended`` are the CPU seconds of children that were waited for."""

    pid: int
    parent: int
    ended: float


def pin(pid: int, *, measured: bool) -> None:
    """Give what is measured the first processor, and the rest of the stage the last one.

    Otherwise the scheduler decides anew for every run whether a server shares its processor with its upstream, and
    so how many events it finds at each waking.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {processors[0] if measured else processors[-1]})


def unpin(pid: int) -> None:
    """Let a process and its threads run on every processor that this one may."""
    processors = os.sched_getaffinity(0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), processors)


def parse(line: str) -> Entry:
    """``line`` of ``/proc/PID/stat`` (proc(5)); a program's name may hold blanks and parentheses."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return Entry(pid=int(head.split()[0]), parent=int(fields[1]), ended=(int(fields[13]) + int(fields[14])) / _TICK)


def tree(root: int) -> list[Entry]:
    """``root`` and its living descendants; empty when ``root`` is gone."""
    entries: dict[int, Entry] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            entry = parse(stat.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        entries[entry.pid] = entry
        children[entry.parent].append(entry.pid)
    found = [root] if root in entries else []
    for pid in found:
        found += children[pid]
    return [entries[pid] for pid in found]


def cpu_seconds(root: int) -> float:
    """CPU of all threads of the tree since its start, in nanosecond steps for those that live."""
    return sum(_process_clock(entry.pid) + entry.ended for entry in tree(root))


def cpu_by_process(root: int) -> dict[int, float]:
    """CPU seconds of each living process of the tree."""
    return {entry.pid: _process_clock(entry.pid) for entry in tree(root)}


def resident_bytes(root: int) -> int:
    """Resident memory of the tree; pages shared between its processes count once for each."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(Path(f"/proc/{entry.pid}/statm").read_text().split()[1]) * page for entry in tree(root))


def _process_clock(pid: int) -> float:
    """The process's own CPU clock; its id is made as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime(~pid << 3 | 2)
