"""The request, sent once for the offers and once with the payment."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx
from x402 import x402ClientSync
from x402.http.utils import encode_payment_signature_header
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.upto import UptoEvmClientScheme
from x402.schemas import PaymentRequired

from gateway.billing.x402 import PAYMENT_SIGNATURE
from tools.pay.offers import NotPaidError
from tools.pay.signer import ConsentingSigner
from tools.verify.errors import UnreachableError

TIMEOUT_SECONDS = 600.0
MAY_BE_CHARGED = "the part received so far may have been charged: check the chain before paying again"
Show = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` is complete, JSON or an event stream."""

    status: int
    headers: httpx.Headers
    body: bytes


class Session:
    """One gateway endpoint. The caller closes ``http``."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self._url = url

    def send(self, body: bytes, payment: str | None = None, show: Show | None = None) -> Answer:
        """POST; chunks of a 200 are passed to ``show`` as they arrive. Raises UnreachableError."""
        headers = {"Content-Type": "application/json"}
        if payment is not None:
            headers[PAYMENT_SIGNATURE] = payment
        chunks: list[bytes] = []
        try:
            with self._http.stream("POST", self._url, content=body, headers=headers, timeout=TIMEOUT_SECONDS) as answer:
                for chunk in answer.iter_bytes():
                    chunks.append(chunk)
                    if show is not None and answer.status_code == 200:
                        show(chunk)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, KeyboardInterrupt) as error:
            charged = "" if payment is None else f"; {MAY_BE_CHARGED}"
            raise UnreachableError(f"{self._url}: {str(error) or type(error).__name__}{charged}") from None
        return Answer(answer.status_code, answer.headers, b"".join(chunks))


def sign(required: PaymentRequired, signer: ConsentingSigner) -> str:
    """The PAYMENT-SIGNATURE value for the only offer in ``required``; raises NotPaidError.

    x402's spend controls are off: they do not know OPG, and the payer has chosen the offer (facts/x402.md 1.9).
    """
    client = x402ClientSync()
    register_exact_evm_client(client, signer)
    client.register("eip155:*", UptoEvmClientScheme(signer))
    client.set_spend_controls(False)
    try:
        return encode_payment_signature_header(client.create_payment_payload(required))
    except ValueError as error:
        raise NotPaidError(f"the offer cannot be signed: {error}") from None
