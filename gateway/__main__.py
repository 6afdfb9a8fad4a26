"""``python -m gateway``: serve until SIGTERM, then drain."""

import asyncio
import gc
import logging
import os
import signal
import sys

from gateway import __version__
from gateway.catalog import CatalogError, bundled
from gateway.composition import compose
from gateway.server import Audience, GatewayServer, Listener
from gateway.settings import Settings, SettingsError
from gateway.telemetry import configure_logging

ENCLAVE_ADDRESS = "192.168.127.2"
log = logging.getLogger("gateway")


def main() -> int:
    """The exit status: 0 after a drain, 2 for a setting that cannot be used, 1 for a port that cannot be bound."""
    configure_logging()
    try:
        settings = Settings.from_environment(os.environ, bundled().providers)
    except (SettingsError, CatalogError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    try:
        import uvloop

        uvloop.run(serve(settings))
    except OSError as error:
        sys.stderr.write(f"gateway: cannot listen: {error}\n")
        return 1
    return 0


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with compose(settings) as services:
        server = GatewayServer(services)
        addresses = await server.start(listeners(settings))
        gc.freeze()
        for host, port in addresses:
            log.info("gateway %s listens on %s:%d", __version__, host, port)
        if settings.payments == "off":
            log.warning("PAYMENTS ARE OFF: every answer is free (GATEWAY_PAYMENTS=off)")
        await stopped.wait()
        log.info("draining for up to %g s", settings.drain_seconds)
        await server.drain(settings.drain_seconds)


def listeners(settings: Settings) -> list[Listener]:
    """Where to listen, and who is behind it: inside an enclave loopback is the public proxy's (design 4.6)."""
    if settings.enclave:
        return [
            Listener("127.0.0.1", settings.port, Audience.PUBLIC),
            Listener(ENCLAVE_ADDRESS, settings.port, Audience.HOST),
        ]
    return [Listener(settings.host, settings.port, Audience.LOCAL)]


if __name__ == "__main__":
    sys.exit(main())
