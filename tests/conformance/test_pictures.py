"""Image models behind chat completions: every case, every model, streamed and not (facts/providers.md 9)."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from tests.conformance import outgoing
from tests.conformance.cases.case import text_part, user
from tests.conformance.cases.files import PNG, PNG_URI, picture
from tests.conformance.cases.structured import FORMAT
from tests.conformance.cases.tools import WEATHER
from tests.conformance.harness import Harness, check_proof, price
from tests.conformance.targets import PICTURE_TARGETS, Target
from tests.event_streams import events
from tools.simulators import Scenario

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8": "image/jpeg"}
FLAT_PRICES = {
    "grok-2-image": Decimal("0.07"),
    "grok-imagine-image": Decimal("0.02"),
    "seedream-4.0": Decimal("0.03"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """``pictures`` is the number of images per choice; ``refused`` as in the chat cases."""

    name: str
    messages: tuple[dict[str, Any], ...] = (user("A red cat"),)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scenario: Scenario = field(default_factory=lambda: Scenario(reasoning=""))
    pictures: tuple[int, ...] = (1,)
    arrives: tuple[str, ...] = ("A red cat",)
    dropped: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


EVERYBODY = ("xai", "bytedance", "google")
ENDPOINTS = ("xai", "bytedance")

CASES = (
    Case(name="one"),
    Case(name="large", scenario=Scenario(reasoning="", picture_bytes=1_500_000)),
    Case(name="as asked", parameters={"modalities": ["image", "text"]}),
    Case(
        name="with rules and a history",
        messages=(
            {"role": "system", "content": "Only water colours."},
            user("A blue dog"),
            {"role": "assistant", "content": "Here.", "images": [PNG_URI]},
            user("A red cat"),
        ),
        arrives=("Only water colours.", "A red cat"),
    ),
    Case(
        name="from a picture",
        messages=(user([text_part("A red cat"), picture(PNG_URI)]),),
        arrives=("A red cat", PNG),
        refused={"xai": "messages[0].content[1].image_url"},
    ),
    Case(
        name="two",
        parameters={"n": 2},
        pictures=(1, 1),
        refused={"bytedance": "n", "google": "n"},
    ),
    Case(
        name="of a size",
        parameters={"image_config": {"image_size": "2K"}},
        arrives=("2K",),
        # Which of Gemini's models know sizes is the vendor's to say (5.10), and it names no field.
        refused={"xai": "image_config.image_size", "gemini-2.5-flash-image": ""},
    ),
    Case(
        name="of a ratio",
        parameters={"image_config": {"aspect_ratio": "16:9"}},
        arrives=("16:9",),
        refused={"xai": "image_config.aspect_ratio", "bytedance": "image_config.aspect_ratio"},
    ),
    Case(
        name="with hints for words",
        parameters={"temperature": 0.5, "seed": 7, "user": "someone"},
        dropped={"xai": "seed,temperature,user", "bytedance": "seed,temperature,user", "google": "user"},
    ),
    Case(name="with tools", parameters={"tools": [WEATHER]}, refused=dict.fromkeys(EVERYBODY, "tools")),
    Case(name="as JSON", parameters={"response_format": FORMAT}, refused=dict.fromkeys(EVERYBODY, "response_format")),
    Case(name="with log probabilities", parameters={"logprobs": True}, refused=dict.fromkeys(EVERYBODY, "logprobs")),
    Case(
        name="without words", messages=(user(""),), arrives=(), refused=dict.fromkeys(ENDPOINTS, "messages[0].content")
    ),
    Case(name="of sound", parameters={"modalities": ["audio"]}, refused=dict.fromkeys(EVERYBODY, "modalities")),
)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("target", PICTURE_TARGETS, ids=lambda target: target.model)
async def test_picture(harness: Harness, target: Target, case: Case, stream: bool) -> None:
    simulator = harness.simulator(target.model)
    simulator.enqueue(case.scenario)
    request = {"model": target.model, "messages": list(case.messages), "stream": stream, **case.parameters}
    exchange = await harness.ask(request)
    if (param := target.find(case.refused, stream=stream)) is not None:
        assert exchange.status == 400, exchange.raw
        assert exchange.error["param"] == (param or None)
        return
    assert exchange.status == 200, exchange.raw
    answer = exchange.answer
    choices = answer["choices"]
    assert tuple(len(choice["message"]["images"]) for choice in choices) == case.pictures
    urls = [url for choice in choices for url in choice["message"]["images"]]
    for url in urls:
        check_picture(url, case.scenario.picture_bytes)
    assert {choice["finish_reason"] for choice in choices} == {"stop"}
    assert all(isinstance(choice["message"]["content"], str) for choice in choices)
    check_proof(exchange)
    assert exchange.headers.get("x-dropped-params") == target.find(case.dropped, stream=stream)
    if stream:
        assert events(exchange.raw)[-1]["images"] == urls
    [received] = simulator.requests
    outgoing.check(target.provider, received)
    sent = list(outgoing.strings(received.json))
    assert all(any(wanted in text for text in sent) for wanted in case.arrives)
    record = await harness.record(exchange)
    assert record.cost_usd == str(price(harness, target.model, answer))
    if target.model in FLAT_PRICES:
        assert Decimal(record.cost_usd or 0) == FLAT_PRICES[target.model] * len(urls)
        assert answer["usage"]["total_tokens"] == 0
    else:
        assert answer["usage"]["completion_tokens_details"]["image_tokens"] > 0


def check_picture(url: str, least: int) -> None:
    head, _, data = url.partition(";base64,")
    decoded = base64.b64decode(data, validate=True)
    assert len(decoded) >= least
    assert head.removeprefix("data:") == next(kind for sign, kind in SIGNS.items() if decoded.startswith(sign))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_words_instead_of_a_picture(harness: Harness, stream: bool) -> None:
    """Gemini may answer in text alone, billed as text (facts/providers.md 5.10)."""
    harness.fleet.google.enqueue(Scenario(text="I would rather not.", reasoning="", pictures=0))
    exchange = await harness.ask({"model": "gemini-2.5-flash-image", "messages": [user("A cat")], "stream": stream})
    assert exchange.message["content"] == "I would rather not."
    assert "images" not in exchange.message
    assert "image_tokens" not in exchange.answer["usage"]["completion_tokens_details"]
    check_proof(exchange)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_blocked_picture(harness: Harness, stream: bool) -> None:
    harness.fleet.google.enqueue(Scenario(finish="content_filter", reasoning="", pictures=0))
    exchange = await harness.ask({"model": "gemini-3.1-flash-image", "messages": [user("A cat")], "stream": stream})
    assert exchange.choice["finish_reason"] == "content_filter"
    assert "images" not in exchange.message
    check_proof(exchange)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_only_delivered_pictures_are_billed(harness: Harness, stream: bool) -> None:
    """ModelArk reports failures inside an answer with status 200 (facts/providers.md 7.4)."""
    request = {"model": "seedream-4.0", "messages": [user("A cat")], "stream": stream}
    harness.fleet.ark.enqueue(Scenario(pictures=1, failed_pictures=1))
    exchange = await harness.ask(request)
    [choice] = exchange.answer["choices"]
    assert (len(choice["message"]["images"]), choice["finish_reason"]) == (1, "stop")
    check_proof(exchange)
    assert (await harness.record(exchange)).cost_usd == "0.03"
    harness.fleet.ark.enqueue(Scenario(pictures=0, failed_pictures=1))
    refused = await harness.ask(request)
    assert (refused.status, refused.error["code"]) == (400, "content_policy_violation")
    assert (await harness.record(refused)).cost_usd is None


async def test_a_picture_that_is_a_data_uri_already(harness: Harness) -> None:
    harness.fleet.xai.enqueue(Scenario(picture_prefix=True))
    exchange = await harness.ask({"model": "grok-2-image", "messages": [user("A cat")]})
    [url] = exchange.message["images"]
    check_picture(url, 0)
