"""The unmodified `anthropic` SDK against its simulator."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from tools.simulators import Fleet, Scenario

HELLO: Any = [{"role": "user", "content": "héllo 你好"}]
HAIKU = "claude-haiku-4-5"


async def test_a_message_parses_strictly(claude: anthropic.AsyncAnthropic) -> None:
    raw = await claude.messages.with_raw_response.create(model=HAIKU, max_tokens=100, messages=HELLO)
    message = Message.model_validate_json(await raw.text(), strict=True)
    assert message.content[0].type == "text"
    assert message.content[0].text == "You said: héllo 你好"
    assert message.model == "claude-haiku-4-5-20251001"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, 6)


async def test_the_stream_helper_assembles_the_same_message(claude: anthropic.AsyncAnthropic, weather: Any) -> None:
    request: Any = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 5000,
        "messages": [{"role": "user", "content": "The weather now in Oslo?"}],
        "tools": weather("anthropic"),
        "thinking": {"type": "adaptive"},
    }
    whole = await claude.messages.create(**request)
    async with claude.messages.stream(**request) as stream:
        kinds = {event.type async for event in stream}
        streamed = await stream.get_final_message()
    assert {"message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"} <= kinds
    assert [block.type for block in whole.content] == ["thinking", "tool_use", "tool_use"]
    for one, other in zip(whole.content, streamed.content, strict=True):
        assert one.type == other.type
        if one.type == "tool_use" and other.type == "tool_use":
            assert (one.name, one.input) == (other.name, other.input)
        if one.type == "thinking" and other.type == "thinking":
            assert one.thinking == other.thinking
    assert whole.usage.output_tokens == streamed.usage.output_tokens
    assert whole.stop_reason == streamed.stop_reason == "tool_use"


async def test_thinking_is_replayed_with_tool_results(claude: anthropic.AsyncAnthropic, weather: Any) -> None:
    request: Any = {
        "model": HAIKU,
        "max_tokens": 5000,
        "tools": weather("anthropic"),
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    question: Any = {"role": "user", "content": "The weather in Oslo?"}
    first = await claude.messages.create(messages=[question], **request)
    call = next(block for block in first.content if block.type == "tool_use")
    results: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "4 C"}]}
    second = await claude.messages.create(
        messages=[question, {"role": "assistant", "content": first.content}, results], **request
    )
    assert second.content[-1].type == "text"
    assert second.content[-1].text == "The tools answered: 4 C"
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking`"):
        await claude.messages.create(messages=[question, {"role": "assistant", "content": [call]}, results], **request)
    altered: Any = [
        {**block.model_dump(), "thinking": "Other."} if block.type == "thinking" else block for block in first.content
    ]
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
        await claude.messages.create(messages=[question, {"role": "assistant", "content": altered}, results], **request)


async def test_adaptive_thinking_may_be_left_out_of_a_turn_whose_calls_are_answered(
    claude: anthropic.AsyncAnthropic, weather: Any
) -> None:
    """A forced call has none, and the request after it forces none."""
    request: Any = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 5000,
        "tools": weather("anthropic"),
        "thinking": {"type": "adaptive"},
    }
    question: Any = {"role": "user", "content": "The weather in Oslo?"}
    first = await claude.messages.create(messages=[question], tool_choice={"type": "any"}, **request)
    [call] = first.content
    assert call.type == "tool_use"
    results: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "4 C"}]}
    second = await claude.messages.create(
        messages=[question, {"role": "assistant", "content": first.content}, results], **request
    )
    assert [block.type for block in second.content] == ["thinking", "text"]


async def test_thinking_is_hidden_unless_asked_for(claude: anthropic.AsyncAnthropic) -> None:
    request: Any = {"model": "claude-opus-4-8", "max_tokens": 100, "messages": HELLO}
    hidden = await claude.messages.create(thinking={"type": "adaptive"}, **request)
    shown = await claude.messages.create(thinking={"type": "adaptive", "display": "summarized"}, **request)
    thoughts = [message.content[0] for message in (hidden, shown)]
    assert [(block.type, block.type == "thinking" and block.thinking) for block in thoughts] == [
        ("thinking", ""),
        ("thinking", "The user wants an answer."),
    ]


async def test_redacted_thinking_arrives_whole(fleet: Fleet, claude: anthropic.AsyncAnthropic) -> None:
    fleet.anthropic.enqueue(Scenario(redacted=True))
    async with claude.messages.stream(
        model=HAIKU, max_tokens=2000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
    ) as stream:
        message = await stream.get_final_message()
    assert [block.type for block in message.content] == ["redacted_thinking", "text"]


async def test_a_refusal_is_a_stop_reason(fleet: Fleet, claude: anthropic.AsyncAnthropic) -> None:
    fleet.anthropic.enqueue(Scenario(finish="refusal"), Scenario(finish="refusal"))
    whole = await claude.messages.create(model=HAIKU, max_tokens=100, messages=HELLO)
    async with claude.messages.stream(model=HAIKU, max_tokens=100, messages=HELLO) as stream:
        streamed = await stream.get_final_message()
    for message in (whole, streamed):
        assert (message.stop_reason, message.content) == ("refusal", [])


async def test_structured_output_is_an_example_of_the_schema(claude: anthropic.AsyncAnthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    message = await claude.messages.create(
        model=HAIKU,
        max_tokens=100,
        messages=[{"role": "user", "content": "Oslo"}],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    assert message.content[0].text == '{"name": "Oslo"}'


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bad_key", anthropic.AuthenticationError),
        ("permission", anthropic.PermissionDeniedError),
        ("model_not_found", anthropic.NotFoundError),
        ("rate_limit", anthropic.RateLimitError),
        ("overloaded", anthropic.InternalServerError),
        ("billing", anthropic.BadRequestError),
        ("context_length", anthropic.BadRequestError),
        ("too_large", anthropic.APIStatusError),
    ],
)
async def test_scripted_errors_raise_the_matching_class(
    fleet: Fleet, claude: anthropic.AsyncAnthropic, kind: Any, expected: type[anthropic.APIStatusError]
) -> None:
    fleet.anthropic.enqueue(Scenario(error=kind))
    with pytest.raises(expected) as caught:
        await claude.messages.create(model=HAIKU, max_tokens=100, messages=HELLO)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["request_id"] == caught.value.request_id


async def test_overload_inside_a_stream_is_raised(fleet: Fleet, claude: anthropic.AsyncAnthropic) -> None:
    fleet.anthropic.enqueue(Scenario(error="overloaded", error_after=4))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        async with claude.messages.stream(model=HAIKU, max_tokens=100, messages=HELLO) as stream:
            await stream.get_final_message()


async def test_the_synchronous_client_is_served_too(fleet: Fleet) -> None:
    def ask() -> str | None:
        with anthropic.Anthropic(base_url=fleet.anthropic.base_url, api_key="any", max_retries=0) as client:
            return client.messages.create(model=HAIKU, max_tokens=100, messages=HELLO).stop_reason

    assert await asyncio.to_thread(ask) == "end_turn"
