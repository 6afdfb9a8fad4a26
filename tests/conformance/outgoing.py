"""Check bodies that the gateway sends against the request types of the vendors' SDKs.

The types are TypedDicts: a body that pydantic validates and dumps unchanged has no unknown key and no wrong type.
"""

from functools import cache
from typing import Any

from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionDeveloperMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionToolParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat.chat_completion_assistant_message_param import ContentArrayOfContentPart
from openai.types.chat.chat_completion_content_part_param import ChatCompletionContentPartParam
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming
from pydantic import TypeAdapter

from tests.upstreams import anthropic_chats, gemini_chats
from tools.simulators import ReceivedRequest

Json = dict[str, Any]

# What the vendor documents beyond OpenAI's parameters (facts/providers.md 7.2, 7.4, 8).
_EXTRAS = {
    "openai": frozenset[str](),
    "xai": frozenset[str](),
    "bytedance": frozenset({"thinking", "top_k", "repetition_penalty", "watermark", "image"}),
    "nous": frozenset({"top_k", "repetition_penalty", "tags"}),
}
_MESSAGES: dict[str, Any] = {
    "system": ChatCompletionSystemMessageParam,
    "developer": ChatCompletionDeveloperMessageParam,
    "user": ChatCompletionUserMessageParam,
    "assistant": ChatCompletionAssistantMessageParam,
    "tool": ChatCompletionToolMessageParam,
}
_MESSAGE_EXTRAS = frozenset({"reasoning_content", "encrypted_content"})


def check(vendor: str, received: ReceivedRequest) -> None:
    """Raise unless ``received`` is a request that the vendor's SDK could have made."""
    body: Json = received.json
    if vendor == "anthropic":
        anthropic_chats.check_with_sdk(body)
    elif vendor == "google":
        gemini_chats.check_with_sdk(received.body)
    elif received.path.endswith("/images/generations"):
        _check(ImageGenerateParamsNonStreaming, _without(body, _EXTRAS[vendor]))
    else:
        _check_chat(body, _EXTRAS[vendor])


def _check_chat(body: Json, extras: frozenset[str]) -> None:
    """Check messages and tools one by one: pydantic validates the SDK's iterables lazily."""
    form: Any = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
    _check(form, _without(body, extras | {"messages", "tools"}) | {"messages": []})
    for message in body["messages"]:
        _check_message(message)
    for tool in body.get("tools", ()):
        _check(ChatCompletionToolParam, tool)


def _check_message(message: Json) -> None:
    content = message.get("content")
    if isinstance(content, list):
        part: Any = ContentArrayOfContentPart if message["role"] == "assistant" else ChatCompletionContentPartParam
        for item in content:
            _check(part, item)
        message = message | {"content": ""}
    if message.get("tool_calls"):
        for call in message["tool_calls"]:
            assert call.keys() == {"id", "type", "function"}
            assert call["function"].keys() == {"name", "arguments"}
        message = _without(message, frozenset({"tool_calls"}))
    if message["role"] == "assistant":
        message = _without(message, _MESSAGE_EXTRAS)
    _check(_MESSAGES[message["role"]], message)


def _without(body: Json, keys: frozenset[str]) -> Json:
    return {key: value for key, value in body.items() if key not in keys}


def _check(form: Any, value: Json) -> None:
    adapter = _type_adapter(form)
    assert adapter.dump_python(adapter.validate_python(value), mode="json", warnings="error") == value


@cache
def _type_adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)
