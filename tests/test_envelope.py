"""The signed bytes, against canonical JSON written by hand (facts/x402.md 2.4)."""

import json
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from gateway.envelope import (
    canonical_chat_request,
    canonical_completion_request,
    choice_output,
    signed_output,
    signing_digest,
)
from gateway.keccak import keccak256

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [HI]}
HEAD = '{"messages": [{"content": "Hi", "role": "user"}], "model": "gpt-4.1"'


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (
            b"Transfer(address,address,uint256)",
            "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        ),
    ],
)
def test_keccak_is_ethereums(data: bytes, digest: str) -> None:
    assert keccak256(data).hex() == digest


@given(st.binary(max_size=300))
def test_keccak_agrees_with_eth_hash(data: bytes) -> None:
    assert keccak256(data) == keccak(data)


@pytest.mark.parametrize(
    ("changes", "canonical"),
    [
        ({}, HEAD + ', "temperature": 0.0}'),
        ({"temperature": None}, HEAD + ', "temperature": 0.0}'),
        ({"temperature": 0}, HEAD + ', "temperature": 0.0}'),
        ({"temperature": 1}, HEAD + ', "temperature": 1.0}'),
        ({"temperature": 0.7}, HEAD + ', "temperature": 0.7}'),
        ({"max_tokens": 100}, '{"max_tokens": 100, ' + HEAD[1:] + ', "temperature": 0.0}'),
        ({"max_tokens": None}, HEAD + ', "temperature": 0.0}'),
        ({"max_tokens": 0}, '{"max_tokens": 0, ' + HEAD[1:] + ', "temperature": 0.0}'),
        ({"stop": "x"}, HEAD + ', "stop": "x", "temperature": 0.0}'),
        ({"stop": ["x", "y"]}, HEAD + ', "stop": ["x", "y"], "temperature": 0.0}'),
        ({"stop": []}, HEAD + ', "temperature": 0.0}'),
        ({"stop": ""}, HEAD + ', "temperature": 0.0}'),
        ({"tools": []}, HEAD + ', "temperature": 0.0}'),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            HEAD + ', "temperature": 0.0, "tools": [{"function": {"name": "f"}, "type": "function"}]}',
        ),
        (
            {"response_format": {"type": "json_object"}},
            HEAD + ', "response_format": {"type": "json_object"}, "temperature": 0.0}',
        ),
        ({"response_format": None}, HEAD + ', "temperature": 0.0}'),
        ({"web_search": True}, HEAD + ', "temperature": 0.0, "web_search": true}'),
        ({"web_search": False}, HEAD + ', "temperature": 0.0}'),
        ({"model": "OpenAI/GPT-4.1 "}, HEAD.replace("gpt-4.1", "OpenAI/GPT-4.1 ") + ', "temperature": 0.0}'),
    ],
)
def test_settings(changes: dict[str, Any], canonical: str) -> None:
    assert canonical_chat_request({**BODY, **changes}) == canonical.encode()


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
CANONICAL_CALL = '{"function": {"arguments": "{\\"a\\":1}", "name": "f"}, "id": "call_1", "type": "function"}'


@pytest.mark.parametrize(
    ("message", "canonical"),
    [
        ({"role": "system", "content": "s", "name": "n"}, '{"content": "s", "role": "system"}'),
        ({"role": "developer", "content": "s"}, '{"content": "s", "role": "system"}'),
        (
            {"role": "system", "content": [{"type": "text", "text": "s", "cache_control": {}}]},
            '{"content": [{"cache_control": {}, "text": "s", "type": "text"}], "role": "system"}',
        ),
        ({"role": "user", "content": "h\u00e9 \U0001f600"}, '{"content": "h\\u00e9 \\ud83d\\ude00", "role": "user"}'),
        ({"role": "user", "content": "x", "name": "n"}, '{"content": "x", "role": "user"}'),
        ({"role": "user", "content": "x", "tool_calls": [{}]}, '{"content": "x", "role": "user"}'),
        ({"role": "user", "content": []}, '{"content": [], "role": "user"}'),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                    {"type": "text", "text": None},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": "x"}},
                    {"type": "file", "filename": "b.pdf", "file": {"file_data": "x"}},
                    {"type": "file", "filename": "b.pdf", "file": {"filename": "c.pdf"}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}, "filename": ""},
                ],
            },
            (
                '{"content": [{"text": "a", "type": "text"}, {"text": "", "type": "text"}, {"type": "image_url"}, '
                '{"filename": "a.pdf", "type": "file"}, {"filename": "b.pdf", "type": "file"}, '
                '{"filename": "c.pdf", "type": "file"}, {"type": "input_audio"}], "role": "user"}'
            ),
        ),
        ({"role": "assistant", "content": "a", "refusal": "r"}, '{"content": "a", "role": "assistant"}'),
        ({"role": "assistant", "content": None}, '{"content": "", "role": "assistant"}'),
        ({"role": "assistant"}, '{"content": "", "role": "assistant"}'),
        ({"role": "assistant", "content": "a", "tool_calls": []}, '{"content": "a", "role": "assistant"}'),
        (
            {"role": "assistant", "content": None, "tool_calls": [{**CALL, "extra_content": {}}]},
            '{"content": "", "role": "assistant", "tool_calls": [' + CANONICAL_CALL + "]}",
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [{}]},
            (
                '{"content": "", "role": "assistant", "tool_calls": [{"function": {"arguments": "", "name": ""}, '
                '"id": "", "type": "function"}]}'
            ),
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f"}}]},
            (
                '{"content": "", "role": "assistant", "tool_calls": [{"function": {"arguments": "", "name": ""}, '
                '"id": "c", "type": "custom"}]}'
            ),
        ),
        (
            {"role": "tool", "content": "4 C", "tool_call_id": "call_1", "name": "f"},
            '{"content": "4 C", "role": "tool", "tool_call_id": "call_1"}',
        ),
        ({"role": "tool", "content": "4 C"}, '{"content": "4 C", "role": "tool", "tool_call_id": null}'),
        (
            {"role": "function", "content": "4 C", "name": "f"},
            '{"content": "4 C", "name": "f", "role": "function"}',
        ),
        ({"role": "function", "content": "4 C"}, '{"content": "4 C", "name": null, "role": "function"}'),
    ],
)
def test_messages(message: dict[str, Any], canonical: str) -> None:
    expected = '{"messages": [' + canonical + '], "model": "m", "temperature": 0.0}'
    assert canonical_chat_request({"model": "m", "messages": [message]}) == expected.encode()


@pytest.mark.parametrize("code", [*range(0x180), 0x2028, 0xFEFF, 0xFFFF, 0x1F600])
def test_every_character_is_written_as_json_writes_it(code: int) -> None:
    text = f"a{chr(code)}b"
    canonical = canonical_chat_request({**BODY, "messages": [{"role": "user", "content": text}]})
    assert json.dumps({"content": text, "role": "user"}).encode() in canonical


@pytest.mark.parametrize(
    "uncovered",
    [
        {"stream": True},
        {"stream_options": {"include_usage": True}},
        {"n": 3},
        {"top_p": 0.1},
        {"tool_choice": "required"},
        {"max_completion_tokens": 9},
        {"seed": 7},
        {"reasoning_effort": "high"},
        {"user": "u"},
        {"logprobs": True},
        {"functions": [{"name": "f"}]},
    ],
)
def test_nothing_else_is_covered(uncovered: dict[str, Any]) -> None:
    assert canonical_chat_request({**BODY, **uncovered}) == canonical_chat_request(BODY)


@pytest.mark.parametrize(
    ("changes", "canonical"),
    [
        ({}, '{"model": "m", "prompt": "Once", "temperature": 0.0}'),
        (
            {"max_tokens": 5, "stop": ["x"], "temperature": 1, "n": 2, "echo": True, "stream": True},
            '{"max_tokens": 5, "model": "m", "prompt": "Once", "stop": ["x"], "temperature": 1.0}',
        ),
        ({"prompt": ["a", "b"]}, '{"model": "m", "prompt": ["a", "b"], "temperature": 0.0}'),
        ({"web_search": True, "tools": [1]}, '{"model": "m", "prompt": "Once", "temperature": 0.0}'),
    ],
)
def test_completion_requests(changes: dict[str, Any], canonical: str) -> None:
    assert canonical_completion_request({"model": "m", "prompt": "Once", **changes}) == canonical.encode()


@given(st.permutations(["model", "messages", "temperature", "max_tokens", "stop", "tools"]))
def test_the_order_of_keys_does_not_matter(order: list[str]) -> None:
    body = {**BODY, "temperature": 0.5, "max_tokens": 5, "stop": "x", "tools": [{"type": "function"}]}
    assert canonical_chat_request({key: body[key] for key in order}) == canonical_chat_request(body)


def chat_choice(finish: str | None, **message: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}


@pytest.mark.parametrize(
    ("choice", "output"),
    [
        (chat_choice("stop", content="Hello"), "Hello"),
        (chat_choice("stop", content=None), ""),
        (chat_choice("stop"), ""),
        (chat_choice("tool_calls", content="x", tool_calls=[CALL]), "[" + CANONICAL_CALL + "]"),
        (chat_choice("stop", content="x", tool_calls=[CALL]), "x"),
        (chat_choice("length", content=None, tool_calls=[CALL]), ""),
        (chat_choice("tool_calls", content="x"), "x"),
        (chat_choice("tool_calls", content="x", tool_calls=None), "x"),
        (chat_choice("tool_calls", content=None, tool_calls=[]), "[]"),
        ({"index": 0, "text": "Once", "finish_reason": "stop"}, "Once"),
        ({"index": 0, "text": None}, ""),
        ({"index": 0}, ""),
    ],
)
def test_output_of_one_choice(choice: dict[str, Any], output: str) -> None:
    assert choice_output(choice) == output
    assert signed_output([choice]) == output


def test_several_choices_are_a_list_in_the_order_of_their_index() -> None:
    choices = [{"index": 1, "text": "\u00e9"}, {"index": 0, "text": "a"}, {"index": 2, "text": ""}]
    assert signed_output(choices) == '["a", "\\u00e9", ""]'
    assert signed_output([{"index": 1, "text": "b"}, {"text": "a"}]) == '["a", "b"]'


@pytest.mark.parametrize("timestamp", [0, 1_700_000_000, 2**256 - 1])
def test_digest(timestamp: int) -> None:
    packed = b"\x01" * 32 + b"\x02" * 32 + timestamp.to_bytes(32, "big")
    assert signing_digest(b"\x01" * 32, b"\x02" * 32, timestamp) == keccak(packed)


def test_digest_vector() -> None:
    """Computed once with eth-hash."""
    digest = signing_digest(keccak256(b"request"), keccak256(b"output"), 1_700_000_000)
    assert digest.hex() == "832a40a50eebb04c4e9e0d9cde7cbf088e535da73cf621105b7896cf60c7bfac"


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(texts, texts)
def test_different_requests_have_different_bytes(first: str, second: str) -> None:
    def canonical(text: str) -> bytes:
        return canonical_chat_request({"model": "m", "messages": [{"role": "user", "content": text}]})

    assert (canonical(first) == canonical(second)) == (first == second)
    assert canonical(first).isascii()
    assert json.loads(canonical(first))["messages"][0]["content"] == first


roles = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])
contents = st.one_of(texts, st.none(), st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts})))
calls = st.lists(
    st.fixed_dictionaries({"id": texts, "function": st.fixed_dictionaries({"name": texts, "arguments": texts})})
)
messages = st.fixed_dictionaries(
    {"role": roles, "content": contents}, optional={"name": texts, "tool_calls": calls, "tool_call_id": texts}
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "max_tokens": st.integers(1),
        "stop": st.one_of(texts, st.lists(texts)),
        "tools": st.lists(st.dictionaries(texts, texts)),
        "response_format": st.dictionaries(texts, texts),
        "web_search": st.booleans(),
    },
)


@given(st.lists(messages, min_size=1), texts, settings)
def test_every_request_stands_as_sorted_json(history: list[Any], model: str, more: dict[str, Any]) -> None:
    signed = canonical_chat_request({"model": model, "messages": history, **more})
    read = json.loads(signed)
    assert json.dumps(read, sort_keys=True).encode() == signed
    assert [message["role"].replace("developer", "system") for message in history] == [
        message["role"] for message in read["messages"]
    ]


@pytest.mark.parametrize(("content", "hashed"), [("Hi", "Hi"), (None, ""), ("", "")])
def test_a_text_beside_tool_calls_is_hashed(content: str | None, hashed: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": content, "tool_calls": [call]}
    [canonical] = json.loads(canonical_chat_request({"model": "m", "messages": [message]}))["messages"]
    assert (canonical["content"], len(canonical["tool_calls"])) == (hashed, 1)
