"""Which value of a measurement follows from which.

Used twice: to name the cause before its effects when something moved, and to keep a value that this machine cannot
build where everything that decides it is still the same.
"""

from collections.abc import Collection, Iterator, Mapping

DECIDED_BY: Mapping[str, tuple[str, ...]] = {
    "kernel": ("boot", "kernel recipe"),
    "init": ("go", "init source"),
    "first ramdisk": ("boot", "init", "ramdisk layout"),
    "nitriding": ("go", "nitriding commit"),
    "files": ("files without nitriding", "nitriding"),
    "image": ("image without nitriding", "nitriding"),
    "PCR0": ("kernel", "cmdline", "first ramdisk", "ramdisk without nitriding", "nitriding"),
    "PCR1": ("kernel", "cmdline", "first ramdisk"),
    "PCR2": ("ramdisk without nitriding", "nitriding"),
}
"""What fully decides a value, which is therefore the same wherever these are."""

_ROUGHLY = {
    f"{part} without nitriding": ("debian packages", "wheels", "gateway", "start.sh")
    for part in ("files", "image", "ramdisk")
}


def rank(name: str) -> int:
    """0 for an input, otherwise more than any of its causes."""
    return 1 + max(map(rank, _causes(name))) if _causes(name) else 0


def first_causes(moved: Collection[str]) -> list[str]:
    """Those of ``moved`` that nothing else of it explains."""
    return [name for name in moved if not any(cause in moved for cause in _all_causes(name))]


def _causes(name: str) -> tuple[str, ...]:
    return DECIDED_BY.get(name, _ROUGHLY.get(name, ()))


def _all_causes(name: str) -> Iterator[str]:
    for cause in _causes(name):
        yield cause
        yield from _all_causes(cause)


def kept(before: Mapping[str, str], built: Mapping[str, str], missing: Collection[str]) -> dict[str, str]:
    """The values of ``before`` that hold for ``missing`` ones, because what decides them has not moved."""
    known = dict(built)
    for name in sorted(missing, key=rank):
        causes = DECIDED_BY.get(name, ())
        if name in before and causes and all(known.get(cause, "") == before.get(cause) for cause in causes):
            known[name] = before[name]
    return {name: known[name] for name in missing if name in known}
