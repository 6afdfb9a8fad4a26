"""Run by the OpenGradient SDK's own interpreter: one call of each kind, paid.

In, one JSON line: ``{key, url}`` or ``{key, rpc_url, registry}``. Out, one JSON line per call: ``{call, ...answer}``.
"""

import asyncio
import json
import sys
from typing import Any

import opengradient as og  # type: ignore[import-not-found]

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
PERSON = {
    "name": "person",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    },
}
CALLS: dict[str, dict[str, Any]] = {
    "chat": {"model": "openai/gpt-4.1-2025-04-14"},
    "chat, private": {
        "model": "anthropic/claude-sonnet-4-6",
        "x402_settlement_mode": og.x402SettlementMode.PRIVATE,
    },
    "stream": {"model": "google/gemini-2.5-flash", "stream": True},
    "tools": {"model": "anthropic/claude-sonnet-4-6", "tools": [WEATHER], "tool_choice": "required"},
    "tools, streamed": {
        "model": "openai/gpt-4.1-2025-04-14",
        "tools": [WEATHER],
        "tool_choice": "required",
        "stream": True,
    },
    "picture": {"model": "google/gemini-2.5-flash-image"},
    "response_format": {
        "model": "openai/gpt-4.1-2025-04-14",
        "response_format": og.ResponseFormat(type="json_schema", json_schema=PERSON),
    },
}


async def main() -> None:
    told = json.loads(sys.stdin.readline())
    if "url" in told:
        llm = og.LLM.from_url(private_key=told["key"], llm_server_url=told["url"])
    else:
        llm = og.LLM(private_key=told["key"], rpc_url=told["rpc_url"], tee_registry_address=told["registry"])
    completed = await llm.completion(model="openai/gpt-4.1-2025-04-14", prompt="Once upon", max_tokens=20)
    say("completion", text=completed.completion_output, signature=completed.tee_signature)
    for name, parameters in CALLS.items():
        answer = await llm.chat(messages=HELLO, **parameters)
        if parameters.get("stream"):
            chunks = [chunk async for chunk in answer]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            calls = [chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices]
            say(name, text=text, calls=any(calls), signature=chunks[-1].tee_signature, final=chunks[-1].is_final)
        else:
            message = answer.chat_output
            say(
                name,
                text=message["content"],
                calls=bool(message.get("tool_calls")),
                images=answer.images,
                signature=answer.tee_signature,
                tee_id=answer.tee_id,
            )
    await llm.close()


def say(call: str, **answer: Any) -> None:
    print(json.dumps({"call": call, **answer}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
