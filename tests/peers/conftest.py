"""Peers outside the tests' own environment: located, installed, or skipped with the reason.

Where the environment variable CI is "true" nothing is skipped: a missing peer fails the test.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPM = Path(__file__).parent / "npm"
SDK_ENVIRONMENT = ROOT / ".venv-opengradient"
SDK = "opengradient==1.1.4"
INSTALL_TIMEOUT = 600.0


def missing(reason: str) -> None:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def installed(command: list[str], where: Path) -> None:
    """Run an installer; without network the peer counts as missing."""
    try:
        done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=INSTALL_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        missing(f"{command[0]} did not install its packages: {error}")
        return
    if done.returncode != 0:
        missing(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="session")
def node() -> Path:
    """Node.js with the locked packages of the folder ``npm``."""
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        missing("node and npm are not installed")
    lock, done = NPM / "package-lock.json", NPM / "node_modules" / ".package-lock.json"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        installed([str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], NPM)
    return Path(str(found))


@pytest.fixture(scope="session")
def sdk_python() -> Path:
    """The Python of the OpenGradient SDK's own environment: the SDK ships a fork of x402 that conflicts with it."""
    python = SDK_ENVIRONMENT / "bin" / "python"
    if not _has_sdk(python):
        uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        installed([uv, "venv", "--quiet", "--allow-existing", "--python", version, str(SDK_ENVIRONMENT)], ROOT)
        installed([uv, "pip", "install", "--quiet", "--python", str(python), SDK], ROOT)
    return python


def _has_sdk(python: Path) -> bool:
    if not python.exists():
        return False
    check = [str(python), "-c", "from importlib.metadata import version; print(version('opengradient'))"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() == SDK.partition("==")[2]
