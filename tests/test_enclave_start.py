"""Startup inside an enclave: daemon, port, key hash, ready, in that order or not at all."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from gateway.catalog import Catalog
from gateway.listeners import Audience, Listener, listeners
from gateway.nitriding import Nitriding, NitridingError
from gateway.settings import Settings
from gateway.signing import Signer
from tests.enclave import enclave
from tests.faults.raw_upstream import answering, http
from tests.nitriding_double import NitridingDouble
from tests.waiting import until

KEYS = {"openai_api_key": "sk-secret"}


@pytest.fixture(autouse=True)
def host_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.listeners.HOST_LINK_PEER", "127.0.0.1")


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[NitridingDouble]:
    async with NitridingDouble(tmp_path) as running:
        yield running


async def test_the_whole_start(daemon: NitridingDouble, signer: Signer, catalog: Catalog) -> None:
    async with enclave(daemon, signer, catalog) as inside, aiohttp.ClientSession() as session:
        assert daemon.calls == ["hash", "ready"]
        assert daemon.key_hash == hashlib.sha256(signer.public_der).digest()
        async with session.get(daemon.public_url + "/health", ssl=False) as response:
            assert (await response.json())["tee_enabled"] is True
        async with session.get(inside.host_url + "/signing-key") as response:
            assert (await response.json())["tee_id"] == signer.tee_id


async def test_keys_come_over_the_host_link_only(daemon: NitridingDouble, signer: Signer, catalog: Catalog) -> None:
    async with enclave(daemon, signer, catalog) as inside, aiohttp.ClientSession() as session:
        for url in (daemon.public_url, inside.proxied_url):
            for body in (KEYS, {"sealed": "AAAA"}, "no JSON at all"):
                async with session.post(url + "/v1/keys", json=body, ssl=False) as response:
                    assert response.status == 403, (url, body)
            async with session.get(url + "/v1/keys/sealing-key", ssl=False) as response:
                assert response.status == 200
        async with session.post(inside.host_url + "/v1/keys", json=KEYS, headers={"Via": "1.1 x"}) as response:
            assert response.status == 403
        async with session.post(inside.host_url + "/v1/keys", json=KEYS) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("fault", "error", "calls"),
    [
        ({"hash_status": 400}, "/enclave/hash returned 400", ["hash"]),
        ({"hash_status": 500}, "/enclave/hash after", ["hash"]),
        ({"ready_status": 404}, "/enclave/ready returned 404", ["hash", "ready"]),
        ({"ready_status": 500}, "/enclave/ready: 500", ["hash", "ready"]),
    ],
)
async def test_a_daemon_that_does_not_vouch_ends_the_start(
    daemon: NitridingDouble,
    signer: Signer,
    catalog: Catalog,
    fault: dict[str, int],
    error: str,
    calls: list[str],
) -> None:
    for name, value in fault.items():
        setattr(daemon, name, value)
    with pytest.raises(NitridingError, match=error):
        async with enclave(daemon, signer, catalog, timeout=0.05):
            raise AssertionError("served without being vouched for")
    assert sorted({*daemon.calls}) == calls
    assert daemon.public_url == ""


async def test_nothing_is_bound_before_the_daemon_is_there(tmp_path: Path, signer: Signer, catalog: Catalog) -> None:
    daemon = NitridingDouble(tmp_path, internal_url=f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(NitridingError, match="/enclave/hash"):
        async with enclave(daemon, signer, catalog, timeout=0.05):
            raise AssertionError("served without a daemon")


@pytest.mark.parametrize(
    "answer", [b"no HTTP\r\n\r\n", http(500, b"two\nlines"), http(404, b"two\nlines")], ids=["garbage", "500", "404"]
)
async def test_a_stranger_in_the_daemons_place_is_described_in_one_line(answer: bytes) -> None:
    async with answering(answer) as url, aiohttp.ClientSession() as session:
        with pytest.raises(NitridingError) as raised:
            await Nitriding(session, url, timeout=0.05).register_key(b"")
    assert "\n" not in str(raised.value)


def test_without_an_enclave_nothing_is_claimed() -> None:
    settings = Settings(host="127.0.0.1", port=8000)
    assert listeners(settings) == [Listener("127.0.0.1", 8000, Audience.LOCAL)]
    assert listeners(Settings(enclave=True)) == [
        Listener("127.0.0.1", 8000, Audience.PUBLIC),
        Listener("192.168.127.2", 8000, Audience.HOST),
    ]


# `python -m gateway` in a pretended enclave: a file for the NSM, loopback for the tap device, another internal port.
PRETEND = """
import sys
from pathlib import Path
import gateway.settings
gateway.settings.NSM_DEVICE = Path(sys.argv[1])
import gateway.nitriding
gateway.nitriding.Nitriding.__init__.__defaults__ = (sys.argv[2],)
gateway.nitriding.Nitriding.__init__.__kwdefaults__["timeout"] = 0.3
import gateway.__main__
import gateway.listeners
gateway.listeners.ENCLAVE_ADDRESS = "127.0.0.2"
sys.exit(gateway.__main__.main())
"""


async def launch(tmp_path: Path, internal_url: str) -> tuple[asyncio.subprocess.Process, int]:
    (tmp_path / "nsm").touch()
    port = unused_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", PRETEND, str(tmp_path / "nsm"), internal_url),
        env={"API_SERVER_PORT": str(port), "PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
    )
    return process, port


async def test_the_process_enters_service_and_leaves(daemon: NitridingDouble, tmp_path: Path) -> None:
    process, port = await launch(tmp_path, daemon.internal_url)
    daemon.application = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            await until(lambda: daemon.public_url)
            async with session.get(daemon.public_url + "/health", ssl=False) as response:
                assert (await response.json())["tee_enabled"] is True
            async with session.get(daemon.public_url + "/health/ready", ssl=False) as response:
                reasons = (await response.json())["reasons"]
            assert response.status == 503
            assert "the clock has no source: the NSM has not returned the time yet" in reasons
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("fault", ["absent", "refuses"])
async def test_the_process_ends_with_one_line_when_it_is_not_vouched_for(
    daemon: NitridingDouble, tmp_path: Path, fault: str
) -> None:
    daemon.hash_status = 400
    url = daemon.internal_url if fault == "refuses" else f"http://127.0.0.1:{unused_port()}"
    process, _ = await launch(tmp_path, url)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 3
    [line] = [line for line in errors.decode().splitlines() if not line.startswith("{")]
    assert line.startswith("gateway: cannot enter service: ")
    assert ("POST /enclave/hash returned 400" in line) is (fault == "refuses")
    assert daemon.public_url == ""
