"""The unmodified `google-genai` SDK against its simulator."""

from typing import Any

import pytest
from google.genai import errors, types

from tools.simulators import Fleet, Scenario

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

FLASH = "gemini-2.5-flash"
FLASH_3 = "gemini-3-flash-preview"


async def test_an_answer_counts_thoughts_beside_candidates(gemini: Any) -> None:
    answer = await gemini.models.generate_content(model=FLASH, contents="héllo 你好")
    assert answer.text == "You said: héllo 你好"
    usage = answer.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (4, 6, 7)
    assert usage.total_token_count == 17


async def test_a_stream_is_cumulative_and_says_the_same(gemini: Any) -> None:
    text, totals = "", []
    stream = await gemini.models.generate_content_stream(model=FLASH, contents="word " * 60)
    async for chunk in stream:
        text += chunk.text
        totals.append(chunk.usage_metadata.total_token_count)
    whole = await gemini.models.generate_content(model=FLASH, contents="word " * 60)
    assert text == whole.text
    assert len(totals) > 3
    assert totals == sorted(totals)
    assert totals[-1] == whole.usage_metadata.total_token_count


async def test_function_calling_round_trip_needs_the_signature(gemini: Any, weather: Any) -> None:
    config = types.GenerateContentConfig(tools=weather("google"))
    question = types.Content(role="user", parts=[types.Part(text="The weather now in Oslo?")])
    first = await gemini.models.generate_content(model=FLASH_3, contents=question, config=config)
    assert [(call.name, call.args) for call in first.function_calls] == [("get_weather", {"city": "Oslo"}), ("now", {})]
    assert [part.thought_signature is not None for part in first.parts] == [True, False]
    results = types.Content(
        role="user",
        parts=[
            types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "4 C"}))
            for call in first.function_calls
        ],
    )
    history = [question, first.candidates[0].content, results]
    second = await gemini.models.generate_content(model=FLASH_3, contents=history, config=config)
    assert second.text == "The tools answered: 4 C; 4 C"
    history[1].parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        await gemini.models.generate_content(model=FLASH_3, contents=history, config=config)


async def test_thoughts_are_parts_only_when_asked_for(gemini: Any) -> None:
    shown = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    answer = await gemini.models.generate_content(model=FLASH, contents="hi", config=shown)
    assert [part.thought for part in answer.parts] == [True, None]
    off = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=0))
    answer = await gemini.models.generate_content(model=FLASH, contents="hi", config=off)
    assert answer.usage_metadata.thoughts_token_count is None


async def test_a_picture_is_inline_data_with_its_own_tokens(gemini: Any) -> None:
    answer = await gemini.models.generate_content(model="gemini-2.5-flash-image", contents="a cat")
    pictures = [part.inline_data for part in answer.parts if part.inline_data]
    assert [picture.mime_type for picture in pictures] == ["image/png"]
    assert pictures[0].data.startswith(b"\x89PNG")
    details = answer.usage_metadata.candidates_tokens_details
    assert [(detail.modality, detail.token_count) for detail in details] == [(types.MediaModality.IMAGE, 1290)]


async def test_structured_output_is_an_example_of_the_schema(gemini: Any) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=schema)
    answer = await gemini.models.generate_content(model=FLASH, contents="Oslo", config=config)
    assert answer.parsed == {"name": "Oslo"}


async def test_a_spent_limit_leaves_no_parts(gemini: Any) -> None:
    config = types.GenerateContentConfig(max_output_tokens=5)
    answer = await gemini.models.generate_content(model=FLASH, contents="hi", config=config)
    assert answer.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert answer.candidates[0].content.parts is None
    assert answer.usage_metadata.candidates_token_count is None
    assert answer.usage_metadata.thoughts_token_count == 5


async def test_a_blocked_prompt_has_no_candidates(fleet: Fleet, gemini: Any) -> None:
    fleet.google.enqueue(Scenario(finish="refusal"))
    answer = await gemini.models.generate_content(model=FLASH, contents="hi")
    assert answer.candidates is None
    assert answer.prompt_feedback.block_reason is types.BlockedReason.SAFETY


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("bad_key", 400, "INVALID_ARGUMENT"),
        ("model_not_found", 404, "NOT_FOUND"),
        ("rate_limit", 429, "RESOURCE_EXHAUSTED"),
        ("overloaded", 503, "UNAVAILABLE"),
        ("billing", 400, "FAILED_PRECONDITION"),
        ("timeout", 504, "DEADLINE_EXCEEDED"),
    ],
)
async def test_scripted_errors_carry_status_and_code(
    fleet: Fleet, gemini: Any, kind: Any, status: int, name: str
) -> None:
    fleet.google.default = Scenario(error=kind)
    with pytest.raises(errors.APIError) as caught:
        await gemini.models.generate_content(model=FLASH, contents="hi")
    assert (caught.value.code, caught.value.status) == (status, name)


async def test_a_retired_model_names_its_successor(gemini: Any) -> None:
    with pytest.raises(errors.ClientError, match=r"gemini-3\.1-pro-preview") as caught:
        await gemini.models.generate_content(model="gemini-3-pro-preview", contents="hi")
    assert caught.value.code == 404
