"""Requests that the Messages API rejects (facts/providers.md 3)."""

from typing import Any

import pytest

from tests.tools.simulators.clients import HttpClient

USER = {"role": "user", "content": "hi"}
SAID = {"role": "assistant", "content": "hello"}
SYSTEM = {"role": "system", "content": "x"}
OPUS = {"model": "claude-opus-4-8"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
USING = {"role": "assistant", "content": [USE]}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "4"}
TEXT = {"type": "text", "text": "and?"}
PICTURE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
EMPTY = {"type": "object", "properties": {}}
TOOL = {"name": "now", "input_schema": EMPTY}
CLOSED = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def answered_with(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [USER, USING, {"role": "user", "content": list(blocks)}]


def json_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": schema}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no max_tokens": ({"max_tokens": None}, "max_tokens: Field required"),
    "max_tokens above the model's": ({"max_tokens": 64_001}, "maximum allowed number of output tokens"),
    "unknown key": ({"frequency_penalty": 1}, "frequency_penalty: Extra inputs are not permitted"),
    "temperature above 1": ({"temperature": 1.5}, "temperature"),
    "temperature with top_p": ({"temperature": 0.5, "top_p": 0.5}, "cannot both be specified"),
    "temperature on opus-4-7": ({"model": "claude-opus-4-7", "temperature": 0.5}, "temperature"),
    "top_k on fable-5": ({"model": "claude-fable-5", "top_k": 5}, "top_k"),
    "prefill on opus-4-6": (
        {"model": "claude-opus-4-6", "messages": [USER, {"role": "assistant", "content": "{"}]},
        "prefill",
    ),
    "trailing blank in prefill": (
        {"messages": [USER, {"role": "assistant", "content": "So "}]},
        "trailing whitespace",
    ),
    "no messages": ({"messages": []}, "at least one message"),
    "system role on haiku": ({"messages": [{"role": "system", "content": "x"}, USER]}, "role 'system'"),
    "system role at the start": (OPUS | {"messages": [SYSTEM, USER]}, "use the top-level 'system' parameter"),
    "system role after an answer": (OPUS | {"messages": [USER, SAID, SYSTEM]}, "must follow a 'user' message"),
    "system role before a user": (OPUS | {"messages": [USER, SYSTEM, USER]}, "must precede an 'assistant' message"),
    "empty text": ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
    "blank text": ({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]}, "non-whitespace"),
    "extra message key": ({"messages": [{**USER, "name": "bob"}]}, "messages.0.name: Extra inputs"),
    "openai part": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
        "Input tag 'image_url'",
    ),
    "missing result": ({"tools": [TOOL], "messages": [USER, USING, USER]}, "without `tool_result` blocks"),
    "failure without words": (
        {"tools": [TOOL], "messages": answered_with(RESULT | {"content": "", "is_error": True})},
        "content cannot be empty if `is_error` is true",
    ),
    "failure with a picture": (
        {"tools": [TOOL], "messages": answered_with(RESULT | {"content": [TEXT, PICTURE], "is_error": True})},
        'all content must be type "text"',
    ),
    "result after text": ({"tools": [TOOL], "messages": answered_with(TEXT, RESULT)}, "without `tool_result` blocks"),
    "result without call": (
        {"tools": [TOOL], "messages": [{"role": "user", "content": [RESULT]}]},
        "unexpected `tool_use_id`",
    ),
    "doubled result": ({"tools": [TOOL], "messages": answered_with(RESULT, RESULT)}, "single result"),
    "tool blocks without tools": ({"messages": answered_with(RESULT)}, "must define tools"),
    "bad call id": (
        {
            "tools": [TOOL],
            "messages": [
                USER,
                {"role": "assistant", "content": [{**USE, "id": "call:1"}]},
                {"role": "user", "content": [{**RESULT, "tool_use_id": "call:1"}]},
            ],
        },
        "pattern",
    ),
    "input as text": (
        {"tools": [TOOL], "messages": [USER, {"role": "assistant", "content": [{**USE, "input": "{}"}]}, USER]},
        "valid dictionary",
    ),
    "schema without type": ({"tools": [{"name": "now", "input_schema": {}}]}, "input_schema.type"),
    "schema of an older draft": (
        {"tools": [TOOL | {"input_schema": EMPTY | {"properties": {"pair": {"items": [{"type": "string"}]}}}}]},
        "tools.0.custom.input_schema: JSON schema is invalid",
    ),
    "no schema": ({"tools": [{"name": "now"}]}, "input_schema: Field required"),
    "doubled tool": ({"tools": [TOOL, TOOL]}, "unique"),
    "openai tool": ({"tools": [{"type": "function", "function": {"name": "now"}}]}, "tools.0"),
    "choice as text": ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
    "unknown choice": ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "later"}}, "not found"),
    "parallel control with none": (
        {"tools": [TOOL], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
        "Extra inputs",
    ),
    "forced tool while thinking": (
        {
            "max_tokens": 2000,
            "tools": [TOOL],
            "tool_choice": {"type": "any"},
            "thinking": {"type": "enabled", "budget_tokens": 1024},
        },
        "forces tool use",
    ),
    "small budget": ({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1000}}, "1024"),
    "budget above max_tokens": (
        {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "greater than `thinking.budget_tokens`",
    ),
    "adaptive on haiku": ({"thinking": {"type": "adaptive"}}, "not supported"),
    "enabled on opus-4-8": (
        {"model": "claude-opus-4-8", "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "not supported",
    ),
    "disabled on fable-5": ({"model": "claude-fable-5", "thinking": {"type": "disabled"}}, "not supported"),
    "temperature while thinking": (
        {"max_tokens": 2000, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        "thinking is enabled",
    ),
    "foreign signature": (
        {
            "max_tokens": 2000,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "messages": [
                USER,
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "Zm9v"}, TEXT]},
                USER,
            ],
        },
        "Invalid `signature`",
    ),
    "effort on haiku": ({"output_config": {"effort": "low"}}, "effort"),
    "xhigh on opus-4-6": (
        {"model": "claude-opus-4-6", "output_config": {"effort": "xhigh"}},
        "This model does not support effort level 'xhigh'. Supported levels: high, low, max, medium.",
    ),
    "schema that is none": ({"output_config": json_format({**CLOSED, "properties": 1})}, "JSON schema is invalid"),
    "open schema": ({"output_config": json_format({"type": "object", "properties": {}})}, "additionalProperties"),
    "minimum in schema": (
        {"output_config": json_format({**CLOSED, "properties": {"a": {"type": "integer", "minimum": 1}}})},
        "minimum",
    ),
    "annotation in schema": (
        {"output_config": json_format({**CLOSED, "properties": {"a": {"type": "string", "examples": ["x"]}}})},
        "For 'string' type, property 'examples' is not supported",
    ),
    "any value in schema": (
        {"output_config": json_format({**CLOSED, "properties": {"a": {"title": "A"}}})},
        "Schema type is missing",
    ),
    "true in schema": ({"output_config": json_format({**CLOSED, "properties": {"a": True}})}, "Schema type is missing"),
    "union beside a type": (
        {"output_config": json_format({**CLOSED, "properties": {"a": {"type": "string", "anyOf": [{"const": "x"}]}}})},
        "For 'anyOf', 'type' is not supported",
    ),
    "reference in allOf": (
        {
            "output_config": json_format(
                CLOSED | {"properties": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}}, "$defs": {"b": {"type": "string"}}}
            )
        },
        "'allOf' with '$ref' is not supported",
    ),
    "enum of several types": (
        {
            "output_config": json_format(
                CLOSED | {"properties": {"a": {"type": ["string", "null"], "enum": ["x", None]}}}
            )
        },
        "Enum value 'x' does not match declared type '['string', 'null']'",
    ),
    "too many unions": (
        {
            "output_config": json_format(
                CLOSED | {"properties": {str(i): {"type": ["string", "null"]} for i in range(17)}, "required": []}
            )
        },
        "too many parameters with union types (17",
    ),
    "too many optional parameters": (
        {
            "tools": [
                {
                    "name": "now",
                    "strict": True,
                    "input_schema": CLOSED
                    | {"properties": {str(i): {"type": "string"} for i in range(25)}, "required": []},
                }
            ]
        },
        "too many optional parameters (25)",
    ),
    "http picture": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x/a.png"}}]}
            ]
        },
        "HTTPS",
    ),
    "svg picture": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/svg+xml", "data": "AA=="}}
                    ],
                }
            ]
        },
        "image/jpeg",
    ),
    "picture of another type": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "/9j/4AAQ"}}
                    ],
                }
            ]
        },
        "appears to be a image/jpeg image",
    ),
    "five cache marks": (
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
        "maximum of 4",
    ),
    "blank stop sequence": ({"stop_sequences": ["\n"]}, "non-whitespace"),
    "openai service tier": ({"service_tier": "default"}, "service_tier"),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_the_api_refuses(http: HttpClient, case: str) -> None:
    fields, said = REFUSED[case]
    response = await http.messages(**fields)
    assert response.status == 400, response.body
    assert response.json["error"]["type"] == "invalid_request_error"
    assert said in response.json["error"]["message"]


TAKEN: dict[str, dict[str, Any]] = {
    "results then text": {"tools": [TOOL], "messages": answered_with(RESULT, TEXT)},
    "results over two messages": {
        "tools": [TOOL],
        "messages": [
            USER,
            {"role": "assistant", "content": [USE, {**USE, "id": "toolu_2"}]},
            {"role": "user", "content": [RESULT]},
            {"role": "user", "content": [{**RESULT, "tool_use_id": "toolu_2"}]},
        ],
    },
    "assistant first": {"messages": [{"role": "assistant", "content": "Yes?"}, USER]},
    "prefill on haiku": {"messages": [USER, {"role": "assistant", "content": "{"}]},
    "system role at the end": OPUS | {"messages": [USER, SYSTEM, SYSTEM]},
    "system role before an answer": OPUS | {"messages": [USER, SYSTEM, SAID, USER]},
    "closed schema": {"output_config": json_format(CLOSED)},
    "forced tool with adaptive": {
        "model": "claude-sonnet-4-6",
        "tools": [TOOL],
        "tool_choice": {"type": "any"},
        "thinking": {"type": "adaptive"},
    },
    "web search": {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
    "four cache marks": {
        "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}] * 4
    },
}


@pytest.mark.parametrize("case", list(TAKEN))
async def test_the_api_takes(http: HttpClient, case: str) -> None:
    response = await http.messages(**TAKEN[case])
    assert response.status == 200, response.body


@pytest.mark.parametrize(
    "model", ["claude-3-5-haiku-20241022", "claude-3-7-sonnet-20250219", "claude-sonnet-4-0", "gpt-5"]
)
async def test_retired_and_unknown_models_are_404(http: HttpClient, model: str) -> None:
    response = await http.messages(model=model)
    assert response.status == 404
    assert response.json["error"] == {"type": "not_found_error", "message": f"model: {model}"}


async def test_headers_are_demanded(http: HttpClient) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [USER]}
    cases = {"x-api-key": 401, "anthropic-version": 400}
    for header, status in cases.items():
        headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
        del headers[header]
        url = f"{http.fleet.anthropic.base_url}/v1/messages"
        async with http.session.post(url, json=body, headers=headers) as response:
            assert response.status == status, header
    wrong = await http.post("anthropic", "/v1/messages", body, **{"x-api-key": "wrong"})
    assert (wrong.status, wrong.json["error"]["message"]) == (401, "invalid x-api-key")
    bearer = await http.post("anthropic", "/v1/messages", body, **{"x-api-key": "", "authorization": "Bearer any"})
    assert bearer.status == 401


async def test_the_newer_version_refuses_sampling(http: HttpClient) -> None:
    body = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [USER], "temperature": 1}
    newer = await http.post("anthropic", "/v1/messages", body, **{"anthropic-version": "2026-10-21"})
    older = await http.post("anthropic", "/v1/messages", body)
    assert (newer.status, older.status) == (400, 200)


async def test_a_prompt_longer_than_the_context_is_counted_out(http: HttpClient) -> None:
    response = await http.messages(messages=[{"role": "user", "content": "word" * 200_001}])
    assert response.json["error"]["message"] == "prompt is too long: 200001 tokens > 200000 maximum"
