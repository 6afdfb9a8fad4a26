"""The unmodified `openai` SDK against the four OpenAI-shaped simulators."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.tools.simulators.clients import CHAT_MODELS, DEMANDED, ChatVendor
from tools.simulators import Fleet, Scenario, ToolCall

HELLO: Any = [{"role": "user", "content": "héllo 你好"}]


async def test_a_chat_answer_echoes_the_question_and_counts_tokens(chat: ChatVendor) -> None:
    answer = await chat.client.chat.completions.create(model=chat.model, messages=HELLO)
    assert answer.choices[0].message.content == "You said: héllo 你好"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 4


async def test_answers_and_chunks_parse_strictly(chat: ChatVendor) -> None:
    raw = await chat.client.chat.completions.with_raw_response.create(model=chat.model, messages=HELLO)
    ChatCompletion.model_validate_json(raw.content, strict=True)
    streamed = await chat.client.chat.completions.with_raw_response.create(
        model=chat.model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    lines = [line async for line in streamed.http_response.aiter_lines() if line.startswith("data: {")]
    chunks = [ChatCompletionChunk.model_validate_json(line[6:]) for line in lines]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None


async def test_a_stream_says_the_same_as_the_answer(chat: ChatVendor) -> None:
    stream = await chat.client.chat.completions.create(model=chat.model, messages=HELLO, stream=True)
    text = ""
    finish = []
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        finish.append(chunk.choices[0].finish_reason)
    assert text == "You said: héllo 你好"
    assert finish[-1] == "stop"
    assert not any(finish[:-1])


async def test_the_stream_helper_assembles_parallel_tool_calls(chat: ChatVendor, weather: Any) -> None:
    async with chat.client.chat.completions.stream(
        model=chat.model,
        messages=[{"role": "user", "content": "The weather now in Oslo?"}],
        tools=weather(chat.name),
    ) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("get_weather", {"city": "Oslo"}),
        ("now", {}),
    ]
    assert final.choices[0].finish_reason == "tool_calls"


async def test_tool_results_come_back_in_the_next_turn(chat: ChatVendor, weather: Any) -> None:
    messages: Any = [{"role": "user", "content": "The weather in Oslo?"}]
    tools = weather(chat.name)
    first = await chat.client.chat.completions.create(model=chat.model, messages=messages, tools=tools)
    calls = first.choices[0].message.tool_calls
    assert calls is not None
    call = calls[0]
    messages += [
        {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "4 C"},
    ]
    second = await chat.client.chat.completions.create(model=chat.model, messages=messages, tools=tools)
    assert second.choices[0].message.content == "The tools answered: 4 C"


class City(BaseModel):
    name: str
    population: int


@pytest.mark.parametrize("vendor", list(CHAT_MODELS))
async def test_parse_returns_an_example_of_the_schema(fleet: Fleet, vendor: str) -> None:
    async with openai.AsyncOpenAI(base_url=fleet.simulators[vendor].base_url, api_key="any") as client:
        answer = await client.chat.completions.parse(
            model=CHAT_MODELS[vendor],
            messages=[{"role": "user", "content": "Describe Oslo"}],
            response_format=City,
            extra_body=DEMANDED.get(vendor),
        )
    assert answer.choices[0].message.parsed == City(name="Oslo", population=1)


async def test_the_synchronous_client_is_served_too(chat: ChatVendor) -> None:
    def ask() -> str | None:
        with openai.OpenAI(base_url=chat.simulator.base_url, api_key="any", max_retries=0) as client:
            demanded = DEMANDED.get(chat.name)
            answer = client.chat.completions.create(model=chat.model, messages=HELLO, extra_body=demanded)
            return answer.choices[0].message.content

    assert await asyncio.to_thread(ask) == "You said: héllo 你好"


async def test_a_refusal_reaches_the_client(chat: ChatVendor) -> None:
    chat.simulator.enqueue(Scenario(finish="refusal"))
    answer = await chat.client.chat.completions.create(model=chat.model, messages=HELLO)
    assert answer.choices[0].message.content is None
    assert answer.choices[0].message.refusal


ERROR_CLASSES: dict[str, dict[str, type[openai.APIStatusError]]] = {
    "openai": {
        "bad_key": openai.AuthenticationError,
        "permission": openai.PermissionDeniedError,
        "model_not_found": openai.NotFoundError,
        "rate_limit": openai.RateLimitError,
        "billing": openai.RateLimitError,
        "overloaded": openai.InternalServerError,
        "context_length": openai.BadRequestError,
    },
    "xai": {
        "bad_key": openai.BadRequestError,
        "missing_key": openai.AuthenticationError,
        "model_not_found": openai.NotFoundError,
        "billing": openai.RateLimitError,
        "overloaded": openai.InternalServerError,
    },
    "bytedance": {
        "bad_key": openai.AuthenticationError,
        "model_not_found": openai.NotFoundError,
        "overloaded": openai.RateLimitError,
        "billing": openai.PermissionDeniedError,
        "content_policy": openai.BadRequestError,
    },
    "nous": {"bad_key": openai.AuthenticationError, "rate_limit": openai.RateLimitError},
}


async def test_scripted_errors_raise_the_matching_class(chat: ChatVendor) -> None:
    for kind, expected in ERROR_CLASSES[chat.name].items():
        chat.simulator.enqueue(Scenario(error=kind))  # type: ignore[arg-type]
        with pytest.raises(expected):
            await chat.client.chat.completions.create(model=chat.model, messages=HELLO)


async def test_nous_asks_an_unpaid_caller_for_payment(fleet: Fleet) -> None:
    fleet.nous.enqueue(Scenario(error="billing"))
    async with openai.AsyncOpenAI(base_url=fleet.nous.base_url, api_key="any", max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model=CHAT_MODELS["nous"], messages=HELLO, extra_body=DEMANDED["nous"])
        assert caught.value.status_code == 402
        assert caught.value.response.json().keys() == {"x402Version", "accepts", "error"}
        models = await client.models.list()
    assert {model.id for model in models.data} == {"nousresearch/hermes-4-405b", "nousresearch/hermes-4-70b"}


async def test_the_sdk_retries_after_a_rate_limit(fleet: Fleet) -> None:
    fleet.openai.enqueue(Scenario(error="rate_limit", retry_after_ms=10))
    async with openai.AsyncOpenAI(base_url=fleet.openai.base_url, api_key="any", max_retries=1) as client:
        answer = await client.chat.completions.create(model="gpt-4.1", messages=HELLO)
    assert answer.choices[0].message.content
    assert [received.status for received in fleet.openai.requests] == [429, 200]


async def test_an_error_inside_a_stream_is_raised(chat: ChatVendor) -> None:
    chat.simulator.enqueue(Scenario(error="overloaded", error_after=2))
    stream = await chat.client.chat.completions.create(model=chat.model, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


async def test_n_choices_are_told_apart(fleet: Fleet) -> None:
    async with openai.AsyncOpenAI(base_url=fleet.openai.base_url, api_key="any") as client:
        answer = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, n=2)
    assert [choice.message.content for choice in answer.choices] == ["You said: héllo 你好", "You said: héllo 你好 (2)"]


async def test_a_custom_tool_gets_free_text(fleet: Fleet) -> None:
    tools: Any = [{"type": "custom", "custom": {"name": "shell", "description": "Runs a command."}}]
    async with openai.AsyncOpenAI(base_url=fleet.openai.base_url, api_key="any") as client:
        question: Any = {"role": "user", "content": "Use the shell"}
        first = await client.chat.completions.create(model="gpt-5", messages=[question], tools=tools)
        calls = first.choices[0].message.tool_calls
        assert calls is not None
        call = calls[0]
        assert call.type == "custom"
        assert (call.custom.name, call.custom.input) == ("shell", "Use the shell")
        turn: Any = first.choices[0].message
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "ok"}
        second = await client.chat.completions.create(model="gpt-5", messages=[question, turn, result], tools=tools)
    assert second.choices[0].message.content == "The tools answered: ok"


async def test_scripted_arguments_come_in_the_vendors_pieces(chat: ChatVendor, weather: Any) -> None:
    chat.simulator.enqueue(Scenario(tool_calls=(ToolCall(name="get_weather", arguments={"city": "Reykjavík"}),)))
    stream = await chat.client.chat.completions.create(
        model=chat.model, messages=HELLO, tools=weather(chat.name), stream=True
    )
    pieces = [
        call.function.arguments
        async for chunk in stream
        for call in chunk.choices[0].delta.tool_calls or ()
        if call.function is not None
    ]
    assert json.loads("".join(piece or "" for piece in pieces)) == {"city": "Reykjavík"}
    assert len(pieces) == 1 if chat.name == "xai" else len(pieces) > 3


async def test_pictures_come_from_the_pictures_endpoint(fleet: Fleet) -> None:
    async with openai.AsyncOpenAI(base_url=fleet.xai.base_url, api_key="any") as client:
        answer = await client.images.generate(
            model="grok-imagine-image", prompt="a cat", n=2, response_format="b64_json"
        )
    assert answer.data is not None
    assert len({picture.b64_json for picture in answer.data}) == 2
