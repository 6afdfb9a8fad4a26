"""HTTP client of the facilitator: /supported, /verify, /settle and its job queue (facts/x402.md 1.5, 2.3).

Only a well-formed x402 response counts as a refusal; any other failure leaves the outcome of a settlement unknown.
"""

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from gateway.billing import capabilities
from gateway.billing.capabilities import Capabilities, UnusableFacilitatorError
from gateway.billing.definitions import Definitions
from gateway.billing.evm import values as evm
from gateway.billing.finality import is_busy, may_still_settle
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.x402 import VERSION, ForwardedPayment, SettleResponse, Supported, VerifyResponse
from gateway.http_client.pool import ConnectionPool
from gateway.http_client.response import ReadTimeoutError, ResponseTooLargeError, TransportError
from gateway.http_client.retry_after import read_retry_after

log = logging.getLogger(__name__)

T = TypeVar("T")

HeaderProvider = Callable[[str, str], Awaitable[Mapping[str, str]]]
"""Headers for a request, by method and path: hosted facilitators require a fresh token for each."""

_DONE = frozenset({200, 201})
"""Statuses of results. Some frameworks answer each POST with 201."""
_MAX_RESPONSE_BYTES = 1 << 20
_MAX_TEXT = 300
"""Length that facilitator strings are truncated to: they end up in headers, of which clients read 8 KB."""
_MAX_RETRY_AFTER = 5.0
"""Longest ``Retry-After``, in seconds, that a verification is retried after."""
_CONNECTIONS = 256
_CONNECT_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 15.0
_HEADERS = {"Accept": "application/json", "User-Agent": "tee-gateway", "Accept-Encoding": "identity"}
_JSON = {"Content-Type": "application/json"}


class FacilitatorUnavailableError(Exception):
    """No usable response; none at all if ``lost``.

    ``retry_after`` is the facilitator's Retry-After in seconds, if it sent one.
    """

    def __init__(self, message: str, retry_after: float | None = None, *, lost: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.lost = lost


def connection_pool(url: str) -> ConnectionPool:
    """A connection pool to the facilitator at ``url``. Call it in the event loop; the caller closes the pool."""
    return ConnectionPool(
        url, _HEADERS, connections=_CONNECTIONS, connect=_CONNECT_SECONDS, keep_alive=_KEEP_ALIVE_SECONDS
    )


class _Job(msgspec.Struct, rename="camel"):
    job_id: str
    status: str
    result: SettleResponse | None = None


class _JobResponse(msgspec.Struct, rename="camel"):
    payment_job: _Job


class Facilitator:
    """One facilitator, reached through ``pool``, which the caller closes."""

    def __init__(self, pool: ConnectionPool, definitions: Definitions, headers: HeaderProvider | None = None) -> None:
        self._pool = pool
        self._definitions = definitions
        self._timeouts = definitions.facilitator
        self._headers = headers
        self._queues_jobs = False
        self._accepts_data = True

    async def supported(self) -> Capabilities:
        """Raises FacilitatorUnavailableError, also when nothing in the response can be used."""
        status, headers, body = await self._request("GET", "/supported", None, self._timeouts.verify_seconds)
        if status != 200:
            raise FacilitatorUnavailableError(
                f"/supported returned {status}{_target(headers)}", read_retry_after(headers)
            )
        supported = _decode(body, Supported)
        if supported is None:
            raise FacilitatorUnavailableError("/supported did not return a valid x402 response")
        try:
            return capabilities.read(supported, self._definitions)
        except UnusableFacilitatorError as error:
            raise FacilitatorUnavailableError(f"/supported: {error}") from None

    async def verify(self, payment: ForwardedPayment) -> VerifyResponse:
        """Verify a payment; retried once when the facilitator fails, after its ``Retry-After`` if that is short.

        After no response at all a new connection is opened: the idle ones may be dead like the first. Raises
        FacilitatorUnavailableError.
        """
        body, seconds = _body(payment, payment.accepted), self._timeouts.verify_seconds
        try:
            return _verify_response(*await self._request("POST", "/verify", body, seconds))
        except FacilitatorUnavailableError as error:
            pause = self._timeouts.poll_seconds if error.retry_after is None else error.retry_after
            if pause > _MAX_RETRY_AFTER:
                raise
            reuse = not error.lost
            await asyncio.sleep(pause)
        return _verify_response(*await self._request("POST", "/verify", body, seconds, reuse=reuse))

    async def settle(self, payment: ForwardedPayment, amount: int | None, usage: dict[str, Any]) -> Outcome:
        """Settle ``amount``, without retries.

        ``usage`` (OpenGradient's usageMetadata) is sent to facilitators that queue jobs.
        """
        requirements = {**payment.requirements, "amount": str(amount)}
        network = requirements["network"]
        body = _body(payment, requirements)
        if usage and self._queues_jobs:
            body["usageMetadata"] = usage
        try:
            status, headers, response = await self._request("POST", "/settle", body, self._timeouts.settle_seconds)
        except FacilitatorUnavailableError as error:
            return Unknown(str(error))
        if status == 202 and (queued := _decode(response, _JobResponse)) is not None:
            self._queues_jobs = True
            return await self.poll_job(queued.payment_job.job_id, network, self._timeouts.job_seconds)
        outcome = self._outcome(_decode(response, SettleResponse), status, network)
        if isinstance(outcome, Unknown) and (retry_after := read_retry_after(headers)):
            return replace(outcome, retry_after=retry_after)
        return outcome

    async def poll_job(self, job: str, network: str, seconds: float = 0.0) -> Outcome:
        """Poll a settlement queued for ``network``, at least once and for up to ``seconds`` (facts/x402.md 2.3)."""
        end = time.monotonic() + seconds
        try:
            while (outcome := await self._job_outcome(job, network)) is None:
                if time.monotonic() >= end:
                    return Unknown("the settlement is queued", job=job)
                await asyncio.sleep(self._timeouts.poll_seconds)
        except FacilitatorUnavailableError as error:
            return Unknown(str(error), job=job, retry_after=error.retry_after or 0.0)
        return outcome

    async def _job_outcome(self, job: str, network: str) -> Outcome | None:
        """None while the job is queued or running."""
        status, headers, body = await self._request("GET", f"/settle/{quote(job)}", None, self._timeouts.verify_seconds)
        wrapped = _decode(body, _JobResponse)
        job_state = wrapped.payment_job if wrapped is not None else _decode(body, _Job)
        if status == 404:
            return Unknown("the facilitator no longer has the settlement job")
        if job_state is None:
            raise FacilitatorUnavailableError(f"/settle/{{job}} returned {status}", read_retry_after(headers))
        if job_state.status not in {"succeeded", "failed"}:
            return None
        if job_state.result is None:
            return Unknown(f"the settlement job {job_state.status} without a result")
        return self._outcome(job_state.result, 200, network)

    def _outcome(self, response: SettleResponse | None, status: int, network: str) -> Outcome:
        """Unknown for a success without a transaction or on another network, or for a refusal that may not be final."""
        if response is None or (response.success and status not in _DONE):
            return Unknown(f"settle returned {status}")
        transaction = (response.transaction or "")[:_MAX_TEXT]
        if response.success:
            if response.network and not self._is_network(response.network, network):
                return Unknown(f"settle returned the network {response.network[:_MAX_TEXT]}", transaction=transaction)
            if not transaction:
                return Unknown("settle returned no transaction")
            return Settled(transaction, _amount(response.amount))
        reason = (response.error_reason or "settlement_failed")[:_MAX_TEXT]
        message = (response.error_message or "")[:_MAX_TEXT]
        if may_still_settle(status, reason, f"{reason}: {response.error_message}"):
            return Unknown(reason, transaction=transaction)
        return Refused(reason, message, transaction)

    def _is_network(self, name: str, requested: str) -> bool:
        """Whether ``name`` is the requested network, which version 1 of x402 has another name for."""
        network = self._definitions.networks.get(requested)
        return name == requested or (network is not None and name == network.v1_name)

    async def settle_data(self, data: dict[str, Any]) -> None:
        """Submit the hashes and the signature of an answer to OpenGradient's batch; never the prompt or the answer.

        After a response that the facilitator has no such endpoint, later calls return at once. Raises
        FacilitatorUnavailableError.
        """
        if not self._accepts_data:
            return
        headers = {
            "X-SETTLEMENT-TYPE": "batch",
            "X-SETTLEMENT-DATA": base64.b64encode(msgspec.json.encode(data)).decode(),
        }
        status, _, _ = await self._request("POST", "/settle_data", {}, self._timeouts.verify_seconds, headers)
        if status in {404, 405, 501}:
            self._accepts_data = False
            log.info("the facilitator does not accept settlement data", extra={"status": status})
        elif status >= 300:
            raise FacilitatorUnavailableError(f"/settle_data returned {status}")

    async def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        seconds: float,
        extra_headers: Mapping[str, str] = {},
        *,
        reuse: bool = True,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return status, headers and body of the response."""
        headers = {**_JSON, **extra_headers} if body is not None else {**extra_headers}
        name = path.split("/")[1]
        try:
            if self._headers is not None:
                headers.update(await self._headers(method, path))
            request = self._pool.encode(method, path, headers, b"" if body is None else msgspec.json.encode(body))
            return await self._pool.fetch(request, seconds, _MAX_RESPONSE_BYTES, reuse=reuse)
        except (TimeoutError, ReadTimeoutError):
            raise FacilitatorUnavailableError(f"{name}: no response within {seconds:g} s", lost=True) from None
        except ResponseTooLargeError:
            raise FacilitatorUnavailableError(f"a response larger than {_MAX_RESPONSE_BYTES} bytes") from None
        except TransportError as error:
            raise FacilitatorUnavailableError(f"{name}: {type(error).__name__}", lost=True) from None


def _body(payment: ForwardedPayment, requirements: dict[str, Any] | msgspec.Raw) -> dict[str, Any]:
    return {"x402Version": VERSION, "paymentPayload": payment, "paymentRequirements": requirements}


def _decode(body: bytes, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=type_)
    except (ValueError, RecursionError):
        return None


def _verify_response(status: int, headers: Mapping[str, str], body: bytes) -> VerifyResponse:
    """The verdict. Raises FacilitatorUnavailableError if there is none, or a refusal that is not about the payment."""
    verdict = _decode(body, VerifyResponse)
    if verdict is None or is_busy(status) or (verdict.is_valid and status not in _DONE):
        raise FacilitatorUnavailableError(f"/verify returned {status}", read_retry_after(headers))
    return verdict if verdict.is_valid else _truncated(verdict)


def _target(headers: Mapping[str, str]) -> str:
    """Where a redirect, which is not followed, leads to: the operator can configure that URL instead."""
    location = headers.get("location", "")
    return f", a redirect to {location[:_MAX_TEXT]}" if location else ""


def _truncated(verdict: VerifyResponse) -> VerifyResponse:
    reason, message = verdict.invalid_reason, verdict.invalid_message
    return msgspec.structs.replace(
        verdict,
        invalid_reason=reason and reason[:_MAX_TEXT],
        invalid_message=message and message[:_MAX_TEXT],
    )


def _amount(text: str | None) -> int | None:
    try:
        return evm.uint256(text or "")
    except ValueError:
        return None
