"""The two ramdisks: nitro-cli's layout, and one second ramdisk for both ways to boot."""

import io
import shutil
from pathlib import Path

import pytest

from nitro import boot, ramdisks
from nitro.errors import BuildError
from nitro.inputs import Inputs
from nitro.ramdisks import application, bootstrap
from nitro.tree import Directory, File, Symlink, Tree
from tools.eif.cpio import directory, regular, symlink, write_cpio


def tree() -> Tree:
    root = Tree()
    root.add("bin/sh", Symlink("busybox"))
    root.add("bin/busybox", File(b"\x7fELF", 0o755))
    root.add("tmp", Directory(0o1777))
    return root


def test_the_first_ramdisk() -> None:
    assert list(bootstrap(b"\x7fELF", {})) == [directory("dev"), regular("init", b"\x7fELF", 0o755)]
    assert list(bootstrap(b"", {"nsm.ko": b"ko"}))[-1] == regular("nsm.ko", b"ko")


def test_the_second_ramdisk() -> None:
    assert list(application(tree(), ["/start", "-x"], {"PATH": "/bin", "LANG": "C"})) == [
        regular("cmd", b"/start\n-x\n"),
        regular("env", b"PATH=/bin\nLANG=C\n"),
        directory("rootfs"),
        directory("rootfs/bin"),
        regular("rootfs/bin/busybox", b"\x7fELF", 0o755),
        symlink("rootfs/bin/sh", "busybox"),
        directory("rootfs/tmp", 0o1777),
    ]


def test_both_are_archives() -> None:
    for entries in (bootstrap(b"init", {}), application(tree(), ["/start"], {})):
        archive = io.BytesIO()
        write_cpio(entries, archive)
        assert archive.getvalue().startswith(b"070701")


def test_the_recipe_of_nitro_cli_s_blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nitro.ramdisks.BUILD", tmp_path / "build")
    for name in ("bzImage", "init", "nsm.ko"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "cmdline").write_text("reboot=k panic=30\n")
    start = boot.nitro_cli(tmp_path)
    assert (start.recipe, start.cmdline, start.kernel) == (
        "nitro-cli-blobs",
        b"reboot=k panic=30",
        tmp_path / "bzImage",
    )
    assert set(start.digests) == {"boot", "bzImage", "cmdline", "init", "nsm.ko"}
    assert b"nsm.ko" in start.ramdisk.read_bytes()
    (tmp_path / "nsm.ko").unlink()
    with pytest.raises(BuildError, match=r"has no nitro-cli blobs: .*nsm\.ko"):
        boot.nitro_cli(tmp_path)


def test_our_own_recipe_wants_its_kernel_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "image_file", lambda _lock: tmp_path / "bzImage")
    with pytest.raises(BuildError, match="not compiled yet: make kernel"):
        boot.own(Inputs(tmp_path))
    assert set(boot.own_inputs()) == {"boot", "kernel recipe", "cmdline", "init source"}


def test_the_source_of_init_is_what_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(boot._INIT, tmp_path / "init")
    monkeypatch.setattr(boot, "_INIT", tmp_path / "init")
    before = boot.own_inputs()["init source"]
    (tmp_path / "init" / "more_test.go").write_text("package main\n")
    assert boot.own_inputs()["init source"] == before
    for name in ("main.go", "go.mod", "more.go"):
        (tmp_path / "init" / name).write_text("// another\n")
        after = boot.own_inputs()["init source"]
        assert after != before
        before = after


def test_the_layout_moves_with_the_way_of_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ramdisks.layout()
    assert ramdisks.layout() == before
    monkeypatch.setattr(ramdisks, "_lines", lambda words: "\n".join(words).encode())
    assert ramdisks.layout() != before
