"""Thought signatures: returned to the client, replayed from any carrier or the cache (facts/providers.md 1.5, 5.6)."""

from typing import Any

import pytest

from gateway.openai_api.deltas import Reasoning, ToolCallArguments, ToolCallStart
from gateway.upstreams.gemini.adapter import GeminiAdapter
from gateway.upstreams.signature_cache import SignatureCache
from tests.upstreams.gemini_chats import (
    HELLO,
    PNG,
    PNG_PART,
    SKIP,
    WEATHER,
    adapter,
    calling,
    chat,
    frames,
    parts,
    result,
    sent,
    turns,
    whole,
)
from tests.upstreams.gemini_chats import streamed as stream

SEAL = "CpE/+abc"
DRAW = "gemini-3.1-flash-image"


def call(call_id: str = "a", **extra: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}} | extra


def sealed(data: str = SEAL, **extra: Any) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, "format": "google-gemini-v1", "index": 0, **extra}


FUNCTION = call()["function"]
CARRIERS = {
    "extra_content": calling(call(extra_content={"google": {"thought_signature": SEAL}})),
    "reasoning_details": calling(call(), reasoning_details=[sealed(id="a")]),
    "reasoning_text": calling(
        call(),
        reasoning_details=[{"type": "reasoning.text", "signature": SEAL, "id": "a", "format": "google-gemini-v1"}],
    ),
    "function": calling(call(function=FUNCTION | {"thought_signature": SEAL})),
    "tool_call": calling(call(thought_signature=SEAL)),
    "provider_specific_fields": calling(call(provider_specific_fields={"thought_signature": SEAL})),
}


@pytest.mark.parametrize("model", ["gemini-3-flash-preview", "gemini-2.5-flash"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_carrier_brings_a_signature_back(carrier: str, model: str) -> None:
    part = turns(HELLO, CARRIERS[carrier], result(), model=model)[1]["parts"][0]
    assert part["thoughtSignature"] == SEAL


def test_the_signature_of_an_image_is_not_that_of_a_call() -> None:
    """Nobody pays for it, since the image is quoted."""
    answer = calling(call("picture_0"), reasoning_details=[sealed(id="picture_0")])
    assert turns(HELLO, answer, result("picture_0"))[1]["parts"][0]["thoughtSignature"] == SKIP


def test_a_signature_in_the_id_is_taken_out_of_it() -> None:
    combined = f"a__thought__{SEAL}"
    contents = turns(HELLO, calling(call(combined)), result(combined))
    assert contents[1]["parts"][0]["thoughtSignature"] == SEAL
    assert contents[1]["parts"][0]["functionCall"]["id"] == "a"
    assert contents[2]["parts"][0]["functionResponse"]["id"] == "a"


@pytest.mark.parametrize(
    "message",
    [
        calling(call()),
        calling(call(), reasoning_details=[sealed("Eq", id="a", format="anthropic-claude-v1")]),
        calling(call(extra_content={"other": {"thought_signature": "x"}})),
        calling(call(extra_content={"google": "x"}, provider_specific_fields={"thought_signature": 5})),
    ],
    ids=["bare", "claude", "other", "garbage"],
)
def test_a_call_without_a_signature_of_google_gets_the_documented_one(message: dict[str, Any]) -> None:
    assert turns(HELLO, message, result())[1]["parts"][0]["thoughtSignature"] == SKIP
    assert "thoughtSignature" not in turns(HELLO, message, result(), model="gemini-2.5-flash-lite")[1]["parts"][0]


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-2.5-pro"])
def test_a_model_that_gemini_3_may_answer_for_gets_the_signature_that_gemini_3_needs(model: str) -> None:
    """Google routes these to 3.5-flash-lite and 3.8-flash from 2026-12-01 (0), which refuse calls without one (5.6)."""
    assert turns(HELLO, calling(call()), result(), model=model)[1]["parts"][0]["thoughtSignature"] == SKIP


def test_only_the_first_call_of_a_turn_needs_one_and_every_turn_does() -> None:
    contents = turns(
        HELLO,
        calling(call("a"), call("b")),
        result("a"),
        result("b"),
        calling(call("c", thought_signature=SEAL)),
        result("c"),
        calling(call("d")),
        result("d"),
    )
    signatures = [
        [part.get("thoughtSignature") for part in turn["parts"]] for turn in contents if turn["role"] == "model"
    ]
    assert signatures == [[SKIP, None], [SEAL], [SKIP]]


def test_the_signature_of_a_text_comes_back_on_it() -> None:
    plain = {"role": "assistant", "content": "Four.", "reasoning_details": [sealed("old"), sealed(SEAL, index=1)]}
    assert turns(HELLO, plain, HELLO)[1]["parts"] == [{"text": "Four.", "thoughtSignature": SEAL}]
    silent = {"role": "assistant", "content": "", "reasoning_details": [sealed()]}
    assert turns(HELLO, silent, HELLO)[1]["parts"] == [{"text": "", "thoughtSignature": SEAL}]


def answer(*, finish: str = "STOP", call_id: str | None = "g1") -> dict[str, Any]:
    function = {"name": "weather", "args": {"city": "Oslo"}} | ({"id": call_id} if call_id else {})
    return parts({"functionCall": function, "thoughtSignature": SEAL}, finish=finish)


def test_a_signature_goes_out_in_two_carriers() -> None:
    deltas = list(adapter().decode_response(chat(tools=[WEATHER]), frames(answer())[6:-4]))
    [start] = [delta for delta in deltas if isinstance(delta, ToolCallStart)]
    [seal] = [delta for delta in deltas if isinstance(delta, Reasoning)]
    assert start.extra_content == {"google": {"thought_signature": SEAL}}
    assert (seal.data, seal.id, seal.format, seal.index, seal.text) == (SEAL, "g1", "google-gemini-v1", 0, "")


def test_a_signature_comes_before_its_call_never_within() -> None:
    """A chunk without the call is its end to openai-go, which would run the tool without arguments."""
    signed = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": SEAL}
    body = frames(parts(signed, signed, finish="STOP"))[6:-4]
    deltas = adapter().decode_response(chat(tools=[WEATHER]), body)
    kinds = [type(delta) for delta in deltas if isinstance(delta, Reasoning | ToolCallStart | ToolCallArguments)]
    assert kinds == [Reasoning, ToolCallStart] * 2


@pytest.mark.parametrize("drop", ["nothing", "reasoning_details", "extra_content", "both"])
@pytest.mark.parametrize("call_id", ["g1", None])
def test_the_next_turn_carries_it_whatever_the_client_kept(drop: str, call_id: str | None) -> None:
    gemini = GeminiAdapter(SignatureCache())
    message = whole(answer(call_id=call_id), chat(tools=[WEATHER]), gemini).choices()[0]["message"]
    if drop in ("reasoning_details", "both"):
        del message["reasoning_details"]
    if drop in ("extra_content", "both"):
        del message["tool_calls"][0]["extra_content"]
    history = [HELLO, message, result(message["tool_calls"][0]["id"])]
    part = sent(chat(messages=history, tools=[WEATHER]), gemini)["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == SEAL
    if drop == "both":
        other = sent(chat(messages=history, tools=[WEATHER], caller="0xother"), gemini)
        assert other["contents"][1]["parts"][0]["thoughtSignature"] == SKIP
        message["tool_calls"][0]["function"]["arguments"] = '{"city": "Rome"}'
        changed = sent(chat(messages=history, tools=[WEATHER]), gemini)
        assert changed["contents"][1]["parts"][0]["thoughtSignature"] == SKIP


def test_what_another_vendor_left_in_the_cache_is_not_taken() -> None:
    cache = SignatureCache()
    cache.put("0xpayer", "a", "weather", '{"city":"Oslo"}', [{"type": "thinking"}])
    body = sent(chat(messages=[HELLO, calling(call()), result()]), GeminiAdapter(cache))
    assert body["contents"][1]["parts"][0]["thoughtSignature"] == SKIP


def test_the_end_of_a_stream_may_carry_one_on_an_empty_text() -> None:
    message = stream(
        frames(
            parts({"text": "Thinking.", "thought": True}),
            parts({"text": "Fo"}),
            parts({"text": "ur."}),
            parts({"text": "", "thoughtSignature": SEAL}, finish="STOP"),
        )
    ).choices()[0]["message"]
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Thinking.", "format": "google-gemini-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": SEAL, "format": "google-gemini-v1", "index": 1},
    ]
    assert turns(HELLO, message, HELLO)[1]["parts"] == [{"text": "Four.", "thoughtSignature": SEAL}]


@pytest.mark.parametrize("kept", [True, False])
def test_pictures_come_back_with_their_signatures(kept: bool) -> None:
    gemini = GeminiAdapter(SignatureCache())
    signed = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoA"}, "thoughtSignature": SEAL}
    found = whole(parts({"text": "Here."}, PNG_PART, signed, finish="STOP"), chat(DRAW), gemini)
    message = found.choices()[0]["message"]
    assert message["images"] == [PNG, "data:image/png;base64,iVBORw0KGgoA"]
    if not kept:
        del message["reasoning_details"]
        message["images"] = [{"type": "image_url", "image_url": {"url": url}} for url in message["images"]]
    model_turn = sent(chat(DRAW, messages=[HELLO, message, HELLO]), gemini)["contents"][1]
    unsigned = PNG_PART if kept else PNG_PART | {"thoughtSignature": SKIP}
    assert model_turn["parts"] == [{"text": "Here."}, unsigned, signed]


def test_a_strangers_picture_gets_the_documented_signature() -> None:
    picture = {"role": "assistant", "content": "", "images": [PNG]}
    assert turns(HELLO, picture, HELLO, model=DRAW)[1]["parts"] == [PNG_PART | {"thoughtSignature": SKIP}]
    assert turns(HELLO, picture, HELLO, model="gemini-2.5-flash-image")[1]["parts"] == [PNG_PART]


SEARCHED = [
    {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s", "args": {"queries": ["q"]}}, "thoughtSignature": "UQ=="},
    {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s", "response": {}}, "thoughtSignature": "Ug=="},
]


def test_a_cached_signature_is_sent_once_however_often_its_call_is_repeated() -> None:
    through, long = adapter(), "U" * 1000
    called = {"functionCall": {"name": "weather", "id": "a", "args": {"city": "Oslo"}}, "thoughtSignature": long}
    [choice] = whole(parts(called, finish="STOP"), chat(tools=[WEATHER]), through).choices()
    history = [calling(call("a", function=choice["message"]["tool_calls"][0]["function"])), result("a")]
    again = sent(chat(tools=[WEATHER], messages=[HELLO, *history * 20]), through)
    signatures = [part.get("thoughtSignature") for turn in again["contents"][1::2] for part in turn["parts"]]
    assert signatures in ([long] + [None] * 19, [long] + [SKIP] * 19)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_googles_own_tools_did_goes_back_before_the_call_that_followed_it(streamed: bool) -> None:
    through = adapter()
    asked = chat(tools=[WEATHER], web_search=True, stream=streamed)
    called = {"functionCall": {"name": "weather", "id": "a", "args": {"city": "Oslo"}}}
    second = {"functionCall": {"name": "weather", "id": "b", "args": {"city": "Oslo"}}}
    answer = [parts(*SEARCHED), parts({"text": "Hm."}, called, second, finish="STOP")]
    if streamed:
        [choice] = stream(frames(*answer), asked, through).choices()
    else:
        [choice] = whole(parts(*SEARCHED, {"text": "Hm."}, called, second, finish="STOP"), asked, through).choices()
    message = choice["message"]
    assert (message["content"], [each["id"] for each in message["tool_calls"]]) == ("Hm.", ["a", "b"])
    calls = [call(each["id"], function=each["function"]) for each in message["tool_calls"]]
    history = [HELLO, calling(*calls, content="Hm."), result("a"), result("b")]
    again = sent(chat(tools=[WEATHER], web_search=True, messages=history), through)
    assert again["contents"][1]["parts"] == [
        {"text": "Hm."},
        *SEARCHED,
        called | {"thoughtSignature": SKIP},
        second,
    ]
    repeated = sent(chat(tools=[WEATHER], web_search=True, messages=[HELLO, *history[1:] * 20]), through)
    assert sum("toolCall" in part for turn in repeated["contents"] for part in turn["parts"]) == 1
    alone = sent(chat(tools=[WEATHER], messages=history), through)
    assert [next(iter(part)) for part in alone["contents"][1]["parts"]] == ["text", "functionCall", "functionCall"]
    stranger = sent(chat(tools=[WEATHER], web_search=True, messages=history, caller="0xother"), through)
    assert stranger["contents"][1] == alone["contents"][1]
