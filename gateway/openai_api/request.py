"""A chat request: OpenAI's parameters, their types and limits.

The body is decoded once (``json_body``) and the typed request converted from that (``conversion``), so that the
signature can cover exactly what the caller sent.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.openai_api.conversion import convert
from gateway.openai_api.messages import CacheControl, Message

Json = Any

Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenCount = Annotated[int, Meta(ge=1)]
ToolName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.:-]{1,128}$")]


class FunctionDefinition(msgspec.Struct):
    """``parameters`` is a JSON Schema of type object, absent for a tool without arguments."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: CacheControl = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    """``cache_control`` may also be inside the function, where litellm takes it too."""

    function: FunctionDefinition
    cache_control: CacheControl = None

    def __post_init__(self) -> None:
        if self.cache_control is None:
            self.cache_control = self.function.cache_control


class CustomDefinition(msgspec.Struct):
    name: str


class CustomTool(msgspec.Struct, tag_field="type", tag="custom"):
    custom: CustomDefinition


Tool = FunctionTool | CustomTool


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    pass


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """``schema`` is how Together, Fireworks and llama.cpp ask for a JSON schema; it is refused, not ignored."""

    schema: Json = None


class JsonSchema(msgspec.Struct):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(msgspec.Struct, kw_only=True):
    """The OpenAI chat parameters (facts/providers.md 2.3), and the vendor extras that an adapter can honour."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionDefinition] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    moderation: Json = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    # Extras of other vendors and of the OpenGradient SDK.
    reasoning: dict[str, Any] | None = None
    web_search: bool | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    repetition_penalty: float | None = None
    thinking: dict[str, Any] | None = None
    cache_control: CacheControl = None
    image_config: dict[str, Any] | None = None
    safety_settings: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if self.top_k == 0:  # OpenRouter's default: no limit
            self.top_k = None

    @property
    def include_usage(self) -> bool:
        """The client wants OpenAI's usage chunk at the end of the stream."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def output_tokens(self) -> int | None:
        """The caller's output limit, under either name."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


def parse_chat(body: dict[str, Json]) -> ChatRequest:
    """Validate types and ranges, as far as they do not depend on the model. Raises 400."""
    return convert(body, ChatRequest)
