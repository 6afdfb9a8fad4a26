"""Each vendor's usage convention (facts/providers.md 1.4); reproduces the recorded figures of 12.5."""

from typing import Any

from tests.tools.simulators.clients import HttpClient
from tools.simulators import Scenario


async def usage(http: HttpClient, vendor: str, scenario: Scenario, **fields: Any) -> dict[str, Any]:
    http.fleet.simulators[vendor].enqueue(scenario)
    if vendor == "anthropic":
        counted: dict[str, Any] = (await http.messages(**fields)).json["usage"]
    elif vendor == "google":
        counted = (await http.generate(**fields)).json["usageMetadata"]
    else:
        counted = (await http.chat(vendor, **fields)).json["usage"]
    return counted


COUNTS = Scenario(prompt_tokens=100, cached_tokens=40, completion_tokens=10, reasoning_tokens=30)


async def test_openai_and_modelark_put_reasoning_inside_completion(http: HttpClient) -> None:
    for vendor in ("openai", "bytedance"):
        counted = await usage(http, vendor, COUNTS)
        assert (counted["prompt_tokens"], counted["completion_tokens"], counted["total_tokens"]) == (100, 40, 140)
        assert counted["prompt_tokens_details"]["cached_tokens"] == 40
        assert counted["completion_tokens_details"]["reasoning_tokens"] == 30


async def test_xai_puts_reasoning_beside_completion_and_prices_it(http: HttpClient) -> None:
    recorded = Scenario(prompt_tokens=349, cached_tokens=128, completion_tokens=30, reasoning_tokens=211)
    counted = await usage(http, "xai", recorded)
    assert (counted["completion_tokens"], counted["total_tokens"]) == (30, 590)
    assert counted["cost_in_usd_ticks"] == 9_043_500


async def test_the_ticks_of_a_retired_model_are_the_recorded_ones(http: HttpClient) -> None:
    recorded = Scenario(
        prompt_tokens=15, cached_tokens=2, completion_tokens=10, reasoning_tokens=213, serve_retired=True
    )
    counted = await usage(http, "xai", recorded, model="grok-3-mini")
    assert (counted["total_tokens"], counted["cost_in_usd_ticks"]) == (238, 1_155_500)


async def test_a_long_prompt_costs_twice_as_much(http: HttpClient) -> None:
    counted = await usage(http, "xai", Scenario(prompt_tokens=200_000, completion_tokens=0, reasoning_tokens=0))
    assert counted["cost_in_usd_ticks"] == 2 * 200_000 * 12_500


async def test_anthropic_excludes_both_cache_numbers_from_input(http: HttpClient) -> None:
    recorded = Scenario(prompt_tokens=1532, cached_tokens=1111, cache_write_tokens=418, completion_tokens=33)
    counted = await usage(http, "anthropic", recorded)
    assert counted["input_tokens"] == 3
    assert counted["cache_read_input_tokens"] == 1111
    assert counted["cache_creation"] == {"ephemeral_5m_input_tokens": 418, "ephemeral_1h_input_tokens": 0}
    assert counted["output_tokens"] == 33


async def test_gemini_excludes_thoughts_from_candidates_and_zeroes_altogether(http: HttpClient) -> None:
    recorded = Scenario(prompt_tokens=3520, cached_tokens=3512, completion_tokens=2, reasoning_tokens=42)
    counted = await usage(http, "google", recorded)
    assert counted["totalTokenCount"] == 3564
    assert (counted["candidatesTokenCount"], counted["thoughtsTokenCount"]) == (2, 42)
    assert counted["cachedContentTokenCount"] == 3512
    plain = await usage(http, "google", Scenario(prompt_tokens=9, completion_tokens=9, reasoning_tokens=0))
    assert "thoughtsTokenCount" not in plain
    assert "cachedContentTokenCount" not in plain


async def test_audio_is_a_modality_of_the_prompt(http: HttpClient) -> None:
    parts = [{"text": "hi"}, {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}]
    counted = await usage(http, "google", Scenario(), contents=[{"parts": parts}])
    assert {detail["modality"] for detail in counted["promptTokensDetails"]} == {"TEXT", "AUDIO"}
    assert sum(detail["tokenCount"] for detail in counted["promptTokensDetails"]) == counted["promptTokenCount"]


async def test_a_larger_picture_has_more_tokens(http: HttpClient) -> None:
    http.fleet.google.enqueue(Scenario(completion_tokens=398))
    response = await http.generate("gemini-3.1-flash-image", generationConfig={"imageConfig": {"imageSize": "4K"}})
    assert response.json["usageMetadata"]["candidatesTokenCount"] == 398 + 2520


async def test_nous_puts_reasoning_into_the_text(http: HttpClient) -> None:
    messages = [{"role": "system", "content": "Think in <think> tags."}, {"role": "user", "content": "hi"}]
    http.fleet.nous.enqueue(Scenario(text="Yes.", reasoning="Hm."))
    response = await http.chat("nous", messages=messages)
    assert response.json["choices"][0]["message"]["content"] == "<think>\nHm.\n</think>\n\nYes."


async def test_a_token_limit_cuts_the_answer(http: HttpClient) -> None:
    response = await http.chat("openai", messages=[{"role": "user", "content": "word " * 50}], max_tokens=5)
    choice = response.json["choices"][0]
    assert choice["finish_reason"] == "length"
    assert response.json["usage"]["completion_tokens"] == 5


async def test_a_stop_sequence_ends_the_answer(http: HttpClient) -> None:
    response = await http.chat("openai", stop=["said"])
    assert response.json["choices"][0]["message"]["content"] == "You "
    claude = (await http.messages(stop_sequences=["said"])).json
    assert (claude["stop_reason"], claude["stop_sequence"]) == ("stop_sequence", "said")


async def test_log_probabilities_cover_the_text(http: HttpClient) -> None:
    response = await http.chat("openai", logprobs=True, top_logprobs=1)
    choice = response.json["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == choice["message"]["content"]
