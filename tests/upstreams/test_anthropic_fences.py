from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.anthropic.fences import FenceStripper


def shown(text: str, cuts: list[int]) -> str:
    stripper = FenceStripper()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [stripper.feed(text[start:end]) for start, end in pairwise(edges)]
    return "".join(pieces) + stripper.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1}', '{"a":1}'),
        ('```json\n{"a":1}\n```', '{"a":1}'),
        ('\n ```JSON \r\n{"a":1}\r\n```\n', '{"a":1}'),
        ('```\n{"a":1}\n```\nThat is all.', '{"a":1}'),
        ('```json\n{"a":"x ``` y"}\n```', '{"a":"x ``` y"}'),
        ('```json\n{"a":1}```', '{"a":1}'),
        ("```python\nprint()\n```", "```python\nprint()\n```"),
        ("``", "``"),
        ("  ", "  "),
        ("", ""),
        ("`a` is\n```json\n1\n```", "`a` is\n```json\n1\n```"),
    ],
)
@given(cuts=st.lists(st.integers(0, 40), max_size=8))
def test_a_fence_comes_off_however_the_text_is_cut(text: str, expected: str, cuts: list[int]) -> None:
    assert shown(text, cuts) == expected


@given(st.text().filter(lambda text: "```" not in text))
def test_text_without_a_fence_is_untouched(text: str) -> None:
    assert shown(text, [1, 3]) == text
