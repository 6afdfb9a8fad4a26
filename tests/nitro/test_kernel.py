"""The kernel's cache key, and required and forbidden configuration options."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nitro.command import run
from nitro.debs.lock import Lock
from nitro.inputs import Inputs
from nitro.kernel import build
from nitro.kernel.__main__ import main
from nitro.kernel.build import CACHE, HERE, cached, key

# Facts 3.4: devices come by virtio_mmio.device= on the command line, and nothing else finds them.
NEEDED = {"NSM", "TUN", "VIRTIO_MMIO_CMDLINE_DEVICES", "VIRTIO_VSOCKETS", "BLK_DEV_INITRD", "SERIAL_8250_CONSOLE"}
REFUSED = {"MODULES", "DEVMEM", "BPF_SYSCALL", "KEXEC", "USER_NS", "IO_URING", "IA32_EMULATION", "HIBERNATION"}
# Does nothing without retbleed=stuff on the command line.
UNUSED = {"MITIGATION_CALL_DEPTH_TRACKING"}


@pytest.mark.parametrize("name", ["enclave.config", "compile.sh"])
def test_the_key_follows_configuration_and_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lock = Lock.load()
    before = key(lock)
    for file in ("enclave.config", "compile.sh"):
        shutil.copy(HERE / file, tmp_path / file)
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert key(lock) == before
    (tmp_path / name).write_text((tmp_path / name).read_text() + "\n")
    assert key(lock) != before


def test_the_key_follows_the_compiler_and_not_the_image() -> None:
    lock = Lock.load()
    other = replace(lock.sets["kernel"][0], sha256="0" * 64)
    assert key(Lock(lock.archive, {**lock.sets, "rootfs": ()})) == key(lock)
    assert key(Lock(lock.archive, {**lock.sets, "kernel": (other, *lock.sets["kernel"][1:])})) != key(lock)


def test_a_compiled_kernel_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CACHE", tmp_path)
    lock = Lock.load()
    assert cached(lock) is None
    (tmp_path / key(lock)).mkdir()
    (tmp_path / key(lock) / "bzImage").write_bytes(b"kernel")
    kernel = cached(lock)
    assert kernel is not None
    assert (kernel.key, kernel.image) == (key(lock), b"kernel")


def test_a_compiled_kernel_is_stored_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def unpack(_debs: list[Path], root: Path) -> None:
        boot = root / "src/linux/arch/x86/boot"
        boot.mkdir(parents=True)
        (root / "src/linux/.config").write_text("CONFIG_NSM=y")
        (boot / "bzImage").write_bytes(b"kernel")
        compiled.append((boot / "bzImage").stat().st_ino)

    monkeypatch.setattr(build, "CACHE", tmp_path / "kernel")
    for name, double in (("fetch", lambda *_: []), ("unpack", unpack), ("run", lambda _: b"")):
        monkeypatch.setattr(build, name, double)
    for _ in range(2):
        assert build.build(Inputs(tmp_path), jobs=1) == cached(Lock.load())
        assert build.image_file(Lock.load()).stat().st_ino == compiled[-1], "moved, not copied"
    [kept] = (tmp_path / "kernel").iterdir()
    assert {file.name for file in kept.iterdir()} == {"bzImage", "config"}


def test_no_jobs_are_refused_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kernel", "--jobs", "0"])
    monkeypatch.setattr("nitro.kernel.__main__.build", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--jobs must be at least 1" in capsys.readouterr().err


def test_a_command_in_the_build_root_with_an_ordinary_user_s_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("MAKEFLAGS", "-n")
    command = build._chroot(Path("/"))
    *unshare, _, _, _, _ = command
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    assert run([*command, "/usr/bin/env"]) == b""


def test_the_configuration_has_what_an_enclave_needs_and_nothing_it_must_not() -> None:
    wanted = dict(re.findall(r"^CONFIG_(\w+)=(.+)$", (HERE / "enclave.config").read_text(), re.MULTILINE))
    assert set(wanted) >= NEEDED
    assert not set(wanted) & REFUSED
    assert {wanted[name] for name in NEEDED} == {"y"}


def test_no_mitigation_of_the_source_is_left_out() -> None:
    """Each has an option of its own, which is on by default and off in allnoconfig."""
    config = CACHE / key(Lock.load()) / "config"
    if not config.exists():
        pytest.skip("the kernel is not compiled here: make kernel")
    off = re.findall(r"^# CONFIG_(MITIGATION_\w+) is not set$", config.read_text(), re.MULTILINE)
    assert set(off) == UNUSED


def test_the_command_line_is_one_line_without_devices() -> None:
    text = (HERE / "cmdline").read_text()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "console=ttyS0" in text
    assert "virtio_mmio.device" not in text
