"""OpenAI: facts/providers.md 2."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tools.simulators.chat_completions.messages import MessageRules
from tools.simulators.chat_completions.openai_errors import ERRORS
from tools.simulators.chat_completions.openai_models import MODELS, PLAIN, OpenAIModel
from tools.simulators.chat_completions.parameters import Range, keys
from tools.simulators.chat_completions.tools import check_strict_schema
from tools.simulators.chat_completions.vendor import ChatCompletions, Model, message_text
from tools.simulators.composition import Tokens
from tools.simulators.identifiers import Identifiers
from tools.simulators.refusal import RefusedError, VendorError

REQUEST_KEYS = keys(
    "messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
    "max_tokens metadata modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier "
    "stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity "
    "web_search_options"
)

TEXT = frozenset({"text"})

MESSAGE_RULES = MessageRules(
    keys={
        "system": frozenset({"role", "content", "name"}),
        "developer": frozenset({"role", "content", "name"}),
        "user": frozenset({"role", "content", "name"}),
        "assistant": frozenset(
            {"role", "content", "name", "refusal", "tool_calls", "function_call", "audio", "annotations"}
        ),
        "tool": frozenset({"role", "content", "tool_call_id"}),
        "function": frozenset({"role", "content", "name"}),
    },
    parts={
        "system": TEXT,
        "developer": TEXT,
        "user": frozenset({"text", "image_url", "input_audio", "file"}),
        "assistant": frozenset({"text", "refusal"}),
        "tool": TEXT,
    },
    custom_tools=True,
    longest_call_id=40,
)

RANGES = {
    "temperature": Range(0, 2),
    "top_p": Range(0, 1),
    "frequency_penalty": Range(-2, 2),
    "presence_penalty": Range(-2, 2),
    "max_tokens": Range(1, 2**31, integer=True),
    "max_completion_tokens": Range(1, 2**31, integer=True),
    "n": Range(1, 128, integer=True),
    "top_logprobs": Range(0, 20, integer=True),
    "seed": Range(-(2**63), 2**63 - 1, integer=True),
}


class OpenAI(ChatCompletions):
    name = "openai"
    base_path = "/v1"
    models: ClassVar[Mapping[str, Model]] = MODELS
    request_keys = REQUEST_KEYS
    message_rules = MESSAGE_RULES
    ranges = RANGES
    errors = ERRORS
    style = PLAIN
    limit_keys: ClassVar[Mapping[str, bool]] = {"max_completion_tokens": True, "max_tokens": True}

    def headers(self, ids: Identifiers) -> tuple[tuple[str, str], ...]:
        return (
            ("openai-processing-ms", "512"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "5000"),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-requests", "4999"),
            ("x-ratelimit-remaining-tokens", "1999986"),
            ("x-ratelimit-reset-requests", "12ms"),
            ("x-ratelimit-reset-tokens", "0s"),
            ("x-request-id", f"req_{ids.hex(32)}"),
        )

    def error_body(self, error: VendorError, message: str, refused: RefusedError, ids: Identifiers) -> Any:
        code = refused.code if refused.kind == "bad_request" else error.code
        return {"error": {"message": message, "type": error.type, "param": refused.param, "code": code}}

    def reasoning_enabled(self, body: Mapping[str, Any], model: Model) -> bool:
        effort = body.get("reasoning_effort")
        return model.reasoning_enabled if effort is None else effort != "none"

    def usage(self, tokens: Tokens, model: Model) -> dict[str, Any]:
        completion = tokens.completion + tokens.reasoning
        details: dict[str, Any] = {"cached_tokens": tokens.cached, "audio_tokens": 0}
        if tokens.cache_write:
            details["cache_write_tokens"] = tokens.cache_write
        return {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": completion,
            "total_tokens": tokens.prompt + completion,
            "prompt_tokens_details": details,
            "completion_tokens_details": {
                "reasoning_tokens": tokens.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def check_model_rules(self, body: Mapping[str, Any], model: Model) -> None:
        assert isinstance(model, OpenAIModel)  # noqa: S101
        for key in sorted(model.refuses & body.keys()):
            hint = " Use 'max_completion_tokens' instead." if key == "max_tokens" else ""
            raise RefusedError(
                f"Unsupported parameter: '{key}' is not supported with this model.{hint}",
                param=key,
                code="unsupported_parameter",
            )
        _check_effort(body, model)
        _check_sampling(body, model)
        _check_format(body)
        _check_options(body)


def _check_effort(body: Mapping[str, Any], model: OpenAIModel) -> None:
    for key, allowed in (("reasoning_effort", model.efforts), ("verbosity", model.verbosities)):
        value = body.get(key)
        if value is not None and value not in allowed:
            raise RefusedError(
                f"Unsupported value: '{key}' does not support '{value}' with this model. Supported values are: "
                f"{', '.join(map(repr, sorted(allowed)))}.",
                param=key,
                code="unsupported_value",
            )


def _check_sampling(body: Mapping[str, Any], model: OpenAIModel) -> None:
    effort = body.get("reasoning_effort") or model.default_effort
    if model.sampling == "any" or (model.sampling == "without effort" and effort == "none"):
        return
    for key in ("temperature", "top_p"):
        if body.get(key) not in (None, 1):
            raise RefusedError(
                f"Unsupported value: '{key}' does not support {body[key]} with this model. Only the default (1) value "
                "is supported.",
                param=key,
                code="unsupported_value",
            )
    for key in ("logprobs", "top_logprobs"):
        if body.get(key):
            raise RefusedError(
                f"Unsupported parameter: '{key}' is not supported with this model.",
                param=key,
                code="unsupported_parameter",
            )


def _check_format(body: Mapping[str, Any]) -> None:
    format_ = body.get("response_format")
    if format_ is None:
        return
    kind = format_.get("type") if isinstance(format_, dict) else None
    if kind == "json_object" and not any("json" in message_text(m.get("content")).lower() for m in body["messages"]):
        raise RefusedError(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )
    if kind == "json_schema":
        described = format_.get("json_schema")
        if not isinstance(described, dict) or not isinstance(described.get("name"), str):
            raise RefusedError(
                "Missing required parameter: 'response_format.json_schema.name'.",
                param="response_format.json_schema.name",
                code="missing_required_parameter",
            )
        if described.get("strict"):
            check_strict_schema(
                described.get("schema") or {}, f"response_format '{described['name']}'", "response_format"
            )
    elif kind not in ("text", "json_object"):
        raise RefusedError(
            f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'.",
            param="response_format.type",
            code="invalid_value",
        )


def _check_options(body: Mapping[str, Any]) -> None:
    if "web_search_options" in body:
        raise RefusedError("Web search options not supported with this model.", param="web_search_options")
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        raise RefusedError(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            code="invalid_parameter_combination",
        )
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise RefusedError(
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", param="top_logprobs"
        )
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        raise RefusedError(
            f"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length "
            f"{len(stop)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    if unknown := (body.get("stream_options") or {}).keys() - {"include_usage", "include_obfuscation"}:
        raise RefusedError(
            f"Unknown parameter: 'stream_options.{min(unknown)}'.",
            param=f"stream_options.{min(unknown)}",
            code="unknown_parameter",
        )
