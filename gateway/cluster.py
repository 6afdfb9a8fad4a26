"""Operations on all processes of a gateway, however many there are: injection, metrics, heartbeat."""

from typing import Any, Protocol

from gateway.keyring import Injection


class Cluster(Protocol):
    """The worker processes of one gateway."""

    async def inject(self, injection: Injection) -> None:
        """Apply a checked injection to all processes or none; raises 409 after the first one."""

    async def metrics(self) -> bytes:
        """The metrics of all processes, aggregated, in Prometheus' exposition format."""

    async def heartbeat(self) -> dict[str, Any]:
        """The status of the gateway's heartbeat, which one process sends."""
