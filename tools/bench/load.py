"""The load generator, run as a separate process: ``python -m tools.bench.load`` runs the ``Job`` on standard input.

A raw HTTP/1.1 client, which takes little of the CPUs that it shares with the measured server.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from urllib.parse import urlsplit

import msgspec

from tools.bench.process_cpu import cpu_by_process, cpu_seconds, pin, resident_bytes
from tools.command_line import exit_with

_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Job(msgspec.Struct, kw_only=True):
    """The requests to send, and the process to measure. Times are in seconds.

    Each of ``connections`` sends one request after the other for ``seconds`` and completes its last one. With ``hold``
    each sends one request and keeps its stream open, and only memory is measured. The connections start staggered over
    ``ramp_up``, so that paced streams are not in phase. ``marker`` must appear in the last bytes of every answer. With
    ``payments`` each request takes one as its PAYMENT-SIGNATURE, and the job ends when all are used. ``server`` is a
    pid.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    connections: int
    warm_up: float
    seconds: float
    server: int
    ramp_up: float = 0.0
    marker: bytes = b""
    hold: bool = False
    payments: list[str] = []
    pinned: bool = True


class Outcome(msgspec.Struct, kw_only=True):
    """The result of a job; ``cpu`` is that of the server's process tree. Times are in seconds.

    ``coalesced`` counts the streams whose first segment held the headers and the first event. ``resident`` is the
    growth of the server's memory in bytes per held stream. ``worker_cpu`` is the CPU of each child of the server.
    """

    answers: int
    errors: int
    events: int
    cpu: float
    wall: float
    latencies: list[float]
    coalesced: int = 0
    resident: float = 0.0
    worker_cpu: list[float] = []

    def percentile(self, share: float) -> float:
        """Latency in seconds under which ``share`` of the answers stayed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Client(asyncio.Protocol):
    """One keep-alive connection. ``completed`` resolves to whether its answer was valid."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._length: int | None = None
        self._segments = 0
        self.completed: asyncio.Future[bool] | None = None
        self.on_first_data: Callable[[], None] = lambda: None
        self.events = 0
        self.coalesced = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # the loop hands out a full transport

    def send(self, request: bytes) -> None:
        self._received.clear()
        self._length = None
        self._segments = 0
        if self._transport is None or self._transport.is_closing():
            self._complete(good=False)
        else:
            self._transport.write(request)

    def close(self) -> None:
        self.completed = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._segments += 1
        if self._length is None:
            self._read_head()
        if self._segments == 1:
            self.coalesced += b"\ndata: " in data
            self.on_first_data()
        if self._length == 0:
            if data.endswith(_LAST_CHUNK[-len(data) :]) and self._received.endswith(_LAST_CHUNK):
                self._finish()
        elif self._length is not None and len(self._received) >= self._length:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._complete(good=False)

    def _read_head(self) -> None:
        """Set ``_length`` to the length of the response with its head, or to 0 if it is chunked."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        _, found, rest = head.partition(b"content-length: ")
        self._length = end + 4 + int(rest.partition(b"\r\n")[0]) if found else 0

    def _finish(self) -> None:
        self.events += self._received.count(b"data: ")
        self._complete(good=self._received.startswith(b"HTTP/1.1 200") and self._marker in self._received[-8192:])

    def _complete(self, *, good: bool) -> None:
        completed, self.completed = self.completed, None
        if completed is not None:
            completed.set_result(good)


class LoadGenerator:
    """The connections of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests = _requests(job)
        self._clients: list[Client] = []
        self._latencies: list[float] = []
        self._errors = 0

    async def open(self) -> None:
        parts = urlsplit(self._job.url)
        assert parts.hostname and parts.port  # noqa: S101, PT018
        loop = asyncio.get_running_loop()
        for _ in range(self._job.connections):
            _, client = await loop.create_connection(lambda: Client(self._job.marker), parts.hostname, parts.port)
            self._clients.append(client)

    async def run(self, seconds: float) -> Outcome:
        """Send requests for ``seconds``, wait for the last answers, and measure CPU and time."""
        self._latencies, self._errors = [], 0
        for client in self._clients:
            client.events = client.coalesced = 0
        workers = cpu_by_process(self._job.server)
        cpu, started = cpu_seconds(self._job.server), time.perf_counter()
        gap = self._job.ramp_up / len(self._clients)
        sending = (
            self._send_requests(client, number * gap, started + seconds) for number, client in enumerate(self._clients)
        )
        await asyncio.gather(*sending)
        spent = cpu_by_process(self._job.server)
        return Outcome(
            answers=len(self._latencies),
            errors=self._errors,
            events=sum(client.events for client in self._clients),
            cpu=cpu_seconds(self._job.server) - cpu,
            wall=time.perf_counter() - started,
            latencies=self._latencies,
            coalesced=sum(client.coalesced for client in self._clients),
            worker_cpu=[spent[pid] - before for pid, before in workers.items() if pid != self._job.server],
        )

    async def hold(self) -> Outcome:
        """Connect, open all streams, and measure the growth of the server's memory."""
        before, started = resident_bytes(self._job.server), time.perf_counter()
        await self.open()
        await asyncio.gather(*(self._open_stream(client) for client in self._clients))
        await asyncio.sleep(self._job.seconds)
        resident = (resident_bytes(self._job.server) - before) / len(self._clients)
        return Outcome(
            answers=len(self._clients),
            errors=0,
            events=0,
            cpu=0.0,
            wall=time.perf_counter() - started,
            latencies=[],
            resident=resident,
        )

    def close(self) -> None:
        for client in self._clients:
            client.close()

    async def _send_requests(self, client: Client, delay: float, until: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay)
        for request in self._requests:
            completed: asyncio.Future[bool] = loop.create_future()
            client.completed = completed
            started = time.perf_counter()
            client.send(request)
            if not await completed:
                self._errors += 1
                return
            now = time.perf_counter()
            self._latencies.append(now - started)
            if now >= until:
                return

    async def _open_stream(self, client: Client) -> None:
        opened = asyncio.get_running_loop().create_future()
        client.on_first_data = lambda: opened.set_result(None)
        client.send(next(self._requests))
        await opened


def _requests(job: Job) -> Iterator[bytes]:
    """The requests to send: always the same, or one per payment."""
    if not job.payments:
        return repeat(_encode(job, {}))
    return iter([_encode(job, {"PAYMENT-SIGNATURE": payment}) for payment in job.payments])


def _encode(job: Job, more: Mapping[str, str]) -> bytes:
    parts = urlsplit(job.url)
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(job.body)),
        **job.headers,
        **more,
    }
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + job.body


async def run(job: Job) -> Outcome:
    generator = LoadGenerator(job)
    try:
        if job.hold:
            return await generator.hold()
        await generator.open()
        if job.warm_up:
            await generator.run(job.warm_up)
        return await generator.run(job.seconds)
    finally:
        generator.close()


def main() -> None:
    import uvloop

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.pinned:
        pin(0, measured=False)
    write_out(msgspec.json.encode(uvloop.run(run(job))))


def write_out(data: bytes) -> None:
    """Write ``data`` whole to standard output.

    With PYTHONUNBUFFERED ``sys.stdout`` drops what a pipe does not take at once, and after a run of uvloop that is all
    but the first 64 KB: io_uring interrupts the write.
    """
    with open(sys.stdout.fileno(), "wb", closefd=False) as output:
        output.write(data)


if __name__ == "__main__":
    exit_with(main)
