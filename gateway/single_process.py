"""A gateway of one process."""

import asyncio
from typing import Any

from gateway.keyring import Injection, already_injected
from gateway.services import Services


class Alone:
    """Implements Collective."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._injecting = asyncio.Lock()

    async def inject(self, injection: Injection) -> None:
        async with self._injecting:
            if self._services.keyring.injected is not None:
                raise already_injected()
            await self._services.take(injection)

    async def metrics(self) -> bytes:
        self._services.measure()
        return self._services.metrics.render()

    async def heartbeat(self) -> dict[str, Any]:
        return self._services.heartbeat.status()
