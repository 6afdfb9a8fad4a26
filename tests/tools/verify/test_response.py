"""Signed JSON answers: what verifies, and which claim fails for each change."""

import base64
import copy
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from tools.verify.claims import Claim, Verdict
from tools.verify.errors import UsageError
from tools.verify.response import CLAIMS, verify_response
from tools.verify.signing_key import load_signing_key

Json = Any
PASS, FAIL, SKIP = Verdict.PASS, Verdict.FAIL, Verdict.SKIP

CHAT = {"model": "openai/gpt-5", "messages": [{"role": "user", "content": "Grüße"}]}
CHAT_CANONICAL = (
    '{"messages": [{"content": "Gr\\u00fc\\u00dfe", "role": "user"}], "model": "openai/gpt-5", "temperature": 0.0}'
)
TOOL_CALLS = [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}]
TOOL_OUTPUT = (
    '[{"function": {"arguments": "{\\"city\\":\\"K\\u00f6ln\\"}", "name": "weather"}, '
    '"id": "call_1", "type": "function"}]'
)

TOOL_CANONICAL = (
    '{"messages": [{"content": "be brief", "role": "system"}, {"content": "weather?", "role": "user"}], '
    '"model": "gpt-4.1", "temperature": 1.0, "tools": [{"function": {"name": "weather"}, "type": "function"}]}'
)
FULL_CANONICAL = (
    '{"max_tokens": 7, "messages": [{"content": [{"text": "see", "type": "text"}, {"type": "image_url"}, '
    '{"filename": "a.pdf", "type": "file"}], "role": "user"}, {"content": "", "role": "assistant", '
    '"tool_calls": [{"function": {"arguments": "{\\"city\\":\\"K\\u00f6ln\\"}", "name": "weather"}, '
    '"id": "call_1", "type": "function"}]}, {"content": "12\\u00b0", "role": "tool", "tool_call_id": "call_1"}], '
    '"model": "m", "response_format": {"type": "json_object"}, "stop": ["END"], "temperature": 0.0, '
    '"web_search": true}'
)


def text_answer(text: str | None = "Hallo ☀") -> dict[str, Json]:
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def verdicts(claims: list[Claim]) -> dict[str, Verdict]:
    return {claim.name: claim.verdict for claim in claims}


def check(answer_signer: Any, request: Json, answer: Json) -> dict[str, Verdict]:
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return verdicts(verify_response(load_signing_key(answer_signer.pem), request, data))


def failing(result: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in result.items() if verdict is FAIL}


ALL_PASS = dict.fromkeys(CLAIMS, PASS)

EXCHANGES: dict[str, tuple[Json, str, Json, str]] = {
    "text": (CHAT, CHAT_CANONICAL, text_answer(), "Hallo ☀"),
    "null content": (CHAT, CHAT_CANONICAL, text_answer(None), ""),
    "tool calls, accompanying text not covered": (
        {
            "model": "gpt-4.1",
            "messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "weather?"}],
            "tools": [{"type": "function", "function": {"name": "weather"}}],
            "tool_choice": "auto",
            "temperature": 1,
        },
        TOOL_CANONICAL,
        {
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "one moment", "tool_calls": TOOL_CALLS},
                    "finish_reason": "tool_calls",
                }
            ]
        },
        TOOL_OUTPUT,
    ),
    "every covered field": (
        {
            "model": "m",
            "messages": [
                {
                    "role": "user",
                    "name": "not covered",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                        {"type": "file", "file": {"filename": "a.pdf", "file_data": "AAAA"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [{**TOOL_CALLS[0], "extra_content": {"x": 1}}]},
                {"role": "tool", "content": "12°", "tool_call_id": "call_1"},
            ],
            "max_tokens": 7,
            "stop": ["END"],
            "response_format": {"type": "json_object"},
            "web_search": True,
            "seed": 5,
            "stream": False,
        },
        FULL_CANONICAL,
        text_answer("{}"),
        "{}",
    ),
    "two choices in index order": (
        {**CHAT, "n": 2},
        CHAT_CANONICAL,
        {
            "choices": [
                {"index": 1, "message": {"role": "assistant", "content": "zwei"}, "finish_reason": "stop"},
                {"index": 0, "message": {"role": "assistant", "content": "eins"}, "finish_reason": "stop"},
            ]
        },
        '["eins", "zwei"]',
    ),
    "legacy completion": (
        {"model": "m", "prompt": ["a", "b"], "max_tokens": 3, "temperature": 0.5, "tools": ["not covered"]},
        '{"max_tokens": 3, "model": "m", "prompt": ["a", "b"], "temperature": 0.5}',
        {
            "object": "text_completion",
            "completion": "c",
            "choices": [{"index": 0, "text": "c", "finish_reason": "length"}],
        },
        "c",
    ),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_honest_answer_verifies(name: str, answer_signer: Any) -> None:
    request, canonical, answer, output = EXCHANGES[name]
    assert check(answer_signer, request, {**answer, **answer_signer.envelope(canonical, output)}) == ALL_PASS


def test_keepalive_spaces_before_the_json_and_hex_prefixes_are_fine(answer_signer: Any) -> None:
    answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    for name in ("request", "output"):
        answer[f"tee_{name}_hash"] = "0x" + answer[f"tee_{name}_hash"]
    assert check(answer_signer, CHAT, b"   " + json.dumps(answer).encode()) == ALL_PASS


REQUEST_CHANGES: dict[str, Json] = {
    "model": {"model": "openai/gpt-5-mini"},
    "message text": {"messages": [{"role": "user", "content": "Grüsse"}]},
    "message role": {"messages": [{"role": "system", "content": "Grüße"}]},
    "message added": {"messages": [*CHAT["messages"], {"role": "user", "content": ""}]},
    "temperature": {"temperature": 0.1},
    "max_tokens": {"max_tokens": 1},
    "stop": {"stop": "x"},
    "tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "response_format": {"response_format": {"type": "text"}},
    "web_search": {"web_search": True},
}


@pytest.mark.parametrize("field", REQUEST_CHANGES)
def test_another_request_fails_the_request_hash_alone(field: str, answer_signer: Any) -> None:
    answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    assert failing(check(answer_signer, {**CHAT, **REQUEST_CHANGES[field]}, answer)) == {"request_hash"}


@pytest.mark.parametrize(
    ("path", "value", "claims"),
    [
        (["choices", 0, "message", "content"], "Hallo", {"output_hash"}),
        (["choices", 0, "message", "content"], None, {"output_hash"}),
        (["choices", 0, "message", "content"], ["Hallo ☀"], {"output_hash"}),
        (["choices", 0, "message", "content"], "\ud800", {"output_hash"}),
        (["choices", 0, "message"], "Hallo ☀", {"output_hash"}),
        (["choices", 0, "index"], 1, {"output_hash"}),
        (["choices"], [], {"output_hash"}),
        (["choices"], None, {"output_hash"}),
        (["choices"], ["Hallo ☀"], {"output_hash"}),
        (["tee_timestamp"], 1_790_000_001, {"signature"}),
        (["tee_timestamp"], "1790000000", {"signature"}),
        (["tee_timestamp"], 1_790_000_000.0, {"signature"}),
        (["tee_timestamp"], True, {"signature"}),
        (["tee_timestamp"], -1, {"signature"}),
        (["tee_timestamp"], 1 << 256, {"signature"}),
        (["tee_signature"], None, {"signature"}),
        (["tee_signature"], "", {"signature"}),
        (["tee_signature"], "ä", {"signature"}),
        (["tee_id"], "0x" + "0" * 64, {"tee_id"}),
        (["tee_id"], None, {"tee_id"}),
        (["tee_request_hash"], None, {"request_hash", "signature"}),
        (["tee_request_hash"], "0" * 64, {"request_hash", "signature"}),
        (["tee_output_hash"], "0x" + "0" * 64, {"output_hash", "signature"}),
        (["tee_output_hash"], "f" * 63, {"output_hash", "signature"}),
        (["tee_output_hash"], "g" * 64, {"output_hash", "signature"}),
    ],
)
def test_a_changed_answer_names_the_claim(path: list[Any], value: Json, claims: set[str], answer_signer: Any) -> None:
    answer: Any = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    target = answer
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    assert failing(check(answer_signer, CHAT, answer)) == claims


@pytest.mark.parametrize(
    "change",
    [{"name": "forecast"}, {"arguments": '{"city":"Bonn"}'}, {"strict": True}],
)
def test_changed_tool_calls_fail_the_output_hash(change: Json, answer_signer: Any) -> None:
    request, canonical, honest, output = EXCHANGES["tool calls, accompanying text not covered"]
    answer = copy.deepcopy(honest) | answer_signer.envelope(canonical, output)
    answer["choices"][0]["message"]["tool_calls"][0]["function"] |= change
    assert failing(check(answer_signer, request, answer)) == {"output_hash"}
    answer["choices"][0]["message"]["tool_calls"] = []
    assert failing(check(answer_signer, request, answer)) == {"output_hash"}


def test_a_completion_field_that_differs_from_the_signed_text_fails(answer_signer: Any) -> None:
    request, canonical, honest, output = EXCHANGES["legacy completion"]
    answer = {**honest, "completion": "d", **answer_signer.envelope(canonical, output)}
    assert failing(check(answer_signer, request, answer)) == {"output_hash"}


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("text", {"text": "unsigned"}),
        ("legacy completion", {"text": "unsigned", "message": {"content": "c"}}),
        ("legacy completion", {"message": {"content": "unsigned"}}),
    ],
)
def test_a_second_output_beside_the_signed_one_is_refused(name: str, outputs: Json, answer_signer: Any) -> None:
    """The caller might read the unsigned one."""
    request, canonical, honest, output = EXCHANGES[name]
    answer = copy.deepcopy(honest) | answer_signer.envelope(canonical, output)
    answer["choices"][0] |= outputs
    assert failing(check(answer_signer, request, answer)) == {"output_hash"}


def test_a_completion_field_beside_a_message_is_refused(answer_signer: Any) -> None:
    answer = {**text_answer(), "completion": "unsigned", **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    assert failing(check(answer_signer, CHAT, answer)) == {"output_hash"}


@pytest.mark.parametrize(
    ("changes", "verdict"), [({}, FAIL), ({"n": None}, FAIL), ({"n": 1}, FAIL), ({"n": 2}, PASS), ({"n": 3.0}, PASS)]
)
def test_one_text_is_not_taken_for_more_choices_than_requested(
    changes: Json, verdict: Verdict, answer_signer: Any
) -> None:
    """Two choices have the signature of one text that reads like their list."""
    _, canonical, honest, output = EXCHANGES["two choices in index order"]
    answer = {**honest, **answer_signer.envelope(canonical, output)}
    assert check(answer_signer, {**CHAT, **changes}, answer) == {**ALL_PASS, "output_hash": verdict}


@pytest.mark.parametrize(("n", "count", "verdict"), [(1, 2, PASS), (1, 3, FAIL), (2, 4, PASS), (2, 5, FAIL)])
def test_every_prompt_of_a_list_has_n_choices(n: int, count: int, verdict: Verdict, answer_signer: Any) -> None:
    request, canonical, _, _ = EXCHANGES["legacy completion"]
    choices = [{"index": index, "text": "c", "finish_reason": "stop"} for index in range(count)]
    answer = {"choices": choices, **answer_signer.envelope(canonical, json.dumps(["c"] * count))}
    assert check(answer_signer, {**request, "n": n}, answer)["output_hash"] is verdict


def test_the_time_of_the_signature_is_readable(answer_signer: Any) -> None:
    key = load_signing_key(answer_signer.pem)
    for timestamp, told in ((1_790_000_000, " (2026-09-21T14:13:20Z)"), ((1 << 256) - 1, "")):
        answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀", timestamp)}
        claims = {claim.name: claim.detail for claim in verify_response(key, CHAT, json.dumps(answer).encode())}
        assert claims["signature"] == f"RSA-PSS by this key, tee_timestamp {timestamp}{told}"


@pytest.mark.parametrize("index", ["0", 0.0, False, None, -1, 2])
def test_choices_that_are_not_numbered_are_refused(index: Json, answer_signer: Any) -> None:
    request, canonical, honest, output = EXCHANGES["two choices in index order"]
    answer = copy.deepcopy(honest) | answer_signer.envelope(canonical, output)
    answer["choices"][-1]["index"] = index
    assert failing(check(answer_signer, request, answer)) == {"output_hash"}


@given(st.data())
def test_every_changed_character_of_the_envelope_fails(answer_signer: Any, data: st.DataObject) -> None:
    """Also those that decode to the same bytes: upper-case hex, another spelling of the base64 padding bits."""
    answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    field = data.draw(st.sampled_from(["tee_signature", "tee_request_hash", "tee_output_hash", "tee_id"]))
    position = data.draw(st.integers(0, len(answer[field]) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda c: c != answer[field][position]))
    answer[field] = answer[field][:position] + other + answer[field][position + 1 :]
    assert failing(check(answer_signer, CHAT, answer))


@given(
    st.text(),
    st.text(),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(0, 10**9),
)
def test_the_request_hash_is_that_of_sorted_ascii_json(
    answer_signer: Any, model: str, content: str, temperature: float | None, max_tokens: int | None
) -> None:
    request = {"model": model, "messages": [{"role": "user", "content": content}]}
    canonical: dict[str, Json] = {**request, "temperature": 0.0 if temperature is None else temperature}
    if temperature is not None:
        request["temperature"] = temperature  # type: ignore[assignment]
    if max_tokens is not None:
        request["max_tokens"] = canonical["max_tokens"] = max_tokens  # type: ignore[assignment]
    envelope = answer_signer.envelope(json.dumps(canonical, sort_keys=True), "Hallo ☀")
    assert check(answer_signer, request, {**text_answer(), **envelope}) == ALL_PASS


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[]", "no answer can be read: not a JSON object"),
        (b"", "no answer can be read: neither a JSON object nor a stream of events"),
        (b"<html>502 Bad Gateway</html>", "no answer can be read: neither a JSON object nor a stream of events"),
        (b'\xef\xbb\xbf{"choices": []}', "no answer can be read: neither a JSON object nor a stream of events"),
        (b"{", "not JSON"),
        (b"\xff{}", "neither a JSON object nor a stream of events"),
        (b'{"a": NaN}', "not JSON, which has no NaN"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"choices": [' * 100_000, "nested too deeply"),
        (b'{"tee_timestamp": ' + b"9" * 5000 + b"}", "too long"),
        (b'{"error": {"code": "model_not_found", "message": "secret"}}', "model_not_found"),
        (b'{"error": "secret"}', "no details"),
    ],
)
def test_no_answer_at_all_is_said_once(body: bytes, reason: str, answer_signer: Any) -> None:
    claims = verify_response(load_signing_key(answer_signer.pem), CHAT, body)
    assert verdicts(claims) == {**dict.fromkeys(CLAIMS, SKIP), "output_hash": FAIL}
    assert [claim.name for claim in claims] == list(CLAIMS)
    detail = next(claim.detail for claim in claims if claim.verdict is FAIL)
    assert reason in detail
    assert "secret" not in detail


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"model": "m"},
        {"model": "m", "messages": 1},
        {"model": "m", "messages": [1]},
        {"model": "m", "messages": [{}]},
        {**CHAT, "temperature": "warm"},
        {**CHAT, "temperature": []},
        {"model": "m", "messages": [{"role": "assistant", "tool_calls": [1]}]},
        {"model": "m", "messages": [{"role": "user", "content": [1]}]},
    ],
)
def test_a_request_that_no_gateway_takes_is_the_callers_mistake(request_body: Json, answer_signer: Any) -> None:
    answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    with pytest.raises(UsageError):
        check(answer_signer, request_body, answer)


def test_another_key_fails_tee_id_and_signature(answer_signer: Any, other_answer_signer: Any) -> None:
    answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    assert failing(check(other_answer_signer, CHAT, answer)) == {"tee_id", "signature"}
    answer["tee_id"] = other_answer_signer.tee_id
    assert failing(check(other_answer_signer, CHAT, answer)) == {"signature"}


def test_a_key_source_that_misstates_its_id_fails(answer_signer: Any) -> None:
    answer = json.dumps({**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}).encode()
    document = {"public_key": answer_signer.pem.decode(), "tee_id": answer_signer.tee_id, "wallet_address": "0x"}
    key = load_signing_key(json.dumps(document).encode())
    assert verdicts(verify_response(key, CHAT, answer)) == ALL_PASS
    wrong = load_signing_key(json.dumps({**document, "tee_id": "0x" + "1" * 64}).encode())
    assert failing(verdicts(verify_response(wrong, CHAT, answer))) == {"tee_id"}


def test_a_maximal_salt_is_refused(answer_signer: Any) -> None:
    """The wire contract is 32 bytes."""
    answer = {**text_answer(), **answer_signer.envelope(CHAT_CANONICAL, "Hallo ☀")}
    hashes = bytes.fromhex(answer["tee_request_hash"] + answer["tee_output_hash"])
    digest = keccak(hashes + answer["tee_timestamp"].to_bytes(32, "big"))
    pss = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=padding.PSS.MAX_LENGTH)
    answer["tee_signature"] = base64.b64encode(answer_signer.key.sign(digest, pss, SHA256())).decode()
    assert failing(check(answer_signer, CHAT, answer)) == {"signature"}
