"""A gateway process that dies without warning while the facilitator is settling. Run by test_restart.py.

Reads one JSON line: settings of the payments, and the header of a paid request. Prints ``settling`` once the journal
has the amount, then waits to be killed.
"""

import asyncio
import json
import sys
from decimal import Decimal
from pathlib import Path

from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from tests.billing.harness import CATALOG, bill, order, quick


async def main() -> None:
    told = json.loads(sys.stdin.readline())
    settings = PaymentSettings(
        payee=told["payee"],
        facilitator_url=told["facilitator_url"],
        journal=Path(told["journal"]),
        max_usd=Decimal("1.00"),
        mac_key=bytes.fromhex(told["mac_key"]),
        rpc_url=told["rpc_url"],
        price_url=told["price_url"],
    )
    definitions = quick(settlement={"hold_seconds": 0.5}) if told["until"] == "settling" else quick()
    payments = await X402Payments.open(settings, CATALOG, definitions)
    payment = await payments.admit(order(headers={"payment-signature": told["header"]}))
    if told["until"] == "settling":
        receipt = await payment.settle(bill())
        print(json.dumps(receipt.payment), flush=True)
    else:
        print("serving", flush=True)
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main())
