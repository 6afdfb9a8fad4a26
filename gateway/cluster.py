"""What concerns the whole gateway, however many processes it has: injection, metrics, heartbeat."""

from typing import Any, Protocol

from gateway.keyring import Injection


class Collective(Protocol):
    """The processes that serve together."""

    async def inject(self, injection: Injection) -> None:
        """Give a checked injection to all, or to none: raises 409 when there was one before, 400 for a refused one."""
        ...

    async def metrics(self) -> bytes:
        """The metrics of all, added up."""
        ...

    async def heartbeat(self) -> dict[str, Any]:
        """The status of the one heartbeat."""
        ...
