"""``<think>`` at the start of an answer: the same reasoning and content, however the text is split."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai_api.deltas import Reasoning, Text
from gateway.upstreams.openai.think_tags import ThinkTagParser


def split(pieces: Iterable[str], choice: int = 0) -> tuple[str, str]:
    """Reasoning and content of a text that arrives in ``pieces``."""
    tags = ThinkTagParser(choice)
    deltas = [delta for piece in pieces for delta in tags.feed(piece)] + list(tags.finish())
    assert all(delta.choice == choice and delta.text for delta in deltas)
    kinds = [type(delta) for delta in deltas]
    assert kinds == sorted(kinds, key=lambda kind: kind is Text), "a thought after the answer began"
    return (
        "".join(delta.text for delta in deltas if isinstance(delta, Reasoning)),
        "".join(delta.text for delta in deltas if isinstance(delta, Text)),
    )


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("", "", ""),
        ("Hello", "", "Hello"),
        ("  Hello", "", "  Hello"),
        ("  ", "", "  "),
        ("<think>hm</think>Hello", "hm", "Hello"),
        ("<think>hm</think>\n\nHello\n", "hm", "Hello\n"),
        (" \n<think>hm</think>Hello", "hm", "Hello"),
        ("<think></think>Hello", "", "Hello"),
        ("<think>hm", "hm", ""),
        ("<think>hm</thi", "hm</thi", ""),
        ("<think>a</b</think>c", "a</b", "c"),
        ("<think>a<think>b</think>c</think>d", "a<think>b", "c</think>d"),
        ("<think>hm</think>", "hm", ""),
        ("<think>hm</think>\n", "hm", ""),
        ("<think>hm</think> Hello", "hm", " Hello"),
        ("<thin", "", "<thin"),
        ("<thinker>", "", "<thinker>"),
        ("Hello <think>hm</think>", "", "Hello <think>hm</think>"),
        ("</think>x", "", "</think>x"),
    ],
)
def test_whole_and_in_pieces(text: str, thought: str, answer: str) -> None:
    assert split([text]) == (thought, answer)
    assert split(text) == (thought, answer)
    for cut in range(len(text)):
        assert split([text[:cut], text[cut:]]) == (thought, answer)


def test_the_choice_is_kept() -> None:
    assert split(["<think>a</think>b"], choice=2) == ("a", "b")


def test_text_is_not_held_back_longer_than_it_must() -> None:
    tags = ThinkTagParser()
    assert list(tags.feed("<thi")) == []
    assert list(tags.feed("nk>hm</th")) == [Reasoning(text="hm")]
    assert list(tags.feed("ere")) == [Reasoning(text="</there")]
    assert list(tags.feed("</think>\nA")) == [Text("A")]
    assert list(tags.feed("\n<think>")) == [Text("\n<think>")]
    assert list(tags.finish()) == []


fragments = st.lists(
    st.sampled_from(["<think>", "</think>", "<", "</", "think>", "\n", " ", "a", "\u00e9"]), max_size=8
)


@given(fragments, st.lists(st.integers(0, 40), max_size=5))
def test_any_cut_is_the_same(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    assert split([text[a:b] for a, b in itertools.pairwise(places)]) == split([text])


@given(fragments)
def test_nothing_but_tags_and_blanks_is_lost(parts: list[str]) -> None:
    text = "".join(parts)
    thought, answer = split([text])
    if not text.lstrip().startswith("<think>"):
        assert (thought, answer) == ("", text)
    else:
        told = text.lstrip().removeprefix("<think>")
        assert told in (thought, thought + "</think>" + answer) or told.replace("\n", "") == (
            thought + "</think>" + answer
        ).replace("\n", "")
