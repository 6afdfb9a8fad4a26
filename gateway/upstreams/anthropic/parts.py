"""Translates content parts into Anthropic's content blocks (facts/providers.md 3.4)."""

from typing import Any

from gateway.catalog import Model
from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.messages import (
    CacheControl,
    File,
    FilePart,
    ImagePart,
    RefusalPart,
    TextPart,
)
from gateway.upstreams import data_uri

Block = dict[str, Any]

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_BINARY_TYPES = _IMAGE_TYPES | {"application/pdf"}
_SNIFFED_TYPES = {"image": _IMAGE_TYPES, "application": _BINARY_TYPES}
"""What a file may prove to be, by the declared kind: a PDF that is declared as a picture is quoted as a picture."""


def text_block(text: str, cache_control: CacheControl = None) -> Block | None:
    """A text block; None for blank text, which Anthropic refuses."""
    return with_cache_control({"type": "text", "text": text}, cache_control) if text.strip() else None


def with_cache_control(block: Block, cache_control: CacheControl) -> Block:
    """``block`` with the caller's cache breakpoint, passed on unchanged (facts/providers.md 3.9)."""
    return block if cache_control is None else block | {"cache_control": cache_control}


def content_blocks(content: str | list[Any] | None, model: Model, where: str) -> list[Block]:
    """The blocks of a message's ``content``, whose JSON path is ``where``.

    Blank text is left out; its cache breakpoint is on the block before it, unless that has one.
    """
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content and not content.isspace() else []
    blocks: list[Block] = []
    for index, part in enumerate(content):
        block = _block(part, model, f"{where}[{index}]")
        if block is not None:
            blocks.append(block)
        elif blocks and isinstance(part, TextPart) and "cache_control" not in blocks[-1]:
            blocks[-1] = with_cache_control(blocks[-1], part.cache_control)
    return blocks


def _block(part: Any, model: Model, where: str) -> Block | None:
    """The block of one part; None for blank text. Raises 400 for a type that the model does not support."""
    match part:
        case TextPart(text=text, cache_control=cache_control):
            return text_block(text, cache_control)
        case RefusalPart(refusal=refusal):
            return text_block(refusal)
        case ImagePart(image_url=image, cache_control=cache_control) if "image" in model.inputs:
            return with_cache_control(_image(image.url, f"{where}.image_url.url"), cache_control)
        case FilePart(file=file, cache_control=cache_control) if "pdf" in model.inputs:
            return with_cache_control(_file(file, f"{where}.file"), cache_control)
    kind = part.__struct_config__.tag
    raise unsupported_value(f"The model '{model.id}' cannot read '{kind}' parts.", where)


def _image(url: str, where: str) -> Block:
    if not data_uri.is_data_uri(url):
        return {"type": "image", "source": _remote(url, where)}
    image = data_uri.parse(url, where)
    media_type = _media_type(image)
    if media_type not in _IMAGE_TYPES:
        raise invalid_request(
            f"Invalid '{where}': images must be JPEG, PNG, GIF or WebP, not '{media_type}'.",
            where,
            "invalid_image",
        )
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": image.base64}}


def _file(file: File, where: str) -> Block:
    if file.file_data is None:
        raise unsupported_value(
            f"Invalid '{where}': file IDs are not supported. Send the file as 'file_data'.", f"{where}.file_id"
        )
    source = _document(file.file_data, f"{where}.file_data")
    if source.get("media_type") in _IMAGE_TYPES:
        return {"type": "image", "source": source}
    document: Block = {"type": "document", "source": source}
    return document | {"title": file.filename} if file.filename else document


def _document(url: str, where: str) -> Block:
    if not data_uri.is_data_uri(url):
        return _remote(url, where)
    file = data_uri.parse(url, where)
    media_type = _media_type(file)
    if media_type in _BINARY_TYPES:
        return {"type": "base64", "media_type": media_type, "data": file.base64}
    if media_type == "text/plain":
        return {"type": "text", "media_type": "text/plain", "data": _plain_text(file, where)}
    raise unsupported_value(f"Invalid '{where}': files of type '{media_type}' are not supported.", where)


def _media_type(file: data_uri.DataURI) -> str:
    """What the content shows rather than what the caller declares: unlike OpenAI, Anthropic requires them to agree."""
    sniffed, kind = file.sniffed, file.media_type.partition("/")[0]
    return sniffed if sniffed in _SNIFFED_TYPES.get(kind, frozenset()) else file.media_type


def _plain_text(file: data_uri.DataURI, where: str) -> str:
    try:
        return file.decode().decode()
    except UnicodeDecodeError:
        raise invalid_request(f"Invalid '{where}': the text is not UTF-8.", where) from None


def _remote(url: str, where: str) -> Block:
    """A URL that Anthropic fetches itself; https only."""
    if not url.lower().startswith("https://"):
        raise invalid_request(f"Invalid '{where}': expected an https URL or a data: URI.", where)
    return {"type": "url", "url": url}
