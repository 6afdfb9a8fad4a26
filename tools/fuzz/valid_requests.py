"""Valid, or nearly valid, chat requests to mutate."""

from random import Random
from typing import Any

_PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}, "days": {"$ref": "#/$defs/n"}},
    "required": ["city"],
    "$defs": {"n": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}},
}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
_PARTS: tuple[dict[str, Any], ...] = (
    {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
    {"type": "image_url", "image_url": {"url": _PNG, "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "image_url", "image_url": {"url": "https://[x]/a.png"}},
    {"type": "video_url", "video_url": {"url": "https://youtu.be:x/a"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    {"type": "input_audio", "input_audio": {"data": "UklGRgAAAABXQVZF", "format": "wav"}},
    {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
)
_THOUGHTS: tuple[dict[str, Any], ...] = (
    {},
    {"reasoning_content": "hm"},
    {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "hm", "signature": "Eq", "format": "anthropic-claude-v1"}
        ]
    },
    {
        "reasoning_details": [
            {"type": "reasoning.encrypted", "data": "Cp", "id": "call_1", "format": "google-gemini-v1"}
        ]
    },
    {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "Eq"}]},
    {"thinking_blocks": [{"type": "redacted_thinking", "data": "Eq"}]},
    {"images": [_PNG]},
)
_PARAMETERS: dict[str, tuple[Any, ...]] = {
    "stream": (True, False),
    "max_tokens": (1, 100, 10**6),
    "max_completion_tokens": (1, 2000),
    "temperature": (0, 0.5, 1, 2),
    "top_p": (0.1, 1),
    "n": (1, 2, 9),
    "stop": ("x", ["a", "b"], [], [" "]),
    "seed": (7, -1, 2**70),
    "logprobs": (True, False),
    "top_logprobs": (0, 3),
    "frequency_penalty": (0, 0.5),
    "logit_bias": ({}, {"5": 1}),
    "parallel_tool_calls": (True, False),
    "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": ("low",),
    "service_tier": ("auto", "flex", "priority"),
    "user": ("u", "a@example.com"),
    "metadata": ({"a": "b"},),
    "response_format": (
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": _SCHEMA, "strict": True}},
    ),
    "modalities": (["text"], ["text", "image"]),
    "image_config": ({"aspect_ratio": "16:9", "image_size": "1K"},),
    "web_search": (True, False),
    "web_search_options": ({}, {"search_context_size": "low"}),
    "thinking": ({"type": "enabled", "budget_tokens": 2000}, {"type": "disabled"}),
    "top_k": (5,),
    "safety_settings": ([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],),
    "cache_control": ({"type": "ephemeral", "ttl": "1h"},),
}


def chat_body(random: Random, model: str) -> dict[str, Any]:
    """A chat with some history, some tools and some parameters."""
    body: dict[str, Any] = {"model": model, "messages": _messages(random)}
    if random.random() < 0.5:
        function = {"name": "weather", "description": "Tells it", "parameters": _SCHEMA}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = random.choice(("auto", "none", "required", _named("weather")))
    elif random.random() < 0.2:
        body["functions"] = [{"name": "weather", "parameters": _SCHEMA}]
        body["function_call"] = random.choice(("auto", {"name": "weather"}))
    for name in random.sample(sorted(_PARAMETERS), random.randrange(5)):
        body[name] = random.choice(_PARAMETERS[name])
    return body


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _messages(random: Random) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": random.choice(("system", "developer")), "content": "Be short."}]
    for _ in range(random.randint(1, 3)):
        messages += _turn(random)
    return messages[random.randrange(2) :]


def _turn(random: Random) -> list[dict[str, Any]]:
    asked = {"role": "user", "content": random.choice(("Hi", "", random.sample(_PARTS, random.randint(1, 3))))}
    thought = random.choice(_THOUGHTS)
    match random.randrange(4):
        case 0:
            call = {"role": "assistant", "content": random.choice((None, "", "Wait")), "tool_calls": [_CALL], **thought}
            content = random.choice(("4 C", '{"t": 4}', [{"type": "text", "text": "4 C"}]))
            return [asked, call, {"role": "tool", "tool_call_id": "call_1", "content": content}]
        case 1:
            return [asked, {"role": "assistant", "content": "Hello ", **thought}]
        case 2:
            old = {"role": "assistant", "content": None, "function_call": _CALL["function"]}
            return [asked, old, {"role": "function", "name": "weather", "content": "4 C"}]
    return [asked]
