"""The unmodified ``openai`` package as client of the gateway, for all OpenAI-shaped upstreams."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.lib.streaming.chat import ContentDeltaEvent, FunctionToolCallArgumentsDoneEvent
from pydantic import BaseModel

from tests.running_gateway import RunningGateway, StartGateway
from tests.waiting import until
from tools.simulators.fleet import Fleet
from tools.simulators.scenario import RawReply, Scenario, ToolCall

MODELS = {"openai": "gpt-5.2", "xai": "grok-4.3", "bytedance": "seed-1.8", "nous": "hermes-4-405b"}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather in a city",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
HELLO: Any = [{"role": "user", "content": "Hello there"}]
every_upstream = pytest.mark.parametrize("provider", MODELS)


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.url + "/v1", api_key="anything", max_retries=0) as client:
        yield client


class City(BaseModel):
    name: str
    country: str


@every_upstream
async def test_chat(client: AsyncOpenAI, provider: str) -> None:
    completion = await client.chat.completions.create(model=MODELS[provider], messages=HELLO)
    assert completion.choices[0].message.content == "You said: Hello there"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == MODELS[provider]
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.model_extra is not None
    assert completion.model_extra["tee_id"].startswith("0x")


@every_upstream
async def test_stream(client: AsyncOpenAI, provider: str) -> None:
    stream = await client.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "You said: Hello there"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert {(chunk.id, chunk.created) for chunk in chunks} == {(chunks[0].id, chunks[0].created)}
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert all("usage" not in chunk.model_fields_set for chunk in chunks[:-1])
    assert (chunks[-1].model_extra or {})["tee_signature"]


@every_upstream
async def test_stream_with_usage(client: AsyncOpenAI, provider: str) -> None:
    stream = await client.chat.completions.create(
        model=MODELS[provider], messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert (chunks[-1].model_extra or {})["tee_signature"]
    assert "tee_signature" not in (chunks[-2].model_extra or {})


@pytest.mark.parametrize("stream", [False, True])
async def test_moderation(gateway: RunningGateway, client: AsyncOpenAI, stream: bool) -> None:
    """OpenAI's moderation result is returned, in a stream with the last chunk."""
    assert gateway.fleet is not None
    failed = {"type": "error", "code": "moderation_error", "message": "Moderation failed"}
    told = {"moderation": {"input": failed, "output": failed}}
    if stream:
        piece = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
        chunks = (*(b"data: " + json.dumps(event).encode() + b"\n\n" for event in (piece, {"choices": [], **told})),)
        raw = RawReply(headers=(("content-type", "text/event-stream"),), chunks=(*chunks, b"data: [DONE]\n\n"))
    else:
        answer = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}], **told}
        raw = RawReply(headers=(("content-type", "application/json"),), chunks=(json.dumps(answer).encode(),))
    gateway.fleet.openai.enqueue(Scenario(raw=raw))
    asked: Any = {"model": "omni-moderation-latest"}
    if stream:
        events = await client.chat.completions.create(
            model="gpt-5.2", messages=HELLO, moderation=asked, stream=True, stream_options={"include_usage": True}
        )
        moderation: Any = [event async for event in events][-1].moderation
    else:
        completion = await client.chat.completions.create(model="gpt-5.2", messages=HELLO, moderation=asked)
        moderation = completion.moderation
    assert moderation is not None
    assert moderation.to_dict() == told["moderation"]
    assert gateway.fleet.openai.requests[-1].json["moderation"] == asked


@pytest.mark.parametrize("stream", [False, True])
async def test_the_vendors_tier_and_fingerprint(client: AsyncOpenAI, stream: bool) -> None:
    """Both are at the top level, in a stream of its last chunk."""
    if stream:
        answers = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
        last: Any = [chunk async for chunk in answers][-1]
    else:
        last = await client.chat.completions.create(model="gpt-4.1", messages=HELLO)
    assert (last.service_tier, last.system_fingerprint) == ("default", "fp_a1b2c3d4e5")


async def test_stream_helper_with_choices_in_any_order(gateway: RunningGateway, client: AsyncOpenAI) -> None:
    """OpenAI opens the choices in order, but their tokens come as they are generated."""
    assert gateway.fleet is not None
    role = {"role": "assistant", "content": ""}
    deltas = [(0, role), (1, role), (1, {"content": "B"}), (0, {"content": "A"})]
    choices: list[Any] = [{"index": index, "delta": delta, "finish_reason": None} for index, delta in deltas]
    choices += [{"index": index, "delta": {}, "finish_reason": "stop"} for index in (1, 0)]
    events = [b"data: " + json.dumps({"choices": [choice], "service_tier": "flex"}).encode() for choice in choices]
    raw = RawReply(
        headers=(("content-type", "text/event-stream"),),
        chunks=(*(event + b"\n\n" for event in events), b"data: [DONE]\n\n"),
    )
    gateway.fleet.openai.enqueue(Scenario(raw=raw))
    async with client.chat.completions.stream(model="gpt-5.2", messages=HELLO, n=2) as stream:
        final = await stream.get_final_completion()
    assert [(choice.message.content, choice.finish_reason) for choice in final.choices] == [
        ("A", "stop"),
        ("B", "stop"),
    ]
    assert final.service_tier == "flex"


@every_upstream
async def test_stream_helper(client: AsyncOpenAI, provider: str) -> None:
    async with client.chat.completions.stream(model=MODELS[provider], messages=HELLO) as stream:
        deltas = [event.delta async for event in stream if isinstance(event, ContentDeltaEvent)]
        final = await stream.get_final_completion()
    assert "".join(deltas) == final.choices[0].message.content == "You said: Hello there"


@every_upstream
@pytest.mark.parametrize("arguments", [{"city": "Oslo"}, None])
async def test_tools(gateway: RunningGateway, client: AsyncOpenAI, provider: str, arguments: Any) -> None:
    assert gateway.fleet is not None
    calls = (ToolCall(name="weather", arguments=arguments or {}), ToolCall(name="weather", arguments={"city": "Rome"}))
    gateway.fleet.simulators[provider].enqueue(Scenario(tool_calls=calls))
    gateway.fleet.simulators[provider].enqueue(Scenario(tool_calls=calls))
    completion = await client.chat.completions.create(model=MODELS[provider], messages=HELLO, tools=[WEATHER])
    message = completion.choices[0].message
    assert completion.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    assert [json.loads(call.function.arguments) for call in message.tool_calls if call.type == "function"] == [
        arguments or {},
        {"city": "Rome"},
    ]
    async with client.chat.completions.stream(model=MODELS[provider], messages=HELLO, tools=[WEATHER]) as stream:
        done = [event async for event in stream if isinstance(event, FunctionToolCallArgumentsDoneEvent)]
    assert [json.loads(event.arguments) for event in done] == [arguments or {}, {"city": "Rome"}]
    assert [event.index for event in done] == [0, 1]


@every_upstream
async def test_tool_turn(client: AsyncOpenAI, provider: str) -> None:
    history: Any = [
        *HELLO,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "4 C"},
    ]
    completion = await client.chat.completions.create(model=MODELS[provider], messages=history, tools=[WEATHER])
    assert completion.choices[0].message.content


@every_upstream
async def test_parse(gateway: RunningGateway, client: AsyncOpenAI, provider: str) -> None:
    assert gateway.fleet is not None
    gateway.fleet.simulators[provider].enqueue(Scenario(text='{"name":"Oslo","country":"Norway"}'))
    parsed = await client.chat.completions.parse(model=MODELS[provider], messages=HELLO, response_format=City)
    assert parsed.choices[0].message.parsed == City(name="Oslo", country="Norway")


@every_upstream
async def test_raw_response(client: AsyncOpenAI, provider: str) -> None:
    raw = await client.chat.completions.with_raw_response.create(model=MODELS[provider], messages=HELLO)
    completion = raw.parse()
    assert raw.headers["x-tee-signature"] == (completion.model_extra or {})["tee_signature"]
    assert completion._request_id == raw.headers["x-request-id"]


@every_upstream
async def test_legacy_completion(client: AsyncOpenAI, provider: str) -> None:
    completion = await client.completions.create(model=MODELS[provider], prompt=["One", "Two"], max_tokens=50)
    assert [choice.text for choice in completion.choices] == ["You said: One", "You said: Two"]
    stream = await client.completions.create(model=MODELS[provider], prompt="One", max_tokens=50, stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "You said: One"


@every_upstream
async def test_sync_client(gateway: RunningGateway, provider: str) -> None:
    def ask() -> tuple[str, str]:
        with OpenAI(base_url=gateway.url + "/v1", api_key="anything", max_retries=0) as client:
            whole = client.chat.completions.create(model=MODELS[provider], messages=HELLO)
            stream = client.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=True)
            return (
                whole.choices[0].message.content or "",
                "".join(chunk.choices[0].delta.content or "" for chunk in stream),
            )

    assert await asyncio.to_thread(ask) == ("You said: Hello there",) * 2


async def test_models(client: AsyncOpenAI, gateway: RunningGateway) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == list(gateway.services.catalog.models)
    model = await client.models.retrieve("openai/gpt-5")
    assert model.id == "gpt-5"
    assert (model.model_extra or {})["pricing"]["input"] == "1.25"


ERRORS: list[tuple[dict[str, Any], type[openai.APIStatusError], str | None, str | None]] = [
    ({"model": "gpt-55"}, openai.NotFoundError, "model_not_found", "model"),
    ({"messages": [{"role": "user", "content": 5}]}, openai.BadRequestError, "invalid_type", "messages[0].content"),
    ({"messages": []}, openai.BadRequestError, "empty_array", "messages"),
    ({"temperature": 3}, openai.BadRequestError, "decimal_above_max_value", "temperature"),
    ({"extra_body": {"foo": 1}}, openai.BadRequestError, "unknown_parameter", "foo"),
    ({"model": "gpt-5", "stop": "x"}, openai.BadRequestError, "unsupported_parameter", "stop"),
    ({"tool_choice": "required"}, openai.BadRequestError, None, "tool_choice"),
]


@pytest.mark.parametrize(("change", "kind", "code", "param"), ERRORS)
async def test_caller_errors(
    client: AsyncOpenAI, change: dict[str, Any], kind: type[openai.APIStatusError], code: str | None, param: str | None
) -> None:
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(**{"model": "gpt-4.1", "messages": HELLO, **change})
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


@every_upstream
@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        ("bad_key", openai.InternalServerError, "upstream_auth_failed"),
        ("billing", openai.InternalServerError, "upstream_billing"),
        ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
        ("overloaded", openai.InternalServerError, "upstream_overloaded"),
        ("server_error", openai.InternalServerError, "upstream_error"),
        ("model_not_found", openai.NotFoundError, "model_not_found"),
        ("context_length", openai.BadRequestError, "context_length_exceeded"),
    ],
)
async def test_upstream_errors(
    gateway: RunningGateway,
    client: AsyncOpenAI,
    provider: str,
    error: Any,
    kind: type[openai.APIStatusError],
    code: str,
) -> None:
    assert gateway.fleet is not None
    for _ in range(3):
        gateway.fleet.simulators[provider].enqueue(Scenario(error=error))
    if (provider, error) == ("nous", "billing"):
        code = "upstream_auth_failed"  # its 402 is a payment envelope (facts/providers.md 12.7)
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model=MODELS[provider], messages=HELLO)
    assert caught.value.code == code


@every_upstream
async def test_cut_stream_raises(gateway: RunningGateway, client: AsyncOpenAI, provider: str) -> None:
    assert gateway.fleet is not None
    gateway.fleet.simulators[provider].enqueue(Scenario(text="one two three four five six", cut_after=4))
    stream = await client.chat.completions.create(model=MODELS[provider], messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="before it was complete"):
        async for _ in stream:
            pass


async def test_missing_key(start_gateway: StartGateway) -> None:
    gateway = await start_gateway({})
    async with AsyncOpenAI(base_url=gateway.url + "/v1", api_key="x", max_retries=2) as client:
        with pytest.raises(openai.InternalServerError, match="OpenAI") as caught:
            await client.chat.completions.create(model="gpt-5", messages=HELLO)
    assert caught.value.status_code == 503
    assert caught.value.code == "provider_not_configured"


async def test_leaving_closes_the_upstream_within_a_second(fleet: Fleet, gateway: RunningGateway) -> None:
    fleet.openai.enqueue(Scenario(text="word " * 200, event_delay=0.05))
    client = AsyncOpenAI(base_url=gateway.url + "/v1", api_key="x", max_retries=0)
    stream = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await client.close()
    left = time.monotonic()
    await until(lambda: fleet.openai.requests[-1].aborted_at is not None)
    assert fleet.openai.requests[-1].aborted_at is not None
    assert fleet.openai.requests[-1].aborted_at - left < 1
