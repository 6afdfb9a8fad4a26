"""An emulated enclave: vsock device, gvproxy and QEMU as processes, and the console's output."""

import asyncio
import json
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp.test_utils import unused_port

from tests.enclave_boot.parent import Parent
from tests.enclave_boot.paths import EIF, FIRMWARE, GVPROXY, QEMU, ROOT, VSOCK, in_root

CID, CPUS, MEMORY_MIB = 4, 2, 3072
GVPROXY_PORT = 1024
ENCLAVE_ADDRESS = "192.168.127.2"
PUBLIC_PORT, HOST_PORT = 443, 8000
STEP_SECONDS = 20.0
"""For one of the programs to open its socket."""


class MachineError(Exception):
    """A program of the emulation exited or did not become ready in time."""


@dataclass
class Machine:
    """Runs inside ``async with``. Sockets and logs are in ``folder``, whose path must be short.

    ``public_url`` leads to port 443 of the enclave, ``host_url`` to port 8000 of its TAP address, both through gvproxy.
    """

    folder: Path
    parent: Parent
    eif: Path = EIF
    public_url: str = ""
    host_url: str = ""

    @property
    def console(self) -> str:
        """The output of kernel, init, stand-in and gateway so far."""
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._processes: list[Process] = []
            stack.push_async_callback(self._stop)
            device, control = self.folder / "device.sock", self.folder / "gvproxy.sock"
            await self._start("vsock", vsock_command(self.parent.vsock, device), until=device)
            await self._start("gvproxy", gvproxy_command(self.parent.socket(GVPROXY_PORT), control), until=control)
            public, host = unused_port(), unused_port()
            await expose(control, public, PUBLIC_PORT)
            await expose(control, host, HOST_PORT)
            self.public_url, self.host_url = f"https://127.0.0.1:{public}", f"http://127.0.0.1:{host}"
            await self._start("console", qemu_command(self.eif, device))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    def check(self) -> None:
        """Raises MachineError if a program has exited."""
        for process in self._processes:
            if process.returncode is not None:
                raise MachineError(f"a program of the emulation ended with {process.returncode}")

    async def _start(self, name: str, command: Sequence[str | Path], *, until: Path | None = None) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=log, stderr=STDOUT)
        self._processes.append(process)
        async with asyncio.timeout(STEP_SECONDS):
            while until is not None and not until.exists():
                self.check()
                await asyncio.sleep(0.05)

    async def _stop(self) -> None:
        for process in reversed(self._processes):
            if process.returncode is None:
                process.kill()
            await process.wait()


def vsock_command(sockets: Path, device: Path) -> Sequence[str | Path]:
    return [VSOCK, "--guest-cid", str(CID), "--uds-path", sockets, "--socket", device]


def gvproxy_command(vsock: Path, control: Path, root: Path = ROOT) -> Sequence[str | Path]:
    """Both sockets serve the same API. SSH forwarding, on by default, is moved to an unused port."""
    program = root / GVPROXY.relative_to(ROOT)
    return [*in_root(program, root), "-listen", f"unix://{vsock}", "-listen", f"unix://{control}", "-ssh-port", "-1"]


def qemu_command(eif: Path, device: Path) -> Sequence[str | Path]:
    """Uses QEMU's most capable emulated CPU: KVM may not be available."""
    return [
        *("nice", *in_root(QEMU)),
        *("-machine", "nitro-enclave,vsock=vsock,id=i-emulated-enc0", "-accel", "tcg", "-cpu", "max"),
        *("-kernel", eif, "-m", f"{MEMORY_MIB}M", "-smp", str(CPUS)),
        *("-chardev", f"socket,id=vsock,path={device}"),
        *(word for folder in FIRMWARE for word in ("-L", folder)),
        *("-nographic", "-monitor", "none", "-serial", "stdio"),
    ]


async def expose(control: Path, local: int, port: int) -> None:
    """Have gvproxy forward a loopback port of this machine to the enclave."""
    forward = {"local": f"127.0.0.1:{local}", "remote": f"{ENCLAVE_ADDRESS}:{port}"}
    connector = aiohttp.UnixConnector(str(control))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post("http://gvproxy/services/forwarder/expose", data=json.dumps(forward)) as answer,
    ):
        if answer.status != 200:
            raise MachineError(f"gvproxy does not forward to port {port}: {answer.status}")
