"""Run in its own network namespace: the enclave's end of gvproxy, as nitriding sets it up, with a gateway behind it.

Arguments: gvproxy's Unix socket, the port of the journal's sink on the host's loopback. Prints a line when it serves,
and exits when its standard input closes.
"""

import asyncio
import fcntl
import os
import socket
import struct
import sys
import threading
from dataclasses import replace

import aiohttp

from gateway import deferred_payments
from gateway.billing.storage.sink import HttpSink
from gateway.catalog import bundled
from gateway.composition import compose
from gateway.listeners import ENCLAVE_ADDRESS, listeners
from gateway.server import GatewayServer
from gateway.settings import Settings

TUNSETIFF, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFHWADDR = 0x400454CA, 0x8914, 0x8916, 0x891C, 0x8924
TAP_WITHOUT_HEADER, UP_AND_RUNNING, ETHERNET = 0x1002, 0x41, 1
HARDWARE = bytes.fromhex("baaaadc0ffee")


def configure(device: str, operation: int, value: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, operation, struct.pack("16s24s", device.encode(), value))


def address(text: str) -> bytes:
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text))


def open_tap() -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap0", TAP_WITHOUT_HEADER))
    configure("tap0", SIOCSIFHWADDR, struct.pack("H6s", ETHERNET, HARDWARE))
    configure("tap0", SIOCSIFADDR, address(ENCLAVE_ADDRESS))
    configure("tap0", SIOCSIFNETMASK, address("255.255.255.0"))
    for device in ("tap0", "lo"):
        configure(device, SIOCSIFFLAGS, struct.pack("H", UP_AND_RUNNING))
    return tap


def connect(path: str) -> None:
    """Relay frames between the TAP device and gvproxy, each with a length prefix of two bytes, little-endian."""
    tap, proxy = open_tap(), socket.socket(socket.AF_UNIX)
    proxy.connect(path)
    proxy.sendall(b"POST /connect HTTP/1.1\r\nHost: gvproxy\r\nContent-Length: 0\r\n\r\n")

    def outward() -> None:
        while frame := os.read(tap, 1 << 16):
            proxy.sendall(struct.pack("<H", len(frame)) + frame)

    def inward() -> None:
        stream = proxy.makefile("rb")
        while head := stream.read(2):
            os.write(tap, stream.read(struct.unpack("<H", head)[0]))

    for carry in (outward, inward):
        threading.Thread(target=carry, daemon=True).start()


async def main(port: str) -> None:
    deferred_payments.HOST_SINK = deferred_payments.HOST_SINK.replace(":8010/", f":{port}/")
    async with aiohttp.ClientSession() as session:
        await HttpSink(session, deferred_payments.HOST_SINK).append(b"from inside")
    variables = {"GATEWAY_PAYMENTS": "required", "GATEWAY_WORKERS": "1"}
    settings = replace(Settings.from_environment(variables, bundled().providers, enclave=False), enclave=True)
    async with compose(settings) as services:
        server = GatewayServer(services)
        await server.start(listeners(settings))
        print("serves", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await server.drain(1.0)


if __name__ == "__main__":
    connect(sys.argv[1])
    asyncio.run(main(sys.argv[2]))
