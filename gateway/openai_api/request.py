"""A chat request: OpenAI's parameters, their types and limits.

The body is decoded once and the typed request converted from that, so that the signature can cover exactly what the
caller sent. Errors name the JSON path of the offending value in ``param``.
"""

import re
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from gateway.openai_api import long_json
from gateway.openai_api.errors import GatewayError, invalid_request
from gateway.openai_api.messages import CacheControl, Message

Json = Any

MAX_DEPTH = 128
"""Low enough for everything accepted to be decoded, translated and hashed within the recursion limit."""
MAX_PARTS = 2**17
"""Limit on the objects and arrays in one body. Each takes 30 times the memory of its two bytes, and translating more of
them blocks the event loop for a second; no conversation has as many."""
MAX_VALUES = 2**18
"""Limit on the members and items of all objects and arrays in one body: 32 MiB have room for 16 million numbers, which
took four seconds to translate and hash."""
MAX_BRACKETS = 2**19
"""Limit on the opening brackets in one body, in strings or not: only decoding tells them apart, which takes a quarter
of a second for as many objects. No model's context has room for as many."""
MAX_COMMAS = 2**20
"""The same for commas, which separate values."""

_PARTS = frozenset({dict, list})
_TOO_MANY_PARTS = "The JSON body of your request has too many objects and arrays"
_TOO_MANY_VALUES = "The JSON body of your request has too many values"
_ASKING_FOR_NOTHING = (("ignore_eos", False), ("usage", {"include": True}))
"""What benchmarks of inference servers always send, and litellm's OpenRouter provider: every answer has its usage."""

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


def decode(body: bytes) -> dict[str, Json]:
    """Decode a JSON object; raises 400 for anything else, and for one that is too large or nested too deeply.

    What asks for nothing is left out. A ``top_k`` of 20.0, as Google's ADK writes it, is 20.
    """
    brackets = _count_brackets(body)
    if brackets > MAX_BRACKETS:
        raise invalid_request(_TOO_MANY_PARTS)
    if len(body) > MAX_COMMAS and len(body) - len(body.replace(b",", b"", MAX_COMMAS + 1)) > MAX_COMMAS:
        raise invalid_request(_TOO_MANY_VALUES)
    try:
        decoded = msgspec.json.decode(body) if len(body) <= long_json.SHORT else long_json.decode_long(body)
    except UnicodeDecodeError:
        raise invalid_request("We could not parse the JSON body of your request: it is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise invalid_request(f"We could not parse the JSON body of your request: {error}") from None
    except RecursionError:
        raise invalid_request("The JSON body of your request is nested too deeply") from None
    if not isinstance(decoded, dict):
        raise invalid_request("The body of your request must be a JSON object")
    if brackets > MAX_DEPTH or len(body) > MAX_VALUES:
        _check_size(decoded)
    for name, value in _ASKING_FOR_NOTHING:
        if decoded.get(name) == value:
            del decoded[name]
    if isinstance(top_k := decoded.get("top_k"), float) and top_k.is_integer():
        decoded["top_k"] = int(top_k)
    return decoded


def _count_brackets(body: bytes) -> int:
    """The opening brackets in ``body``, of each kind up to one more than MAX_DEPTH if there cannot be MAX_BRACKETS.

    ``bytes.replace`` finds the few of a text far sooner than ``bytes.count``.
    """
    most = 1 + (MAX_BRACKETS if len(body) > MAX_BRACKETS else MAX_DEPTH)
    return len(body) - len(body.replace(b"{", b"", most).replace(b"[", b"", most))


def _check_size(value: Json) -> None:
    """Raise 400 for more than MAX_VALUES values or MAX_PARTS objects and arrays, and for nesting beyond MAX_DEPTH."""
    level, count, values = [value], 1, 0
    for _ in range(MAX_DEPTH):
        parts = [outer.values() if isinstance(outer, dict) else outer for outer in level]
        values += sum(map(len, parts))
        if values > MAX_VALUES:
            raise invalid_request(_TOO_MANY_VALUES)
        level = [inner for part in parts for inner in part if type(inner) in _PARTS]
        if not level:
            return
        count += len(level)
        if count > MAX_PARTS:
            raise invalid_request(_TOO_MANY_PARTS)
    raise invalid_request("The JSON body of your request is nested too deeply")


def parse_chat(body: dict[str, Json]) -> ChatRequest:
    """Validate types and ranges, as far as they do not depend on the model. Raises 400."""
    return convert(body, ChatRequest)


T = TypeVar("T", bound=msgspec.Struct)


def convert(body: dict[str, Json], type_: type[T]) -> T:
    """Convert ``body`` to ``type_``; raises 400 naming the path of an unknown key, wrong type or value out of range."""
    known = _known_keys(type_)
    if not body.keys() <= known:
        key = next(key for key in body if key not in known)
        raise invalid_request(f"Unrecognized request argument supplied: {key}", key, "unknown_parameter")
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), body, type_) from None


@cache
def _known_keys(type_: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(type_.__struct_fields__)


_PATH = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_ANY_KEY = "[...]"
"""Stands for any key of ``metadata`` or ``logit_bias`` in msgspec's paths."""
_CODES = (
    (", got `", "invalid_type"),
    ("`array` of length >= 1", "empty_array"),
    ("`int` >=", "integer_below_min_value"),
    ("`int` <=", "integer_above_max_value"),
    ("`float` >=", "decimal_below_min_value"),
    ("`float` <=", "decimal_above_max_value"),
)
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")


def _invalid(message: str, body: dict[str, Json], type_: type[msgspec.Struct]) -> GatewayError:
    """Translate a msgspec validation message to OpenAI's error for it."""
    match = _PATH.search(message)
    what, path = (message[: match.start()], match["path"]) if match else (message, "")
    if path.endswith(_ANY_KEY):
        path = _path_of_invalid_value(path.removesuffix(_ANY_KEY), body, type_)
    if missing := _MISSING.match(what):
        param = f"{path}.{missing['field']}" if path else missing["field"]
        return invalid_request(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    code = next((code for sign, code in _CODES if sign in what), "invalid_value")
    reason = what[0].lower() + what[1:].replace("`", "'")
    return invalid_request(f"Invalid '{path}': {reason}.", path or None, code)


def _path_of_invalid_value(name: str, body: dict[str, Json], type_: type[msgspec.Struct]) -> str:
    """The path of the first value of ``body``'s object ``name`` that is not as ``type_`` requires."""
    field = next(field for field in msgspec.structs.fields(type_) if field.name == name)
    [mapping] = [kind for kind in get_args(field.type) if get_origin(kind) is dict]
    try:
        msgspec.convert([*body[name].values()], list[get_args(mapping)[1]])  # type: ignore[misc] # known at run time
    except msgspec.ValidationError as error:
        if match := _PATH.search(str(error)):
            return f"{name}.{[*body[name]][int(match['path'].strip('[]'))]}"
    return name
