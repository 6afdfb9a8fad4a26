"""Pay every model of the catalogue for two answers, one of them streamed, and verify them."""

import asyncio
import json
from typing import Any

import httpx
from eth_account import Account

from gateway.billing.definitions import Definitions
from gateway.billing.definitions import bundled as definitions
from gateway.catalog import Model, bundled
from tools.chain.deployment import OPG, PAYER
from tools.chain.local_chain import LocalChain
from tools.chain.wallet import Wallet
from tools.pay.offers import known_offers, read_required, with_single_offer
from tools.pay.receipt import check, read_payment
from tools.pay.request import Session, sign
from tools.pay.signer import ConsentingSigner
from tools.verify.claims import Verdict
from tools.verify.response import verify_response
from tools.verify.signing_key import SigningKey, load_signing_key


class BadAnswerError(Exception):
    """A model did not answer, or its answer or charge cannot be verified; the message names it."""


async def ask_every_model(url: str, chain: LocalChain) -> int:
    """Return the number of paid and verified answers. Raises BadAnswerError for the first invalid one."""
    await chain.approve_permit2(Wallet(PAYER.key), OPG)
    return await asyncio.to_thread(_ask_all, url)


def _ask_all(url: str) -> int:
    models = list(bundled().models.values())
    tokens = definitions()
    with httpx.Client(timeout=60) as http:
        key = load_signing_key(http.get(f"{url}/signing-key").content)
        for model in models:
            for stream in (False, True):
                _ask(Session(http, f"{url}/v1/chat/completions"), key, model, tokens, stream=stream)
    print(f"{len(models)} models, streamed and not: every answer paid for and verified")
    return 2 * len(models)


def _ask(session: Session, key: SigningKey, model: Model, tokens: Definitions, *, stream: bool) -> None:
    request: dict[str, Any] = {
        "model": model.id,
        "messages": [{"role": "user", "content": f"Who are you, {model.id}?"}],
        "stream": stream,
    }
    body = json.dumps(request).encode()
    signer = ConsentingSigner(Account.from_key(PAYER.key), _no_confirmation)
    required = read_required(session.send(body).headers)
    offer = known_offers(required, tokens)[0]
    answer = session.send(body, sign(with_single_offer(required, offer), signer))
    if answer.status != 200:
        raise BadAnswerError(f"{model.id}: status {answer.status} {answer.body[:200]!r}")
    payment = read_payment(answer)
    claims = [*check(offer, answer, payment, signer.address, None), *verify_response(key, request, answer.body)]
    if any(claim.verdict is Verdict.FAIL for claim in claims) or payment["status"] != "settled":
        raise BadAnswerError(f"{model.id}: {payment} {[claim.line() for claim in claims]}")
    if "image" in model.outputs and not stream and not json.loads(answer.body)["choices"][0]["message"].get("images"):
        raise BadAnswerError(f"{model.id}: no picture")


def _no_confirmation(_message: str) -> None:
    """Payments of the demo wallet need no confirmation."""
