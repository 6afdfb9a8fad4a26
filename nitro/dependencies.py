"""Dependencies between the values of a measurement.

They are used to report root causes instead of their effects, and to carry over a value that this machine cannot build
if all its dependencies are unchanged.
"""

from collections.abc import Collection, Iterator, Mapping

DEPENDENCIES: Mapping[str, tuple[str, ...]] = {
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
"""Complete dependencies: a value is a function of these."""

_INCOMPLETE = {
    f"{part} without nitriding": ("debian packages", "wheels", "gateway", "start.sh")
    for part in ("files", "image", "ramdisk")
}
"""Dependencies that do not determine a value completely; used for root causes only."""


def depth(name: str) -> int:
    """0 for an input, otherwise one more than its deepest dependency."""
    return 1 + max(map(depth, _dependencies(name))) if _dependencies(name) else 0


def root_causes(moved: Collection[str]) -> list[str]:
    """Those of ``moved`` that depend on no other of them."""
    return [name for name in moved if not any(dependency in moved for dependency in _all_dependencies(name))]


def _dependencies(name: str) -> tuple[str, ...]:
    return DEPENDENCIES.get(name, _INCOMPLETE.get(name, ()))


def _all_dependencies(name: str) -> Iterator[str]:
    for dependency in _dependencies(name):
        yield dependency
        yield from _all_dependencies(dependency)


def carry_over(before: Mapping[str, str], built: Mapping[str, str], missing: Collection[str]) -> dict[str, str]:
    """The values of ``before`` for those of ``missing`` whose dependencies are all known and unchanged."""
    known = dict(built)
    for name in sorted(missing, key=depth):
        dependencies = DEPENDENCIES.get(name, ())
        if (
            name in before
            and dependencies
            and all(known.get(dependency, "") == before.get(dependency) for dependency in dependencies)
        ):
            known[name] = before[name]
    return {name: known[name] for name in missing if name in known}
