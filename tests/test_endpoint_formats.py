"""Response formats of both endpoints: ids, objects, choices, and top-level fields that the OpenGradient SDK reads."""

import pytest

from gateway.endpoint_formats import CHAT, COMPLETION, EndpointFormat
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.deltas import Finish, Text


def answer() -> Assembler:
    assembler = Assembler()
    assembler.extend([Text("Hello"), Text("Bye", 1), Finish("stop"), Finish("length", 1)])
    return assembler


@pytest.mark.parametrize(
    ("form", "prefix", "name"),
    [(CHAT, "chatcmpl-", "chat.completion"), (COMPLETION, "cmpl-", "text_completion")],
)
def test_ids_are_new_and_in_openais_form(form: EndpointFormat, prefix: str, name: str) -> None:
    ids = {form.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(one.startswith(prefix) and len(one) == len(prefix) + 32 for one in ids)
    assert form.object == name


def test_chat() -> None:
    choices = CHAT.choices(answer())
    assert [choice["message"]["content"] for choice in choices] == ["Hello", "Bye"]
    assert CHAT.extras(choices) == {}
    assert CHAT.canonical({"model": "m", "messages": []}) == b'{"messages": [], "model": "m", "temperature": 0.0}'


def test_completion() -> None:
    choices = COMPLETION.choices(answer())
    assert [choice["text"] for choice in choices] == ["Hello", "Bye"]
    assert COMPLETION.extras(choices) == {"completion": "Hello"}
    assert COMPLETION.extras([]) == {"completion": ""}
    assert COMPLETION.canonical({"model": "m", "prompt": "x"}) == b'{"model": "m", "prompt": "x", "temperature": 0.0}'
