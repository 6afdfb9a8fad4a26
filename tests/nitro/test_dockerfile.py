"""The Dockerfile repeats the builder's values exactly, and builds the same root file system."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nitro import golang
from nitro.image.oci import pack
from nitro.image.rootfs import COMMAND, ENVIRONMENT
from nitro.inputs import ROOT
from nitro.tree import File, Tree

DOCKERFILE = (ROOT / "Dockerfile").read_text()
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
BASE = """FROM scratch
ADD base.tar /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt
"""


def test_environment_and_command_are_the_image_s() -> None:
    environment = re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert dict(word.split("=", 1) for word in environment.split()) == ENVIRONMENT
    assert re.findall(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE) == [f'["{COMMAND[0]}"]']


def test_the_tools_are_those_of_make() -> None:
    assert f"golang:{golang.TOOLCHAIN.removeprefix('go')}-bookworm" in DOCKERFILE
    uv = set(re.findall(r"uv==[0-9.]+", DOCKERFILE))
    assert uv == set(re.findall(r"uv==[0-9.]+", (ROOT / "Makefile").read_text()))


def test_the_context_has_no_secrets() -> None:
    allowed = (ROOT / ".dockerignore").read_text().split()
    assert allowed[0] == "*"
    assert ".env" not in "".join(allowed)


class Buildah:
    """buildah with its own storage, without a daemon and without namespaces."""

    def __init__(self, folder: Path) -> None:
        self._options = ["--root", f"{folder}/store", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]

    def __call__(self, *arguments: str | Path) -> str:
        words = ["buildah", *self._options, *map(str, arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Buildah]:
    run = Buildah(tmp_path)
    yield run
    run("rm", "--all")


@pytest.mark.slow
@pytest.mark.needs("buildah", "root")
@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_the_archive_loads_in_both_forms(tmp_path: Path, buildah: Buildah, form: str) -> None:
    tree = Tree()
    tree.add("usr/bin/start", File(b"#!/bin/sh\n", 0o755))
    image = pack(tree, name="gateway:test", command=["/usr/bin/start"], environment={"PATH": "/usr/bin"})
    (tmp_path / "image.tar").write_bytes(image.archive)
    container = buildah("from", f"{form}:{tmp_path}/image.tar")
    assert Tree.read_from(Path(buildah("mount", container))).digest() == tree.digest()
    assert buildah("inspect", "--format", "{{.OCIv1.Config.Cmd}}", container) == "[/usr/bin/start]"
    if form == "oci-archive":
        assert buildah("inspect", "--format", "{{.FromImageDigest}}", container) == image.digest


@pytest.mark.slow
@pytest.mark.needs("buildah", "mmdebstrap", "root")
def test_the_same_root_file_system_as_make_image(tmp_path: Path, buildah: Buildah) -> None:
    """On a base built here, with a stand-in for nitriding: compares the path from lock files to file system."""
    base, context = tmp_path / "base", tmp_path / "context"
    base.mkdir()
    included = "--include=ca-certificates,python3,python3-venv"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=apt", included, "bookworm", base / "base.tar"], check=True)
    shutil.copy(CA_BUNDLE, base)
    (base / "Dockerfile").write_text(BASE)
    buildah("bud", "--isolation", "chroot", "--tag", "localhost/base", base)
    context.mkdir()
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, context)
    for name in ("nitro", "gateway", "tools"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    arguments = ("--build-arg", "BASE=localhost/base", "--build-arg", "OPTIONS=--daemon nitro/start.sh")
    built = buildah("bud", "--isolation", "chroot", *arguments, "--tag", "localhost/gateway", context)
    container = buildah("from", "localhost/gateway")
    files = Tree.read_from(Path(buildah("mount", container)))
    assert re.findall(r"^files ([0-9a-f]{64}) ", built, re.MULTILINE) == [files.digest()]
    here = subprocess.run(
        [
            sys.executable,
            "-B",
            "-m",
            "nitro.image",
            "--daemon",
            "nitro/start.sh",
            "--inputs",
            ROOT / "build" / "inputs",
        ],
        cwd=context,
        env={**os.environ, "PATH": f"{ROOT}/.uv/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert here.stdout.splitlines()[1].split()[1] == files.digest()
