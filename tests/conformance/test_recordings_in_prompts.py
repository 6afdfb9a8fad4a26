"""Recordings for the ModelArk models that hear, in both of the vendor's forms (facts/providers.md 7.2)."""

from typing import Any

import pytest

from tests.conformance.harness import Harness
from tools.simulators import Scenario

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "seed-2.0-lite"


@pytest.mark.parametrize("audio", [{"url": "https://songs.example/a.mp3"}, {"data": "SUQz", "format": "mp3"}])
async def test_modelark_hears(harness: Harness, audio: dict[str, Any]) -> None:
    harness.simulator(MODEL).enqueue(Scenario(text="A song."))
    content = [{"type": "text", "text": "What is this?"}, {"type": "input_audio", "input_audio": audio}]
    exchange = await harness.ask({"model": MODEL, "messages": [{"role": "user", "content": content}]})
    assert exchange.message["content"] == "A song."
    assert harness.received(MODEL).json["messages"][0]["content"] == content
