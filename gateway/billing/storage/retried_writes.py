"""Journal writes that are repeated until they succeed: the journal may be away, but a payment's end is not given up."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential

from gateway.billing.journal import Entry, IllegalTransitionError, State
from gateway.billing.storage.store import StoreUnavailableError

log = logging.getLogger(__name__)

Write = Callable[..., Awaitable[Entry]]
"""A store's ``move`` or ``defer_move``, or a function of the same arguments: payment, state and changes."""

_FIRST_BACKOFF = 0.2
_MAX_BACKOFF = 30.0


async def write(step: Write, payment: Entry, state: State, **changes: Any) -> Entry:
    """``step`` for ``payment``, until it succeeds or the caller is cancelled."""
    try:
        return await step(payment, state, **changes)
    except StoreUnavailableError as error:
        return await retry(error, step, payment, state, **changes)


async def retry(error: StoreUnavailableError, step: Write, payment: Entry, state: State, **changes: Any) -> Entry:
    """Repeat ``step`` after ``error``. An attempt whose commit had an unknown outcome may have succeeded already."""
    log.warning("journal write delayed", extra={"payment": payment.id, "reason": str(error)})
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailableError),
        wait=wait_exponential(_FIRST_BACKOFF, max=_MAX_BACKOFF),
    )
    try:
        return await attempts(step, payment, state, **changes)
    except IllegalTransitionError as illegal:
        if illegal.origin is not state:
            raise
        return payment.transition(state, **changes)
