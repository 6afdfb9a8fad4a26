"""The signed bytes: canonical request, output text, and the digest over both.

They are those that the OpenGradient SDK's verifier recomputes from the caller's own request (facts/x402.md 2.4), and
must not change: a client that has only its request and the answer must compute the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.keccak import keccak256

Json = Any
_canonical_json = json.JSONEncoder(sort_keys=True, check_circular=False).encode
"""Decoded JSON has no circular references."""


def canonical_chat_request(body: Mapping[str, Json]) -> bytes:
    """The canonical bytes of a chat request.

    ``body`` is the decoded request exactly as the caller sent it. Covered are ``model``, ``messages``,
    ``temperature`` (0.0 when absent) and, when truthy, ``max_tokens``, ``stop``, ``tools``, ``response_format``
    and ``web_search``; nothing else.
    """
    messages = [
        f'{{"content": {_quoted(message["content"])}, "role": "{_PLAIN[message["role"]]}"}}'
        if message["role"] in _PLAIN and type(message.get("content")) is str and not message.get("tool_calls")
        else _canonical_json(_canonical_message(message))
        for message in body["messages"]
    ]
    others = _settings(body)
    for key in ("tools", "response_format"):
        if body.get(key):
            others[key] = body[key]
    if body.get("web_search"):
        others["web_search"] = True
    before, _, after = _canonical_json({**others, "messages": None}).partition("null")
    return f"{before}[{', '.join(messages)}]{after}".encode()


def canonical_completion_request(body: Mapping[str, Json]) -> bytes:
    """The canonical bytes of a legacy completion request: model, prompt, temperature, max_tokens, stop."""
    return _canonical_json({**_settings(body), "prompt": body["prompt"]}).encode()


def signed_output(choices: Sequence[Mapping[str, Json]]) -> str:
    """The text of an answer that is signed.

    ``choices`` are OpenAI choices, of a chat answer (``message``) or a legacy one (``text``). For one choice it is that
    choice's output; for several, ``json.dumps`` of the list of their outputs in index order.
    """
    if len(choices) == 1:
        return choice_output(choices[0])
    return json.dumps([choice_output(choice) for choice in sorted(choices, key=lambda choice: choice.get("index", 0))])


def choice_output(choice: Mapping[str, Json]) -> str:
    """The output of one choice: its tool calls as sorted JSON when it finished with them, otherwise its text."""
    message = choice.get("message")
    if message is None:
        return choice.get("text") or ""
    if choice.get("finish_reason") == "tool_calls" and isinstance(message.get("tool_calls"), list):
        return json.dumps(message["tool_calls"], sort_keys=True)
    return message.get("content") or ""


def signing_digest(request_hash: bytes, output_hash: bytes, timestamp: int) -> bytes:
    """keccak256(request_hash ‖ output_hash ‖ uint256 timestamp): the 32-byte message signed with RSA-PSS."""
    return keccak256(request_hash + output_hash + timestamp.to_bytes(32, "big"))


def _settings(body: Mapping[str, Json]) -> dict[str, Json]:
    """The keys that both kinds of request share; only ``max_tokens`` sorts before ``messages``."""
    temperature = body.get("temperature")
    settings = {"model": body["model"], "temperature": 0.0 if temperature is None else float(temperature)}
    if body.get("max_tokens") is not None:
        settings["max_tokens"] = body["max_tokens"]
    if body.get("stop"):
        settings["stop"] = body["stop"]
    return settings


def _quoted(text: str) -> str:
    """``text`` as JSON in ASCII. Of ASCII, DEL is all that ``msgspec`` writes otherwise, in a fifth of the time."""
    if text.isascii() and "\x7f" not in text:
        return msgspec.json.encode(text).decode()
    return json.encoder.encode_basestring_ascii(text)


_PLAIN = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Canonical role by role, for messages that may consist of a text only. Nearly all do, so their canonical JSON is
written without building an object first."""


def _canonical_message(message: Mapping[str, Json]) -> dict[str, Json]:
    role = message["role"]
    content = message.get("content")
    match role:
        case "system" | "developer":
            return {"role": "system", "content": content}
        case "user":
            return {"role": "user", "content": _canonical_user_content(content)}
        case "assistant":
            canonical = {"role": "assistant", "content": content or ""}
            if message.get("tool_calls"):
                canonical["tool_calls"] = [_canonical_tool_call(call) for call in message["tool_calls"]]
            return canonical
        case "tool":
            return {"role": "tool", "content": content, "tool_call_id": message.get("tool_call_id")}
        case _:
            return {"role": role, "content": content, "name": message.get("name")}


def _canonical_user_content(content: Json) -> Json:
    """Text parts are kept; every attachment is reduced to its type and file name."""
    if not isinstance(content, list):
        return content
    return [_canonical_part(part) for part in content]


def _canonical_part(part: Mapping[str, Json]) -> dict[str, Json]:
    if part.get("type") == "text":
        return {"type": "text", "text": part.get("text") or ""}
    canonical: dict[str, Json] = {"type": part.get("type")}
    file = part.get("file")
    filename = (file.get("filename") if isinstance(file, dict) else None) or part.get("filename")
    if filename:
        canonical["filename"] = filename
    return canonical


def _canonical_tool_call(call: Mapping[str, Json]) -> dict[str, Json]:
    function = call.get("function") or {}
    return {
        "id": call.get("id", ""),
        "type": call.get("type", "function"),
        "function": {"name": function.get("name", ""), "arguments": function.get("arguments", "")},
    }
