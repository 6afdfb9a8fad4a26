"""Import directions, as a script: ``python -m tools.architecture`` lists every arrow that points the wrong way.

Rooms stand in ranks; a module imports from lower ranks only. Upstreams and billing are neighbours that do not know
each other, and nothing in the gateway imports the tools (design 3).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.command_line import exit_with

RANKS: tuple[tuple[str, ...], ...] = (
    ("gateway.openai_api", "gateway.identifiers", "gateway.keccak", "gateway.http_client"),
    ("gateway.catalog", "gateway.catalog_checks", "gateway.envelope", "gateway.telemetry"),
    ("gateway.upstreams", "gateway.billing", "gateway.signing", "gateway.nitriding", "gateway.nsm"),
    ("gateway.settings", "gateway.lifecycle", "gateway.fair_queue", "gateway.garbage_collection"),
    ("gateway.clock", "gateway.key_sealing", "gateway.admission", "gateway.http_server"),
    ("gateway.keyring", "gateway.wire_formats", "gateway.deferred_payments"),
    ("gateway.heartbeat", "gateway.clock_guard", "gateway.identity", "gateway.cluster"),
    ("gateway.services", "gateway.dispatch", "gateway.answer"),
    ("gateway.exchange", "gateway.single_process"),
    ("gateway.endpoints",),
    ("gateway.routes",),
    ("gateway.server",),
    ("gateway.composition",),
    ("gateway.workers",),
    ("gateway.__main__",),
)
NOT_NEIGHBOURS = {("gateway.upstreams", "gateway.billing"), ("gateway.billing", "gateway.upstreams")}
SERVING_NEVER_IMPORTS = ("web3", "eth_account", "eth_keys", "openai", "anthropic", "google", "x402", "tools", "tests")
IO_LIBRARIES = ("aiohttp", "sqlite3", "socket", "urllib.request")
IO_ROOMS = (
    "gateway.upstreams.fetch",
    "gateway.upstreams.public_addresses",
    "gateway.billing.facilitator",
    "gateway.billing.price_feed",
)


def main() -> int:
    """Exit status 1 when an import points the wrong way."""
    root = Path(__file__).parent.parent
    complaints = [complaint for path in sorted((root / "gateway").rglob("*.py")) for complaint in check(root, path)]
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print("import directions hold")
    return 1 if complaints else 0


def check(root: Path, path: Path) -> Iterator[str]:
    """What is wrong with the imports of one file."""
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    source = _room(module)
    if source is None and module != "gateway":
        yield f"{path.relative_to(root)}: {module} has no rank in tools/architecture.py"
        return
    for line, imported in _imports(path):
        where = f"{path.relative_to(root)}:{line}"
        if imported.split(".")[0] in SERVING_NEVER_IMPORTS:
            yield f"{where}: the serving process must not import {imported}"
        elif source and (problem := _wrong_arrow(module, source, imported)):
            yield f"{where}: {problem}"


def _wrong_arrow(module: str, source: str, imported: str) -> str | None:
    pure = source in ("gateway.upstreams", "gateway.billing") and not module.startswith(IO_ROOMS)
    if pure and source == "gateway.upstreams" and imported.startswith(IO_LIBRARIES):
        return f"{module} does no I/O of its own, but imports {imported}"
    target = _room(imported)
    if target is None or target == source:
        return None
    if (source, target) in NOT_NEIGHBOURS:
        return f"{source} and {target} do not know each other"
    if _rank(target) > _rank(source):
        return f"{source} must not import {imported}"
    return None


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _room(module: str) -> str | None:
    rooms = [room for rank in RANKS for room in rank if module == room or module.startswith(room + ".")]
    return max(rooms, key=len, default=None)


def _rank(room: str) -> int:
    return next(number for number, rank in enumerate(RANKS) if room in rank)


if __name__ == "__main__":
    exit_with(main)
