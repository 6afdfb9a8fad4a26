"""gateway.nsm against a device double that reads and writes the memory named by the ioctl, as the driver does."""

import ctypes
import errno
import fcntl
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cbor2
import pytest

from gateway.nsm import Nsm, NsmError
from tools.verify.double import AttestationDouble

Answer = Callable[[Any], Any]
DESCRIPTORS = Path("/proc/self/fd")
ENCLAVE = AttestationDouble()


def attests(request: Any, **changes: Any) -> Any:
    wanted = request["Attestation"]
    fields = ENCLAVE.fields(made=datetime.now(UTC)) | {key: wanted[key] for key in ("nonce", "user_data")} | changes
    return {"Attestation": {"document": ENCLAVE.sign(fields)}}


class Device:
    """The driver's side of NSM_IOCTL_RAW, and the messages received."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.messages: list[Any] = []

    def ioctl(self, _descriptor: int, command: int, raw: bytearray, mutate: bool) -> int:
        assert (command, mutate, len(raw)) == (0xC0200A00, True, 32)
        request, request_length, response, room = struct.unpack("=QQQQ", raw)
        self.messages.append(cbor2.loads(ctypes.string_at(request, request_length)))
        answer = self.answer(self.messages[-1])
        encoded = answer if isinstance(answer, bytes) else cbor2.dumps(answer)
        assert len(encoded) <= room == 0x3000
        ctypes.memmove(response, encoded, len(encoded))
        raw[24:] = struct.pack("=Q", len(encoded))
        return 0


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Answer], tuple[Nsm, Device]]:
    path = tmp_path / "nsm"
    path.touch()

    def install(answer: Answer) -> tuple[Nsm, Device]:
        device = Device(answer)
        monkeypatch.setattr(fcntl, "ioctl", device.ioctl)
        return Nsm(path), device

    return install


def test_the_time_is_the_documents_in_seconds(use: Callable[[Answer], tuple[Nsm, Device]]) -> None:
    nsm, device = use(lambda request: attests(request, timestamp=1_795_000_000_250))
    assert nsm.time() == 1_795_000_000.25
    [message] = device.messages
    assert message["Attestation"].keys() == {"nonce", "user_data", "public_key"}
    assert (message["Attestation"]["user_data"], message["Attestation"]["public_key"]) == (None, None)


def test_the_time_is_asked_with_a_nonce_of_its_own(use: Callable[[Answer], tuple[Nsm, Device]]) -> None:
    nsm, device = use(attests)
    for _ in range(2):
        assert nsm.time() == pytest.approx(time.time(), abs=2)
    nonces = [message["Attestation"]["nonce"] for message in device.messages]
    assert len(set(nonces)) == 2
    assert {len(nonce) for nonce in nonces} == {20}


def test_no_descriptor_is_left_open(use: Callable[[Answer], tuple[Nsm, Device]]) -> None:
    nsm, _ = use(attests)
    before = [*DESCRIPTORS.iterdir()]
    nsm.time()
    assert [*DESCRIPTORS.iterdir()] == before


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: {"Error": "InvalidArgument"}, "Attestation: InvalidArgument"),
        (lambda _: "DescribeNSM", "does not match the request Attestation"),
        (lambda _: {"Attestation": None}, "does not match the request Attestation"),
        (lambda _: b"\x81", "not CBOR"),
        (lambda _: b"", "not CBOR"),
        (lambda _: {"Attestation": {}}, "no document"),
        (lambda _: {"Attestation": {"document": b"\xff"}}, "document is not CBOR"),
        (lambda _: {"Attestation": {"document": cbor2.dumps([b"", {}, b"\xa0"])}}, "no payload"),
        (lambda _: {"Attestation": {"document": cbor2.dumps([b"", {}, b"\x01", b""])}}, "no payload"),
        (lambda request: attests(request, nonce=b"stale"), "another nonce"),
        (lambda request: attests(request, timestamp=True), "no timestamp"),
        (lambda request: attests(request, timestamp="1"), "no timestamp"),
    ],
)
def test_answers_that_are_none(use: Callable[[Answer], tuple[Nsm, Device]], answer: Answer, reason: str) -> None:
    nsm, _ = use(answer)
    with pytest.raises(NsmError, match=reason):
        nsm.time()


def test_a_device_that_is_no_nsm(tmp_path: Path) -> None:
    with pytest.raises(NsmError, match="No such file"):
        Nsm(tmp_path / "absent").time()
    (tmp_path / "file").touch()
    with pytest.raises(NsmError, match="Inappropriate ioctl") as raised:
        Nsm(tmp_path / "file").time()
    assert isinstance(raised.value.__cause__, OSError)
    assert raised.value.__cause__.errno == errno.ENOTTY
