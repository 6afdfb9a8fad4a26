"""Charges of the worked figures (facts/providers.md 12.5) to the last unit, through the gateway and onto the chain."""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.money.paid_gateway import PaidGateway, chat, payment_of
from tools.chain.deployment import OPG, USDC
from tools.simulators.scenario import RawReply, Scenario

Report = Callable[[bool], Scenario]


def reported(
    prompt: int,
    candidates: int,
    *,
    thoughts: int = 0,
    prompt_kinds: dict[str, int] | None = None,
    output_kinds: dict[str, int] | None = None,
) -> Report:
    """Gemini's answer with this usage, which the simulator would not make up; streamed or not."""
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + candidates + thoughts,
        "promptTokensDetails": _details(prompt_kinds or {"TEXT": prompt}),
        "candidatesTokensDetails": _details(output_kinds or {"TEXT": candidates}),
    }
    content = {"role": "model", "parts": [{"text": "Here it is."}]}
    answer = {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": usage}
    text = json.dumps(answer).encode()

    def reply(stream: bool) -> Scenario:
        kind = "text/event-stream" if stream else "application/json"
        body = b"data: " + text + b"\r\n\r\n" if stream else text
        return Scenario(raw=RawReply(headers=(("Content-Type", kind),), chunks=(body,)))

    return reply


def _details(kinds: dict[str, int]) -> list[dict[str, str | int]]:
    return [{"modality": kind, "tokenCount": count} for kind, count in kinds.items()]


# Model, what the vendor reports, USD, and what that is in millionths of a USDC.
FIGURES = [
    ("claude-haiku-4-5", Scenario(prompt_tokens=7361, cached_tokens=7351, completion_tokens=4), "0.0007651", 766),
    (
        "claude-sonnet-4-5",
        Scenario(prompt_tokens=1532, cached_tokens=1111, cache_write_tokens=418, completion_tokens=33),
        "0.0024048",
        2405,
    ),
    (
        "gemini-2.5-flash",
        Scenario(prompt_tokens=3520, cached_tokens=3512, completion_tokens=2, reasoning_tokens=42),
        "0.00021776",
        218,
    ),
    (
        "gemini-2.5-flash",
        reported(145, 10, thoughts=24, prompt_kinds={"AUDIO": 139, "TEXT": 6}),
        "0.0002258",
        226,
    ),
    ("gemini-3.1-flash-image", reported(5, 1518, output_kinds={"IMAGE": 1120}), "0.0683965", 68_397),
    (
        "grok-3-mini",
        Scenario(prompt_tokens=15, cached_tokens=2, completion_tokens=10, reasoning_tokens=213, model="grok-3-mini"),
        "0.00011555",
        116,
    ),
    ("gpt-5", Scenario(prompt_tokens=12, completion_tokens=288, reasoning_tokens=1600), "0.018895", 18_895),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "scenario", "usd", "units"), FIGURES)
async def test_charged_to_the_last_unit(
    shop: PaidGateway, model: str, scenario: Scenario | Report, usd: str, units: int, stream: bool
) -> None:
    """In USDC rounded up to the sixth decimal, in OPG at 0.10 USD without any rest."""
    wallet = await shop.wallet()
    request = chat("word " * 4000, model=model, stream=stream, max_tokens=None, max_completion_tokens=4000)
    for token, amount in ((USDC, units), (OPG, int(Decimal(usd).scaleb(19)))):
        for simulator in shop.fleet.simulators.values():
            simulator.enqueue(scenario(stream) if callable(scenario) else scenario)
        payment = await payment_of(await shop.pay(wallet, request, token=token))
        shop.fleet.reset()
        assert Decimal(payment["cost_usd"]) == Decimal(usd)
        assert payment["amount"] == str(amount)
        assert await shop.balance(token) == amount
