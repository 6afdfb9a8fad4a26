"""A checkout has the committed bytes, however the user has configured git."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nitro.inputs import ROOT

FILES = ("nitro/start.sh", "nitro/kernel/cmdline", "nitro/kernel/enclave.config", "gateway/__init__.py", "uv.lock")


@pytest.mark.needs("git")
def test_line_ends_are_never_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git for Windows sets core.autocrlf, which would move measurements and break start.sh's first line.

    Hooks have GIT_DIR set to their own repository, which must get no commit from here.
    """
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    source, clone = tmp_path / "source", tmp_path / "clone"
    for name in (".gitattributes", *FILES):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)

    def git(*arguments: str | Path, folder: Path = source) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        subprocess.run(["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, check=True)

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "source")
    git("clone", "--quiet", "--config", "core.autocrlf=true", source, clone, folder=tmp_path)
    for name in FILES:
        assert (clone / name).read_bytes() == (ROOT / name).read_bytes(), name
