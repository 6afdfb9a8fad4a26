"""Run build tools in an environment that does not depend on the machine."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nitro.errors import BuildError

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Variables passed to the tools: where programs and Go's build cache are, and how to reach the package registries.
_INHERITED = (
    *("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "GOCACHE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *_PROXIES,
    *(name.upper() for name in _PROXIES),
)
_INHERITED_PREFIXES = (
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "UV_FIND_LINKS",
    "UV_SYSTEM_CERTS",
    "UV_NATIVE_TLS",
    "PIP_",
    "GOPROXY",
    "GONOSUMDB",
    "GOSUMDB",
)
_LAST_LINES = 6


def run(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Run a command and return its standard output. Raises BuildError with the essence of its errors."""
    inherited = {
        name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    command = [str(argument) for argument in arguments]
    try:
        completed = subprocess.run(
            command,
            env={**inherited, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed") from error
    if completed.returncode != 0:
        errors = " | ".join(_essence(completed.stderr.decode(errors="replace").strip().splitlines()))
        raise BuildError(f"{' '.join(command[:4])} ended with {completed.returncode}: {errors}")
    return completed.stdout


def _essence(lines: Sequence[str]) -> Sequence[str]:
    """The last lines, preceded by the line that begins with "error" and the next one if they are further up.

    uv names the package whose hash differs before it lists all the hashes that are locked.
    """
    found = next((number for number, line in enumerate(lines) if line.startswith("error")), len(lines))
    if found + 2 < len(lines) - _LAST_LINES:
        return [*lines[found : found + 2], "…", *lines[-_LAST_LINES:]]
    return lines[-_LAST_LINES:]
