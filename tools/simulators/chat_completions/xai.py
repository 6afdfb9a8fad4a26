"""xAI: facts/providers.md 6. Errors are `{code, error}` with two strings; a wrong key is HTTP 400."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from tools.simulators.chat_completions.images import XAI_IMAGES, ImageEndpoint
from tools.simulators.chat_completions.messages import MessageRules
from tools.simulators.chat_completions.parameters import Range, keys
from tools.simulators.chat_completions.rendering import sse
from tools.simulators.chat_completions.vendor import ChatCompletions, Model
from tools.simulators.chat_completions.xai_errors import ERRORS
from tools.simulators.chat_completions.xai_models import HIDDEN, MODELS, XAIModel
from tools.simulators.composition import Tokens
from tools.simulators.identifiers import Identifiers
from tools.simulators.received import ReceivedRequest
from tools.simulators.refusal import RefusedError, VendorError
from tools.simulators.vendor import Endpoint, Exchange

REQUEST_KEYS = keys(
    "messages model max_tokens max_completion_tokens temperature top_p n seed stream stream_options tools tool_choice "
    "parallel_tool_calls response_format user logprobs top_logprobs stop frequency_penalty presence_penalty "
    "reasoning_effort"
)

TEXT = frozenset({"text"})

MESSAGE_RULES = MessageRules(
    keys={
        "system": frozenset({"role", "content"}),
        "user": frozenset({"role", "content"}),
        "assistant": frozenset({"role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning"}),
        "tool": frozenset({"role", "content", "tool_call_id"}),
    },
    parts={"system": TEXT, "user": frozenset({"text", "image_url"}), "assistant": TEXT, "tool": TEXT},
    content_missing="Invalid request content: Each message must have at least one content element.",
    empty_system=False,
    json_arguments=True,
    shape_status=422,
)

RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "frequency_penalty": Range(-2, 2),
    "presence_penalty": Range(-2, 2),
    "max_tokens": Range(1, 2**31, integer=True),
    "max_completion_tokens": Range(1, 2**31, integer=True),
    "n": Range(1, 128, integer=True),
    "top_logprobs": Range(0, 8, integer=True),
}

_LOOKAROUND = re.compile(r"\(\?<?[=!]")


class XAI(ChatCompletions):
    name = "xai"
    base_path = "/v1"
    models = MODELS
    request_keys = REQUEST_KEYS
    message_rules = MESSAGE_RULES
    function_keys = frozenset({"name", "description", "parameters"})
    ranges = RANGES
    errors = ERRORS
    style = HIDDEN
    limit_keys: ClassVar[Mapping[str, bool]] = {"max_completion_tokens": True, "max_tokens": True}
    stream_type = "text/event-stream"

    def endpoint(self, received: ReceivedRequest) -> Endpoint | None:
        if received.path == "/v1/images/generations":
            return ImageEndpoint(XAI_IMAGES, self.headers).endpoint
        return super().endpoint(received)

    def headers(self, ids: Identifiers) -> tuple[tuple[str, str], ...]:
        return (
            ("x-ratelimit-limit-tokens", "10000000"),
            ("x-ratelimit-remaining-tokens", "9999183"),
            ("x-ratelimit-limit-requests", "1800"),
            ("x-ratelimit-remaining-requests", "1799"),
            ("x-request-id", ids.uuid()),
        )

    def error_body(self, error: VendorError, message: str, refused: RefusedError, ids: Identifiers) -> Any:
        return {"code": error.code, "error": message}

    def stream_error(self, exchange: Exchange) -> bytes:
        """`{code, error}`, or an OpenAI-like object when the scenario's form is "event"."""
        if exchange.scenario.error_form != "event":
            return super().stream_error(exchange)
        row, message = self._row(exchange.scripted_error(), exchange)
        return sse({"error": {"message": message, "type": "server_error", "code": row.code}})

    def answer_id(self, ids: Identifiers) -> str:
        return ids.uuid()

    def call_id(self, model: Model, number: int, ids: Identifiers) -> str:
        return f"call-{ids.uuid()}-{number}" if model.name == "grok-4.3" else f"call_{ids.digits(8)}"

    def answer_model(self, body: Mapping[str, Any], model: Model) -> str:
        return (
            "grok-3-mini-high" if model.name == "grok-3-mini" and body.get("reasoning_effort") == "high" else model.name
        )

    def reasoning_enabled(self, body: Mapping[str, Any], model: Model) -> bool:
        return model.reasoning_enabled and body.get("reasoning_effort") != "none"

    def usage(self, tokens: Tokens, model: Model) -> dict[str, Any]:
        """Completion excludes reasoning, the total includes it (facts/providers.md 1.4)."""
        assert isinstance(model, XAIModel)  # noqa: S101
        price, cached_price, output_price = model.ticks
        factor = 2 if model.doubles_at is not None and tokens.prompt >= model.doubles_at else 1
        ticks = (
            (tokens.prompt - tokens.cached) * price
            + tokens.cached * cached_price
            + (tokens.completion + tokens.reasoning) * output_price
        )
        return {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.completion,
            "total_tokens": tokens.prompt + tokens.completion + tokens.reasoning,
            "prompt_tokens_details": {
                "text_tokens": tokens.prompt,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": tokens.cached,
            },
            "completion_tokens_details": {
                "reasoning_tokens": tokens.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
            "num_sources_used": 0,
            "cost_in_usd_ticks": ticks * factor,
        }

    def check_model_rules(self, body: Mapping[str, Any], model: Model) -> None:
        assert isinstance(model, XAIModel)  # noqa: S101
        for key in sorted(model.refuses & body.keys()):
            raise RefusedError(f"Argument not supported on this model: {_camel(key)}")
        effort = body.get("reasoning_effort")
        if effort is not None and effort not in model.efforts:
            raise RefusedError(f"Invalid reasoning effort: {effort}")
        format_ = (body.get("response_format") or {}).get("type", "text")
        if format_ not in ("text", "json_object", "json_schema"):
            raise RefusedError(f"Failed to deserialize the JSON body: unknown variant `{format_}`", status=422)
        if not model.sees and any(_has_picture(message) for message in body["messages"]):
            raise RefusedError("Image inputs are not supported by this model.")
        if model.reasoning_enabled and (body.get("n") or 1) > 1:
            raise RefusedError("Argument not supported on this model: n")
        schemas = [tool["function"].get("parameters") for tool in body.get("tools") or ()]
        if not all(schemas):
            raise RefusedError("Failed to deserialize the JSON body: missing field `parameters`", status=422)
        if not _compiles(schemas):
            raise RefusedError("Invalid arguments passed to the model.")


def _compiles(schema: Any) -> bool:
    """False with an enum that has a slash in a value, or a pattern that looks around."""
    if isinstance(schema, list):
        return all(map(_compiles, schema))
    if not isinstance(schema, dict):
        return True
    enum, pattern = schema.get("enum"), schema.get("pattern")
    slashed = isinstance(enum, list) and any(isinstance(value, str) and "/" in value for value in enum)
    looks_around = isinstance(pattern, str) and _LOOKAROUND.search(pattern)
    return not slashed and not looks_around and _compiles([*schema.values()])


def _has_picture(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part["type"] == "image_url" for part in content)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(map(str.capitalize, tail))
