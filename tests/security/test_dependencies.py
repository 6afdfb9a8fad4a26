"""Known vulnerabilities of the enclave's dependencies, from pip-audit's service; skipped visibly if unreachable."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_UNREACHABLE = ("Failed to resolve", "ConnectionError", "Max retries", "Timeout", "Connection", "Proxy", "503", "502")


def test_no_known_vulnerability(tmp_path: Path) -> None:
    if find_spec("pip_audit") is None and os.environ.get("CI") != "true":
        pytest.skip("pip-audit is not installed")
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    locked = tmp_path / "requirements.txt"
    export = [uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--output-file", str(locked)]
    try:
        subprocess.run(export, cwd=ROOT, check=True, capture_output=True, timeout=60)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"uv cannot export the lock file: {error}")
    audit = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(locked),
        "--require-hashes",
        "--disable-pip",
        "--progress-spinner",
        "off",
        "--timeout",
        "10",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    try:
        done = subprocess.run(audit, capture_output=True, text=True, timeout=90, env=os.environ, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the vulnerability service does not answer")
    if done.returncode and "vulnerabilit" not in done.stderr and any(word in done.stderr for word in _UNREACHABLE):
        pytest.skip(f"the vulnerability service is out of reach: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stdout + done.stderr
