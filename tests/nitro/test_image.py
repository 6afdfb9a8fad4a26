"""The image as built here: contents, exclusions and reproducibility."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nitro.image.oci import layer_of
from nitro.image.rootfs import CA_BUNDLE, PACKAGES
from nitro.inputs import ROOT, Inputs
from nitro.tree import File, Symlink, Tree

pytestmark = [pytest.mark.slow, pytest.mark.needs("apt-get", "dpkg-deb")]

# The only programs that run in an enclave: nitriding, Python, and the shell that starts both.
PROGRAMS = {"bin/busybox", "usr/bin/python3.11", "usr/local/bin/nitriding", "usr/local/bin/start.sh"}


def elf_files(tree: Tree) -> dict[str, bytes]:
    files = {path: entry.data for path, entry in tree.entries() if isinstance(entry, File)}
    return {path: data for path, data in files.items() if data.startswith(b"\x7fELF")}


def test_programs_are_these_and_no_others(root_tree: Tree) -> None:
    outside = {path for path, _ in root_tree.entries() if path.split("/")[-2:-1] in (["bin"], ["sbin"])}
    programs = {path for path in outside if isinstance(root_tree[path], File)}
    assert programs == PROGRAMS
    links = {path: root_tree[path] for path in outside - programs}
    assert links == {
        **{f"bin/{applet}": Symlink("busybox") for applet in ("sh", "chmod", "chown", "start-stop-daemon")},
        "usr/bin/python3": Symlink("python3.11"),
    }


def test_nothing_compiled_privileged_or_personal(root_tree: Tree) -> None:
    home = re.compile(rb"|".join(re.escape(str(folder).encode()) + rb"/" for folder in (Path.home(), ROOT)))
    for path, entry in root_tree.entries():
        assert not path.endswith((".pyc", ".pyo", ".a", ".h", ".lock")) or f"{PACKAGES}/" in path, path
        assert "__pycache__" not in path
        if isinstance(entry, File):
            assert entry.mode in (0o644, 0o755), path
            if f"{PACKAGES}/" in path and not path.endswith(".so"):
                assert not home.search(entry.data), path


@pytest.mark.needs("readelf")
def test_every_library_that_is_linked_to_is_there(root_tree: Tree, tmp_path: Path) -> None:
    names = {path.rpartition("/")[2] for path, _ in root_tree.entries()}
    missing = {}
    for path, data in elf_files(root_tree).items():
        (tmp_path / "elf").write_bytes(data)
        printed = subprocess.run(["readelf", "-d", tmp_path / "elf"], capture_output=True, text=True, check=True).stdout
        absent = set(re.findall(r"\(NEEDED\).*\[(.+)\]", printed)) - names
        if absent:
            missing[path] = absent
    assert missing == {}


def test_the_ca_bundle_is_every_certificate_once(root_tree: Tree) -> None:
    bundle = root_tree[CA_BUNDLE]
    assert isinstance(bundle, File)
    certificates = bundle.data.split(b"-----BEGIN CERTIFICATE-----\n")[1:]
    assert len(certificates) == len(set(certificates)) > 100
    assert all(certificate.endswith(b"-----END CERTIFICATE-----\n") for certificate in certificates)


A_YEAR_AHEAD = ("faketime", "-f", "+1y")


@dataclass(frozen=True)
class Builder:
    """A checkout in ``folder``, on a machine with settings of its own."""

    folder: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]
    umask: int
    prefix: tuple[str, ...] = ()

    def __call__(self, module: str, *arguments: str) -> list[str]:
        """Run a build command; return its output lines."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-B", "-m", module, *self.arguments, *arguments],
            cwd=self.folder,
            env=self.environment,
            umask=self.umask,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


def a_year_ahead(folder: Path) -> str:
    """A PATH on which every build tool runs with its clock a year ahead, like the build itself."""
    folder.mkdir()
    for tool in ("uv", "dpkg-deb"):
        real = shutil.which(tool) or str(ROOT / ".uv" / "bin" / tool)
        (folder / tool).write_text(f'#!/bin/sh\nexec {" ".join(A_YEAR_AHEAD)} {real} "$@"\n')
        (folder / tool).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def builders(tmp_path: Path) -> tuple[Builder, Builder]:
    """Two checkouts and their machines, which differ in directory, umask, locale, time zone, clock, payee and keys; the
    second has no network.
    """
    daemon, blobs = tmp_path / "daemon", tmp_path / "blobs"
    daemon.write_bytes(b"stand-in")
    blobs.mkdir()
    for name in ("bzImage", "init", "nsm.ko", "cmdline"):
        (blobs / name).write_text(f"{name}\n")
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere" / "deep"
    for folder in (here, elsewhere):
        for part in ("nitro", "gateway", "tools/eif"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "uv.lock", "README.md", "tools/__init__.py", "tools/command_line.py"):
            shutil.copy(ROOT / part, folder / part)
    (elsewhere / ".env").write_text("OPENAI_API_KEY=sk-of-the-second-operator\n")
    plain = {**os.environ, "PATH": f"{ROOT}/.uv/bin:{os.environ['PATH']}"}
    other = {
        "PATH": a_year_ahead(tmp_path / "elsewhere" / "ahead"),
        "HOME": str(tmp_path),
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "7",
        "USER": "somebody",
        "SOURCE_DATE_EPOCH": "1",
        "UV_COMPILE_BYTECODE": "1",
        "EVM_PAYMENT_ADDRESS": "0x" + "1" * 40,
        "FACILITATOR_URL": "https://facilitator.example.org",
    }
    stand_in, inputs = ("--daemon", str(daemon)), str(Inputs().folder)
    return (
        Builder(here, (*stand_in, "--inputs", inputs), plain, 0o022),
        Builder(elsewhere, (*stand_in, "--offline", inputs), other, 0o077, A_YEAR_AHEAD),
    )


@pytest.mark.needs("faketime")
def test_two_builders_get_the_same_image(builders: tuple[Builder, Builder], root_tree: Tree) -> None:
    assert root_tree.size() < 150_000_000
    first, second = (builder("nitro.image") for builder in builders)
    assert first[-1].startswith("image sha256:")
    assert first == second
    told = builders[0]("nitro.image", "--list")
    assert told[-2:] == first[-2:]
    listing = (builders[0].folder / "build" / "image.files").read_text().splitlines()
    assert told[1:-2] == listing
    assert len(listing) == len(list(root_tree.entries()))
    assert f" bytes, {len(listing)} entries, listed in image.files" in first[-2]
    images = [(builder.folder / "build" / "image.tar").read_bytes() for builder in builders]
    assert images[0] == images[1]


@pytest.mark.needs("faketime")
def test_two_builders_get_the_same_registers(builders: tuple[Builder, Builder], tmp_path: Path) -> None:
    """With one kernel the whole file too: it depends on neither date nor machine."""
    first, second = (builder("nitro.eif", "--blobs", str(tmp_path / "blobs")) for builder in builders)
    assert [line.split()[0] for line in first[-4:]] == ["PCR0", "PCR1", "PCR2", "eif"]
    assert len({line.split()[1] for line in first[-4:]}) == 4
    assert first == second


@pytest.mark.needs("tar")
def test_the_archive_is_one_that_tar_reads(root_tree: Tree) -> None:
    done = subprocess.run(["tar", "--list"], input=layer_of(root_tree), capture_output=True, check=True)
    listed = done.stdout.decode().splitlines()
    assert [name.rstrip("/") for name in listed] == [path for path, _ in root_tree.entries()]
