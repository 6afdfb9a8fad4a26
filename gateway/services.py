"""What every request shares: one of each for the life of the process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.admission import Admission
from gateway.billing.payment import Payments
from gateway.body import BodyBudget
from gateway.catalog import Catalog
from gateway.clock import Clock
from gateway.heartbeat import Heartbeat
from gateway.keyring import Injection, Keyring
from gateway.reply import StreamReply
from gateway.sealed import SealingKey
from gateway.settings import Settings
from gateway.signing import Signer
from gateway.telemetry import Metrics
from gateway.upstreams.fetch import FileFetcher
from gateway.upstreams.upstream import Upstream


@dataclass(slots=True)
class Services:
    """The rooms that a request passes.

    ``tee_enabled`` is True once the daemon of an enclave has taken the signing key. ``on_injection`` are called with a
    checked injection before it is taken; one that raises GatewayError refuses it.
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
    tee_enabled: bool = False
    draining: bool = False
    on_injection: list[Callable[[Injection], Awaitable[None]]] = field(default_factory=list)
    injecting: asyncio.Lock = field(default_factory=asyncio.Lock)
    streams: set[StreamReply] = field(default_factory=set)

    def not_ready(self) -> list[str]:
        """Why new work should go elsewhere; empty when this gateway can serve."""
        reasons = ["draining"] if self.draining else []
        if not self.keyring.configured():
            reasons.append("no upstream key is configured")
        return reasons + self.payments.reasons()
