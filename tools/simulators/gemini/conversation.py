"""Rules on contents: facts/providers.md 5.2, 5.6."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.simulators.gemini.models import Model
from tools.simulators.identifiers import ReasoningSigner
from tools.simulators.refusal import RefusedError

SIGNER = ReasoningSigner("google")
FAMILY = "gemini"
SKIP = "skip_thought_signature_validator"
DUMMIES = frozenset({SKIP, base64.b64encode(SKIP.encode()).decode()})

MIME_TYPES = re.compile(
    r"image/(png|jpeg|webp|heic|heif)|application/pdf|audio/(wav|mp3|mpeg|aiff|aac|ogg|flac)|text/plain"
    r"|video/(mp4|mpeg|mov|quicktime|avi|webm|x-flv|wmv|3gpp)"
)
FILES = re.compile(
    r"https://generativelanguage\.googleapis\.com/v1beta/files/.+|https://(www\.)?youtu(be\.com|\.be)/.+"
)
DATA_KEYS = frozenset(
    {
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    }
)

Content = Mapping[str, Any]


def check_contents(contents: Sequence[Content], model: Model) -> None:
    if not contents:
        raise RefusedError("* GenerateContentRequest.contents: contents is not specified\n")
    for number, content in enumerate(contents):
        _check_content(number, content)
    for number, content in enumerate(contents):
        _check_calls(number, contents)
        if function_parts(content, "functionResponse") and not (
            number and function_parts(contents[number - 1], "functionCall")
        ):
            raise RefusedError(
                "Please ensure that function response turn comes immediately after a function call turn."
            )
    if model.generation >= 3:
        _check_results_alone(contents)
        _check_signatures(contents)


def check_system(instruction: Content | None) -> None:
    for number, part in enumerate((instruction or {}).get("parts") or ()):
        if "text" not in part:
            raise RefusedError(f"system_instruction.parts[{number}]: only text is supported.")


def _check_content(number: int, content: Content) -> None:
    if content.get("role", "user") not in ("user", "model"):
        raise RefusedError("Please use a valid role: user, model.")
    parts = content.get("parts")
    if not parts:
        raise RefusedError(f"* GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.\n")
    for index, part in enumerate(parts):
        where = f"contents[{number}].parts[{index}]"
        given = part.keys() & DATA_KEYS
        if len(given) != 1:
            raise RefusedError(
                f"* GenerateContentRequest.{where}.data: required oneof field 'data' must have one initialized field\n"
            )
        _check_part(part, where, content.get("role", "user"))


def _check_part(part: Mapping[str, Any], where: str, role: str) -> None:
    if "inlineData" in part:
        blob = part["inlineData"]
        if not MIME_TYPES.fullmatch(blob.get("mimeType", "")):
            raise RefusedError(f"Unsupported MIME type: {blob.get('mimeType')}")
        if not blob.get("data"):
            raise RefusedError(f"* GenerateContentRequest.{where}.inline_data.data: is empty\n")
    if "fileData" in part and not FILES.fullmatch(part["fileData"].get("fileUri", "")):
        raise RefusedError("Invalid or unsupported file uri: " + str(part["fileData"].get("fileUri")))
    for key, owner in (("functionCall", "model"), ("functionResponse", "user")):
        if key not in part:
            continue
        if not part[key].get("name"):
            raise RefusedError(f"* GenerateContentRequest.{where}.{key}.name: Name cannot be empty.\n")
        if role != owner:
            raise RefusedError(f"Please ensure that {key} parts are only in turns of role {owner}.")
    if "functionResponse" in part:
        _check_response(part["functionResponse"], where)


def _check_response(answer: Mapping[str, Any], where: str) -> None:
    if "response" not in answer:
        raise RefusedError(f"* GenerateContentRequest.{where}.function_response.response: is required\n")
    names = [file.get("inlineData", {}).get("displayName") for file in answer.get("parts") or ()]
    for name in _references(answer["response"]):
        if name not in names:
            raise RefusedError(
                f"The referenced name `{name}` in function_response.response does not match to a display_name in the "
                "function_response.parts."
            )


def _references(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def function_parts(content: Content, key: str) -> list[Mapping[str, Any]]:
    return [part[key] for part in content.get("parts") or () if key in part]


def _check_calls(number: int, contents: Sequence[Content]) -> None:
    """A turn with calls must follow a user turn and be followed by all its responses in order."""
    calls = function_parts(contents[number], "functionCall")
    if not calls:
        return
    if number == 0 or contents[number - 1].get("role", "user") != "user":
        raise RefusedError(
            "Please ensure that function call turn comes immediately after a user turn or after a function response "
            "turn."
        )
    following = contents[number + 1] if number + 1 < len(contents) else {}
    responses = function_parts(following, "functionResponse")
    if len(responses) != len(calls):
        raise RefusedError(
            "Please ensure that the number of function response parts is equal to the number of function call parts of "
            "the function call turn."
        )
    for call, response in zip(calls, responses, strict=True):
        if call["name"] != response["name"]:
            raise RefusedError("Please ensure that function response names match the function call names, in order.")
        if call.get("id") and response.get("id") and call["id"] != response["id"]:
            raise RefusedError("Please ensure that function response ids match the function call ids, in order.")


def _check_results_alone(contents: Sequence[Content]) -> None:
    """Newer models refuse, with this message, a turn with results and anything else."""
    for content in contents:
        results = function_parts(content, "functionResponse")
        if results and len(results) != len(content["parts"]):
            raise RefusedError("Requests ending with a model turn are not supported.")


def _check_signatures(contents: Sequence[Content]) -> None:
    """The first call of every turn since the last user text must be signed."""
    start = max((number for number, content in enumerate(contents) if _is_user_text(content)), default=0)
    for number in range(start, len(contents)):
        signed = [part for part in contents[number].get("parts") or () if "functionCall" in part]
        if signed and "thoughtSignature" not in signed[0]:
            raise RefusedError(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{signed[0]['functionCall']['name']}` , position {number + 1}."
            )
        for part in contents[number].get("parts") or ():
            signature = part.get("thoughtSignature")
            if signature is not None and signature not in DUMMIES and not SIGNER.valid(signature, FAMILY, ""):
                raise RefusedError("Thought signature is not valid")


def _is_user_text(content: Content) -> bool:
    parts = content.get("parts") or ()
    return (
        content.get("role", "user") == "user"
        and any("text" in part for part in parts)
        and not any("functionResponse" in part for part in parts)
    )
