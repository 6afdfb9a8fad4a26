"""Describe the machine and its CPU steal time."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("aiohttp", "uvloop", "msgspec", "cryptography")


def describe() -> str:
    """One line: CPUs, kernel, Python, and the main packages."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    kernel = platform.release().partition("-")[0]
    return f"{os.cpu_count()} × {_processor()}, Linux {kernel}, Python {platform.python_version()}, {packages}"


def steal_share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """The share of CPU time stolen by the hypervisor between two ``cpu_ticks``."""
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total else 0.0


def cpu_ticks() -> tuple[float, float]:
    """Stolen and total ticks of all CPUs since boot (proc(5), ``/proc/stat``)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return ticks[7], sum(ticks)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
