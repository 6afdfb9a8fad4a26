"""``python -m gateway``: serve until SIGTERM, Ctrl-C or a closed terminal, then drain."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import uvloop

from gateway import __version__, garbage_collection
from gateway.billing.storage.store import StoreUnavailableError
from gateway.catalog import CatalogError, bundled
from gateway.composition import compose
from gateway.http_server import file_descriptors
from gateway.identity import Identity
from gateway.listeners import Listener, bind, listeners
from gateway.nitriding import Nitriding, NitridingError
from gateway.server import GatewayServer
from gateway.services import Services
from gateway.setting_checks import SettingsError
from gateway.settings import Settings
from gateway.stop_signals import stop_event
from gateway.telemetry.logs import configure_logging
from gateway.telemetry.standard_error import open_standard_streams
from gateway.workers.process import create_supervisor
from gateway.workers.supervisor import WorkerLostError

USAGE = """usage: python -m gateway

Serves until SIGTERM, Ctrl-C or SIGHUP (a closed terminal; not under nohup), then drains. It takes no
arguments: all settings are environment variables, listed in docs/settings.md.

exit status:
  0  drained
  1  a port cannot be bound, or the journal cannot be written
  2  a setting is invalid
  3  the enclave daemon does not accept the signing key
"""
log = logging.getLogger("gateway")


def main(arguments: Sequence[str] = ()) -> int:
    """Run the gateway; return the exit status, see USAGE."""
    if arguments:
        return usage(arguments)
    open_standard_streams()
    configure_logging()
    sys.set_int_max_str_digits(sys.int_info.str_digits_check_threshold)  # reading longer integers takes quadratic time
    try:
        settings = Settings.from_environment(os.environ, bundled().providers)
    except (SettingsError, CatalogError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    file_descriptors.raise_limit()
    try:
        if settings.workers > 1:
            serve_with_workers(settings)
        else:
            uvloop.run(serve(settings))
    except OSError as error:
        sys.stderr.write(f"gateway: cannot listen: {error}\n")
        return 1
    except (StoreUnavailableError, WorkerLostError) as error:
        sys.stderr.write(f"gateway: cannot start: {error}\n")
        return 1
    except NitridingError as error:
        sys.stderr.write(f"gateway: cannot enter service: {error}\n")
        return 3
    return 0


def usage(arguments: Sequence[str]) -> int:
    """Print help or reject unknown arguments; return the exit status."""
    if list(arguments) in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    sys.stderr.write(f"gateway: unrecognized argument {arguments[0]!r}; see python -m gateway --help\n")
    return 2


async def serve(settings: Settings) -> None:
    """Run until a stop signal. Raises OSError and NitridingError when it cannot start."""
    async with compose(settings) as services:
        server = GatewayServer(services)
        try:
            addresses = await start(services, server)
            stopped = stop_event()
            garbage_collection.freeze()
            announce(settings, addresses)
            await stopped.wait()
            log.info("draining for up to %g s", settings.drain_seconds)
        finally:
            await services.heartbeat.stop()
            await server.drain(settings.drain_seconds)


async def start(
    services: Services,
    server: GatewayServer,
    *,
    where: Sequence[Listener] | None = None,
    nitriding: Nitriding | None = None,
) -> list[tuple[str, int]]:
    """Bind the listeners; inside an enclave then register the signing key and have the daemon open the public port.

    ``where`` and ``nitriding`` default to those of the settings. Returns the bound addresses.
    """
    where = listeners(services.settings) if where is None else where
    if not services.settings.enclave:
        return await server.start(where)
    async with aiohttp.ClientSession() as session:
        daemon = nitriding or Nitriding(session)
        await daemon.wait()
        addresses = await server.start(where)
        await daemon.register_key(services.signer.public_der)
        services.tee_enabled = True
        await daemon.signal_ready()
    return addresses


def serve_with_workers(settings: Settings) -> None:
    """Run several workers until a stop signal. Raises OSError, WorkerLostError and NitridingError at the start."""
    identity = Identity.generate()
    if settings.enclave:
        asyncio.run(_with_daemon(Nitriding.wait))
    sockets = {bound: listener.audience for listener in listeners(settings) for bound in bind(listener)}
    if settings.enclave:
        asyncio.run(_with_daemon(lambda daemon: daemon.register_key(identity.signer.public_der)))
    supervisor = create_supervisor(settings, identity, sockets)
    supervisor.start()
    if settings.enclave:
        asyncio.run(_with_daemon(Nitriding.signal_ready))
    announce(settings, [socket.getsockname()[:2] for socket in sockets])
    supervisor.run()


async def _with_daemon(work: Callable[[Nitriding], Awaitable[object]]) -> None:
    async with aiohttp.ClientSession() as session:
        await work(Nitriding(session))


def announce(settings: Settings, addresses: Sequence[tuple[str, int]]) -> None:
    """Log the bound addresses, and a warning if payments are off."""
    for host, port in addresses:
        log.info("gateway %s listens on %s:%d", __version__, f"[{host}]" if ":" in host else host, port)
    if settings.payments == "off":
        log.warning("PAYMENTS ARE DISABLED: every request is served for free (GATEWAY_PAYMENTS=off)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
