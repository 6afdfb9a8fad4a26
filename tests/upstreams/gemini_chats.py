"""Chats for the Gemini adapter, its decoded answers, and the vendor SDK's request types."""

from functools import cache
from typing import Any

import msgspec
import pytest
from google.genai import types
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.alias_generators import to_camel

from gateway.catalog import bundled
from gateway.openai_api.assembler import Assembler
from gateway.openai_api.errors import GatewayError
from gateway.openai_api.request import parse_chat
from gateway.upstreams.adapter import Attachment, Chat
from gateway.upstreams.gemini.adapter import GeminiAdapter
from gateway.upstreams.signature_cache import SignatureCache
from tests.upstreams.decoding import put_together, read_stream

HELLO = {"role": "user", "content": "Hello"}
WEATHER_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": WEATHER_SCHEMA}}
PNG = "data:image/png;base64,iVBORw0KGgo="
PNG_PART = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
COUNTS = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
CALL = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
SKIP = "skip_thought_signature_validator"
FLASH, FLASH_3 = "gemini-2.5-flash", "gemini-3-flash-preview"
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "city", "schema": WEATHER_SCHEMA, "strict": True}}


def chat(model: str = "gemini-3-flash-preview", *, caller: str = "0xpayer", **body: Any) -> Chat:
    body = {"model": model, "messages": [HELLO], **body}
    attachments: dict[str, Attachment] = body.pop("attachments", {})
    bound = Chat(body=body, request=parse_chat(body), model=bundled().find(model), caller=caller)
    bound.attachments.update(attachments)
    return bound


def adapter() -> GeminiAdapter:
    return GeminiAdapter(SignatureCache())


def sent(bound: Chat, through: GeminiAdapter | None = None) -> dict[str, Any]:
    """The outgoing body, validated by the SDK's types without unknown keys."""
    body = (through or adapter()).build_request(bound).body
    check_with_sdk(body)
    decoded: dict[str, Any] = msgspec.json.decode(body)
    return decoded


def config(model: str = FLASH, **body: Any) -> dict[str, Any]:
    """The outgoing generationConfig."""
    found: dict[str, Any] = sent(chat(model, **body)).get("generationConfig", {})
    return found


def tool(name: str, parameters: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
    function = {"name": name, **({"parameters": parameters} if parameters is not None else {}), **extra}
    return {"type": "function", "function": function}


def turns(*messages: dict[str, Any], model: str = "gemini-3-flash-preview", **body: Any) -> list[dict[str, Any]]:
    """The outgoing contents of ``messages``."""
    contents: list[dict[str, Any]] = sent(chat(model, messages=list(messages), **body))["contents"]
    return contents


def calling(*calls: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **extra}


def result(call_id: str = "a", content: Any = "4 C", **extra: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **extra}


def refusal(model: str = "gemini-3-flash-preview", **body: Any) -> GatewayError:
    """The 400 that a chat is rejected with."""
    with pytest.raises(GatewayError) as caught:
        adapter().build_request(chat(model, **body))
    assert caught.value.status == 400
    return caught.value


def whole(response: dict[str, Any], bound: Chat | None = None, through: GeminiAdapter | None = None) -> Assembler:
    """A complete answer, assembled."""
    return put_together((through or adapter()).decode_response(bound or chat(), msgspec.json.encode(response)))


def streamed(
    stream: bytes, bound: Chat | None = None, through: GeminiAdapter | None = None, step: int = 0
) -> Assembler:
    """An event stream, assembled; split into pieces of ``step`` bytes unless that is 0."""
    decoder = (through or adapter()).decoder(bound or chat(stream=True))
    return put_together(read_stream(decoder, stream, range(step, len(stream), step) if step else ()))


def frames(*responses: dict[str, Any]) -> bytes:
    """An event stream in Google's framing."""
    return b"".join(b"data: " + msgspec.json.encode(response) + b"\r\n\r\n" for response in responses)


def parts(*items: dict[str, Any], finish: str | None = None, **rest: Any) -> dict[str, Any]:
    """A response with one candidate of these parts."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(items)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-3-flash-preview", **rest}


def check_with_sdk(body: bytes) -> None:
    """Assert that ``body`` matches the SDK's types and has no unknown keys."""
    _sdk_request().validate_json(body)


@cache
def _sdk_request() -> TypeAdapter[BaseModel]:
    class Request(BaseModel):
        """A generateContent body of the SDK's own types, which reject unknown keys."""

        model_config = ConfigDict(extra="forbid", alias_generator=to_camel, val_json_bytes="base64")

        contents: list[types.Content]
        system_instruction: types.Content | None = None
        tools: list[types.Tool] | None = None
        tool_config: types.ToolConfig | None = None
        generation_config: types.GenerateContentConfig | None = None
        safety_settings: list[types.SafetySetting] | None = None
        service_tier: types.ServiceTier | None = None
        store: bool | None = None

    return TypeAdapter(Request)


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}
