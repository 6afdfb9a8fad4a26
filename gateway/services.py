"""The objects that all requests share, one of each per process."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.admission import Admission
from gateway.billing.payment import Payments
from gateway.catalog import Catalog
from gateway.clock import Clock
from gateway.cluster import Cluster
from gateway.heartbeat import Heartbeat, Relay
from gateway.http_server.body import BodyBudget
from gateway.http_server.stream_reply import StreamReply
from gateway.http_server.turns import Turns
from gateway.key_sealing import SealingKey
from gateway.keyring import Injection, Keyring
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer
from gateway.upstreams.fetch import FileFetcher
from gateway.upstreams.signature_cache import SignatureCache
from gateway.upstreams.upstream import Upstream


@dataclass(slots=True)
class Services:
    """Long-lived collaborators of a request.

    ``tee_enabled`` is True once an enclave's daemon has accepted the signing key. ``on_injection`` are called with a
    checked injection, which is stored unless one of them raises. ``is_leader`` is True in the one process that runs the
    gateway's singleton tasks.
    """

    settings: Settings
    catalog: Catalog
    signer: Signer
    sealing_key: SealingKey
    heartbeat: Heartbeat
    clock: Clock
    keyring: Keyring
    upstreams: Mapping[str, Upstream]
    payments: Payments
    fetcher: FileFetcher
    admission: Admission
    signatures: SignatureCache
    metrics: Metrics
    bodies: BodyBudget = field(default_factory=BodyBudget)
    turns: Turns = field(default_factory=Turns)
    tracer: Tracer | None = None
    tee_enabled: bool = False
    draining: bool = False
    on_injection: list[Callable[[Injection], Awaitable[None]]] = field(default_factory=list)
    is_leader: bool = True
    cluster: Cluster = field(init=False)
    streams: set[StreamReply] = field(default_factory=set)

    async def inject(self, injection: Injection) -> None:
        """Apply a checked injection; one that fails is not stored and can be tried again."""
        for prepare in self.on_injection:
            await prepare(injection)
        self.keyring.store(injection)
        self._start_heartbeat()

    def become_leader(self) -> None:
        """Run the singleton tasks in this process from now on: the heartbeat."""
        self.is_leader = True
        self._start_heartbeat()

    def _start_heartbeat(self) -> None:
        """Start the heartbeat if this process is the leader and the injection configures one."""
        injection = self.keyring.injected
        if self.is_leader and injection is not None and (relay := Relay.from_injection(injection, self.settings)):
            self.heartbeat.start(relay)

    def update_gauges(self) -> None:
        """Set the gauges to the present values."""
        metrics = self.metrics
        metrics.update_process()
        metrics.ready.set(not self.reasons())
        metrics.in_flight.set(self.admission.active)
        metrics.queued.set(self.admission.waiting)
        metrics.streams.set(len(self.streams))
        for name, upstream in self.upstreams.items():
            metrics.connections.labels(name).set(upstream.transport.open_connections)
            metrics.breakers.labels(name).set(any(breaker.active for breaker in upstream.breakers.values()))

    def reasons(self) -> list[str]:
        """Why new work should go elsewhere; empty if this gateway is ready."""
        reasons = ["draining"] if self.draining else []
        if not self.keyring.configured():
            reasons.append("no upstream key is configured")
        return reasons + self.payments.reasons()
