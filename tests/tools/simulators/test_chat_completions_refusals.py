"""Requests that the OpenAI-shaped vendors reject, with each vendor's own messages."""

from typing import Any

import pytest

from tests.tools.simulators.clients import CHAT_MODELS, HttpClient

USER = {"role": "user", "content": "hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
ASKING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "4"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**SCHEMA, "required": ["a"], "additionalProperties": False}


def tools(**function: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "now", **function}}]


def holding(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}}


def hearing(audio: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": audio}]}]}


def schema_format(**described: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, **described}}


EVERYWHERE: dict[str, dict[str, Any]] = {
    "unknown key": {"reasoning_details": []},
    "no messages": {"messages": []},
    "messages no list": {"messages": "hi"},
    "unknown role": {"messages": [{"role": "robot", "content": "hi"}]},
    "extra message key": {"messages": [{**USER, "images": []}]},
    "null user content": {"messages": [{"role": "user", "content": None}]},
    "no parts": {"messages": [USER, {**ASKING, "content": []}, RESULT]},
    "unknown part": {"messages": [{"role": "user", "content": [{"type": "thought", "text": "x"}]}]},
    "extra part key": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
        ]
    },
    "call without result": {"messages": [USER, ASKING, USER]},
    "result without call": {"messages": [USER, RESULT]},
    "arguments as object": {
        "messages": [
            USER,
            {**ASKING, "tool_calls": [{**CALL, "function": {"name": "now", "arguments": {}}}]},
            RESULT,
        ]
    },
    "extra call key": {
        "messages": [USER, {**ASKING, "tool_calls": [{**CALL, "extra_content": {"google": {}}}]}, RESULT]
    },
    "bad function name": {"tools": tools(name="a b")},
    "no tools": {"tools": []},
    "choice of unknown tool": {
        "tools": tools(),
        "tool_choice": {"type": "function", "function": {"name": "later"}},
    },
    "choice without tools": {"tool_choice": "auto"},
    "temperature above range": {"temperature": 2.5},
    "temperature as text": {"temperature": "1"},
    "max_tokens zero": {"max_tokens": 0},
    "options without stream": {"stream_options": {"include_usage": True}},
    "assistant without content": {"messages": [{"role": "assistant", "content": None}]},
}


@pytest.mark.parametrize("vendor", list(CHAT_MODELS))
@pytest.mark.parametrize("case", list(EVERYWHERE))
async def test_every_vendor_refuses(http: HttpClient, vendor: str, case: str) -> None:
    response = await http.chat(vendor, **EVERYWHERE[case])
    assert response.status in (400, 422), response.body
    assert "error" in response.json


OWN: dict[str, tuple[str, dict[str, Any], str]] = {
    "openai max_tokens on gpt-5": ("openai", {"model": "gpt-5", "max_tokens": 5}, "max_completion_tokens"),
    "openai temperature on gpt-5": ("openai", {"model": "gpt-5", "temperature": 0.5}, "temperature"),
    "openai top_p on gpt-5.2 with effort": (
        "openai",
        {"model": "gpt-5.2", "reasoning_effort": "low", "top_p": 0.5},
        "top_p",
    ),
    "openai stop on gpt-5": ("openai", {"model": "gpt-5-mini", "stop": ["x"]}, "stop"),
    "openai effort on gpt-4.1": ("openai", {"reasoning_effort": "low"}, "reasoning_effort"),
    "openai effort xhigh on gpt-5": ("openai", {"model": "gpt-5", "reasoning_effort": "xhigh"}, "xhigh"),
    "openai both limits": ("openai", {"max_tokens": 5, "max_completion_tokens": 5}, "same time"),
    "openai five stops": ("openai", {"stop": list("abcde")}, "stop"),
    "openai json without the word": ("openai", {"response_format": {"type": "json_object"}}, "json"),
    "openai open strict schema": ("openai", {"response_format": schema_format(strict=True)}, "additionalProperties"),
    "openai strict schema with a list of properties": (
        "openai",
        {"response_format": schema_format(schema={**CLOSED, "properties": ["a"], "required": ["a"]}, strict=True)},
        "every key in properties",
    ),
    "openai strict schema that requires no name": (
        "openai",
        {"response_format": schema_format(schema={**CLOSED, "required": [{}]}, strict=True)},
        "every key in properties",
    ),
    "openai web search": ("openai", {"web_search_options": {}}, "Web search"),
    "openai extra stream option": (
        "openai",
        {"stream": True, "stream_options": {"chunk_include_usage": True}},
        "chunk_include_usage",
    ),
    "openai top_logprobs alone": ("openai", {"top_logprobs": 2}, "logprobs"),
    "openai long call id": (
        "openai",
        {
            "messages": [
                USER,
                {**ASKING, "tool_calls": [{**CALL, "id": "c" * 41}]},
                {**RESULT, "tool_call_id": "c" * 41},
            ]
        },
        "maximum length 40",
    ),
    "modelark calls without content": (
        "bytedance",
        {"messages": [USER, {**ASKING, "content": None}, RESULT]},
        "missing `messages.content`",
    ),
    "xai calls without content": ("xai", {"messages": [USER, {**ASKING, "content": None}, RESULT]}, "content element"),
    "xai arguments of nothing": (
        "xai",
        {
            "messages": [
                USER,
                {**ASKING, "tool_calls": [{**CALL, "function": {"name": "now", "arguments": ""}}]},
                RESULT,
            ]
        },
        "not a valid JSON string",
    ),
    "xai empty system": ("xai", {"messages": [{"role": "system", "content": ""}, USER]}, "non-empty content element"),
    "xai arguments too deep": (
        "xai",
        {
            "messages": [
                USER,
                {**ASKING, "tool_calls": [{**CALL, "function": {"name": "now", "arguments": "[" * 2000}}]},
                RESULT,
            ]
        },
        "not a valid JSON string",
    ),
    "xai presence_penalty": ("xai", {"presence_penalty": 1}, "presencePenalty"),
    "xai stop": ("xai", {"stop": ["x"]}, "stop"),
    "xai developer role": ("xai", {"messages": [{"role": "developer", "content": "x"}, USER]}, "developer"),
    "xai name on message": ("xai", {"messages": [{**USER, "name": "bob"}]}, "name"),
    "xai tool without parameters": ("xai", {"tools": tools()}, "parameters"),
    "xai media types in a tool": ("xai", {"tools": tools(parameters=holding({"enum": ["text/html"]}))}, "arguments"),
    "xai lookahead in a tool": ("xai", {"tools": tools(parameters=holding({"pattern": "^(?!a)"}))}, "arguments"),
    "xai strict tool": ("xai", {"tools": tools(strict=False)}, "strict"),
    "xai service_tier": ("xai", {"service_tier": "default"}, "service_tier"),
    "xai logprobs while reasoning": ("xai", {"logprobs": True}, "logprobs"),
    "xai effort minimal": ("xai", {"reasoning_effort": "minimal"}, "effort"),
    "modelark json_object": ("bytedance", {"response_format": {"type": "json_object"}}, "json_object"),
    "modelark schema on 260428": (
        "bytedance",
        {"model": "seed-2-0-lite-260428", "response_format": schema_format()},
        "json_schema",
    ),
    "modelark effort without thinking": (
        "bytedance",
        {"reasoning_effort": "low", "thinking": {"type": "disabled"}},
        "Invalid combination of reasoning_effort and thinking type",
    ),
    "modelark effort xhigh": ("bytedance", {"reasoning_effort": "xhigh"}, "xhigh"),
    "modelark both limits": ("bytedance", {"max_tokens": 5, "max_completion_tokens": 5}, "same time"),
    "modelark stop while thinking": ("bytedance", {"stop": ["x"]}, "stop"),
    "modelark audio before 2.0": ("bytedance", hearing({"url": "https://a.example/a.mp3"}), "not supported"),
    "modelark audio as a data URI": (
        "bytedance",
        {"model": "seed-2-0-lite-260228", **hearing({"data": "data:audio/mp3;base64,SUQz", "format": "mp3"})},
        "base64 data",
    ),
    "modelark audio without format": (
        "bytedance",
        {"model": "seed-2-0-lite-260228", **hearing({"data": "SUQz"})},
        "its format",
    ),
    "modelark file part": (
        "bytedance",
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
        "file",
    ),
    "nous picture": (
        "nous",
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
            ]
        },
        "image_url",
    ),
    "nous no tags": ("nous", {"tags": None}, "missing tags"),
    "nous tags without the user": ("nous", {"tags": ["product=gateway"]}, "missing tags"),
    "nous seed": ("nous", {"seed": 1}, "seed"),
    "nous max_completion_tokens": ("nous", {"max_completion_tokens": 5}, "max_completion_tokens"),
    "nous n": ("nous", {"n": 2}, "argument supplied: n"),
}


@pytest.mark.parametrize("case", list(OWN))
async def test_a_vendor_refuses_what_it_does_not_take(http: HttpClient, case: str) -> None:
    vendor, fields, said = OWN[case]
    response = await http.chat(vendor, **fields)
    assert response.status in (400, 422)
    assert said in response.body.decode()


TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "openai sampling on gpt-4.1": ("openai", {"temperature": 0.5, "top_p": 0.5, "stop": ["x"], "max_tokens": 5}),
    "openai sampling on gpt-5.2 without effort": ("openai", {"model": "gpt-5.2", "temperature": 0.5}),
    "openai default temperature on gpt-5": ("openai", {"model": "gpt-5", "temperature": 1}),
    "openai strict schema": (
        "openai",
        {"response_format": schema_format(schema=CLOSED, strict=True)},
    ),
    "openai pdf": (
        "openai",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}
                    ],
                }
            ]
        },
    ),
    "xai replayed reasoning": (
        "xai",
        {"messages": [USER, {"role": "assistant", "content": "x", "reasoning_content": "y"}, USER]},
    ),
    "xai json_object": ("xai", {"response_format": {"type": "json_object"}}),
    "modelark thinking off with stop": ("bytedance", {"thinking": {"type": "disabled"}, "stop": ["x"]}),
    "modelark schema": ("bytedance", {"response_format": schema_format()}),
    "nous thinking": ("nous", {"messages": [{"role": "system", "content": "Use <think> tags."}, USER]}),
}


@pytest.mark.parametrize("case", list(TAKEN))
async def test_a_vendor_takes_what_its_facts_allow(http: HttpClient, case: str) -> None:
    vendor, fields = TAKEN[case]
    response = await http.chat(vendor, **fields)
    assert response.status == 200, response.body


@pytest.mark.parametrize(
    ("vendor", "status", "body"),
    [
        ("openai", 401, {"type": "invalid_request_error", "code": "invalid_api_key"}),
        ("bytedance", 401, {"code": "AuthenticationError"}),
        ("nous", 401, {"code": "invalid_api_key"}),
    ],
)
async def test_a_wrong_key_is_answered_as_the_vendor_does(
    http: HttpClient, vendor: str, status: int, body: dict[str, str]
) -> None:
    response = await http.post(
        vendor,
        "/chat/completions",
        {"model": CHAT_MODELS[vendor], "messages": [USER]},
        Authorization="Bearer wrong-key",
    )
    assert response.status == status
    assert response.json["error"].items() >= body.items()


async def test_xai_answers_a_wrong_key_with_400_and_a_missing_one_with_401(http: HttpClient) -> None:
    body = {"model": "grok-4.3", "messages": [USER]}
    wrong = await http.post("xai", "/chat/completions", body, Authorization="Bearer wrong")
    missing = await http.post("xai", "/chat/completions", body, Authorization="")
    assert (wrong.status, missing.status) == (400, 401)
    assert wrong.json["error"].startswith("Incorrect API key provided")
    assert wrong.json["code"] == "Client specified an invalid argument"


async def test_nous_wants_payment_from_a_caller_without_key(http: HttpClient) -> None:
    response = await http.post("nous", "/chat/completions", {"messages": [USER]}, Authorization="")
    assert response.status == 402
    assert response.json["accepts"][0]["scheme"] == "exact"


@pytest.mark.parametrize(
    ("vendor", "model"),
    [("openai", "o4-mini"), ("openai", "gpt-9"), ("xai", "grok-4"), ("xai", "grok-2-1212"), ("bytedance", "seed-9")],
)
async def test_retired_and_unknown_models_are_404(http: HttpClient, vendor: str, model: str) -> None:
    assert (await http.chat(vendor, model=model)).status == 404


async def test_a_body_that_is_no_json_is_400(http: HttpClient) -> None:
    url = f"{http.fleet.openai.base_url}/chat/completions"
    async with http.session.post(url, data=b"{", headers={"Authorization": "Bearer any"}) as response:
        assert response.status == 400
        assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_other_paths_and_methods_are_refused(http: HttpClient) -> None:
    base = http.fleet.openai.base_url
    async with http.session.get(f"{base}/chat/completions", headers={"Authorization": "Bearer any"}) as response:
        assert response.status == 405
    async with http.session.post(f"{base}/nothing", json={}, headers={"Authorization": "Bearer any"}) as response:
        assert response.status == 404


async def test_a_prompt_longer_than_the_context_is_refused(http: HttpClient) -> None:
    response = await http.chat("nous", messages=[{"role": "user", "content": "word" * 131_073}])
    assert response.status == 400
    assert response.json["error"]["code"] == "context_length_exceeded"
