"""Requests that the Developer API refuses (facts/providers.md 5)."""

from typing import Any

import pytest

from tests.tools.simulators.clients import HttpClient
from tools.simulators import Scenario

USER = {"role": "user", "parts": [{"text": "hi"}]}
CALL = {"functionCall": {"name": "now", "args": {}}}
CALLING = {"role": "model", "parts": [CALL]}
RESPONSE = {"functionResponse": {"name": "now", "response": {"output": "4"}}}
RESPONDING = {"role": "user", "parts": [RESPONSE]}
TOOLS = [{"functionDeclarations": [{"name": "now"}]}]
MIXED = [*TOOLS, {"googleSearch": {}}]
FLAG = {"includeServerSideToolInvocations": True}
SEARCHED = [{"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}}, {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB"}}]
SIGNED = {**CALL, "thoughtSignature": "skip_thought_signature_validator"}
FLASH, FLASH_3, PRO, IMAGE, IMAGE_3 = (
    "gemini-2.5-flash",
    "gemini-3-flash-preview",
    "gemini-2.5-pro",
    "gemini-2.5-flash-image",
    "gemini-3.1-flash-image",
)


def config(**fields: Any) -> dict[str, Any]:
    return {"generationConfig": fields}


def history(*contents: dict[str, Any]) -> dict[str, Any]:
    return {"tools": TOOLS, "contents": list(contents)}


def declared(**function: Any) -> dict[str, Any]:
    return {"tools": [{"functionDeclarations": [{"name": "now", **function}]}]}


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown key": (FLASH, {"messages": []}, 'Unknown name "messages": Cannot find field'),
    "unknown config key": (FLASH, config(maxTokens=5), "at 'generation_config'"),
    "unknown part key": (FLASH, {"contents": [{"parts": [{"text": "x", "cacheControl": {}}]}]}, "cacheControl"),
    "text as number": (FLASH, {"contents": [{"parts": [{"text": 1}]}]}, "TYPE_STRING"),
    "broken base64": (
        FLASH,
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "é"}}]}]},
        "TYPE_BYTES",
    ),
    "no contents": (FLASH, {"contents": []}, "contents is not specified"),
    "no parts": (FLASH, {"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
    "assistant role": (FLASH, {"contents": [USER, {"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role"),
    "two kinds in a part": (FLASH, {"contents": [{"parts": [{"text": "x", **RESPONSE}]}]}, "oneof"),
    "web picture": (
        FLASH,
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://example.com/a.png"}}]}]},
        "file uri",
    ),
    "html attachment": (
        FLASH,
        {"contents": [{"parts": [{"inlineData": {"mimeType": "text/html", "data": "AA=="}}]}]},
        "MIME type",
    ),
    "call without response": (FLASH, history(USER, CALLING, USER), "equal to the number"),
    "too few responses": (
        FLASH,
        history(USER, {"role": "model", "parts": [CALL, CALL]}, RESPONDING),
        "equal to the number",
    ),
    "response without call": (FLASH, history(USER, RESPONDING), "immediately after a function call turn"),
    "call first": (FLASH, history(CALLING, RESPONDING), "immediately after a user turn"),
    "response of another name": (
        FLASH,
        history(USER, CALLING, {"role": "user", "parts": [{"functionResponse": {"name": "x", "response": {}}}]}),
        "names match",
    ),
    "text beside a response on 3": (
        FLASH_3,
        history(USER, {"role": "model", "parts": [SIGNED]}, {"role": "user", "parts": [RESPONSE, {"text": "x"}]}),
        "ending with a model turn",
    ),
    "response in model turn": (FLASH, history(USER, CALLING, {"role": "model", "parts": [RESPONSE]}), "role user"),
    "response as text": (
        FLASH,
        history(USER, CALLING, {"role": "user", "parts": [{"functionResponse": {"name": "now", "response": "4"}}]}),
        "Struct",
    ),
    "reference to no file in a response": (
        FLASH,
        history(
            USER,
            CALLING,
            {"role": "user", "parts": [{"functionResponse": {"name": "now", "response": {"a": [{"$ref": "#/a"}]}}}]},
        ),
        "does not match to a display_name",
    ),
    "unsigned call on 3": (FLASH_3, history(USER, CALLING, RESPONDING), "missing a thought_signature"),
    "unsigned second step on 3": (
        FLASH_3,
        history(USER, {"role": "model", "parts": [SIGNED]}, RESPONDING, CALLING, RESPONDING),
        "missing a thought_signature",
    ),
    "foreign signature on 3": (
        FLASH_3,
        history(USER, {"role": "model", "parts": [{**CALL, "thoughtSignature": "Zm9v"}]}, RESPONDING),
        "signature is not valid",
    ),
    "too many functions": (
        FLASH,
        {"tools": [{"functionDeclarations": [{"name": f"f{number}"} for number in range(513)]}]},
        "At most 512 function declarations",
    ),
    "arrays of too many items": (
        FLASH,
        declared(
            parametersJsonSchema={
                "type": "object",
                "properties": {name: {"type": "array", "maxItems": 500, "items": {"type": "string"}} for name in "ab"},
            }
        ),
        "Request contains an invalid argument",
    ),
    "described reference": (
        FLASH,
        config(
            responseMimeType="application/json",
            responseJsonSchema={"properties": {"a": {"$ref": "#/$defs/A", "title": "A"}}, "$defs": {"A": {}}},
        ),
        "properties.a can only contain properties starting with '$' when $ref is present",
    ),
    "penalty": (FLASH, config(presencePenalty=0.5), "Penalty is not enabled"),
    "logprobs": (FLASH, config(responseLogprobs=True), "Logprobs is not enabled"),
    "temperature above 2": (FLASH, config(temperature=2.5), "supported range"),
    "six stops": (FLASH, config(stopSequences=list("abcdef")), "stop sequences"),
    "level and budget": (FLASH_3, config(thinkingConfig={"thinkingLevel": "low", "thinkingBudget": 5}), "only one of"),
    "level on 2.5": (FLASH, config(thinkingConfig={"thinkingLevel": "low"}), "Thinking level"),
    "minimal on pro": (
        "gemini-3.1-pro-preview",
        config(thinkingConfig={"thinkingLevel": "minimal"}),
        "Thinking level MINIMAL",
    ),
    "budget 0 on 2.5-pro": (PRO, config(thinkingConfig={"thinkingBudget": 0}), "Budget 0 is invalid"),
    "budget above 2.5-flash": (FLASH, config(thinkingConfig={"thinkingBudget": 30_000}), "24576"),
    "thinking on 2.5 image": (IMAGE, config(thinkingConfig={"thinkingBudget": 0}), "Thinking is not enabled"),
    "json beside tools on 2.5": (
        FLASH,
        {"tools": TOOLS, **config(responseMimeType="application/json")},
        "Function calling with a response mime type",
    ),
    "json beside a forced call": (
        FLASH_3,
        {
            "tools": TOOLS,
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
            **config(responseMimeType="application/json"),
        },
        "Forced function calling (ANY mode)",
    ),
    "schema without mime type": (FLASH, config(responseJsonSchema={"type": "object"}), "response_mime_type"),
    "json from image model": (IMAGE, config(responseMimeType="application/json"), "JSON mode is not enabled"),
    "tools on image model": (IMAGE, {"tools": TOOLS}, "Function calling is not enabled"),
    "picture from text model": (FLASH, config(responseModalities=["IMAGE"]), "modalities"),
    "odd aspect ratio": (IMAGE, config(imageConfig={"aspectRatio": "8:1"}), "aspect ratio"),
    "size on 2.5 image": (IMAGE, config(imageConfig={"imageSize": "2K"}), "size"),
    "bad function name": (FLASH, declared(name="a b"), "Invalid function name"),
    "json schema in parameters": (
        FLASH,
        declared(parameters={"type": "OBJECT", "additionalProperties": False}),
        "additionalProperties",
    ),
    "both schemas": (FLASH, declared(parameters={"type": "OBJECT"}, parametersJsonSchema={}), "only one of"),
    "allowed names with AUTO": (
        FLASH,
        {
            "tools": TOOLS,
            "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["now"]}},
        },
        "only when function calling mode is ANY",
    ),
    "search beside functions on 2.5": (FLASH, {"tools": MIXED, "toolConfig": FLAG}, "cannot be combined"),
    "search beside functions without the flag": (FLASH_3, {"tools": MIXED}, "include_server_side_tool_invocations"),
    "search beside functions in mode AUTO": (
        FLASH_3,
        {"tools": MIXED, "toolConfig": FLAG | {"functionCallingConfig": {"mode": "AUTO"}}},
        "mode AUTO",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_the_api_refuses(http: HttpClient, case: str) -> None:
    model, fields, said = REFUSED[case]
    response = await http.generate(model, **fields)
    assert response.status == 400, response.body
    assert response.json["error"]["status"] == "INVALID_ARGUMENT"
    assert said in response.json["error"]["message"]


TAKEN: dict[str, tuple[str, dict[str, Any]]] = {
    "snake case": (
        FLASH,
        {
            "system_instruction": {"parts": [{"text": "x"}]},
            "generation_config": {"max_output_tokens": 50},
            "tools": [{"function_declarations": [{"name": "now", "parameters_json_schema": {"type": "object"}}]}],
        },
    ),
    "empty user text": (FLASH_3, {"contents": [{"role": "user", "parts": [{"text": ""}]}]}),
    "unsigned call on 2.5": (FLASH, history(USER, CALLING, RESPONDING)),
    "dummy signature": (
        FLASH_3,
        history(USER, {"role": "model", "parts": [SIGNED, CALL]}, {"parts": [RESPONSE, RESPONSE]}),
    ),
    "unsigned call before the last question": (
        FLASH_3,
        history(USER, CALLING, RESPONDING, {"role": "model", "parts": [{"text": "x"}]}, USER),
    ),
    "json beside tools on 3": (FLASH_3, {"tools": TOOLS, **config(responseMimeType="application/json")}),
    "search beside functions on 3": (
        FLASH_3,
        history(USER, {"role": "model", "parts": [*SEARCHED, SIGNED]}, RESPONDING)
        | {"tools": MIXED, "toolConfig": FLAG | {"functionCallingConfig": {"mode": "VALIDATED"}}},
    ),
    "size on 3.1 image": (IMAGE_3, config(imageConfig={"imageSize": "4K", "aspectRatio": "8:1"})),
    "file of the Files API": (
        FLASH,
        {
            "contents": [
                {
                    "parts": [
                        {
                            "fileData": {
                                "mimeType": "application/pdf",
                                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                            }
                        }
                    ]
                }
            ]
        },
    ),
}


@pytest.mark.parametrize("case", list(TAKEN))
async def test_the_api_takes(http: HttpClient, case: str) -> None:
    model, fields = TAKEN[case]
    response = await http.generate(model, **fields)
    assert response.status == 200, response.body


async def test_a_wrong_key_is_http_400_and_a_missing_one_403(http: HttpClient) -> None:
    path = f"/v1beta/models/{FLASH}:generateContent"
    wrong = await http.post("google", path, {"contents": [USER]}, **{"x-goog-api-key": "wrong"})
    missing = await http.post("google", path, {"contents": [USER]}, **{"x-goog-api-key": ""})
    assert (wrong.status, missing.status) == (400, 403)
    assert wrong.json["error"]["details"][0]["reason"] == "API_KEY_INVALID"


async def test_retry_delay_is_in_the_body_and_in_no_header(http: HttpClient) -> None:
    http.fleet.google.enqueue(Scenario(error="rate_limit", retry_after="34.4"))
    response = await http.generate()
    assert response.status == 429
    assert "retry-after" not in response.headers
    assert response.json["error"]["details"][-1]["retryDelay"] == "34.4s"


async def test_without_alt_sse_a_stream_is_one_json_array(http: HttpClient) -> None:
    response = await http.post("google", f"/v1beta/models/{FLASH}:streamGenerateContent", {"contents": [USER]})
    assert [chunk["modelVersion"] for chunk in response.json] == [FLASH] * len(response.json)


async def test_frames_end_with_crlf_and_usage_precedes_the_text(http: HttpClient) -> None:
    response = await http.post(
        "google", f"/v1beta/models/{FLASH_3}:streamGenerateContent?alt=sse", {"contents": [USER]}
    )
    frames = response.body.split(b"\r\n\r\n")
    assert frames[-1] == b""
    assert all(frame.startswith(b'data: {"candidates": [') for frame in frames[:-1])
    assert b"thoughtSignature" in frames[-2]
    assert b'"text": ""' in frames[-2]
