"""A journal sink that closes the connection right after its answer, as simple HTTP servers do."""

import ssl
from decimal import Decimal
from pathlib import Path

import pytest
import uvloop

from gateway.billing.payment_settings import PaymentSettings
from gateway.billing.payments import X402Payments
from gateway.billing.storage.records import encode_frame
from gateway.catalog import bundled
from tests.certificates import self_signed
from tests.closing_server import closing_server

JOURNAL = encode_frame(b"x" * 700) * 4000


def test_the_journal_is_replayed_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS in uvloop dropped what had been read ahead: most enclaves could not start again."""
    certificate = self_signed(tmp_path, "127.0.0.1")[0]
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    async def start(sink: str) -> None:
        settings = PaymentSettings(
            payee="0x" + "11" * 20,
            facilitator_url="http://127.0.0.1:9",
            journal=tmp_path / "journal.db",
            max_usd=Decimal(1),
            mac_key=b"m" * 32,
            price_url="http://127.0.0.1:9",
            sink=sink,
            journal_key=b"j" * 32,
        )
        await (await X402Payments.open(settings, bundled())).close(0)

    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JOURNAL)
    for _ in range(2):
        with closing_server(tls, head, JOURNAL) as (url, awaited):
            awaited.set()
            uvloop.run(start(url))
