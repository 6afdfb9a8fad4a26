"""The load generator, a process of its own: ``python -m tools.bench.load`` plays the ``Job`` on standard input.

A raw HTTP/1.1 client, so that the clients take little of the two cores that they share with what is measured.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from urllib.parse import urlsplit

import msgspec

from tools.bench.accounting import cpu_by_process, cpu_seconds, pin, resident_bytes
from tools.command_line import exit_with

_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Job(msgspec.Struct, kw_only=True):
    """What to send, and whose costs to read. Times in seconds.

    ``connections`` send one request after the other for ``seconds`` and finish what they began. With ``hold`` each
    sends one request and keeps its stream open, and only memory is measured. The connections begin one after the
    other over ``spread``, so that paced streams do not beat in step. ``sign`` must appear in every answer
    that is not streamed, and in the last bytes of every stream. With ``tickets`` every request carries another one
    as its PAYMENT-SIGNATURE, and the job ends when they do.
    """

    url: str
    headers: dict[str, str]
    body: bytes
    connections: int
    warm_up: float
    seconds: float
    server: int
    spread: float = 0.0
    sign: bytes = b""
    hold: bool = False
    tickets: list[str] = []
    pinned: bool = True


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a job: answers, CPU of the server's process tree while they were made, wall time, latencies.

    ``together`` counts the streams whose first segment held headers and first event. ``resident`` is what ``hold``
    added to the server's memory, per stream. ``shares`` is the CPU of each process below the server's own.
    """

    answers: int
    errors: int
    events: int
    cpu: float
    wall: float
    latencies: list[float]
    together: int = 0
    resident: float = 0.0
    shares: list[float] = []

    def percentile(self, share: float) -> float:
        """Latency in seconds under which ``share`` of the answers stayed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Client(asyncio.Protocol):
    """One keep-alive connection. ``ended`` learns whether the answer was good, ``begun`` is called at its start."""

    def __init__(self, sign: bytes) -> None:
        self._sign = sign
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._need: int | None = None
        self._segments = 0
        self.ended: asyncio.Future[bool] | None = None
        self.begun: Callable[[], None] = lambda: None
        self.events = 0
        self.together = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # the loop hands out a full transport

    def send(self, request: bytes) -> None:
        self._received.clear()
        self._need = None
        self._segments = 0
        if self._transport is None or self._transport.is_closing():
            self._done(good=False)
        else:
            self._transport.write(request)

    def close(self) -> None:
        self.ended = None
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._segments += 1
        if self._need is None:
            self._read_head()
        if self._segments == 1:
            self.together += b"\ndata: " in data
            self.begun()
        if self._need == 0:
            if data.endswith(_LAST_CHUNK[-len(data) :]) and self._received.endswith(_LAST_CHUNK):
                self._end()
        elif self._need is not None and len(self._received) >= self._need:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done(good=False)

    def _read_head(self) -> None:
        """``_need``: length of the whole answer, 0 for a chunked one."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        _, found, rest = head.partition(b"content-length: ")
        self._need = end + 4 + int(rest.partition(b"\r\n")[0]) if found else 0

    def _end(self) -> None:
        self.events += self._received.count(b"data: ")
        self._done(good=self._received.startswith(b"HTTP/1.1 200") and self._sign in self._received[-8192:])

    def _done(self, *, good: bool) -> None:
        ended, self.ended = self.ended, None
        if ended is not None:
            ended.set_result(good)


class Load:
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
            _, client = await loop.create_connection(lambda: Client(self._job.sign), parts.hostname, parts.port)
            self._clients.append(client)

    async def play(self, seconds: float) -> Outcome:
        """Send for ``seconds``, wait for what is under way, and read the books before and after."""
        self._latencies, self._errors = [], 0
        for client in self._clients:
            client.events = client.together = 0
        workers = cpu_by_process(self._job.server)
        cpu, started = cpu_seconds(self._job.server), time.perf_counter()
        gap = self._job.spread / len(self._clients)
        driving = (self._drive(client, number * gap, started + seconds) for number, client in enumerate(self._clients))
        await asyncio.gather(*driving)
        spent = cpu_by_process(self._job.server)
        return Outcome(
            answers=len(self._latencies),
            errors=self._errors,
            events=sum(client.events for client in self._clients),
            cpu=cpu_seconds(self._job.server) - cpu,
            wall=time.perf_counter() - started,
            latencies=self._latencies,
            together=sum(client.together for client in self._clients),
            shares=[spent[pid] - before for pid, before in workers.items() if pid != self._job.server],
        )

    async def hold(self) -> Outcome:
        """Connect, open all streams, and read what that added to the server's memory."""
        before, started = resident_bytes(self._job.server), time.perf_counter()
        await self.open()
        await asyncio.gather(*(self._begin(client) for client in self._clients))
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

    async def _drive(self, client: Client, delay: float, until: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay)
        for request in self._requests:
            ended: asyncio.Future[bool] = loop.create_future()
            client.ended = ended
            started = time.perf_counter()
            client.send(request)
            if not await ended:
                self._errors += 1
                return
            now = time.perf_counter()
            self._latencies.append(now - started)
            if now >= until:
                return

    async def _begin(self, client: Client) -> None:
        begun = asyncio.get_running_loop().create_future()
        client.begun = lambda: begun.set_result(None)
        client.send(next(self._requests))
        await begun


def _requests(job: Job) -> Iterator[bytes]:
    """The requests to send, one by one: always the same, or one with each ticket."""
    if not job.tickets:
        return repeat(_encode(job, {}))
    return iter([_encode(job, {"PAYMENT-SIGNATURE": ticket}) for ticket in job.tickets])


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


async def play(job: Job) -> Outcome:
    load = Load(job)
    try:
        if job.hold:
            return await load.hold()
        await load.open()
        if job.warm_up:
            await load.play(job.warm_up)
        return await load.play(job.seconds)
    finally:
        load.close()


def main() -> None:
    import uvloop

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.pinned:
        pin(0, measured=False)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(play(job))))


if __name__ == "__main__":
    exit_with(main)
