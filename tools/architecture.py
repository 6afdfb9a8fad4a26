"""``python -m tools.architecture``: check the import directions of the gateway.

Packages are ordered in layers. A module imports only from its own layer and lower ones. Upstreams and billing are
independent of each other, and nothing in the gateway imports the tools.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.command_line import exit_with

LAYERS: tuple[tuple[str, ...], ...] = (
    ("gateway.identifiers", "gateway.keccak", "gateway.header_lines", "gateway.loopback", "gateway.stop_signals"),
    ("gateway.openai_api", "gateway.http_client"),
    ("gateway.catalog", "gateway.catalog_checks", "gateway.envelope", "gateway.telemetry"),
    ("gateway.upstreams", "gateway.billing", "gateway.signing", "gateway.nitriding", "gateway.nsm"),
    (
        "gateway.setting_checks",
        "gateway.settings",
        "gateway.lifecycle",
        "gateway.fair_queue",
        "gateway.garbage_collection",
    ),
    ("gateway.clock", "gateway.key_sealing", "gateway.admission", "gateway.http_server", "gateway.listeners"),
    ("gateway.keyring", "gateway.endpoint_formats", "gateway.deferred_payments"),
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
INDEPENDENT = {("gateway.upstreams", "gateway.billing"), ("gateway.billing", "gateway.upstreams")}
SERVING_NEVER_IMPORTS = ("web3", "eth_account", "eth_keys", "openai", "anthropic", "google", "x402", "tools", "tests")
IO_LIBRARIES = ("aiohttp", "sqlite3", "socket", "urllib.request")
IO_MODULES = ("gateway.upstreams.fetch", "gateway.upstreams.public_addresses")
"""The modules of gateway.upstreams that may import IO_LIBRARIES."""


def main() -> int:
    """Print all violations; exit status 1 if there are any."""
    root = Path(__file__).parent.parent
    violations = [violation for path in sorted((root / "gateway").rglob("*.py")) for violation in check(root, path)]
    for violation in violations:
        print(violation)
    if not violations:
        print("import directions hold")
    return 1 if violations else 0


def check(root: Path, path: Path) -> Iterator[str]:
    """The violations in one file."""
    module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    source = _package(module)
    if source is None and module != "gateway":
        yield f"{path.relative_to(root)}: {module} has no layer in tools/architecture.py"
        return
    for line, imported in _imports(path):
        where = f"{path.relative_to(root)}:{line}"
        if imported.split(".")[0] in SERVING_NEVER_IMPORTS:
            yield f"{where}: the serving process must not import {imported}"
        elif source and (problem := _violation(module, source, imported)):
            yield f"{where}: {problem}"


def _violation(module: str, source: str, imported: str) -> str | None:
    if source == "gateway.upstreams" and not module.startswith(IO_MODULES) and imported.startswith(IO_LIBRARIES):
        return f"{module} does no I/O of its own, but imports {imported}"
    target = _package(imported)
    if target is None or target == source:
        return None
    if (source, target) in INDEPENDENT:
        return f"{source} and {target} do not know each other"
    if _layer(target) > _layer(source):
        return f"{source} must not import {imported}"
    return None


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _package(module: str) -> str | None:
    packages = [
        package for layer in LAYERS for package in layer if module == package or module.startswith(package + ".")
    ]
    return max(packages, key=len, default=None)


def _layer(package: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if package in layer)


if __name__ == "__main__":
    exit_with(main)
