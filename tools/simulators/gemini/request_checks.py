"""Rules on tools and generationConfig: facts/providers.md 5.2 to 5.5, 5.10."""

import re
from collections.abc import Mapping
from typing import Any

from tools.simulators.gemini.conversation import check_contents, check_system
from tools.simulators.gemini.models import Model
from tools.simulators.refusal import RefusedError

FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
MODES = frozenset({"MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"})
MOST_FUNCTIONS = 512
MOST_ITEMS = 960
"""In the arrays of one schema (googleapis/python-genai issue 2170)."""
RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "topP": (0, 1),
    "candidateCount": (1, 8),
    "maxOutputTokens": (1, 65_536),
}


def check(request: Mapping[str, Any], model: Model, *, stream: bool) -> None:
    check_contents(request.get("contents") or [], model)
    check_system(request.get("systemInstruction"))
    config = request.get("generationConfig") or {}
    _check_ranges(config, model, stream=stream)
    _check_thinking(config.get("thinkingConfig"), model)
    _check_format(request, config, model)
    _check_pictures(config, model)
    _check_tools(request, model)
    if request.get("serviceTier") not in (None, "standard", "flex", "priority"):
        raise RefusedError("Invalid value at 'service_tier'", param="service_tier")


def _check_ranges(config: Mapping[str, Any], model: Model, *, stream: bool) -> None:
    for key, (low, high) in RANGES.items():
        value = config.get(key)
        if value is not None and not low <= value <= high:
            raise RefusedError(
                f"Unable to submit request because it has a {key} value of {value} but the supported range is from "
                f"{low:g} (inclusive) to {high:g} (inclusive). Update the value and try again."
            )
    if config.get("frequencyPenalty") or config.get("presencePenalty"):
        raise RefusedError("Penalty is not enabled for this model")
    if config.get("responseLogprobs") or config.get("logprobs"):
        raise RefusedError(f"Logprobs is not enabled for models/{model.name}")
    if (config.get("candidateCount") or 1) > 1 and (stream or model.generation >= 3 or model.pictures):
        raise RefusedError("Multiple candidates is not enabled for this model")
    if len(config.get("stopSequences") or ()) > 5:
        raise RefusedError("The number of stop sequences must not exceed 5.")


def _check_thinking(config: Mapping[str, Any] | None, model: Model) -> None:
    if config is None:
        return
    if model.budgets is None and not model.levels:
        raise RefusedError("Thinking is not enabled for this model")
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    if budget is not None and level is not None:
        raise RefusedError("You can only set only one of thinking budget and thinking level.")
    if level is not None and level.lower() not in model.levels:
        what = f"level {level.upper()}" if model.levels else "level"
        raise RefusedError(f"Thinking {what} is not supported for this model. Please retry with other thinking level.")
    if budget is not None:
        _check_budget(budget, model)


def _check_budget(budget: float, model: Model) -> None:
    if model.budgets is None:
        raise RefusedError("Thinking budget is not supported for this model.")
    if budget == 0 and not model.can_stop_thinking:
        raise RefusedError("Budget 0 is invalid. This model only works in thinking mode.")
    low, high = model.budgets
    if budget not in (-1, 0) and not low <= budget <= high:
        raise RefusedError(
            f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}.",
        )


def _check_format(request: Mapping[str, Any], config: Mapping[str, Any], model: Model) -> None:
    mime_type = config.get("responseMimeType")
    schemas = [key for key in ("responseSchema", "responseJsonSchema") if config.get(key) is not None]
    if len(schemas) == 2:
        raise RefusedError("Only one of response_schema and response_json_schema may be set.")
    if schemas and mime_type != "application/json":
        raise RefusedError("Response schema needs response_mime_type 'application/json'.")
    _check_references(config.get("responseJsonSchema"), "generation_config.response_json_schema")
    if mime_type not in (None, "text/plain", "application/json", "text/x.enum"):
        raise RefusedError(
            "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are text/plain..."
        )
    if mime_type == "application/json":
        if model.pictures:
            raise RefusedError(f"JSON mode is not enabled for models/{model.name}")
        if request.get("tools") and model.generation < 3:
            raise RefusedError("Function calling with a response mime type: 'application/json' is unsupported")
        if (request.get("toolConfig") or {}).get("functionCallingConfig", {}).get("mode") == "ANY":
            raise RefusedError(
                "Forced function calling (ANY mode) with a response mime type: 'application/json' is unsupported"
            )


def _check_pictures(config: Mapping[str, Any], model: Model) -> None:
    modalities = [modality.upper() for modality in config.get("responseModalities") or ()]
    if any(modality not in ("TEXT", "IMAGE") for modality in modalities) or (
        "IMAGE" in modalities and not model.pictures
    ):
        raise RefusedError("The requested combination of response modalities is not supported by the model.")
    picture = config.get("imageConfig")
    if picture is None:
        return
    if not model.pictures:
        raise RefusedError("Image config is not enabled for this model")
    if picture.get("aspectRatio") not in (None, *model.ratios):
        raise RefusedError(f"Invalid aspect ratio: {picture['aspectRatio']}")
    if picture.get("imageSize") is not None and picture["imageSize"] not in (model.picture_tokens or {}):
        raise RefusedError(f"Image size {picture['imageSize']} is not supported for this model.")


def _check_tools(request: Mapping[str, Any], model: Model) -> None:
    tools = request.get("tools") or ()
    declared = [function for tool in tools for function in tool.get("functionDeclarations") or ()]
    if tools and model.pictures:
        raise RefusedError(f"Function calling is not enabled for models/{model.name}")
    if declared and any("googleSearch" in tool for tool in tools):
        _check_mixed_tools(request.get("toolConfig") or {}, model)
    if len(declared) > MOST_FUNCTIONS:
        raise RefusedError(
            "The GenerateContentRequest proto is invalid:\n  * tools[0].function_declarations: [FIELD_INVALID] At most "
            f"{MOST_FUNCTIONS} function declarations can be specified."
        )
    names: set[str] = set()
    for number, function in enumerate(declared):
        _check_declaration(function, f"tools[0].function_declarations[{number}]")
        if function["name"] in names:
            raise RefusedError(f"Duplicate function declaration found: {function['name']}")
        names.add(function["name"])
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode, allowed = calling.get("mode", "AUTO"), calling.get("allowedFunctionNames")
    if mode not in MODES:
        raise RefusedError("Invalid value at 'tool_config.function_calling_config.mode'", param="tool_config")
    if allowed and mode not in ("ANY", "VALIDATED"):
        raise RefusedError("Please set allowed_function_names only when function calling mode is ANY.")
    if unknown := sorted(set(allowed or ()) - names):
        raise RefusedError(f"Function {unknown[0]} in allowed_function_names is not declared.")
    if mode == "ANY" and not declared:
        raise RefusedError("Function calling config is set without function_declarations.")


def _check_mixed_tools(config: Mapping[str, Any], model: Model) -> None:
    """Google Search with functions: from Gemini 3 on, with a flag and in any mode but AUTO."""
    if model.generation < 3:
        raise RefusedError(
            "Built-in tools ({google_search}) and Function Calling cannot be combined in the same request."
        )
    if config.get("includeServerSideToolInvocations") is not True:
        raise RefusedError(
            "Please enable tool_config.include_server_side_tool_invocations to use Built-in tools with Function "
            "calling."
        )
    if (config.get("functionCallingConfig") or {}).get("mode") == "AUTO":
        raise RefusedError("Function calling mode AUTO is not supported with built-in tools.")


def _check_declaration(function: Mapping[str, Any], where: str) -> None:
    name = function.get("name", "")
    if not FUNCTION_NAME.fullmatch(name):
        raise RefusedError(
            f"* GenerateContentRequest.{where}.name: Invalid function name. Must start with a letter or an underscore. "
            "Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a "
            "maximum length of 64.\n"
        )
    if "parameters" in function and "parametersJsonSchema" in function:
        raise RefusedError(f"{where}: only one of parameters and parameters_json_schema may be set.")
    schema = function.get("parametersJsonSchema")
    if schema is not None and (not isinstance(schema, dict) or schema.get("type", "object") != "object"):
        raise RefusedError(f"{where}.parameters_json_schema: schema must be of type object.")
    _check_references(schema, f"{where}.parameters_json_schema")
    if _bounded_items(schema) > MOST_ITEMS:
        raise RefusedError("Request contains an invalid argument.")


def _check_references(schema: Any, where: str) -> None:
    """Check that a subschema with a reference has nothing else."""
    for key, inner in schema.items() if isinstance(schema, dict) else enumerate(schema or ()):
        refers = isinstance(inner, dict) and isinstance(inner.get("$ref"), str)
        if refers and not all(name.startswith("$") for name in inner):
            raise RefusedError(f"{where}.{key} can only contain properties starting with '$' when $ref is present")
        if isinstance(inner, dict | list):
            _check_references(inner, f"{where}.{key}")


def _bounded_items(schema: Any) -> int:
    """How many items the arrays of ``schema`` may have, as far as it bounds them."""
    if isinstance(schema, list):
        return sum(map(_bounded_items, schema))
    if not isinstance(schema, dict):
        return 0
    most = schema.get("maxItems")
    return (most if isinstance(most, int) else 0) + _bounded_items([*schema.values()])
