"""What every request shares: one of each for the life of the process."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.admission import Admission
from gateway.billing.payment import Payments
from gateway.catalog import Catalog
from gateway.clock import Clock
from gateway.cluster import Collective
from gateway.heartbeat import Heartbeat, Relay
from gateway.http_server.body import BodyBudget
from gateway.http_server.stream_reply import StreamReply
from gateway.key_sealing import SealingKey
from gateway.keyring import Injection, Keyring
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracer
from gateway.upstreams.fetch import FileFetcher
from gateway.upstreams.upstream import Upstream


@dataclass(slots=True)
class Services:
    """The rooms that a request passes.

    ``tee_enabled`` is True once the daemon of an enclave has taken the signing key. ``on_injection`` are called with a
    checked injection before it is taken; one that raises GatewayError refuses it. ``leads`` is True in the one process
    of the gateway that does what only one may do.
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
    metrics: Metrics = field(default_factory=Metrics)
    bodies: BodyBudget = field(default_factory=BodyBudget)
    tracer: Tracer | None = None
    tee_enabled: bool = False
    draining: bool = False
    on_injection: list[Callable[[Injection], Awaitable[None]]] = field(default_factory=list)
    leads: bool = True
    collective: Collective = field(init=False)
    streams: set[StreamReply] = field(default_factory=set)

    async def take(self, injection: Injection) -> None:
        """Take a checked injection; one that is refused changes nothing."""
        for prepare in self.on_injection:
            await prepare(injection)
        self.keyring.store(injection)

    def lead(self) -> None:
        """Do from now on what only one process may do: send heartbeats."""
        self.leads = True
        self.start_heartbeat(self.keyring.injected)

    def start_heartbeat(self, injection: Injection | None) -> None:
        """Begin to send heartbeats where this process leads and an injection asks for them."""
        if self.leads and injection is not None and (relay := Relay.of(injection, self.settings)):
            self.heartbeat.start(relay)

    def measure(self) -> None:
        """Set the gauges to what is true now."""
        gauges = self.metrics
        gauges.update_process()
        gauges.ready.set(not self.not_ready())
        gauges.in_flight.set(self.admission.active)
        gauges.queued.set(self.admission.waiting)
        gauges.streams.set(len(self.streams))
        for name, upstream in self.upstreams.items():
            gauges.connections.labels(name).set(upstream.transport.open_connections)
            gauges.breakers.labels(name).set(any(breaker.active for breaker in upstream.breakers.values()))

    def not_ready(self) -> list[str]:
        """Why new work should go elsewhere; empty when this gateway can serve."""
        reasons = ["draining"] if self.draining else []
        if not self.keyring.configured():
            reasons.append("no upstream key is configured")
        return reasons + self.payments.reasons()
