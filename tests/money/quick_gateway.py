"""``python -m gateway`` that retries, and gives up holding an answer for its settlement, in parts of seconds."""

import sys
from functools import cache

from msgspec.structs import replace

from gateway import deferred_payments
from gateway.__main__ import main
from gateway.billing import definitions, settlement

measured = definitions.bundled()
hurried = replace(
    measured,
    settlement=replace(measured.settlement, hold_seconds=0.6, retry_seconds=0.2, sweep_seconds=0.3),
    facilitator=replace(measured.facilitator, verify_seconds=3.0, settle_seconds=1.0, poll_seconds=0.02),
)
definitions.bundled = cache(lambda: hurried)
deferred_payments._RETRY_SECONDS = settlement._FIRST_BACKOFF = 0.1

if __name__ == "__main__":
    sys.exit(main())
