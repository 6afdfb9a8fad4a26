"""``python -m tools.pay``: what it shows, what it asks, what it refuses."""

import asyncio
import base64
import builtins
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from x402.mechanisms.evm.types import TypedDataDomain
from x402.schemas import PaymentRequired

from gateway.billing.definitions import bundled
from tests.money.paid_gateway import CHAT_PATH, Json, PaidGateway, chat
from tests.money.tls_front import tls_front
from tools.chain.deployment import OPG, USDC
from tools.chain.wallet import Wallet
from tools.pay.__main__ import _printer, main
from tools.pay.chain import ChainReader
from tools.pay.offers import NotPaidError, format_decimal, known_offers, read_required
from tools.pay.receipt import check, read_settlement, summary
from tools.pay.request import Answer, Session
from tools.pay.signer import describe
from tools.simulators.scenario import Scenario
from tools.verify.claims import Verdict
from tools.verify.errors import UnreachableError

Pay = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def pay(shop: PaidGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pay:
    """Runs the command for a wallet and a body: exit code, output, errors."""

    async def run(wallet: Wallet, body: Json, *options: str, url: str = shop.url) -> tuple[int, str, str]:
        (tmp_path / "request.json").write_text(json.dumps(body), encoding="utf-8")
        (tmp_path / "payer.key").write_text(wallet.key, encoding="ascii")
        arguments = [url + CHAT_PATH, "--body", str(tmp_path / "request.json"), "--key", str(tmp_path / "payer.key")]
        status = await asyncio.to_thread(main, [*arguments, *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("domain", "lines"),
    [
        (
            TypedDataDomain(name="USD Coin", version="2", chain_id=8453, verifying_contract="0x56"),
            ["    name USD Coin", "    version 2", "    chain_id 8453", "    verifying_contract 0x56"],
        ),
        ({"name": "Permit2", "chainId": 8453}, ["    name Permit2", "    chainId 8453"]),
    ],
)
def test_everything_that_is_signed_is_shown(domain: TypedDataDomain | Json, lines: list[str]) -> None:
    message = {"spender": "0x12", "witness": {"to": "0x34", "data": b"\x00\xff"}, "nonce": 0}
    said = ["    spender 0x12", "    witness.to 0x34", "    witness.data 0x00ff", "    nonce 0"]
    assert describe(domain, "Permit", message).splitlines() == ["Permit, for", *lines, "  saying", *said]


@pytest.mark.parametrize("stream", [False, True])
async def test_pays_and_says_what_it_did(shop: PaidGateway, pay: Pay, tmp_path: Path, stream: bool) -> None:
    wallet, saved = await shop.wallet(), tmp_path / "answer"
    status, out, err = await pay(
        wallet, chat(stream=stream), "--yes", "--rpc", shop.chain.rpc_url, "--output", str(saved)
    )
    assert (status, err) == (0, "")
    [transfer] = await shop.paid()
    assert "offer 1: upto over permit2: at most 0." in out
    assert f"witness.to {shop.payee}" in out
    assert "quote        upto" in out
    assert f"transaction  {transfer.transaction} (settled)" in out
    for claim in ("charge", "transfer", "tee_id", "request_hash", "output_hash", "signature"):
        assert f"PASS {claim} " in out
    assert saved.read_text(encoding="utf-8") in out
    assert "note: the key came from a URL whose certificate was not checked" in out
    assert await shop.balance(OPG) == transfer.amount


async def test_a_first_payment_shows_its_permit(shop: PaidGateway, pay: Pay) -> None:
    status, out, _ = await pay(await shop.wallet(approve=False), chat(), "--yes", "--rpc", shop.chain.rpc_url)
    assert status == 0
    assert "signing PermitWitnessTransferFrom" in out
    assert "signing Permit," in out


@pytest.mark.parametrize(("reply", "status"), [("y", 0), ("n", 1), ("", 1), (None, 1)])
async def test_asks_before_it_signs(
    shop: PaidGateway, pay: Pay, monkeypatch: pytest.MonkeyPatch, reply: str | None, status: int
) -> None:
    def answer(question: str) -> str:
        assert question == "sign this? [y/N] "
        if reply is None:
            raise EOFError
        return reply

    monkeypatch.setattr(builtins, "input", answer)
    done, out, err = await pay(await shop.wallet(), chat())
    assert done == status
    assert f"witness.to {shop.payee}" in out
    assert ("nothing was sent" in err) is (status == 1)
    assert len(await shop.paid()) == (1 if status == 0 else 0)
    assert bool(shop.facilitator.called("verify")) is (status == 0)


@pytest.mark.parametrize(("offer", "scheme", "token"), [("2", "upto", USDC), ("3", "exact", USDC)])
async def test_takes_the_offer_it_is_told(shop: PaidGateway, pay: Pay, offer: str, scheme: str, token: Any) -> None:
    status, out, _ = await pay(await shop.wallet(), chat(), "--yes", "--offer", offer)
    assert status == 0
    assert f'"scheme":"{scheme}"' in out
    assert "SKIP transfer no --rpc" in out
    assert await shop.balance(token) > 0


async def test_takes_the_first_offer_that_it_can_afford(shop: PaidGateway, pay: Pay) -> None:
    status, _, _ = await pay(await shop.wallet(opg=0), chat(), "--yes", "--rpc", shop.chain.rpc_url)
    assert (status, await shop.balance(OPG)) == (0, 0)
    assert await shop.balance(USDC) > 0
    status, _, err = await pay(Wallet(), chat(), "--yes", "--rpc", shop.chain.rpc_url)
    assert status == 1
    assert "cannot afford" in err


async def test_says_why_a_payment_was_refused(shop: PaidGateway, pay: Pay) -> None:
    status, _, err = await pay(await shop.wallet(approve=False), chat(), "--yes")
    assert status == 1
    assert "402 permit2_allowance_required" in err
    status, _, err = await pay(await shop.wallet(), {**chat(), "model": "gpt-0"}, "--yes")
    assert status == 1
    assert "404 model_not_found" in err
    nothing_to_draw = {"model": "seedream-4.0", "messages": [{"role": "system", "content": "A hat"}]}
    _, _, err = await pay(await shop.wallet(), nothing_to_draw, "--yes")
    assert ": 400 Image generation requires" in err


@pytest.mark.parametrize(("offer", "charged"), [("2", False), ("3", True)])
async def test_says_whether_a_payment_without_an_answer_was_charged(
    shop: PaidGateway, pay: Pay, offer: str, charged: bool
) -> None:
    shop.fleet.openai.enqueue(Scenario(error="bad_key"))
    status, out, err = await pay(await shop.wallet(), chat(stream=True), "--yes", "--offer", offer)
    transactions = [transfer.transaction for transfer in await shop.paid()]
    upfront = f"; the payment was settled upfront ({''.join(transactions)}) and is credited to your next upfront one"
    assert (status, len(transactions)) == (1, charged)
    assert '"error"' not in out
    assert "no answer was given: 502 " in err
    assert err.endswith(f"{upfront if charged else ''}\n")


async def test_inputs_that_cannot_be_used(shop: PaidGateway, pay: Pay, tmp_path: Path) -> None:
    wallet = Wallet()
    assert (await pay(wallet, chat(), "--offer", "9"))[0] == 2
    assert (await pay(wallet, chat(), "--cert", str(tmp_path / "none.pem")))[0] == 2
    status, _, err = await pay(wallet, chat(), url="http://127.0.0.1:9")
    assert (status, "charged" in err) == (3, False)
    assert (await pay(wallet, chat(), url=shop.url.removeprefix("http://")))[0] == 2
    assert (await pay(wallet, chat(), "--rpc", "http://127.0.0.1:9"))[0] == 3
    assert (await pay(wallet, chat(), "--rpc", "http://127.0.0.1:9", "--offer", "1", "--yes"))[0] == 3
    assert (await pay(wallet, chat(), url="http://gate..way"))[0] == 3
    status, out, err = await pay(await shop.wallet(), chat(), "--yes", "--output", str(tmp_path / "none" / "answer"))
    assert (status, out, await shop.paid()) == (2, "", [])
    assert "cannot write" in err
    url, good = shop.url + CHAT_PATH, str(tmp_path / "request.json")
    for no_key in ("not a key", "0" * 64, "f" * 64):
        (tmp_path / "bad").write_text(no_key, encoding="ascii")
        assert await asyncio.to_thread(main, [url, "--body", good, "--key", str(tmp_path / "bad")]) == 2
    key = str(tmp_path / "payer.key")
    (tmp_path / "bad").write_text("no request", encoding="ascii")
    assert await asyncio.to_thread(main, [url, "--body", str(tmp_path / "bad"), "--key", key]) == 2


async def test_an_enclaves_own_certificate(shop: PaidGateway, pay: Pay, tmp_path: Path) -> None:
    wallet = await shop.wallet()
    async with tls_front(shop.url, tmp_path) as (url, _):
        status, _, err = await pay(wallet, chat(), "--yes", url=url)
        assert status == 3
        assert "certificate" in err.lower()
        assert (await pay(wallet, chat(), "--yes", "--cert", str(tmp_path / "tls.pem"), url=url))[0] == 0


async def test_unknown_tokens_are_never_paid(shop: PaidGateway) -> None:
    required = await shop.required(chat())
    stranger = {**required["accepts"][0], "asset": Wallet().address}
    renamed = {**required["accepts"][1], "extra": {**required["accepts"][1]["extra"], "name": "Other"}}
    given = PaymentRequired.model_validate({**required, "accepts": [stranger, renamed, required["accepts"][2]]})
    assert [offer.requirements.scheme for offer in known_offers(given, bundled())] == ["exact"]


@pytest.mark.parametrize(
    "change",
    [
        {"payTo": "\x1b[2K0x" + "11" * 20},
        {"scheme": "exact\x1b[1A"},
        {"extra": {"assetTransferMethod": "permit2: exactly 0.01 USDC\r\n"}},
        {"amount": "9" * 5000},
        {"amount": "١"},
    ],
)
async def test_offers_that_paint_the_terminal_are_not_shown(shop: PaidGateway, change: Json) -> None:
    required = await shop.required(chat())
    offer = required["accepts"][0]
    painted = {**offer, **change, "extra": {**offer["extra"], **change.get("extra", {})}}
    given = PaymentRequired.model_validate({**required, "accepts": [painted, offer]})
    assert [str(known.requirements.pay_to) for known in known_offers(given, bundled())] == [offer["payTo"]]


async def test_a_receipt_that_paints_verdicts_is_not_painted(shop: PaidGateway) -> None:
    offer = known_offers(PaymentRequired.model_validate(await shop.required(chat())), bundled())[0]
    told = summary(
        offer, {"amount": "1", "cost_usd": "1\x1b[2K", "transaction": "0x1\nPASS signature", "status": "x\ry"}
    )
    assert [line.split()[0] for line in told.splitlines()] == ["quote", "charge", "transaction"]
    assert "\x1b" not in told


async def test_an_offer_at_a_rate_that_is_none(shop: PaidGateway) -> None:
    required = await shop.required(chat())
    offer = required["accepts"][0]
    for rate, shown in (("NaN", False), ("1E999999", False), ("?", False), ("1E-7", True)):
        odd = {**offer, "extra": {**offer["extra"], "quote": {"rate": rate}}}
        [known] = known_offers(PaymentRequired.model_validate({**required, "accepts": [odd]}), bundled())
        assert (" USD" in str(known)) is shown
    odd["extra"] = {**offer["extra"], "quote": {"rate": "0"}}
    [free] = known_offers(PaymentRequired.model_validate({**required, "accepts": [odd]}), bundled())
    payment = {"scheme": "upto", "amount": "1", "cost_usd": "1", "status": "settled"}
    charge, _ = check(free, Answer(200, httpx.Headers(), b""), payment, Wallet().address, None)
    assert charge.verdict is Verdict.FAIL


async def test_who_breaks_off_is_told_what_that_may_cost(
    shop: PaidGateway, pay: Pay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(piece: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.pay.__main__._printer", lambda: interrupted)
    status, _, err = await pay(await shop.wallet(), chat(), "--yes")
    assert status == 3
    assert "may have been charged" in err


async def test_a_paid_answer_that_is_cut_off_or_cannot_be_checked(
    shop: PaidGateway, pay: Pay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(url: str) -> None:
        raise UnreachableError(f"{url} cannot be reached")

    monkeypatch.setattr("tools.pay.__main__.fetch_key", unreachable)
    status, out, _ = await pay(await shop.wallet(), chat(), "--yes")
    assert status == 1
    assert "PASS charge " in out
    assert "FAIL signature the signing key could not be fetched" in out

    def cut(self: Session, *arguments: Any) -> Answer:
        answer = send(self, *arguments)
        return answer if answer.status != 200 else Answer(200, answer.headers, answer.body[:-20])

    send = Session.send
    monkeypatch.setattr(Session, "send", cut)
    status, _, err = await pay(await shop.wallet(), chat(stream=True), "--yes")
    assert status == 1
    assert "may have been charged" in err


async def test_an_endpoint_that_cannot_tell_the_transfer_leaves_the_other_verdicts(shop: PaidGateway) -> None:
    offer = known_offers(PaymentRequired.model_validate(await shop.required(chat())), bundled())[1]
    payer = Wallet().address
    payment: Json = {"status": "settled", "transaction": "0x" + "00" * 32, "amount": "12"}
    answer = Answer(200, httpx.Headers(), b"")
    for endpoint in ("http://127.0.0.1:9", shop.url):
        *_, transfer = await asyncio.to_thread(list, check(offer, answer, payment, payer, ChainReader(endpoint)))
        assert (transfer.name, transfer.verdict) == ("transfer", Verdict.SKIP)
    for payment["transaction"] in ("0x12", None):
        *_, transfer = check(offer, answer, payment, payer, ChainReader("http://127.0.0.1:9"))
        assert (transfer.name, transfer.verdict) == ("transfer", Verdict.FAIL)


def encoded(told: Any) -> str:
    """A header of x402."""
    return base64.b64encode(json.dumps(told).encode()).decode()


def with_settlement(told: Any) -> Answer:
    """An answer whose ``PAYMENT-RESPONSE`` is ``told``."""
    return Answer(200, httpx.Headers({"PAYMENT-RESPONSE": encoded(told)}), b"")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "has no PAYMENT-REQUIRED header"),
        ({"PAYMENT-REQUIRED": "%"}, "header cannot be read"),
        ({"PAYMENT-REQUIRED": encoded({"x402Version": 2})}, "header cannot be read"),
        ({"PAYMENT-REQUIRED": encoded({"x402Version": 1, "accepts": [], "error": ""})}, "x402 version 1"),
    ],
)
def test_a_402_without_offers_that_can_be_read(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(NotPaidError, match=reason):
        read_required(headers)


@pytest.mark.parametrize(("number", "text"), [("100", "100"), ("1E+2", "100"), ("2.00", "2"), ("0.50", "0.5")])
def test_amounts_are_shown_without_exponent_and_trailing_zeros(number: str, text: str) -> None:
    assert format_decimal(Decimal(number)) == text


async def test_a_transfer_of_another_token_does_not_count(shop: PaidGateway, pay: Pay) -> None:
    wallet, reader = await shop.wallet(), ChainReader(shop.chain.rpc_url)
    await pay(wallet, chat(), "--yes")
    [paid] = await shop.paid()
    opg, usdc, *_ = known_offers(PaymentRequired.model_validate(await shop.required(chat())), bundled())
    for offer, amount in ((opg, paid.amount), (usdc, 0)):
        found = asyncio.to_thread(reader.transferred, paid.transaction, offer.token, wallet.address, shop.payee)
        assert await found == amount


LIES: dict[str, Json] = {
    "more than the cost": {"amount": "99"},
    "more than the quote": {"amount": "999999999"},
    "another payer": {"payer": "0x" + "11" * 20},
    "another token": {"asset": OPG.address},
    "no number": {"amount": "-5"},
    "no cost": {"cost_usd": "?"},
    "no end of digits": {"amount": "9" * 5000},
    "a cost beyond everything": {"cost_usd": "1E+999999999"},
    "an endless cost": {"cost_usd": "Infinity"},
    "waived, at a price": {"status": "waived"},
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_charge_that_is_not_due_fails(shop: PaidGateway, lie: str) -> None:
    """One cent of a dollar at most, for an answer worth 12 millionths."""
    required = PaymentRequired.model_validate(await shop.required(chat()))
    offer = known_offers(required, bundled())[1]
    payer = Wallet().address
    honest = {
        "scheme": "upto",
        "network": "eip155:8453",
        "asset": USDC.address,
        "payer": payer,
        "amount": "12",
        "cost_usd": "0.000012",
        "status": "settled",
        "transaction": "0x" + "00" * 32,
    }
    answer = with_settlement({"success": True, **honest})
    charge, transfer = check(offer, answer, honest, payer, None)
    assert charge.line().endswith(": the metered cost, rounded up once, and within the quote")
    assert (charge.verdict, transfer.verdict) == (Verdict.PASS, Verdict.SKIP)
    assert next(check(offer, answer, honest | LIES[lie], payer, None)).verdict is Verdict.FAIL
    contradicted = with_settlement({"success": True, **honest, "transaction": "0x"})
    assert next(check(offer, contradicted, honest, payer, None)).verdict is Verdict.FAIL


@pytest.mark.parametrize("told", [None, [], {}, {"success": False, "transaction": "0x12"}])
def test_settlements_that_are_none(told: Any) -> None:
    assert read_settlement(with_settlement(told)) is None


async def test_a_waived_payment_is_not_called_the_metered_cost(shop: PaidGateway) -> None:
    offer = known_offers(PaymentRequired.model_validate(await shop.required(chat())), bundled())[0]
    payer, terms = Wallet().address, offer.requirements
    payment = {"scheme": terms.scheme, "network": terms.network, "asset": terms.asset, "payer": payer}
    waived = {**payment, "amount": "0", "cost_usd": "0.000012", "status": "waived", "transaction": ""}
    charge, transfer = check(offer, Answer(200, httpx.Headers(), b""), waived, payer, None)
    assert charge.line() == "PASS charge 0 OPG = 0 USD: waived, and within the quote"
    assert transfer.line() == "SKIP transfer not on the chain: the payment is waived"


def test_an_answer_cannot_hide_the_verdict_after_it(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    answer = '{"content": "größer 👩‍🔬"}\n\n'
    show = _printer()
    for chunk in (answer.encode()[:16], answer.encode()[16:], b"\x1b[8m\r\xc2", b"\x9b8m\xff"):
        show(chunk)
    assert capsysbinary.readouterr().out.decode() == answer + r"\x1b[8m\x0d\x9b8m\xff"
