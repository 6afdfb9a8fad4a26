"""Run the tools that a build leans on, in an environment that says nothing about the machine."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from nitro.errors import BuildError

# What a tool may learn of the machine: where programs are, and how to reach the registries as configured.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy")
_PASSED_ON_PREFIXES = (
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


def run(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Standard output of a command that must succeed; its last words become the :class:`BuildError` otherwise."""
    passed = {
        name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    words = [str(argument) for argument in arguments]
    try:
        done = subprocess.run(
            words,
            env={**passed, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(f"{words[0]} is not installed") from error
    if done.returncode != 0:
        last_words = done.stderr.decode(errors="replace").strip().splitlines()[-6:]
        raise BuildError(f"{' '.join(words[:4])} ended with {done.returncode}: " + " | ".join(last_words))
    return done.stdout
