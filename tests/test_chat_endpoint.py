"""The main job end to end: a chat goes through the gateway and comes back signed."""

import pytest

from tests.running import RunningGateway


@pytest.mark.parametrize("model", ["gpt-5", "grok-4.3", "seed-1.6", "hermes-4-70b"])
async def test_answers(gateway: RunningGateway, model: str) -> None:
    response = await gateway.chat(model, "Hello there")
    assert response.status == 200
    body = await response.json()
    assert body["choices"][0]["message"]["content"] == "You said: Hello there"
