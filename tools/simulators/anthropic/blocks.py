"""Checks on the shape of content blocks."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tools.simulators.refusal import RefusedError

TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif", b"RIFF": "image/webp"}
MAX_CACHE_BREAKPOINTS = 4
MAX_IMAGE = 5 * 2**20 * 4 // 3

REQUIRED_KEYS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "image": frozenset({"type", "source"}),
    "document": frozenset({"type", "source"}),
    "tool_use": frozenset({"type", "id", "name", "input"}),
    "tool_result": frozenset({"type", "tool_use_id"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
}
OPTIONAL_KEYS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"cache_control", "citations"}),
    "image": frozenset({"cache_control"}),
    "document": frozenset({"cache_control", "citations", "title", "context"}),
    "tool_use": frozenset({"cache_control", "caller", "toolset_name"}),
    "tool_result": frozenset({"cache_control", "content", "is_error"}),
    "thinking": frozenset(),
    "redacted_thinking": frozenset(),
}
BLOCKS_BY_PLACE: Mapping[str, frozenset[str]] = {
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image", "document", "tool_result"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use"}),
    "tool_result": frozenset({"text", "image", "document"}),
}
SOURCE_KEYS: Mapping[str, frozenset[str]] = {
    "base64": frozenset({"type", "media_type", "data"}),
    "url": frozenset({"type", "url"}),
    "text": frozenset({"type", "media_type", "data"}),
}


def check_extra(value: Mapping[str, Any], allowed: frozenset[str], where: str) -> None:
    if unknown := sorted(value.keys() - allowed):
        place = f"{where}.{unknown[0]}" if where else unknown[0]
        raise RefusedError(f"{place}: Extra inputs are not permitted")


def check_block(block: Any, place: str, where: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str) or kind not in BLOCKS_BY_PLACE[place]:
        expected = ", ".join(f"'{name}'" for name in sorted(BLOCKS_BY_PLACE[place]))
        raise RefusedError(
            f"{where}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}"
        )
    for key in sorted(REQUIRED_KEYS[kind] - block.keys()):
        raise RefusedError(f"{where}.{kind}.{key}: Field required")
    check_extra(block, REQUIRED_KEYS[kind] | OPTIONAL_KEYS[kind], f"{where}.{kind}")
    check_cache_control(block.get("cache_control"), f"{where}.{kind}")
    if kind in _CHECKS:
        _CHECKS[kind](block, where)


def check_cache_control(mark: Any, where: str) -> None:
    if mark is None:
        return
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral" or mark.get("ttl", "5m") not in ("5m", "1h"):
        raise RefusedError(f"{where}.cache_control: Input should be type ephemeral with a ttl of '5m' or '1h'")
    check_extra(mark, frozenset({"type", "ttl"}), f"{where}.cache_control")


def _check_text(block: Mapping[str, Any], where: str) -> None:
    text = block["text"]
    if not isinstance(text, str):
        raise RefusedError(f"{where}.text: Input should be a valid string")
    if not text:
        raise RefusedError("messages: text content blocks must be non-empty")
    if not text.strip():
        raise RefusedError("messages: text content blocks must contain non-whitespace text")


def _check_tool_use(block: Mapping[str, Any], where: str) -> None:
    if not isinstance(block["id"], str) or not TOOL_ID.fullmatch(block["id"]):
        raise RefusedError(f"{where}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    if not isinstance(block["name"], str) or not TOOL_NAME.fullmatch(block["name"]):
        raise RefusedError(f"{where}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if not isinstance(block["input"], dict):
        raise RefusedError(f"{where}.tool_use.input: Input should be a valid dictionary")


def _check_tool_result(block: Mapping[str, Any], where: str) -> None:
    if not isinstance(block["tool_use_id"], str) or not TOOL_ID.fullmatch(block["tool_use_id"]):
        raise RefusedError(f"{where}.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    content = block.get("content")
    if isinstance(content, list):
        for number, inner in enumerate(content):
            check_block(inner, "tool_result", f"{where}.tool_result.content.{number}")
    elif content is not None and not isinstance(content, str):
        raise RefusedError(f"{where}.tool_result.content: Input should be a valid string or list")
    if block.get("is_error") and not content:
        raise RefusedError(f"{where}.tool_result: content cannot be empty if `is_error` is true")
    if block.get("is_error") and isinstance(content, list) and any(inner["type"] != "text" for inner in content):
        raise RefusedError(f'{where}.tool_result: all content must be type "text" if "is_error" is true')


def _check_image(block: Mapping[str, Any], where: str) -> None:
    source = _source(block, where, frozenset({"base64", "url"}))
    if source["type"] == "base64":
        if source["media_type"] not in IMAGE_TYPES:
            raise RefusedError(
                f"{where}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or "
                "'image/webp'"
            )
        head = base64.b64decode(source["data"][:16])
        shown = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), source["media_type"])
        if shown != source["media_type"]:
            raise RefusedError(
                f"{where}.image.source.base64: The image was specified using the {source['media_type']} media type, "
                f"but the image appears to be a {shown} image"
            )
        if len(source["data"]) > MAX_IMAGE:
            raise RefusedError(f"{where}.image.source.base64: image exceeds 5 MB maximum")
    elif not str(source["url"]).startswith("https://"):
        raise RefusedError(f"{where}.image.source.url: Only HTTPS URLs are supported.")


def _check_document(block: Mapping[str, Any], where: str) -> None:
    source = _source(block, where, frozenset({"base64", "url", "text"}))
    wanted = {"base64": "application/pdf", "text": "text/plain"}.get(source["type"])
    if wanted is not None and source["media_type"] != wanted:
        raise RefusedError(f"{where}.document.source.{source['type']}.media_type: Input should be '{wanted}'")


def _source(block: Mapping[str, Any], where: str, kinds: frozenset[str]) -> Mapping[str, Any]:
    source = block["source"]
    place = f"{where}.{block['type']}.source"
    kind = source.get("type") if isinstance(source, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise RefusedError(f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    for key in sorted(SOURCE_KEYS[kind] - source.keys()):
        raise RefusedError(f"{place}.{kind}.{key}: Field required")
    check_extra(source, SOURCE_KEYS[kind], f"{place}.{kind}")
    return dict(source)


_CHECKS = {
    "text": _check_text,
    "tool_use": _check_tool_use,
    "tool_result": _check_tool_result,
    "image": _check_image,
    "document": _check_document,
}


def cache_breakpoints(body: Any) -> Iterator[Mapping[str, Any]]:
    """Every cache_control in a request."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key == "cache_control" and value is not None:
                yield value
            elif key not in ("input", "input_schema", "schema"):
                yield from cache_breakpoints(value)
    elif isinstance(body, list):
        for value in body:
            yield from cache_breakpoints(value)
