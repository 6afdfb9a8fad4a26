"""Standard error whose reader is slow, stuck or gone: it delays nothing and fails nothing."""

import asyncio
import os
import socket
import sys
import textwrap
import time
import tty
from collections.abc import Iterator
from select import PIPE_BUF
from threading import Thread, get_ident

import pytest

from gateway.telemetry import standard_error
from gateway.telemetry.standard_error import MAX_KEPT_BYTES, StandardError

LINE = b"x" * 999 + b"\n"


def dropped_line(count: int) -> bytes:
    return f"dropped {count}\n".encode()


class Ends:
    """Both ends of a pipe, of a terminal or of a pair of sockets, and a StandardError that writes to one of them."""

    def __init__(self, kind: str) -> None:
        if kind == "socket":
            self._sockets = socket.socketpair()
            self.reader, self.writer = (end.detach() for end in self._sockets)
        elif kind == "terminal":
            self.reader, self.writer = os.openpty()
            tty.setraw(self.writer)
        else:
            self.reader, self.writer = os.pipe()
        self.output = StandardError(dropped_line, self.writer)
        self.output.open()

    def read(self) -> bytes:
        """What is there to be read, after what was kept has been written as far as possible."""
        os.set_blocking(self.reader, False)
        read = b""
        while True:
            self.output.flush()
            try:
                read += os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return read

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        for descriptor in {self.reader, self.writer, self.output._descriptor} - {-1}:
            os.close(descriptor)


KINDS = ("pipe", "terminal", "socket", "pipe that cannot be reopened")


@pytest.fixture(params=KINDS)
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    if request.param.endswith("reopened"):
        monkeypatch.setattr(standard_error, "_reopened", lambda _: None)
    monkeypatch.setattr(standard_error, "WAIT_SECONDS", 0.0)
    ends = Ends(request.param)
    yield ends
    ends.close()


def test_each_write_holds_whole_lines_that_a_pipe_takes_at_once(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []

    def write(_: int, data: bytes) -> int:
        writes.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    lines = [b"%d " % number + LINE for number in range(10)]
    ends.output.write(b"".join(lines))
    assert b"".join(writes) == b"".join(lines)
    assert [data.count(b"\n") for data in writes] == [4, 4, 2]
    assert all(data.endswith(b"\n") and len(data) <= PIPE_BUF for data in writes)


def test_lines_wait_for_their_reader_in_order(ends: Ends) -> None:
    lines = [b"%d " % number + LINE for number in range(500)]
    for line in lines:
        ends.output.write(line)
    assert ends.read() == b"".join(lines)
    ends.output.write(b"the next\n")
    assert ends.read() == b"the next\n"


def test_lines_beyond_the_limit_are_counted(ends: Ends) -> None:
    written = 2 * MAX_KEPT_BYTES // len(LINE)
    for _ in range(written):
        ends.output.write(LINE)
    *lines, last = ends.read().splitlines(keepends=True)
    assert set(lines) == {LINE}
    assert last == dropped_line(written - len(lines))
    assert len(lines) * len(LINE) > MAX_KEPT_BYTES - len(LINE)
    assert ends.read() == b"", "they are counted once"


def test_of_a_burst_beyond_the_limit_what_fits_is_kept(ends: Ends) -> None:
    written = 2 * MAX_KEPT_BYTES // len(LINE)
    ends.output.write(LINE * written)
    *lines, last = ends.read().splitlines(keepends=True)
    assert set(lines) == {LINE}
    assert last == dropped_line(written - len(lines))
    assert len(lines) * len(LINE) > MAX_KEPT_BYTES - len(LINE)


def test_a_line_longer_than_a_pipe_is_written_in_the_end(ends: Ends) -> None:
    line = b"y" * 300_000 + b"\n"
    ends.output.write(line)
    assert ends.read() == line


def test_a_reader_that_is_gone_fails_nothing(ends: Ends) -> None:
    ends.close_reader()
    ends.output.write(LINE)
    ends.output.write(LINE)
    assert not ends.output._kept


def test_the_flag_of_the_inherited_descriptor_is_not_touched(ends: Ends) -> None:
    assert os.get_blocking(ends.writer)


@pytest.mark.parametrize("ends", KINDS[:1], indirect=True)
async def test_the_event_loop_writes_what_was_kept(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_error, "RETRY_SECONDS", 0.001)
    for _ in range(300):
        ends.output.write(LINE)
    read = b""
    async with asyncio.timeout(10):
        while len(read) < 300 * len(LINE):
            read += await asyncio.to_thread(os.read, ends.reader, 1 << 16)
    assert read == 300 * LINE


def test_without_an_event_loop_a_slow_reader_is_waited_for(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor's next line may come much later, or never."""
    monkeypatch.setattr(standard_error, "WAIT_SECONDS", 20.0)
    read: list[bytes] = []
    lines = 300

    def read_all() -> None:
        while len(b"".join(read)) < lines * len(LINE):
            read.append(os.read(ends.reader, 1 << 16))

    reader = Thread(target=read_all)
    reader.start()
    for _ in range(lines):
        ends.output.write(LINE)
        assert not ends.output._kept
    reader.join(20)
    assert b"".join(read) == lines * LINE


@pytest.mark.parametrize("ends", KINDS[:1], indirect=True)
def test_a_later_event_loop_writes_what_an_earlier_one_has_kept(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of the loops that register with the enclave's daemon, which end before their retry."""
    monkeypatch.setattr(standard_error, "RETRY_SECONDS", 0.001)

    async def write() -> None:
        for _ in range(100):
            ends.output.write(LINE)

    async def write_and_read() -> int:
        ends.output.write(LINE)
        read = 0
        async with asyncio.timeout(10):
            while read < 101 * len(LINE):
                try:
                    read += len(os.read(ends.reader, 1 << 16))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
        return read

    asyncio.run(write())
    assert ends.output._kept
    os.set_blocking(ends.reader, False)
    assert asyncio.run(write_and_read()) == 101 * len(LINE)


def test_a_thread_beside_the_event_loop_does_not_wait(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's next line would wait as long for the lock of the handler."""
    waits: list[float] = []
    monkeypatch.setattr(standard_error, "WAIT_SECONDS", 20.0)
    monkeypatch.setattr(ends.output, "wait_and_flush", waits.append)
    thread = Thread(target=lambda: ends.output.write(LINE * 1000))
    thread.start()
    thread.join()
    ends.output._forget()
    ends.output.write(LINE * 1000)
    assert waits == [0.0, 20.0]


def test_threads_write_one_after_the_other(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, overlaps = set[int](), 0

    def write(lines: bytes) -> bytes:
        nonlocal overlaps
        overlaps += bool(inside)
        inside.add(get_ident())
        time.sleep(0.001)
        inside.remove(get_ident())
        return lines[500:]

    def write_and_flush() -> None:
        for _ in range(20):
            ends.output.write(LINE)
            ends.output.flush()

    monkeypatch.setattr(ends.output, "_write", write)
    monkeypatch.setattr(ends.output, "_schedule_retry", lambda: None)
    threads = [Thread(target=write_and_flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == 0
    assert sum(map(len, ends.output._kept)) == ends.output._kept_bytes


@pytest.mark.parametrize("ends", KINDS[:1], indirect=True)
def test_a_forked_child_does_not_write_what_its_parent_has_kept(ends: Ends) -> None:
    for _ in range(100):
        ends.output.write(LINE)
    assert ends.output._kept
    first = os.read(ends.reader, 1 << 16)
    if (child := os.fork()) == 0:
        ends.output.flush()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert first + ends.read() == 100 * LINE


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_no_socket_gets_the_number_of_a_standard_stream(closed: tuple[int, ...]) -> None:
    """libuv aborts the process that closes a socket with such a number."""
    script = textwrap.dedent("""
        import os, sys
        result = int(sys.argv[1])
        from gateway.telemetry.standard_error import open_standard_streams
        open_standard_streams()
        taken, _ = os.pipe()
        sys.stderr.write("lost")
        os.write(result, f"{taken > 2} {os.readlink('/proc/self/fd/2')}".encode())
    """)
    reader, writer = os.pipe()
    actions = [(os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in closed]
    os.set_inheritable(writer, True)
    command = [sys.executable, "-c", script, str(writer)]
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(writer)
    with os.fdopen(reader, "rb") as results:
        assert results.read() == b"True /dev/null"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_open_standard_streams_need_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a root file system where nothing is mounted on /dev."""
    monkeypatch.setattr(os, "devnull", "/dev/absent")
    standard_error.open_standard_streams()
