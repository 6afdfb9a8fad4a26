"""What every chunk of a stream names: the model and the service tier that answer, however late they are known."""

import json
from typing import Any

import pytest

from tests.running_gateway import RunningGateway
from tools.simulators.scenario import RawReply, Scenario

HELLO = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
PAGE = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "", "start_index": 0, "end_index": 0}}


def upstream(*chunks: dict[str, Any]) -> Scenario:
    """An event stream of these chunks, each of which arrives by itself."""
    events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    headers = (("Content-Type", "text/event-stream"),)
    return Scenario(raw=RawReply(headers=headers, chunks=(*events, b"data: [DONE]\n\n")), event_delay=0.05)


def chunk(model: str, tier: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"model": model, "service_tier": tier, "choices": [choice]}


async def streamed(gateway: RunningGateway, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    response = await gateway.post(path, body)
    lines = (await response.text()).splitlines()
    return [json.loads(line[len("data: ") :]) for line in lines if line.startswith("data: {")]


async def test_what_came_before_the_tier_is_not_lost(gateway: RunningGateway) -> None:
    assert gateway.fleet is not None
    first = chunk("gpt-5.2", role="assistant", content="", annotations=[PAGE])
    rest = chunk("gpt-5.2", "flex", content="A"), chunk("gpt-5.2", "flex", "stop")
    gateway.fleet.openai.enqueue(upstream(first, *rest))
    events = await streamed(gateway, "/v1/chat/completions", {**HELLO, "model": "gpt-5.2"})
    deltas = [event["choices"][0]["delta"] for event in events]
    assert [delta["annotations"] for delta in deltas if "annotations" in delta] == [[PAGE]]
    assert {event["service_tier"] for event in events} == {"flex"}


@pytest.mark.parametrize("echo", [False, True])
async def test_the_first_chunk_names_the_model_that_answers(gateway: RunningGateway, echo: bool) -> None:
    assert gateway.fleet is not None
    gateway.fleet.xai.enqueue(upstream(chunk("grok-4.3", content="there"), chunk("grok-4.3", finish="stop")))
    body = {"model": "grok-4", "prompt": "Hi ", "stream": True, "echo": echo}
    events = await streamed(gateway, "/v1/completions", body)
    assert "".join(event["choices"][0]["text"] for event in events) == ("Hi there" if echo else "there")
    assert [event["model"] for event in events] == ["grok-4.3"] * len(events)
