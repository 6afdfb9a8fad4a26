"""Start the servers as processes on free ports, with logs in ``build/bench``."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.bench.process_cpu import pin

FOLDER = Path("build/bench")
START_SECONDS = 120.0


class StartError(Exception):
    """A server did not start; the message names it and its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """``url`` has no trailing slash. ``headers`` are sent by its clients."""

    name: str
    url: str
    pid: int
    headers: Mapping[str, str]


@contextmanager
def simulators() -> Iterator[tuple[Mapping[str, str], int]]:
    """The simulated vendors: a gateway environment with their URLs and keys, and their pid."""
    command = [sys.executable, "-m", "tools.simulators", "--json", "--serve-retired"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            pin(process.pid, measured=False)
            assert process.stdout is not None  # noqa: S101
            yield msgspec.json.decode(process.stdout.readline(), type=dict[str, str]), process.pid
        finally:
            _terminate(process)


@contextmanager
def serve(
    name: str, command: Sequence[str], environment: Mapping[str, str], *, measured: bool = True, pinned: bool = True
) -> Iterator[Server]:
    """Run ``command`` until the context exits; ``{port}`` in it and in ``environment`` is replaced by a free port."""
    port = _free_port()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            env={**os.environ, **{key: value.replace("{port}", str(port)) for key, value in environment.items()}},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        if pinned:
            pin(process.pid, measured=measured)
    try:
        _wait_until_listening(name, port, process)
        yield Server(name, f"http://127.0.0.1:{port}", process.pid, {})
    finally:
        _terminate(process)


def gateway(
    environment: Mapping[str, str], name: str = "gateway", settings: Mapping[str, str] = {}, *, pinned: bool = True
) -> AbstractContextManager[Server]:
    """The gateway, by default with one worker and payments off; ``settings`` override."""
    variables = {
        "API_SERVER_HOST": "127.0.0.1",
        "API_SERVER_PORT": "{port}",
        "GATEWAY_PAYMENTS": "off",
        "GATEWAY_WORKERS": "1",
        "GATEWAY_MAX_INFLIGHT": "4096",
        "GATEWAY_DRAIN_SECONDS": "1",
        **environment,
        **settings,
    }
    return serve(name, [sys.executable, "-m", "gateway"], variables, pinned=pinned)


def bare(environment: Mapping[str, str], name: str) -> AbstractContextManager[Server]:
    """``bare_proxy`` or ``bare_signer``."""
    bases = {
        name.removesuffix("_BASE_URL").lower(): url for name, url in environment.items() if name.endswith("_BASE_URL")
    }
    command = [sys.executable, "-m", f"tools.bench.{name}", "{port}"]
    return serve(name, command, {"UPSTREAMS": msgspec.json.encode(bases).decode()})


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_listening(name: str, port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise StartError(f"{name} did not start; its log is {FOLDER}/{name}.log")


def _terminate(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
