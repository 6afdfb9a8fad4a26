"""The facilitator over HTTP: what it supports, whether a payment is good, and settling it (facts/x402.md 1.5, 2.3).

Only an answer that says so in x402's own words is a refusal; everything else leaves a settlement's outcome unknown.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from gateway.billing import capabilities
from gateway.billing.capabilities import Capabilities, UnusableFacilitatorError
from gateway.billing.definitions import Definitions
from gateway.billing.evm import values as evm
from gateway.billing.outcome import Outcome, Refused, Settled, Unknown
from gateway.billing.x402 import VERSION, SettleResponse, Supported, VerifyResponse
from gateway.http_client.pool import ConnectionPool
from gateway.http_client.response import ReadTimeoutError, ResponseTooLargeError, TransportError
from gateway.http_client.retry_after import read_retry_after

log = logging.getLogger(__name__)

T = TypeVar("T")

HeaderProvider = Callable[[str, str], Awaitable[Mapping[str, str]]]
"""Headers for a call, by method and path: hosted facilitators want a fresh token for each."""

_NOT_FINAL = frozenset({"settlement_pending", "unexpected_settle_error"})
_MAX_ANSWER = 1 << 20
_MAX_WORDS = 300
"""Characters of a facilitator's own words that travel on: they end up in headers, of which clients read 8 KB."""
_LONGEST_PAUSE = 5.0
"""Seconds that a payment waits for its second verification; a facilitator that asks for more is not asked again."""
_CONNECTIONS = 256
_CONNECT_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 15.0
_HEADERS = {"Accept": "application/json", "User-Agent": "tee-gateway", "Accept-Encoding": "identity"}
_JSON = {"Content-Type": "application/json"}


class FacilitatorUnavailableError(Exception):
    """No usable answer; says why, and for how many seconds the facilitator wants to be left alone, if it told."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


def connect(url: str) -> ConnectionPool:
    """The connections to the facilitator at ``url``; to be made in the event loop and closed by whoever made them."""
    return ConnectionPool(
        url, _HEADERS, connections=_CONNECTIONS, connect=_CONNECT_SECONDS, keep_alive=_KEEP_ALIVE_SECONDS
    )


class _Job(msgspec.Struct, rename="camel"):
    job_id: str
    status: str
    result: SettleResponse | None = None


class _JobAnswer(msgspec.Struct, rename="camel"):
    payment_job: _Job


class Facilitator:
    """One facilitator, asked over ``pool``, which stays its owner's."""

    def __init__(self, pool: ConnectionPool, definitions: Definitions, headers: HeaderProvider | None = None) -> None:
        self._pool = pool
        self._definitions = definitions
        self._times = definitions.facilitator
        self._headers = headers
        self._queues = False
        self._takes_data = True

    async def supported(self) -> Capabilities:
        """Raises FacilitatorUnavailableError when it cannot be had or used."""
        status, _, body = await self._call("GET", "/supported", None, self._times.verify_seconds)
        if status != 200:
            raise FacilitatorUnavailableError(f"/supported answered {status}")
        supported = _decode(body, Supported)
        if supported is None:
            raise FacilitatorUnavailableError("/supported is not what x402 has there")
        try:
            return capabilities.read(supported, self._definitions)
        except UnusableFacilitatorError as error:
            raise FacilitatorUnavailableError(f"/supported: {error}") from None

    async def verify(self, payment: dict[str, Any], requirements: dict[str, Any]) -> VerifyResponse:
        """The verdict. Asked once more when the facilitator breaks, when it says if that is soon; raises
        FacilitatorUnavailableError after that."""
        body = _body(payment, requirements)
        try:
            return _verdict(*await self._call("POST", "/verify", body, self._times.verify_seconds))
        except FacilitatorUnavailableError as error:
            pause = self._times.poll_seconds if error.retry_after is None else error.retry_after
            if pause > _LONGEST_PAUSE:
                raise
            await asyncio.sleep(pause)
        return _verdict(*await self._call("POST", "/verify", body, self._times.verify_seconds))

    async def settle(self, payment: dict[str, Any], requirements: dict[str, Any], usage: dict[str, Any]) -> Outcome:
        """Settle once. ``usage`` is OpenGradient's usageMetadata, sent only to a facilitator that queues jobs."""
        body = _body(payment, requirements)
        if usage and self._queues:
            body["usageMetadata"] = usage
        try:
            status, _, answer = await self._call("POST", "/settle", body, self._times.settle_seconds)
        except FacilitatorUnavailableError as error:
            return Unknown(str(error))
        if status == 202 and (queued := _decode(answer, _JobAnswer)) is not None:
            self._queues = True
            return await self.follow(queued.payment_job.job_id, requirements)
        return _outcome(_decode(answer, SettleResponse), status, requirements)

    async def follow(self, job: str, requirements: dict[str, Any]) -> Outcome:
        """What became of a queued settlement of ``requirements``, waiting for it (facts/x402.md 2.3)."""
        unknown = Unknown("the settlement is queued", job=job)
        try:
            async with asyncio.timeout(self._times.job_seconds):
                while True:
                    if (outcome := await self._look_at(job, requirements)) is not None:
                        return outcome
                    await asyncio.sleep(self._times.poll_seconds)
        except TimeoutError:
            return unknown
        except FacilitatorUnavailableError as error:
            return Unknown(str(error), job=job)

    async def _look_at(self, job: str, requirements: dict[str, Any]) -> Outcome | None:
        """None while the job is under way."""
        status, _, answer = await self._call("GET", f"/settle/{quote(job)}", None, self._times.verify_seconds)
        wrapped = _decode(answer, _JobAnswer)
        state = wrapped.payment_job if wrapped is not None else _decode(answer, _Job)
        if status == 404:
            return Unknown("the facilitator has forgotten the settlement")
        if state is None:
            raise FacilitatorUnavailableError(f"/settle/{{job}} answered {status}")
        if state.status not in {"succeeded", "failed"}:
            return None
        if state.result is None:
            return Unknown(f"the settlement job {state.status} without a result")
        return _outcome(state.result, 200, requirements)

    async def settle_data(self, kind: str, data: dict[str, Any]) -> None:
        """Hand hashes and signature of an answer to OpenGradient's batch; never the prompt or the answer.

        A facilitator that knows no such endpoint is not asked again. Raises FacilitatorUnavailableError.
        """
        if not self._takes_data:
            return
        headers = {
            "X-SETTLEMENT-TYPE": kind,
            "X-SETTLEMENT-DATA": base64.b64encode(msgspec.json.encode(data)).decode(),
        }
        status, _, _ = await self._call("POST", "/settle_data", {}, self._times.verify_seconds, headers)
        if status in {404, 405, 501}:
            self._takes_data = False
            log.info("settlement data is not taken here", extra={"status": status})
        elif status >= 300:
            raise FacilitatorUnavailableError(f"/settle_data answered {status}")

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        seconds: float,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, fields and body of the answer."""
        headers = {**_JSON, **more} if body is not None else {**more}
        name = path.split("/")[1]
        try:
            if self._headers is not None:
                headers.update(await self._headers(method, path))
            request = self._pool.encode(method, path, headers, b"" if body is None else msgspec.json.encode(body))
            return await self._pool.fetch(request, seconds, _MAX_ANSWER)
        except (TimeoutError, ReadTimeoutError):
            raise FacilitatorUnavailableError(f"{name}: no answer within {seconds:g} s") from None
        except ResponseTooLargeError:
            raise FacilitatorUnavailableError(f"an answer of more than {_MAX_ANSWER} bytes") from None
        except TransportError as error:
            raise FacilitatorUnavailableError(f"{name}: {type(error).__name__}") from None


def _body(payment: dict[str, Any], requirements: dict[str, Any]) -> dict[str, Any]:
    return {"x402Version": VERSION, "paymentPayload": payment, "paymentRequirements": requirements}


def _decode(answer: bytes, form: type[T]) -> T | None:
    try:
        return msgspec.json.decode(answer, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _verdict(status: int, fields: Mapping[bytes, bytes], answer: bytes) -> VerifyResponse:
    verdict = _decode(answer, VerifyResponse)
    if verdict is None or (verdict.is_valid and status != 200):
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields.items()}
        raise FacilitatorUnavailableError(f"/verify answered {status}", read_retry_after(headers))
    return verdict if verdict.is_valid else _in_few_words(verdict)


def _in_few_words(verdict: VerifyResponse) -> VerifyResponse:
    reason, message = verdict.invalid_reason, verdict.invalid_message
    return msgspec.structs.replace(
        verdict,
        invalid_reason=reason and reason[:_MAX_WORDS],
        invalid_message=message and message[:_MAX_WORDS],
    )


def _outcome(response: SettleResponse | None, status: int, requirements: dict[str, Any]) -> Outcome:
    """A typed negative counts at any status, a success only at 200, for the network that was asked for and with the
    transaction that was made of it."""
    if response is None or (response.success and status != 200):
        return Unknown(f"settle answered {status}")
    transaction, network = (response.transaction or "")[:_MAX_WORDS], (response.network or "")[:_MAX_WORDS]
    if response.success:
        if network != requirements["network"]:
            return Unknown(f"settle answered for {network}", transaction=transaction)
        if not transaction:
            return Unknown("settle answered without a transaction")
        return Settled(transaction, _amount(response.amount))
    reason = (response.error_reason or "settlement_failed")[:_MAX_WORDS]
    if reason in _NOT_FINAL:
        return Unknown(reason, transaction=transaction)
    return Refused(reason, (response.error_message or "")[:_MAX_WORDS], transaction)


def _amount(text: str | None) -> int | None:
    try:
        return evm.uint256(text or "")
    except ValueError:
        return None
