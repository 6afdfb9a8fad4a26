"""POST /chat/completions of the OpenAI-shaped vendors; subclasses are mostly tables."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from tools.simulators.chat_completions.messages import MessageRules, check_messages
from tools.simulators.chat_completions.parameters import Range, check_keys, check_ranges, check_types
from tools.simulators.chat_completions.rendering import REFUSAL, Render, Style, document, events, sse
from tools.simulators.chat_completions.tools import check_tools
from tools.simulators.composition import Answer, Tokens, compose
from tools.simulators.delivery import Reply
from tools.simulators.identifiers import Identifiers
from tools.simulators.prompt import Prompt, PromptSize, Tool
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError, VendorError
from tools.simulators.scenario import ErrorKind
from tools.simulators.vendor import JSON_TYPE, Endpoint, Exchange, Vendor, html_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One of a vendor's models."""

    name: str
    """The id in responses."""
    context: int
    retired: str = ""
    """Why the model is no longer served; empty while it is."""
    reasoning_enabled: bool = False
    """Reasons by default."""
    efforts: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    """Request keys that this model does not support."""
    style: Style | None = None


class ChatCompletions(Vendor):
    """Checks and answers requests as configured by the class variables."""

    models: ClassVar[Mapping[str, Model]]
    request_keys: ClassVar[frozenset[str]]
    message_rules: ClassVar[MessageRules]
    function_keys: ClassVar[frozenset[str]] = frozenset({"name", "description", "parameters", "strict"})
    ranges: ClassVar[Mapping[str, Range]]
    errors: ClassVar[Mapping[ErrorKind, VendorError]]
    style: ClassVar[Style]
    limit_keys: ClassVar[Mapping[str, bool]]
    """Token limits by precedence, and whether reasoning counts against them."""
    default_limit: ClassVar[int | None] = None
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        if received.path == f"{self.base_path}/chat/completions":
            return Endpoint(self.chat, last_user_text)
        return None

    def authenticate(self, received: ReceivedRequest) -> None:
        scheme, _, key = received.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise RefusedError(kind="missing_key")
        if key.startswith("wrong"):
            raise RefusedError(kind="bad_key")

    @abstractmethod
    def headers(self, ids: Identifiers) -> tuple[tuple[str, str], ...]:
        """Headers of every response."""

    @abstractmethod
    def error_body(self, error: VendorError, message: str, refused: RefusedError, ids: Identifiers) -> Any:
        """The JSON body of an error response."""

    @abstractmethod
    def check_model_rules(self, body: Mapping[str, Any], model: Model) -> None:
        """Check what depends on the model. Raises RefusedError."""

    @abstractmethod
    def usage(self, tokens: Tokens, model: Model) -> dict[str, Any]:
        """The usage object."""

    @abstractmethod
    def reasoning_enabled(self, body: Mapping[str, Any], model: Model) -> bool:
        """Whether the model reasons for this request."""

    def answer_id(self, ids: Identifiers) -> str:
        return f"chatcmpl-{ids.alphanumeric(29)}"

    def call_id(self, model: Model, number: int, ids: Identifiers) -> str:
        return f"call_{ids.alphanumeric(24)}"

    def answer_model(self, body: Mapping[str, Any], model: Model) -> str:
        return model.name

    def chat(self, exchange: Exchange) -> Reply:
        model = self.model(exchange)
        self.check(exchange.body, model)
        prompt = self.prompt(exchange.body, model)
        if prompt.tokens > model.context:
            raise RefusedError(kind="context_length", param="messages")
        exchange.fail_if_scripted()
        answer = compose(prompt, exchange.scenario)
        render = self._render(exchange, model, prompt, answer)
        stream = exchange.body.get("stream") is True and not exchange.scenario.json_instead_of_stream
        reply = Reply(
            status=200,
            headers=(("Content-Type", self.stream_type if stream else JSON_TYPE), *self.headers(exchange.ids)),
            events=tuple(events(render)) if stream else (document(render),),
            stream=stream,
            scenario=exchange.scenario,
        )
        error = self.stream_error(exchange) if exchange.scenario.error is not None and stream else None
        return reply.with_content_faults(error, end_marker=stream)

    def model(self, exchange: Exchange) -> Model:
        name = exchange.body.get("model")
        if not isinstance(name, str) or not name:
            raise RefusedError("you must provide a model parameter", param="model")
        model = self.models.get(name)
        if model is None or (model.retired and not (exchange.serve_retired or exchange.scenario.serve_retired)):
            raise RefusedError(kind="model_not_found", param="model")
        return model

    def check(self, body: Mapping[str, Any], model: Model) -> None:
        check_keys(body, self.request_keys)
        check_types(body)
        check_messages(body, self.message_rules)
        check_ranges(body, self.ranges)
        check_tools(body, self.function_keys, custom=self.message_rules.custom_tools)
        if body.get("stream_options") is not None and body.get("stream") is not True:
            raise RefusedError(
                "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
            )
        self.check_model_rules(body, model)

    def prompt(self, body: Mapping[str, Any], model: Model) -> Prompt:
        size = PromptSize()
        for message in body["messages"]:
            measure(message, size)
        limits = [(body[key], inclusive) for key, inclusive in self.limit_keys.items() if body.get(key) is not None]
        limit, inclusive = limits[0] if limits else (self.default_limit, False)
        format_ = body.get("response_format") or {}
        stop = body.get("stop") or ()
        return Prompt(
            model=self.answer_model(body, model),
            last_user_text=last_user_text(body),
            results=results(body["messages"]),
            tokens=size.tokens,
            tools=tuple(_tool(tool) for tool in body.get("tools") or ()),
            tool_choice=_choice(body.get("tool_choice")),
            parallel_tools=body.get("parallel_tool_calls") is not False,
            schema=format_.get("json_schema", {}).get("schema") if format_.get("type") == "json_schema" else None,
            json_mode=format_.get("type") == "json_object",
            reasoning_enabled=self.reasoning_enabled(body, model),
            limit=limit,
            limit_includes_reasoning=inclusive,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            choices=body.get("n") or 1,
        )

    def _render(self, exchange: Exchange, model: Model, prompt: Prompt, answer: Answer) -> Render:
        options = exchange.body.get("stream_options") or {}
        return Render(
            answer=answer,
            style=model.style or self.style,
            id=self.answer_id(exchange.ids),
            calls=tuple(
                (call.id or self.call_id(model, number, exchange.ids), call) for number, call in enumerate(answer.calls)
            ),
            usage=self.usage(answer.tokens, model) if answer.tokens else None,
            choices=prompt.choices,
            ids=exchange.ids,
            refusal=(answer.text or REFUSAL) if answer.ending == "refusal" else None,
            logprobs=exchange.body.get("top_logprobs", 0) if exchange.body.get("logprobs") else None,
            include_usage=options.get("include_usage") is True,
            include_obfuscation=options.get("include_obfuscation") is not False,
            last_reasoning=self.last_reasoning(model, answer),
        )

    def last_reasoning(self, model: Model, answer: Answer) -> Mapping[str, Any] | None:
        return None

    def stream_error(self, exchange: Exchange) -> bytes:
        """The error event inside a stream."""
        refused = exchange.scripted_error()
        return sse(self.error_body(*self._row(refused, exchange), refused, exchange.ids))

    def error(self, refused: RefusedError, exchange: Exchange) -> Reply:
        if refused.kind == "proxy_page":
            return html_page(refused, exchange)
        row, message = self._row(refused, exchange)
        scenario = exchange.scenario
        retry = [("retry-after", scenario.retry_after)] if scenario.retry_after is not None else []
        if scenario.retry_after_ms is not None:
            retry.append(("retry-after-ms", str(scenario.retry_after_ms)))
        return Reply(
            status=refused.status or row.status,
            headers=(("Content-Type", JSON_TYPE), *self.headers(exchange.ids), *row.headers, *retry),
            events=(msgspec.json.encode(self.error_body(row, message, refused, exchange.ids)),),
            scenario=scenario,
        )

    def _row(self, refused: RefusedError, exchange: Exchange) -> tuple[VendorError, str]:
        row = self.errors[refused.kind]
        model = exchange.body.get("model") if isinstance(exchange.body, dict) else None
        return row, refused.message or row.message.format(model=model)


def last_user_text(body: Any) -> str:
    """Text of the last message if it is the user's; empty for bodies of another shape."""
    messages = body.get("messages") if isinstance(body, dict) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return ""
    return message_text(last.get("content"))


def message_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


def results(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The tool messages that end the conversation."""
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        found.append(message_text(message.get("content")))
    return tuple(reversed(found))


def measure(message: Mapping[str, Any], size: PromptSize) -> None:
    size.text(message_text(message.get("content")))
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if "text" not in part:
            size.attachment()
    for call in message.get("tool_calls") or ():
        called = call.get("function") or call["custom"]
        size.text(called["name"] + called.get("arguments", called.get("input", "")))


def _tool(tool: Mapping[str, Any]) -> Tool:
    if tool["type"] == "custom":
        return Tool(tool["custom"]["name"], custom=True)
    return Tool(tool["function"]["name"], tool["function"].get("parameters"))


def _choice(choice: Any) -> str:
    if isinstance(choice, dict):
        named = choice.get("function") or choice.get("custom")
        return f":{named['name']}" if named else choice["allowed_tools"].get("mode", "auto")
    return choice or "auto"
