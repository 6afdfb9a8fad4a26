"""Grounding metadata as ``url_citation`` annotations, and the searches that are charged (facts/providers.md 5.7)."""

from typing import Any

import msgspec
import pytest

from gateway.openai_api.deltas import MessageField
from gateway.openai_api.usage import Usage
from tests.upstreams.gemini_chats import COUNTS, adapter, chat, frames, parts, streamed, whole

GROUNDING = {
    "webSearchQueries": ["", "oslo weather", "oslo weather", "oslo forecast", ""],
    "groundingChunks": [
        {"web": {"uri": "https://a.example/", "title": "A"}},
        {"retrievedContext": {}},
        {"web": {"uri": "https://b.example/"}},
    ],
    "groundingSupports": [
        {"segment": {"startIndex": 3, "endIndex": 8, "text": "kaldt"}, "groundingChunkIndices": [0]},
        {"groundingChunkIndices": [0]},
    ],
}


def test_sources_are_cited_by_characters() -> None:
    response = parts({"text": "Så "}, {"text": "kaldt"}, finish="STOP", usageMetadata=COUNTS)
    response["candidates"][0]["groundingMetadata"] = GROUNDING | {
        "groundingSupports": [{"segment": {"startIndex": 4, "endIndex": 9}, "groundingChunkIndices": [0]}]
    }
    expected = [
        {
            "type": "url_citation",
            "url_citation": {"url": "https://a.example/", "title": "A", "start_index": 3, "end_index": 8},
        },
        {
            "type": "url_citation",
            "url_citation": {"url": "https://b.example/", "title": "", "start_index": 0, "end_index": 0},
        },
    ]
    for answer in (whole(response), streamed(frames(response))):
        assert answer.choices()[0]["message"]["annotations"] == expected
        assert answer.usage == Usage(prompt_tokens=7, completion_tokens=3, web_searches=2)


@pytest.mark.parametrize(
    ("segment", "place"),
    [
        ({"partIndex": 1, "startIndex": 0, "endIndex": 6, "text": "Varmt."}, (10, 16)),
        ({"startIndex": 0, "endIndex": 6, "text": "Varmt."}, (10, 16)),
        ({"startIndex": 4, "endIndex": 10, "text": "Kaldt."}, (3, 9)),
        ({"startIndex": 11, "endIndex": 17, "text": "Kaldt."}, (3, 9)),
        ({"startIndex": 4, "endIndex": 10, "text": "Vått."}, (3, 9)),
    ],
)
def test_a_stretch_is_where_its_words_are(segment: dict[str, Any], place: tuple[int, int]) -> None:
    """Offsets count within a part, whose index is rarely given; the text tells whether that is the whole answer."""
    response = parts({"text": "Så Kaldt. "}, {"text": "Varmt."}, finish="STOP", usageMetadata=COUNTS)
    response["candidates"][0]["groundingMetadata"] = {
        "groundingChunks": [{"web": {"uri": "https://a.example/"}}],
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]}],
    }
    [cited] = whole(response).choices()[0]["message"]["annotations"]
    assert (cited["url_citation"]["start_index"], cited["url_citation"]["end_index"]) == place


@pytest.mark.parametrize("later", [{}, {"searchEntryPoint": {"renderedContent": "<div>"}}, {"groundingChunks": []}])
def test_sources_told_early_in_a_stream_are_kept(later: dict[str, Any]) -> None:
    first, last = parts({"text": "Paa kaldt"}), parts({"text": "."}, finish="STOP")
    first["candidates"][0]["groundingMetadata"] = GROUNDING
    last["candidates"][0]["groundingMetadata"] = later
    message = streamed(frames(first, last)).choices()[0]["message"]
    assert [cited["url_citation"]["title"] for cited in message["annotations"]] == ["A", ""]


@pytest.mark.parametrize("metadata", [None, {}, {"groundingChunks": []}])
def test_an_ungrounded_answer_has_no_annotations(metadata: dict[str, Any] | None) -> None:
    response = parts({"text": "x"}, finish="STOP")
    response["candidates"][0]["groundingMetadata"] = metadata
    deltas = adapter().decode_response(chat(), msgspec.json.encode(response))
    assert not any(isinstance(delta, MessageField) for delta in deltas)


RECITED = {
    "citationSources": [
        {"startIndex": 4, "endIndex": 10, "uri": "https://a.example/verse", "license": "mit"},
        {"startIndex": 4, "endIndex": 10},
        {"endIndex": 3, "uri": "https://b.example/"},
    ]
}
RECITATIONS = [
    {
        "type": "url_citation",
        "url_citation": {
            "url": "https://a.example/verse",
            "title": "",
            "start_index": 3,
            "end_index": 9,
            "license": "mit",
        },
    },
    {
        "type": "url_citation",
        "url_citation": {"url": "https://b.example/", "title": "", "start_index": 0, "end_index": 2},
    },
]


def test_the_sources_of_recited_text_are_cited() -> None:
    """Ranges are in bytes of the answer's text; a source without a URL cannot be cited."""
    response = parts({"text": "Så kaldt."}, finish="STOP", usageMetadata=COUNTS)
    response["candidates"][0]["citationMetadata"] = RECITED
    for answer in (whole(response), streamed(frames(response))):
        assert answer.choices()[0]["message"]["annotations"] == RECITATIONS
        assert answer.usage == Usage(prompt_tokens=7, completion_tokens=3)


def test_sources_that_chunks_repeat_are_cited_once() -> None:
    first, middle, last = parts({"text": "Så "}), parts({"text": "kaldt."}), parts(finish="STOP")
    first["candidates"][0]["citationMetadata"] = {"citationSources": RECITED["citationSources"][:1]}
    middle["candidates"][0]["citationMetadata"] = RECITED
    last["candidates"][0]["citationMetadata"] = {"citationSources": []}
    assert streamed(frames(first, middle, last)).choices()[0]["message"]["annotations"] == RECITATIONS


def test_recited_sources_follow_the_pages_of_a_search() -> None:
    response = parts({"text": "Så kaldt"}, finish="STOP", usageMetadata=COUNTS)
    response["candidates"][0] |= {"citationMetadata": RECITED, "groundingMetadata": GROUNDING}
    cited = whole(response).choices()[0]["message"]["annotations"]
    assert [one["url_citation"]["url"] for one in cited] == [
        "https://a.example/",
        "https://b.example/",
        "https://a.example/verse",
        "https://b.example/",
    ]


def test_an_answer_survives_nulls_in_what_describes_it() -> None:
    """The SDK's types allow null for every field."""
    response = parts({"text": "Kaldt."}, finish="STOP", usageMetadata=COUNTS)
    nothing = {"uri": None, "title": None}
    response["candidates"][0] |= {
        "citationMetadata": {"citationSources": [nothing | {"startIndex": None, "endIndex": None, "license": None}]},
        "groundingMetadata": {
            "groundingChunks": [{"web": nothing}],
            "groundingSupports": [
                {"segment": {"startIndex": None, "endIndex": None, "text": None}, "groundingChunkIndices": [0]}
            ],
        },
    }
    response["usageMetadata"] = COUNTS | {"promptTokensDetails": [{"modality": None, "tokenCount": None}]}
    answer = whole(response)
    assert answer.choices()[0]["message"]["content"] == "Kaldt."
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=3)
