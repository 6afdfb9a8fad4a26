"""POST /v1/messages."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tools.simulators.anthropic.conversation import REDACTED, SIGNER, blocks, merged
from tools.simulators.anthropic.errors import ERRORS
from tools.simulators.anthropic.models import MODELS, Model
from tools.simulators.anthropic.rendering import Render, document, event, events
from tools.simulators.anthropic.request_checks import NEW_VERSION, VERSIONS, check, reasoning_enabled, thinking_type
from tools.simulators.composition import Answer, compose
from tools.simulators.delivery import Reply
from tools.simulators.identifiers import Identifiers
from tools.simulators.prompt import Prompt, PromptSize, Tool
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError
from tools.simulators.vendor import JSON_TYPE, Endpoint, Exchange, Vendor, html_page

CHOICES = {"auto": "auto", "any": "required", "none": "none"}
RESET = "2026-11-22T00:00:30Z"
LIMITS = {"requests": 10_000, "tokens": 12_000_000, "input-tokens": 10_000_000, "output-tokens": 2_000_000}
RATE_HEADERS = tuple(
    (f"anthropic-ratelimit-{name}-{what}", value)
    for name, limit in LIMITS.items()
    for what, value in (("limit", str(limit)), ("remaining", str(limit - 1)), ("reset", RESET))
)


class Anthropic(Vendor):
    name = "anthropic"

    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        return Endpoint(self.answer, last_user_text) if received.path == "/v1/messages" else None

    def authenticate(self, received: ReceivedRequest) -> None:
        """Check `x-api-key`, or the bearer token that version 2026-10-21 accepts as well."""
        key = received.headers.get("x-api-key", "")
        if not key and received.headers.get("anthropic-version") == NEW_VERSION:
            key = received.headers.get("authorization", "").removeprefix("Bearer ")
        if not key:
            raise RefusedError(kind="missing_key")
        if key.startswith("wrong"):
            raise RefusedError(kind="bad_key")

    def answer(self, exchange: Exchange) -> Reply:
        body, scenario = exchange.body, exchange.scenario
        version = _version(exchange.received)
        model = _model(exchange)
        check(body, model, version)
        prompt = _prompt(body, model)
        room = model.context - (body["max_tokens"] if model.window_includes_output else 0)
        if prompt.tokens > room:
            raise RefusedError(
                f"prompt is too long: {prompt.tokens} tokens > {room} maximum",
                kind="context_length",
            )
        exchange.fail_if_scripted()
        render = _render(compose(prompt, scenario), body, model, exchange.ids)
        stream = body.get("stream") is True and not scenario.json_instead_of_stream
        reply = Reply(
            status=200,
            headers=(
                ("Content-Type", "text/event-stream; charset=utf-8" if stream else JSON_TYPE),
                *RATE_HEADERS,
                ("request-id", f"req_011C{exchange.ids.alphanumeric(20)}"),
            ),
            events=tuple(events(render)) if stream else (document(render),),
            stream=stream,
            scenario=scenario,
        )
        return reply.with_content_faults(_stream_error(exchange) if stream else None, end_marker=stream)

    def error(self, refused: RefusedError, exchange: Exchange) -> Reply:
        if refused.kind == "proxy_page":
            return html_page(refused, exchange)
        row = ERRORS[refused.kind]
        request_id = f"req_011C{exchange.ids.alphanumeric(20)}"
        after = exchange.scenario.retry_after
        return Reply(
            status=refused.status or row.status,
            headers=(
                ("Content-Type", JSON_TYPE),
                ("request-id", request_id),
                *row.headers,
                *((("retry-after", after),) if after is not None else ()),
            ),
            events=(msgspec.json.encode(_error(refused, exchange, request_id)),),
            scenario=exchange.scenario,
        )


def _error(refused: RefusedError, exchange: Exchange, request_id: str) -> dict[str, Any]:
    row = ERRORS[refused.kind]
    model = exchange.body.get("model") if isinstance(exchange.body, dict) else None
    message = refused.message or row.message.format(model=model)
    return {"type": "error", "error": {"type": row.type, "message": message}, "request_id": request_id}


def _stream_error(exchange: Exchange) -> bytes | None:
    if exchange.scenario.error is None:
        return None
    value = _error(exchange.scripted_error(), exchange, f"req_011C{exchange.ids.alphanumeric(20)}")
    value["error"] = {"details": None, **value["error"]}
    return event(value, exchange.ids)


def _version(received: ReceivedRequest) -> str:
    version = received.headers.get("anthropic-version")
    if version is None:
        raise RefusedError("anthropic-version: header is required")
    if version not in VERSIONS:
        raise RefusedError(f'anthropic-version: "{version}" is not a valid version')
    return version


def _model(exchange: Exchange) -> Model:
    name = exchange.body.get("model")
    if not isinstance(name, str):
        raise RefusedError("model: Field required")
    model = MODELS.get(name)
    if model is None or (model.retired and not (exchange.serve_retired or exchange.scenario.serve_retired)):
        raise RefusedError(kind="model_not_found")
    return model


def last_user_text(body: Any) -> str:
    """Text of the last turn if it is the user's; empty for tool results and for bodies of another shape."""
    messages = body.get("messages") if isinstance(body, dict) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return ""
    content = [block for block in blocks(last.get("content")) if isinstance(block, dict)]
    if any(block.get("type") == "tool_result" for block in content):
        return ""
    return "".join(block["text"] for block in content if isinstance(block.get("text"), str))


def _prompt(body: Mapping[str, Any], model: Model) -> Prompt:
    choice = body.get("tool_choice") or {"type": "auto"}
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    forced = choice["type"] in ("any", "tool")
    return Prompt(
        model=model.name,
        last_user_text=last_user_text(body),
        results=_results(body),
        tokens=_size(body),
        tools=tuple(
            Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools") or () if "input_schema" in tool
        ),
        tool_choice=CHOICES.get(choice["type"]) or f":{choice.get('name')}",
        parallel_tools=choice.get("disable_parallel_tool_use") is not True,
        schema=schema,
        reasoning_enabled=reasoning_enabled(body, model)
        and (model.always_thinks or not (forced and thinking_type(body) == "adaptive")),
        limit=body["max_tokens"],
        limit_includes_reasoning=True,
        stop=tuple(body.get("stop_sequences") or ()),
    )


def _results(body: Mapping[str, Any]) -> tuple[str, ...]:
    role, placed = list(merged(body["messages"]))[-1]
    results = [block for _, block in placed if role == "user" and block["type"] == "tool_result"]
    return tuple(_text(block.get("content")) for block in results)


def _text(content: Any) -> str:
    return "".join(block["text"] for block in blocks(content) if block["type"] == "text")


def _size(body: Mapping[str, Any]) -> int:
    size = PromptSize()
    size.text(_text(body.get("system")))
    for message in body["messages"]:
        for block in blocks(message["content"]):
            match block["type"]:
                case "text":
                    size.text(block["text"])
                case "tool_use":
                    size.text(block["name"] + msgspec.json.encode(block["input"]).decode())
                case "tool_result":
                    size.text(_text(block.get("content")))
                case "image" | "document":
                    size.attachment()
    return size.tokens


def _render(answer: Answer, body: Mapping[str, Any], model: Model, ids: Identifiers) -> Render:
    return Render(
        answer=answer,
        ids=ids,
        id=f"msg_01{ids.alphanumeric(22)}",
        thinking=_thinking(answer, body, model, ids),
        calls=tuple((call.id or f"toolu_01{ids.alphanumeric(22)}", call) for call in answer.calls),
    )


def _thinking(answer: Answer, body: Mapping[str, Any], model: Model, ids: Identifiers) -> Mapping[str, Any] | None:
    if not answer.reasoning or not reasoning_enabled(body, model):
        return None
    if answer.redacted:
        return {"type": "redacted_thinking", "data": SIGNER.sign(model.name, REDACTED, ids.octets(16))}
    display = (body.get("thinking") or {}).get("display") or ("omitted" if model.hides_thinking else "summarized")
    text = answer.reasoning if display == "summarized" else ""
    return {"type": "thinking", "thinking": text, "signature": SIGNER.sign(model.name, text, ids.octets(16))}
