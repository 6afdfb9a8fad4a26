"""Signed heartbeats to the TEE registry, relayed by the facilitator, who pays the gas (facts/x402.md 2.3).

Each signs keccak256(teeId ‖ uint256 timestamp) with the key of the answers. The registry accepts no timestamp in its
future and none older than half an hour (facts/enclave.md 6b). Block time may lag, so ``buffer`` is subtracted.
"""

import asyncio
import base64
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from gateway.http_client.body_start import read_start
from gateway.keccak import keccak256
from gateway.keyring import Injection
from gateway.settings import Settings
from gateway.signing import Signer

INTERVAL_SECONDS = 900
BUFFER_SECONDS = 300
ATTEMPTS = 4
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_REASON = 200
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Where heartbeats go and how often. ``interval`` and ``buffer`` in seconds."""

    facilitator_url: str
    contract: str
    interval: int = INTERVAL_SECONDS
    buffer: int = BUFFER_SECONDS

    @classmethod
    def from_injection(cls, injection: Injection, settings: Settings) -> "Relay | None":
        """The relay that ``injection`` configures; None without a registry contract or a facilitator."""
        facilitator_url = injection.facilitator_url or settings.facilitator_url
        if not injection.heartbeat_contract_address or not facilitator_url:
            return None
        interval, buffer = injection.tee_heartbeat_interval, injection.tee_heartbeat_buffer
        return cls(
            facilitator_url=facilitator_url,
            contract=injection.heartbeat_contract_address,
            interval=INTERVAL_SECONDS if interval is None else interval,
            buffer=BUFFER_SECONDS if buffer is None else buffer,
        )


class RelayError(Exception):
    """A heartbeat did not reach the registry; the message is public. ``transient`` errors are retried."""

    def __init__(self, reason: str, *, transient: bool) -> None:
        super().__init__("".join(char if char.isprintable() else " " for char in reason[:_MAX_REASON]))
        self.transient = transient


class Heartbeat:
    """Sends heartbeats from ``start`` to ``stop``.

    ``retry_wait`` is the first wait in seconds before a retry. ``clock_reasons`` gives the reasons why ``clock`` cannot
    be trusted now; heartbeats wait until there are none.
    """

    def __init__(
        self,
        signer: Signer,
        clock: Callable[[], int],
        registry: CollectorRegistry,
        *,
        retry_wait: float = 1.0,
        clock_reasons: Callable[[], list[str]] = list,
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._retry_wait = retry_wait
        self._clock_reasons = clock_reasons
        self._task: asyncio.Task[None] | None = None
        self._relay: Relay | None = None
        self._last_success: int | None = None
        self._last_error: str | None = None
        self._last_transaction: str | None = None
        self._sent = 0
        self._errors = 0
        self._beats = Counter("gateway_heartbeats", "Heartbeats by outcome", ("outcome",), registry=registry)
        Gauge(
            "gateway_heartbeat_last_success_seconds",
            "Unix time of the last heartbeat that the registry accepted, 0 if none",
            registry=registry,
        ).set_function(lambda: self._last_success or 0)

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def status(self) -> dict[str, Any]:
        """The body of ``GET /heartbeat/status``. ``last_success`` is in seconds since the epoch; null if never."""
        return {
            "enabled": self.running,
            "last_success": self._last_success,
            "last_error": self._last_error,
            "last_tx_hash": self._last_transaction,
            "total_sent": self._sent,
            "total_errors": self._errors,
            "interval_seconds": self._relay.interval if self._relay else INTERVAL_SECONDS,
        }

    def start(self, relay: Relay) -> None:
        """Send a heartbeat at once and another one every ``relay.interval`` seconds; call it once."""
        self._relay = relay
        self._task = asyncio.create_task(self._run(relay))

    async def stop(self) -> None:
        """Stop; idempotent."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, relay: Relay) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session:
            while True:
                await self._wait_for_clock()
                next_beat = asyncio.get_running_loop().time() + relay.interval
                await self._beat(session, relay)
                await asyncio.sleep(max(0.0, next_beat - asyncio.get_running_loop().time()))

    async def _wait_for_clock(self) -> None:
        """Wait until the clock is trusted: the host may have set an unsynchronized one."""
        while reasons := self._clock_reasons():
            self._last_error = "; ".join(reasons)
            await asyncio.sleep(self._retry_wait)

    async def _beat(self, session: aiohttp.ClientSession, relay: Relay) -> None:
        """Send one heartbeat, with retries that end before the next is due."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, RelayError) and error.transient),
            wait=wait_exponential(multiplier=self._retry_wait, max=relay.interval / ATTEMPTS),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        try:
            transaction: str | None = await retrying(self._send, session, relay)
        except RelayError as error:
            self._record_failure(str(error))
        except Exception as error:
            log.exception("heartbeat")
            self._record_failure(f"the gateway failed: {type(error).__name__}")
        else:
            self._sent += 1
            self._last_success = self._clock()
            self._last_error = None
            self._last_transaction = transaction
            self._beats.labels("sent").inc()

    def _record_failure(self, reason: str) -> None:
        self._errors += 1
        self._last_error = reason
        self._beats.labels("failed").inc()
        log.warning("heartbeat failed", extra={"reason": reason})

    async def _send(self, session: aiohttp.ClientSession, relay: Relay) -> str | None:
        """Sign a timestamp and have it relayed; the transaction hash, if the facilitator reports one."""
        try:
            async with session.post(
                f"{relay.facilitator_url}/heartbeat", json=self.message(relay), allow_redirects=False
            ) as response:
                result = _decoded(await read_start(response, _MAX_ANSWER_BYTES))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RelayError(f"the facilitator did not respond: {type(error).__name__}", transient=True) from error
        if response.status != 200 or result.get("success") is not True:
            reason = result.get("error") or result.get("errorReason") or "no success"
            raise RelayError(
                f"the facilitator returned {response.status}: {reason}",
                transient=response.status >= 500 or response.status == 429,
            )
        transaction = result.get("txHash")
        return transaction if isinstance(transaction, str) else None

    def message(self, relay: Relay) -> dict[str, str]:
        """The body of ``POST /heartbeat``. The timestamp is a decimal string, as the facilitator's own node sends."""
        timestamp = max(0, self._clock() - relay.buffer)
        tee_id = self._signer.tee_id
        digest = keccak256(bytes.fromhex(tee_id[2:]) + timestamp.to_bytes(32, "big"))
        return {
            "teeId": tee_id,
            "timestamp": str(timestamp),
            "signature": base64.b64encode(self._signer.sign_bytes(digest)).decode(),
            "contractAddress": relay.contract,
        }


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
