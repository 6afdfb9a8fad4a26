"""nitro/start.sh with stand-ins for its two processes: it starts both, and if either exits, the other is ended.

Uses the machine's own sh: the enclave's busybox prefers its built-in start-stop-daemon to any stand-in.
"""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "nitro" / "start.sh"
DRAINS = "while :; do sleep 0.05; done"
STAYS = "exec sleep 60"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the script with stand-ins for nitriding and the gateway, each a few lines of shell."""
    processes = []
    (tmp_path / "bin").mkdir()
    (tmp_path / "notes").mkdir()

    def begin(*, nitriding: str = STAYS, gateway: str = DRAINS) -> subprocess.Popen[str]:
        on_term = """trap 'echo drained >>"$NOTES/gateway"; exit 0' TERM"""
        for name, command, ready, does in (
            ("nitriding", "nitriding", "", nitriding),
            ("gateway", "start-stop-daemon", on_term, gateway),
        ):
            path = tmp_path / "bin" / command
            path.write_text(f'#!/bin/sh\n{ready}\necho "$$ $*" >"$NOTES/{name}"\n{does}\n')
            path.chmod(0o755)
        process = subprocess.Popen(
            ["sh", str(SCRIPT)],
            env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NOTES": str(tmp_path / "notes")},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def noted(notes: Path, name: str) -> tuple[int, str]:
    """The process id and arguments of a stand-in, once it runs."""
    for _ in range(200):
        if (notes / name).exists() and (text := (notes / name).read_text()).endswith("\n"):
            pid, _, arguments = text.splitlines()[0].partition(" ")
            return int(pid), arguments
        time.sleep(0.05)
    raise AssertionError(f"{name} was not started")


def gone(pid: int) -> bool:
    for _ in range(200):
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_the_flags_of_the_two_processes(start: Start, tmp_path: Path) -> None:
    start()
    _, daemon = noted(tmp_path / "notes", "nitriding")
    assert daemon == (
        "-fqdn tee-gateway.internal -appwebsrv http://127.0.0.1:8000 -ext-pub-port 443 -intport 8080 -wait-for-app"
    )
    _, gateway = noted(tmp_path / "notes", "gateway")
    assert gateway == "-S -c gateway:gateway -x /usr/bin/python3 -- -I -B -m gateway"


def test_both_may_open_more_files_than_the_kernel_gives(start: Start, tmp_path: Path) -> None:
    """As far as it is allowed: a container's root may not raise its limit, and starts all the same."""
    refused = subprocess.run(["sh", "-c", "ulimit -n 16384"], stderr=subprocess.DEVNULL, check=False).returncode
    start()
    for name in ("nitriding", "gateway"):
        process, _ = noted(tmp_path / "notes", name)
        limits = resource.prlimit(process, resource.RLIMIT_NOFILE)
        assert limits == (resource.getrlimit(resource.RLIMIT_NOFILE) if refused else (16384, 16384))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_gateway_and_ends_the_daemon(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    process = start()
    daemon, _ = noted(tmp_path / "notes", "nitriding")
    noted(tmp_path / "notes", "gateway")
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "gateway ended with status 0" in errors
    assert "drained" in (tmp_path / "notes" / "gateway").read_text()
    assert gone(daemon)


def test_a_gateway_that_fails_takes_the_daemon_along(start: Start, tmp_path: Path) -> None:
    process = start(gateway="sleep 0.3; exit 7")
    daemon, _ = noted(tmp_path / "notes", "nitriding")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 7
    assert "gateway ended with status 7" in errors
    assert gone(daemon)


def test_a_daemon_that_ends_drains_the_gateway(start: Start, tmp_path: Path) -> None:
    process = start(nitriding="sleep 0.3; exit 3")
    gateway, _ = noted(tmp_path / "notes", "gateway")
    _, errors = process.communicate(timeout=20)
    assert "nitriding ended with status 3" in errors
    assert "drained" in (tmp_path / "notes" / "gateway").read_text()
    assert gone(gateway)


def test_it_sleeps_nowhere() -> None:
    assert "sleep" not in SCRIPT.read_text()
