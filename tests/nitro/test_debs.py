"""Locked Debian packages, from packages built here, a fake mirror and a local archive."""

import hashlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nitro.debs.__main__ import changes, main
from nitro.debs.fetch import fetch
from nitro.debs.lock import LOCK_FILE, Deb, Lock
from nitro.debs.resolve import KERNEL, ROOTFS, resolve
from nitro.debs.unpack import contents
from nitro.errors import BuildError
from nitro.inputs import Inputs
from nitro.tree import Directory, File, Symlink

pytestmark = pytest.mark.needs("dpkg-deb")


@pytest.fixture
def deb_file(tmp_path: Path) -> Path:
    """hello 1:2.0-1: a set-uid program, a hard link, a symlink, and a maintainer script that must not run."""
    root = tmp_path / "hello"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: hello\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n"
        "Description: made for a test\n"
    )
    (root / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'ran'))}\n")
    (root / "DEBIAN" / "postinst").chmod(0o755)
    (root / "usr" / "bin").mkdir(parents=True)
    program = root / "usr" / "bin" / "hello"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o4755)
    (root / "usr" / "bin" / "hallo").hardlink_to(program)
    (root / "usr" / "bin" / "hi").symlink_to("hello")
    for folder in (root, root / "DEBIAN", root / "usr", root / "usr" / "bin"):
        folder.chmod(0o755)
    made = tmp_path / "made.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(root), str(made)], check=True, capture_output=True)
    return made


@pytest.fixture
def deb(deb_file: Path) -> Deb:
    content = deb_file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Deb("hello", "1:2.0-1", "all", len(content), digest, "debian/20261123T060000Z/pool/h/hello.deb")


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path / "inputs")


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake apt-get that serves every file of this folder; an empty folder has no packages."""
    offered = tmp_path / "mirror"
    offered.mkdir()
    commands = tmp_path / "bin"
    commands.mkdir()
    files = f"{shlex.quote(str(offered))}/*"
    (commands / "apt-get").write_text(
        f'#!/bin/sh\ncp {files} . 2>/dev/null || {{ echo "E: Unable to locate package" >&2; exit 100; }}\n'
    )
    (commands / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return offered


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "archive"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_mirror_comes_first_and_is_kept(deb: Deb, deb_file: Path, inputs: Inputs, mirror: Path) -> None:
    shutil.copy(deb_file, mirror / "hello.deb")
    lock = Lock("http://127.0.0.1:9", {"rootfs": (deb,)})
    (first,) = fetch(lock, "rootfs", inputs)
    assert first == inputs.debs / "hello_1%3a2.0-1_all.deb"
    (mirror / "hello.deb").unlink()
    assert fetch(lock, "rootfs", inputs) == [first]


@pytest.mark.parametrize("offered", [b"", b"another build of the same version"])
def test_the_dated_archive_steps_in(
    deb: Deb, deb_file: Path, inputs: Inputs, mirror: Path, archive: tuple[Path, str], offered: bytes
) -> None:
    if offered:
        (mirror / "hello.deb").write_bytes(offered)
    place = archive[0] / deb.location
    place.parent.mkdir(parents=True)
    shutil.copy(deb_file, place)
    (got,) = fetch(Lock(archive[1], {"rootfs": (deb,)}), "rootfs", inputs)
    assert got.read_bytes() == deb_file.read_bytes()


def test_a_vanished_package_fails_by_name(deb: Deb, inputs: Inputs, mirror: Path, archive: tuple[Path, str]) -> None:
    assert not list(mirror.iterdir())
    with pytest.raises(
        BuildError, match=r"hello 1:2\.0-1 cannot be fetched as locked; mirror: .*Unable to locate.*; archive: .*404"
    ):
        fetch(Lock(archive[1], {"rootfs": (deb,)}), "rootfs", inputs)
    assert not inputs.debs.exists()


def test_an_archive_that_does_not_speak_http_fails_by_name(deb: Deb, inputs: Inputs, mirror: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as archive:

        def answer() -> None:
            connection, _ = archive.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BuildError, match=r"archive: BadStatusLine SSH-2\.0-x"):
            fetch(Lock(f"http://127.0.0.1:{archive.getsockname()[1]}", {"rootfs": (deb,)}), "rootfs", inputs)
        thread.join()


def test_changed_bytes_fail_by_name(deb: Deb, deb_file: Path, inputs: Inputs, mirror: Path) -> None:
    shutil.copy(deb_file, mirror / "hello.deb")
    lock = Lock("http://127.0.0.1:9", {"rootfs": (replace(deb, sha256="0" * 64),)})
    with pytest.raises(BuildError, match=rf"hello 1:2\.0-1 has SHA-256 {deb.sha256}, expected 0000"):
        fetch(lock, "rootfs", inputs)
    with pytest.raises(BuildError, match=r"bytes, expected 1 as locked;"):
        fetch(Lock("http://127.0.0.1:9", {"rootfs": (replace(deb, size=1),)}), "rootfs", inputs)


def test_a_kept_file_is_verified_too(deb: Deb, inputs: Inputs, mirror: Path) -> None:
    inputs.debs.mkdir(parents=True)
    (inputs.debs / deb.file_name).write_bytes(b"tampered with")
    with pytest.raises(BuildError, match=r"hello 1:2\.0-1 has 13 bytes"):
        fetch(Lock("", {"rootfs": (deb,)}), "rootfs", inputs)


def test_offline_fetches_nothing(deb: Deb, deb_file: Path, inputs: Inputs, mirror: Path) -> None:
    shutil.copy(deb_file, mirror / "hello.deb")
    lock = Lock("", {"rootfs": (deb,)})
    with pytest.raises(BuildError, match=r"hello 1:2\.0-1: hello_1%3a2\.0-1_all\.deb is not in debs/ of the offline"):
        fetch(lock, "rootfs", replace(inputs, offline=True))
    fetch(lock, "rootfs", inputs)
    assert fetch(lock, "rootfs", replace(inputs, offline=True))


def test_contents_without_scripts_owners_or_set_uid(deb_file: Path, tmp_path: Path) -> None:
    assert dict(contents(deb_file)) == {
        "usr": Directory(0o755),
        "usr/bin": Directory(0o755),
        "usr/bin/hello": File(b"#!/bin/sh\n", 0o755),
        "usr/bin/hallo": File(b"#!/bin/sh\n", 0o755),
        "usr/bin/hi": Symlink("hello"),
    }
    assert not (tmp_path / "ran").exists()


def test_what_is_no_deb_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"!<arch>\n")
    with pytest.raises(BuildError, match="dpkg-deb --fsys-tarfile"):
        list(contents(tmp_path / "x.deb"))


def test_a_lock_survives_being_saved(deb: Deb, tmp_path: Path) -> None:
    lock = Lock("https://archive.example.org", {"rootfs": (deb,), "kernel": ()})
    lock.save(tmp_path / "lock")
    assert Lock.load(tmp_path / "lock") == lock


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"archive": "", "sets": {"rootfs": [{"package": "x"}]}}'])
def test_a_broken_lock_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with pytest.raises(BuildError, match="lock is not a package lock"):
        Lock.load(tmp_path / "lock")


def test_the_digest_is_of_what_is_built_in_not_of_where_it_came_from(deb: Deb) -> None:
    moved, changed = replace(deb, location="elsewhere"), replace(deb, sha256="0" * 64)
    digests = [Lock("", {"rootfs": (each,)}).digest("rootfs") for each in (deb, moved, changed)]
    assert digests[0] == digests[1] != digests[2]


def test_changes_name_what_moved(deb: Deb) -> None:
    newer, other = replace(deb, version="1:2.0-2", sha256="1" * 64), replace(deb, package="other")
    before, after = Lock("", {"rootfs": (deb, other)}), Lock("", {"rootfs": (newer,), "kernel": (deb,)})
    assert changes(before, after) == [
        "rootfs hello 1:2.0-1 -> 1:2.0-2",
        "rootfs other 1:2.0-1 -> -",
        "kernel hello - -> 1:2.0-1",
    ]
    assert changes(after, after) == []


def test_a_broken_lock_is_not_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lock").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["debs", "lock", "--file", str(tmp_path / "lock")])
    assert main() == 1
    assert capsys.readouterr().err == "lock-debs: lock is not a package lock: 'sets'\n"


def test_resolving_reads_what_apt_offers(tmp_path: Path, mirror: Path) -> None:
    pool = "http://mirror.example.org/debian-security/pool/main"
    digest = "a" * 64
    lines = [
        f"'{pool}/h/{name}/{name}_2%2bb1_amd64.deb' {name}_1%3a2+b1_amd64.deb 7 SHA256:{digest}"
        for name in (*KERNEL, *ROOTFS)
    ]
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    (tmp_path / "empty").touch()
    lock = resolve("20261123T060000Z", tmp_path / "empty")
    deb = next(deb for deb in lock.sets["kernel"] if deb.package == "bison")
    assert deb == Deb(
        "bison",
        "1:2+b1",
        "amd64",
        7,
        digest,
        "debian-security/20261123T060000Z/pool/main/h/bison/bison_2+b1_amd64.deb",
    )
    apt.write_text("#!/bin/sh\n")
    with pytest.raises(BuildError, match=rf"apt-get offers 0 of {len(KERNEL)} packages"):
        resolve("20261123T060000Z", tmp_path / "empty")


def test_the_committed_lock_is_complete() -> None:
    lock = Lock.load(LOCK_FILE)
    assert {deb.package for deb in lock.sets["rootfs"]} == set(ROOTFS)
    assert {deb.package for deb in lock.sets["kernel"]} >= set(KERNEL)
    for deb in (*lock.sets["rootfs"], *lock.sets["kernel"]):
        assert re.fullmatch("[0-9a-f]{64}", deb.sha256)
        assert re.match(r"debian(-security)?/\d{8}T\d{6}Z/pool/", deb.location)
        assert deb.location.endswith(".deb")
