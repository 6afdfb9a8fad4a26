"""nitriding itself, built from its pinned commit, as a process in debug mode, which needs no NSM and attests nothing.

``program`` skips where the Go module proxy does not serve the commit. What tests ask of the daemon they ask as well of
``NitridingDouble`` and of the stand-in that the enclave is booted with, which is a Go program with Go's reverse proxy:
so they are known to be right where the daemon cannot be had.
"""

import asyncio
import ssl
from asyncio.subprocess import DEVNULL
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from nitro import golang
from nitro.errors import BuildError
from nitro.image import daemon
from nitro.inputs import Inputs

HOST = "127.0.0.1"
STAND_IN = Path(__file__).parent / "enclave_boot" / "standin"
STEP_SECONDS = 20.0
NOT_SERVED = ("403 Forbidden", "404 Not Found")


class Daemon(Protocol):
    """The daemon in front of the gateway. ``application`` is the URL it proxies to, which may not be known yet."""

    application: str
    internal_url: str
    public_url: str


def program(folder: Path) -> Path:
    """The daemon's executable; skipped with Go's error where the module proxy does not serve its commit."""
    try:
        content = daemon.build(Inputs())
    except BuildError as error:
        if not any(words in str(error) for words in NOT_SERVED):
            raise
        pytest.skip(f"nitriding cannot be had: {error}")
    path = folder / "nitriding"
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def stand_in(folder: Path) -> Path:
    """The Go program that replaces nitriding where it cannot be built."""
    return golang.build(STAND_IN, folder / "standin", Inputs())


@dataclass
class NitridingDaemon:
    """Runs inside ``async with``. The application need not listen yet; without a URL its port is chosen here."""

    program: Path
    application: str = ""
    internal_url: str = ""
    public_url: str = ""

    async def __aenter__(self) -> Self:
        ports = {name: unused_port() for name in ("ext-pub-port", "ext-priv-port", "intport")}
        self.application = self.application or f"http://{HOST}:{unused_port()}"
        self.internal_url = f"http://{HOST}:{ports['intport']}"
        self.public_url = f"https://{HOST}:{ports['ext-pub-port']}"
        flags = ("-fqdn", "tee-gateway.internal", "-appwebsrv", self.application, "-wait-for-app", "-debug")
        self._process = await asyncio.create_subprocess_exec(
            self.program,
            *(*flags, *(word for name, port in ports.items() for word in (f"-{name}", str(port)))),
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


async def opened(daemon: Daemon) -> tuple[str, bytes]:
    """Report the application as ready; return the public URL and the DER of the certificate served there."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(STEP_SECONDS):
        while True:
            try:
                async with session.get(f"{daemon.internal_url}/enclave/ready") as answer:
                    assert answer.status == 200
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
    return daemon.public_url, await served_certificate(daemon.public_url)


async def served_certificate(url: str) -> bytes:
    """The DER of the certificate at an https URL, unverified; waits until the port is open."""
    where = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with asyncio.timeout(STEP_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection(where.hostname, where.port, ssl=context)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
    connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True)
    writer.close()
    assert certificate is not None
    return certificate


def pinning(certificate: bytes) -> ssl.SSLContext:
    """An SSL context that trusts one certificate (DER), whatever the host name."""
    context = ssl.create_default_context(cadata=certificate)
    context.check_hostname = False
    return context
