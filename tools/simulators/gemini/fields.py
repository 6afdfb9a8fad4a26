"""The request messages as a table of their fields, in either spelling; anything else is refused.

Types: `s` string, `n` number, `i` integer, `b` bool, `y` base64 bytes, `o` object, `*` anything, a message name,
`[X]` a list of X, `{X}` a map to X.
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from tools.simulators.refusal import RefusedError

FIELDS: Mapping[str, Mapping[str, str]] = {
    "GenerateContentRequest": {
        "model": "s",
        "contents": "[Content]",
        "systemInstruction": "Content",
        "tools": "[Tool]",
        "toolConfig": "ToolConfig",
        "generationConfig": "GenerationConfig",
        "safetySettings": "[SafetySetting]",
        "cachedContent": "s",
        "serviceTier": "s",
        "store": "b",
    },
    "Content": {"role": "s", "parts": "[Part]"},
    "Part": {
        "text": "s",
        "thought": "b",
        "thoughtSignature": "y",
        "inlineData": "Blob",
        "fileData": "FileData",
        "functionCall": "FunctionCall",
        "functionResponse": "FunctionResponse",
        "executableCode": "o",
        "codeExecutionResult": "o",
        "toolCall": "o",
        "toolResponse": "o",
        "videoMetadata": "o",
        "mediaResolution": "*",
    },
    "Blob": {"mimeType": "s", "data": "y"},
    "FileData": {"mimeType": "s", "fileUri": "s"},
    "FunctionCall": {"id": "s", "name": "s", "args": "o"},
    "FunctionResponse": {
        "id": "s",
        "name": "s",
        "response": "o",
        "parts": "[FunctionResponsePart]",
        "willContinue": "b",
        "scheduling": "s",
    },
    "FunctionResponsePart": {"inlineData": "Blob"},
    "Tool": {
        "functionDeclarations": "[FunctionDeclaration]",
        "googleSearch": "o",
        "codeExecution": "o",
        "urlContext": "o",
    },
    "FunctionDeclaration": {
        "name": "s",
        "description": "s",
        "behavior": "s",
        "parameters": "Schema",
        "parametersJsonSchema": "*",
        "response": "Schema",
        "responseJsonSchema": "*",
    },
    "Schema": {
        "type": "s",
        "format": "s",
        "title": "s",
        "description": "s",
        "nullable": "b",
        "enum": "[s]",
        "maxItems": "*",
        "minItems": "*",
        "properties": "{Schema}",
        "required": "[s]",
        "minProperties": "*",
        "maxProperties": "*",
        "minLength": "*",
        "maxLength": "*",
        "pattern": "s",
        "example": "*",
        "anyOf": "[Schema]",
        "propertyOrdering": "[s]",
        "default": "*",
        "items": "Schema",
        "minimum": "n",
        "maximum": "n",
    },
    "ToolConfig": {
        "functionCallingConfig": "FunctionCallingConfig",
        "retrievalConfig": "o",
        "includeServerSideToolInvocations": "b",
    },
    "FunctionCallingConfig": {"mode": "s", "allowedFunctionNames": "[s]"},
    "GenerationConfig": {
        "temperature": "n",
        "topP": "n",
        "topK": "n",
        "maxOutputTokens": "i",
        "stopSequences": "[s]",
        "candidateCount": "i",
        "seed": "i",
        "presencePenalty": "n",
        "frequencyPenalty": "n",
        "responseLogprobs": "b",
        "logprobs": "i",
        "responseMimeType": "s",
        "responseJsonSchema": "*",
        "responseSchema": "Schema",
        "responseModalities": "[s]",
        "thinkingConfig": "ThinkingConfig",
        "imageConfig": "ImageConfig",
        "mediaResolution": "s",
        "speechConfig": "o",
    },
    "ThinkingConfig": {"includeThoughts": "b", "thinkingBudget": "i", "thinkingLevel": "s"},
    "ImageConfig": {"aspectRatio": "s", "imageSize": "s"},
    "SafetySetting": {"category": "s", "threshold": "s"},
}

TYPE_NAMES = {
    "s": "TYPE_STRING",
    "n": "TYPE_DOUBLE",
    "i": "TYPE_INT32",
    "b": "TYPE_BOOL",
    "y": "TYPE_BYTES",
    "o": "Struct",
}
PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "s": str,
    "n": (int, float),
    "i": int,
    "b": bool,
    "y": str,
    "o": dict,
}


def read(value: Any) -> dict[str, Any]:
    """The request with camelCase names and without nulls. Raises `RefusedError` for unknown names and wrong types."""
    message = _read(value, "GenerateContentRequest", "")
    assert isinstance(message, dict)  # noqa: S101
    return message


def _read(value: Any, kind: str, where: str) -> Any:
    if kind == "*":
        return value
    if kind.startswith("["):
        items = value if isinstance(value, list) else [value]
        return [_read(item, kind[1:-1], f"{where}[{number}]") for number, item in enumerate(items)]
    if kind.startswith("{"):
        _check_scalar(value, "o", where)
        return {name: _read(item, kind[1:-1], f"{where}.{name}") for name, item in value.items()}
    if kind in TYPE_NAMES:
        return _check_scalar(value, kind, where)
    _check_scalar(value, "o", where)
    return {
        camel: _read(item, FIELDS[kind][camel], f"{where}.{_snake(camel)}".lstrip("."))
        for camel, item in ((_known(name, kind, where), item) for name, item in value.items())
        if item is not None
    }


def _known(name: str, kind: str, where: str) -> str:
    if name in FIELDS[kind]:
        return name
    head, *tail = name.split("_")
    camel = head + "".join(map(str.capitalize, tail))
    if camel not in FIELDS[kind]:
        place = f" at '{where}'" if where else ""
        raise RefusedError(
            f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.', param=where or name
        )
    return camel


def _check_scalar(value: Any, kind: str, where: str) -> Any:
    wrong = not isinstance(value, PYTHON_TYPES[kind]) or (kind in "ni" and isinstance(value, bool))
    if wrong or (kind == "y" and not _is_base64(value)):
        raise RefusedError(f"Invalid value at '{where}' ({TYPE_NAMES[kind]})", param=where)
    return value


def _is_base64(text: str) -> bool:
    """Either alphabet, padded or not."""
    try:
        base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return False
    return True


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)
