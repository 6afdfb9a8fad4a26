"""A gateway of a single process."""

import asyncio
from typing import Any

from gateway.keyring import Injection, already_injected
from gateway.services import Services


class SingleProcess:
    """Implements Cluster for one process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._injection_lock = asyncio.Lock()

    async def inject(self, injection: Injection) -> None:
        async with self._injection_lock:
            if self._services.keyring.injected is not None:
                raise already_injected()
            await self._services.inject(injection)

    async def metrics(self) -> bytes:
        self._services.update_gauges()
        return self._services.metrics.render()

    async def heartbeat(self) -> dict[str, Any]:
        return self._services.heartbeat.status()
