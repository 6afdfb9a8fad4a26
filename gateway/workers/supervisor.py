"""The parent of the workers: accepts, hands out, relays, replaces.

It is one thread without an event loop, so that forking is safe at any time. It looks at no request; the workers do
all the work. See ``gateway.workers.link`` for the other end of its channels.
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.billing.storage.store import StoreUnavailableError
from gateway.workers.channel import ChannelClosedError, Packet, channel_pair, receive, send
from gateway.workers.scatter_gather import Rounds

log = logging.getLogger(__name__)
_ACCEPT_AT_ONCE = 64
_RESPAWN_PAUSE = 0.5
_SEND_AGAIN = 0.02
_BEHIND_SECONDS = 20.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

RunWorker = Callable[[socket.socket, Any], int]


class WorkerLostError(Exception):
    """A worker could not be started."""


@dataclass
class _Worker:
    """``ready`` from when it says that it can serve until it says that it has closed, and ``leaving`` once it drains.
    ``unsent`` is what it was too far behind to be told, which goes before new connections; it is ended when that has
    lasted until ``patience``."""

    pid: int
    channel: socket.socket
    ready: bool = False
    leaving: bool = False
    unsent: deque[Packet] = field(default_factory=deque)
    patience: float = 0.0

    @property
    def welcoming(self) -> bool:
        """It takes new work."""
        return self.ready and not self.leaving


class Supervisor:
    """``run_worker`` is called in each child with its channel and what was injected so far; it returns the status."""

    def __init__(self, listeners: Sequence[socket.socket], count: int, run_worker: RunWorker) -> None:
        self._listeners = list(listeners)
        self._count = count
        self._run_worker = run_worker
        self._workers: dict[int, _Worker] = {}
        self._rounds = Rounds(self._send)
        self._turn = 0
        self._injected: Any = None
        self._injecting: int | None = None
        self._to_inject: list[tuple[int, int]] = []
        self._stopping = False
        self._accepting = False
        self._leader: int | None = None
        self._spawn_after = 0.0
        self._reason = "a worker ended before it could serve"
        self._selector = selectors.DefaultSelector()

    def start(self) -> None:
        """Fork the workers and wait until each can serve, or a signal says stop; raises WorkerLostError when one ends
        instead, OSError when one cannot be forked."""
        self._wake_on_signals()
        for listener in self._listeners:
            listener.setblocking(False)
        for _ in range(self._count):
            self._spawn()
        while not self._stopping and not all(worker.ready for worker in self._workers.values()):
            self._step(1.0, accepting=False)
            if len(self._workers) < self._count and not self._stopping:
                self.stop()
                raise WorkerLostError(self._reason)

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then until all workers have drained."""
        while not self._stopping:
            self._step(1.0, accepting=True)
            self._replace_lost()
        self.stop()

    def stop(self) -> None:
        """Let the workers drain, and wait for them. As long as one of them serves, it tells whoever comes that work has
        to go elsewhere."""
        self._stopping = True
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
        while self._workers:
            if not self._open_to_connections():
                self._close_listeners()
            self._step(1.0, accepting=True)
        self._close_listeners()

    def _close_listeners(self) -> None:
        self._listen(accepting=False)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    # What happens.

    def _step(self, seconds: float, *, accepting: bool) -> None:
        self._listen(accepting=accepting and bool(self._open_to_connections()))
        behind = any(worker.unsent for worker in self._workers.values())
        for key, _ in self._selector.select(_SEND_AGAIN if behind else seconds):
            if key.data is None:
                self._read_signals()
            elif key.fileobj in self._listeners:
                self._accept(key.data)
            else:
                self._read(key.data)
        if behind:
            for worker in list(self._workers.values()):
                self._tell(worker)
        self._reap()
        self._rounds.end_overdue()

    def _listen(self, *, accepting: bool) -> None:
        """While nobody can serve, connections wait in the backlog."""
        if accepting is self._accepting:
            return
        self._accepting = accepting
        for number, listener in enumerate(self._listeners):
            if accepting:
                self._selector.register(listener, selectors.EVENT_READ, number)
            else:
                self._forget(listener)

    def _accept(self, number: int) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                connection, _ = self._listeners[number].accept()
            except OSError:
                return
            with connection:
                self._hand_out(Packet("connection", number), connection)

    def _hand_out(self, packet: Packet, connection: socket.socket) -> None:
        """To the workers in turn; one that is too far behind to take it is passed over."""
        ready = [worker for worker in self._open_to_connections() if not worker.unsent]
        for _ in range(len(ready)):
            self._turn += 1
            with suppress(ChannelClosedError):
                if send(ready[self._turn % len(ready)].channel, packet, connection):
                    return

    def _open_to_connections(self) -> list[_Worker]:
        """Those that drain are, once all do."""
        return [worker for worker in self._workers.values() if worker.ready and (self._stopping or not worker.leaving)]

    def _read(self, pid: int) -> None:
        worker = self._workers.get(pid)
        try:
            while worker is not None and (received := receive(worker.channel)) is not None:
                self._take(worker, received[0])
        except ChannelClosedError:
            if worker is not None:
                self._forget(worker.channel)
                worker.ready = False

    def _take(self, worker: _Worker, packet: Packet) -> None:
        match packet.op:
            case "ready":
                worker.ready = True
                self._choose_leader()
            case "leaving":
                worker.leaving = True
                self._dismiss(worker.pid)
            case "left":
                worker.ready = False
            case "unusable":
                self._reason = packet.body
            case "answer":
                self._rounds.take(worker.pid, packet)
            case "may_inject":
                self._to_inject.append((worker.pid, packet.number))
                self._let_inject()
            case "refused":
                self._answer(worker, packet.number, None)
                self._injecting = None
                self._let_inject()
            case "inject":
                self._inject(worker.pid, packet)
            case "metrics":
                self._ask_all(worker.pid, packet.number, Packet("metrics"))
            case "leader":
                self._ask_leader(worker, packet)

    # The one injection: a worker asks leave, takes it, and then all others do.

    def _let_inject(self) -> None:
        """One after another, since what one takes may yet be refused; nobody once there was an injection."""
        while self._to_inject and (self._injecting is None or self._injected is not None):
            pid, number = self._to_inject.pop(0)
            if (worker := self._workers.get(pid)) is not None:
                self._injecting = pid
                self._answer(worker, number, self._injected is None)

    def _inject(self, pid: int, packet: Packet) -> None:
        """Workers that are not ready yet were forked without it, so they are told as well."""
        self._injected = packet.body
        self._let_inject()
        self._rounds.open(pid, packet.number, Packet("injected", body=packet.body), self._workers.keys() - {pid})

    # Questions that go round.

    def _ask_all(self, asker: int, number: int, question: Packet) -> None:
        asked = {worker.pid for worker in self._workers.values() if worker.ready}
        self._rounds.open(asker, number, question, asked)

    def _ask_leader(self, worker: _Worker, packet: Packet) -> None:
        asked = set() if self._leader is None else {self._leader}
        self._rounds.open(worker.pid, packet.number, Packet("lead_status", body=packet.body), asked)

    def _answer(self, worker: _Worker, number: int, body: Any) -> None:
        self._send(worker.pid, Packet("answer", number, body))

    def _send(self, pid: int, packet: Packet) -> None:
        if (worker := self._workers.get(pid)) is not None:
            if not worker.unsent:
                worker.patience = time.monotonic() + _BEHIND_SECONDS
            worker.unsent.append(packet)
            self._tell(worker)

    def _tell(self, worker: _Worker) -> None:
        """All that it has not been told, as far as it takes it."""
        with suppress(ChannelClosedError):
            while worker.unsent and send(worker.channel, worker.unsent[0]):
                worker.unsent.popleft()
                worker.patience = time.monotonic() + _BEHIND_SECONDS
            if worker.unsent and time.monotonic() > worker.patience:
                log.error("worker %d does not take messages; it is ended", worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
                worker.unsent.clear()

    # Workers that come and go.

    def _spawn(self) -> None:
        """Signals wait until the child's are its own: until then our handlers, which it has too, would swallow them.
        Raises OSError."""
        ours, theirs = channel_pair()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if (pid := os.fork()) == 0:
                self._become_worker(ours, theirs)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            theirs.close()
        self._workers[pid] = _Worker(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, pid)

    def _become_worker(self, ours: socket.socket, theirs: socket.socket) -> None:
        """In the child: drop everything of the supervisor's and never return to it."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._selector.close()
            ours.close()
            for sibling in self._workers.values():
                sibling.channel.close()
            for listener in self._listeners:
                listener.close()
            status = self._run_worker(theirs, self._injected)
        except StoreUnavailableError as error:
            with suppress(ChannelClosedError):
                send(theirs, Packet("unusable", body=str(error)))
        except BaseException:
            log.exception("worker %d", os.getpid())
        finally:
            os._exit(status)

    def _reap(self) -> None:
        for pid in list(self._workers):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._lose(pid, os.waitstatus_to_exitcode(status))

    def _lose(self, pid: int, status: int) -> None:
        self._read(pid)  # its last words
        worker = self._workers.pop(pid)
        self._forget(worker.channel)
        worker.channel.close()
        if not self._stopping:
            log.error("worker %d ended with status %d", pid, status)
            self._spawn_after = time.monotonic() + _RESPAWN_PAUSE
        self._rounds.lose(pid)
        if self._injecting == pid:
            self._injecting = None
            self._let_inject()
        self._dismiss(pid)

    def _forget(self, end: socket.socket) -> None:
        """Listen to it no longer, if it was listened to."""
        with suppress(KeyError):
            self._selector.unregister(end)

    def _replace_lost(self) -> None:
        if self._stopping or time.monotonic() < self._spawn_after:
            return
        try:
            while len(self._workers) < self._count:
                self._spawn()
        except OSError:
            log.exception("no worker can be forked")
            self._spawn_after = time.monotonic() + _RESPAWN_PAUSE

    def _dismiss(self, pid: int) -> None:
        """It leads no longer, if it did."""
        if self._leader == pid:
            self._leader = None
            self._choose_leader()

    def _choose_leader(self) -> None:
        """One worker does what only one may do (the heartbeat)."""
        if self._leader is None and not self._stopping:
            self._leader = next((worker.pid for worker in self._workers.values() if worker.welcoming), None)
            if self._leader is not None:
                self._send(self._leader, Packet("lead"))

    # Signals.

    def _wake_on_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._signals = reader
        self._writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ, None)

    def _read_signals(self) -> None:
        with suppress(BlockingIOError):
            if set(self._signals.recv(4096)) & {signal.SIGTERM, signal.SIGINT}:
                self._stopping = True
