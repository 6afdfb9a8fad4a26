"""Chunks decoded by the template give the same deltas as the full decoder."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.deltas import Delta, Text, UpstreamMetadata
from gateway.openai_api.errors import GatewayError
from gateway.upstreams.openai.chunk_template import ChunkTemplate
from gateway.upstreams.openai.decoder import OpenAIDecoder
from gateway.upstreams.openai.dialects import OPENAI
from gateway.upstreams.sse import Event


def chunk(text: str, **more: Any) -> bytes:
    body = {"id": "c", **more, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    return json.dumps(body).encode()


def by_feed(decoder: OpenAIDecoder, data: bytes) -> list[Delta] | str:
    try:
        return list(decoder.feed(Event("", data)))
    except GatewayError as error:
        return error.message


def by_decode(decoder: OpenAIDecoder, data: bytes) -> list[Delta] | str:
    try:
        return decoder.decode(data)
    except GatewayError as error:
        return error.message


texts = st.text(st.characters(codec="utf-8"), max_size=8)
deltas = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": st.one_of(texts, st.none()),
        "refusal": st.one_of(texts, st.none()),
        "reasoning_content": texts,
        "annotations": st.lists(st.fixed_dictionaries({"content": texts}), max_size=1),
        "tool_calls": st.just([]),
    },
)
choices = st.fixed_dictionaries(
    {"delta": deltas},
    optional={
        "index": st.integers(0, 1),
        "finish_reason": st.sampled_from([None, "stop"]),
        "logprobs": st.one_of(st.none(), st.just({"content": [{"token": "a"}]})),
        "message": st.fixed_dictionaries({"content": texts}),
    },
)
chunks = st.fixed_dictionaries(
    {},
    optional={
        "obfuscation": texts,
        "note": st.fixed_dictionaries({"content": texts}),
        "model": st.sampled_from(["a", "b"]),
        "choices": st.lists(choices, max_size=2),
        "error": st.one_of(st.none(), st.fixed_dictionaries({"message": texts})),
    },
).map(lambda body: json.dumps(body).encode())
streams = st.lists(chunks, max_size=3).flatmap(
    lambda few: st.lists(st.sampled_from(few), max_size=9) if few else st.just([])
)


@given(streams)
def test_any_stream(stream: list[bytes]) -> None:
    fed, decoded = OpenAIDecoder(OPENAI), OpenAIDecoder(OPENAI)
    assert [by_feed(fed, data) for data in stream] == [by_decode(decoded, data) for data in stream]
    assert by_feed(fed, chunk("end")) == by_decode(decoded, chunk("end"))


@given(st.lists(texts, min_size=1), st.fixed_dictionaries({}, optional={"note": st.just({"content": "x"})}))
def test_streams_of_words(words: list[str], more: dict[str, Any]) -> None:
    decoder = OpenAIDecoder(OPENAI)
    said = [delta for word in words for delta in by_feed(decoder, chunk(word, **more))]
    assert said == [UpstreamMetadata(), *(Text(word) for word in words if word)]


def test_a_long_chunk_takes_no_more_memory_than_its_text() -> None:
    decoder, text = OpenAIDecoder(OPENAI), "x" * 1_000_000
    by_feed(decoder, chunk("a"))
    data = chunk(text)
    tracemalloc.start()
    try:
        assert by_feed(decoder, data) == [Text(text)]
        assert tracemalloc.get_traced_memory()[1] < 4 * len(text)
    finally:
        tracemalloc.stop()


def test_who_serves_is_told_as_often_as_it_changes() -> None:
    decoder = OpenAIDecoder(OPENAI)
    stream = [chunk(text, model=model) for text, model in (("a", "m"), ("b", "m"), ("c", "n"), ("d", "m"))]
    said = [delta for data in stream for delta in by_feed(decoder, data)]
    assert [delta.model for delta in said if isinstance(delta, UpstreamMetadata)] == ["m", "n", "m"]


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (chunk("a"), chunk("b"), "b"),
        (chunk("a"), chunk('"\\\n\u2028'), '"\\\n\u2028'),
        (chunk("a"), chunk("b").replace(b'"b"', b'"\\ud83d\\ude00"'), "\U0001f600"),
        (chunk("a"), chunk(""), ""),
        (chunk("a"), chunk("b", model="m"), None),
        (chunk("a"), chunk("a")[:-1], None),
        (chunk("a"), chunk("b").replace(b'"b"', b"1"), None),
        (chunk("a"), chunk("b").replace(b'"b"', b'"b", "x": "c"'), None),
        (chunk("a"), chunk("b").replace(b'"b"', b'"\xff"'), None),
    ],
)
def test_what_is_like_it(first: bytes, second: bytes, text: str | None) -> None:
    template = ChunkTemplate.from_chunk(first, "a", lambda data: json.loads(data)["choices"][0]["delta"]["content"])
    assert template is not None
    assert template.text(second) == text


@pytest.mark.parametrize(
    "data",
    [
        chunk("a", note={"content": "b"}),
        chunk("a", note={"content": "a"}),
        chunk("a").replace(b'"content": "a"', b'"content": "b", "content": "a"'),
        chunk("a").replace(b'"content"', b'"\\u0063ontent"'),
    ],
)
def test_another_thing_of_that_name(data: bytes) -> None:
    assert (
        ChunkTemplate.from_chunk(data, "a", lambda other: json.loads(other)["choices"][0]["delta"]["content"]) is None
    )
