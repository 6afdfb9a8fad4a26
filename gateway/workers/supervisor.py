"""The parent of the workers: accepts and distributes connections, relays calls, replaces workers that have ended.

A single thread without an event loop, so that forking is safe at any time. It parses no request. The other end of its
channels is ``gateway.workers.link``.
"""

import logging
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from gateway.billing.storage.store import StoreUnavailableError
from gateway.stop_signals import stop_signals
from gateway.workers.channel import SHORTAGES, ChannelClosedError, Packet, channel_pair, receive, send
from gateway.workers.injection import InjectionPermission
from gateway.workers.scatter_gather import ScatterGather
from gateway.workers.worker import Worker

log = logging.getLogger(__name__)
_ACCEPT_BATCH = 64
_RESPAWN_SECONDS = 0.5
_RESEND_SECONDS = 0.02
_PING_SECONDS = 5.0
_SHORTAGE_SECONDS = 0.5
"""Pause of accepting; connections stay in the backlog, which remains readable meanwhile."""

RunWorker = Callable[[socket.socket, Any], None]


class WorkerLostError(Exception):
    """A worker could not be started."""


class Supervisor:
    """``run_worker`` runs in each child with its channel and the injection so far.

    Workers that have not ended ``longest_drain`` seconds after they were told to stop are killed.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        count: int,
        run_worker: RunWorker,
        longest_drain: float = math.inf,
    ) -> None:
        self._listeners = list(listeners)
        self._count = count
        self._run_worker = run_worker
        self._longest_drain = longest_drain
        self._stop_signals = stop_signals()
        self._signals = (*self._stop_signals, signal.SIGCHLD)
        self._workers: dict[int, Worker] = {}
        self._calls = ScatterGather(self._send)
        self._round_robin = 0
        self._injected: Any = None
        self._injection = InjectionPermission(self._reply)
        self._stopping = False
        self._accepting = False
        self._accept_after = 0.0
        self._unassigned: tuple[Packet, socket.socket] | None = None
        self._leader: int | None = None
        self._spawn_after = 0.0
        self._ping_at = 0.0
        self._failure = "a worker exited before it was ready"
        self._selector = selectors.DefaultSelector()

    def start(self) -> None:
        """Fork the workers and wait until all are ready, or until a stop signal.

        Raises WorkerLostError if one ends before that, or cannot be forked.
        """
        self._wake_on_signals()
        for listener in self._listeners:
            listener.setblocking(False)
        try:
            for _ in range(self._count):
                self._spawn()
        except OSError as error:
            self.stop()
            raise WorkerLostError(f"a worker cannot be forked: {error}") from error
        while not self._stopping and not all(worker.ready for worker in self._workers.values()):
            self._step(1.0, accepting=False)
            if len(self._workers) < self._count and not self._stopping:
                self.stop()
                raise WorkerLostError(self._failure)

    def run(self) -> None:
        """Serve until a stop signal, then until all workers have drained."""
        while not self._stopping:
            self._step(1.0, accepting=True)
            self._replace_lost()
        self.stop()

    def stop(self) -> None:
        """Stop the workers and wait until they have drained; kill those that take too long, as one that hangs.

        Connections are still accepted as long as a draining worker serves them: it answers new work with 503.
        """
        self._stopping = True
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGTERM)
        kill_at = time.monotonic() + self._longest_drain
        while self._workers:
            if time.monotonic() > kill_at:
                kill_at = math.inf
                for worker in self._workers.values():
                    worker.kill("has not drained")
            if not self._accepting_workers():
                self._close_listeners()
            self._step(1.0, accepting=True)
        self._close_listeners()

    def _close_listeners(self) -> None:
        self._set_accepting(accepting=False)
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._close_unassigned()

    # The event loop.

    def _step(self, seconds: float, *, accepting: bool) -> None:
        self._assign()
        waiting = self._unassigned is not None
        may_accept = not waiting and time.monotonic() >= self._accept_after and bool(self._accepting_workers())
        self._set_accepting(accepting=accepting and may_accept)
        stalled = waiting or any(worker.unsent for worker in self._workers.values())
        for key, _ in self._selector.select(_RESEND_SECONDS if stalled else seconds):
            if key.data is None:
                self._read_signals()
            elif key.fileobj in self._listeners:
                self._accept(key.data)
            else:
                self._read(key.data)
        if stalled:
            for worker in self._workers.values():
                worker.flush()
        self._ping()
        self._reap()
        self._calls.expire()

    def _set_accepting(self, *, accepting: bool) -> None:
        """Accept connections or leave them in the backlog."""
        if accepting is self._accepting:
            return
        self._accepting = accepting
        for number, listener in enumerate(self._listeners):
            if accepting:
                self._selector.register(listener, selectors.EVENT_READ, number)
            else:
                self._unregister(listener)

    def _accept(self, number: int) -> None:
        for _ in range(_ACCEPT_BATCH):
            if self._unassigned is not None:
                return
            try:
                connection, _ = self._listeners[number].accept()
            except OSError as error:
                if error.errno in SHORTAGES:
                    log.exception("cannot accept connections")
                    self._accept_after = time.monotonic() + _SHORTAGE_SECONDS
                return
            self._unassigned = Packet("connection", number), connection
            self._assign()

    def _assign(self) -> None:
        """Send the accepted connection, if any, to the next worker, round-robin; full channels are skipped.

        While all are full it is kept, and others stay in the backlog.
        """
        if self._unassigned is None:
            return
        ready = [worker for worker in self._accepting_workers() if not worker.unsent]
        for _ in range(len(ready)):
            self._round_robin += 1
            with suppress(ChannelClosedError):
                if send(ready[self._round_robin % len(ready)].channel, *self._unassigned):
                    self._close_unassigned()
                    return

    def _close_unassigned(self) -> None:
        if self._unassigned is not None:
            self._unassigned[1].close()
            self._unassigned = None

    def _accepting_workers(self) -> list[Worker]:
        """The workers that get connections; draining ones only once the whole gateway drains."""
        return [worker for worker in self._workers.values() if worker.ready and (self._stopping or not worker.draining)]

    def _read(self, pid: int) -> None:
        worker = self._workers.get(pid)
        try:
            while worker is not None and (received := receive(worker.channel)) is not None:
                worker.unanswered = 0
                self._handle(worker, received[0])
        except ChannelClosedError:
            if worker is not None:
                self._unregister(worker.channel)
                worker.ready = False

    def _handle(self, worker: Worker, packet: Packet) -> None:
        match packet.op:
            case "ready":
                worker.ready = True
                self._choose_leader()
            case "draining":
                worker.draining = True
                self._unset_leader(worker.pid)
            case "drained":
                worker.ready = False
            case "unusable":
                self._failure = packet.body
                log.error("worker %d cannot start: %s", worker.pid, packet.body)
            case "reply":
                self._calls.gather(worker.pid, packet)
            case "may_inject":
                self._injection.request(worker.pid, packet.number)
            case "refused":
                self._reply(worker.pid, packet.number, None)
                self._injection.give_back()
            case "inject":
                self._inject(worker.pid, packet)
            case "metrics":
                ready = {each.pid for each in self._workers.values() if each.ready}
                self._calls.scatter(worker.pid, packet.number, packet, ready)
            case "leader":
                leader = set() if self._leader is None else {self._leader}
                self._calls.scatter(worker.pid, packet.number, Packet("lead_status"), leader)
            case "signature":
                self._publish(worker.pid, packet)

    # Calls to workers on behalf of one of them.

    def _inject(self, pid: int, packet: Packet) -> None:
        """Send an injection to all other workers, including those not ready yet, which were forked without it."""
        self._injected = packet.body
        self._injection.use()
        self._calls.scatter(pid, packet.number, Packet("injected", body=packet.body), self._workers.keys() - {pid})

    def _publish(self, sender: int, packet: Packet) -> None:
        """Pass a message on to the other workers that serve connections."""
        for worker in self._workers.values():
            if worker.ready and worker.pid != sender:
                worker.send(packet)

    def _reply(self, pid: int, number: int, body: Any) -> None:
        self._send(pid, Packet("reply", number, body))

    def _send(self, pid: int, packet: Packet) -> None:
        if (worker := self._workers.get(pid)) is not None:
            worker.send(packet)

    def _ping(self) -> None:
        """Ping the workers that serve connections, every few seconds."""
        if time.monotonic() >= self._ping_at:
            self._ping_at = time.monotonic() + _PING_SECONDS
            for worker in self._workers.values():
                if worker.ready:
                    worker.ping()

    # Starting and replacing workers.

    def _spawn(self) -> None:
        """Fork a worker. Raises OSError.

        Signals are blocked until the child has reset its handlers: the inherited ones would swallow them.
        """
        parent_end, child_end = channel_pair()
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            if (pid := os.fork()) == 0:
                self._run_child(parent_end, child_end)
        except OSError:
            parent_end.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
            child_end.close()
        self._workers[pid] = Worker(pid, parent_end)
        self._selector.register(parent_end, selectors.EVENT_READ, pid)

    def _run_child(self, parent_end: socket.socket, child_end: socket.socket) -> None:
        """In the child: release what belongs to the supervisor, run the worker and exit."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in self._signals:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)
            self._selector.close()
            parent_end.close()
            for sibling in self._workers.values():
                sibling.channel.close()
            for listener in self._listeners:
                listener.close()
            self._close_unassigned()
            self._run_worker(child_end, self._injected)
            status = 0
        except StoreUnavailableError as error:
            with suppress(ChannelClosedError):
                send(child_end, Packet("unusable", body=str(error)))
        except BaseException:
            log.exception("worker %d", os.getpid())
        finally:
            try:
                logging.shutdown()
            finally:
                os._exit(status)

    def _reap(self) -> None:
        for pid in list(self._workers):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._read_signals()  # one to the whole process group ends the workers too
                self._remove(pid, os.waitstatus_to_exitcode(status))

    def _remove(self, pid: int, status: int) -> None:
        self._read(pid)  # packets sent before it ended
        worker = self._workers.pop(pid)
        self._unregister(worker.channel)
        worker.channel.close()
        if not self._stopping:
            log.error("worker %d exited with status %d", pid, status)
            self._spawn_after = time.monotonic() + _RESPAWN_SECONDS
        self._calls.remove_worker(pid, lost=not self._stopping)
        self._injection.remove_worker(pid)
        self._unset_leader(pid)

    def _unregister(self, end: socket.socket) -> None:
        """Remove ``end`` from the selector; idempotent."""
        with suppress(KeyError):
            self._selector.unregister(end)

    def _replace_lost(self) -> None:
        if self._stopping or time.monotonic() < self._spawn_after:
            return
        try:
            while len(self._workers) < self._count:
                self._spawn()
        except OSError:
            log.exception("cannot fork a worker")
            self._spawn_after = time.monotonic() + _RESPAWN_SECONDS

    def _unset_leader(self, pid: int) -> None:
        """Replace the leader if it is ``pid``."""
        if self._leader == pid:
            self._leader = None
            self._choose_leader()

    def _choose_leader(self) -> None:
        """Choose the worker that runs the singleton tasks (the heartbeat), if there is none."""
        if self._leader is None and not self._stopping:
            self._leader = next((worker.pid for worker in self._accepting_workers()), None)
            if self._leader is not None:
                self._send(self._leader, Packet("lead"))

    # Signals.

    def _wake_on_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._signal_reader = reader
        self._signal_writer = writer
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in self._signals:
            signal.signal(number, lambda *_: None)
        self._selector.register(reader, selectors.EVENT_READ, None)

    def _read_signals(self) -> None:
        with suppress(BlockingIOError):
            if set(self._signal_reader.recv(4096)) & set(self._stop_signals):
                self._stopping = True
