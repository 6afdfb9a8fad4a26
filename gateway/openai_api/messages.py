"""The messages of a chat request, typed.

Fields beyond OpenAI's own are those that other vendors' answers carry and expect back (facts/providers.md 1.5), and
Anthropic's ``cache_control``. Unknown keys are ignored and never sent upstream.
"""

from typing import Any, Literal

import msgspec

CacheControl = dict[str, Any] | None


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str
    cache_control: CacheControl = None


class SystemTextPart(TextPart, tag=False, kw_only=True):
    """A text part where no other kind is allowed: msgspec requires a tag only where it has to tell structs apart."""

    type: Literal["text"]


class ImageURL(msgspec.Struct):
    """``url`` is https or a ``data:`` URI."""

    url: str
    detail: str | None = None


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: ImageURL
    cache_control: CacheControl = None


class VideoURL(msgspec.Struct):
    url: str
    fps: float | None = None


class VideoPart(msgspec.Struct, tag_field="type", tag="video_url"):
    video_url: VideoURL


class InputAudio(msgspec.Struct):
    """``data`` is base64 without a ``data:`` prefix and ``format`` its wav, mp3, ...; ModelArk's form is a ``url``."""

    data: str | None = None
    format: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None and self.data is not None:
            raise ValueError("Expected only one of `data` and `url`")
        for name in ("data", "format") if self.url is None else ():
            if getattr(self, name) is None:
                raise ValueError(f"Object missing required field `{name}`")


class AudioPart(msgspec.Struct, tag_field="type", tag="input_audio"):
    input_audio: InputAudio


class File(msgspec.Struct):
    """``file_data`` is a ``data:`` URI (or an https URL where the vendor fetches it)."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag_field="type", tag="file"):
    file: File
    cache_control: CacheControl = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal"):
    refusal: str


UserPart = TextPart | ImagePart | VideoPart | AudioPart | FilePart
AssistantPart = TextPart | RefusalPart
ToolPart = TextPart | ImagePart | FilePart


class FunctionCall(msgspec.Struct):
    """``arguments`` is a JSON text, as models write it: it may be empty or broken."""

    name: str
    arguments: str
    thought_signature: str | None = None


class FunctionToolCall(msgspec.Struct, tag_field="type", tag="function"):
    id: str
    function: FunctionCall
    extra_content: dict[str, Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None
    thought_signature: str | None = None
    cache_control: CacheControl = None


class CustomCall(msgspec.Struct):
    name: str
    input: str


class CustomToolCall(msgspec.Struct, tag_field="type", tag="custom"):
    id: str
    custom: CustomCall
    cache_control: CacheControl = None


ToolCall = FunctionToolCall | CustomToolCall


class ReasoningDetail(msgspec.Struct):
    """OpenRouter's carrier of thoughts: reasoning.text, reasoning.summary or reasoning.encrypted."""

    type: str
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None

    def has_format(self, name: str) -> bool:
        """Whether ``format`` is ``name`` or repeats it: ``openai``'s stream helper concatenates fragments' formats."""
        return self.format is not None and self.format != "" and not self.format.replace(name, "")


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[SystemTextPart]
    name: str | None = None
    cache_control: CacheControl = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer"):
    content: str | list[SystemTextPart]
    name: str | None = None
    cache_control: CacheControl = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[UserPart]
    name: str | None = None
    cache_control: CacheControl = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[AssistantPart] | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None
    name: str | None = None
    refusal: str | None = None
    audio: dict[str, Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    images: list[Any] | None = None
    cache_control: CacheControl = None

    @property
    def image_urls(self) -> list[str]:
        """The URLs of ``images``, which are strings or OpenRouter's objects; empty for anything else (9.1)."""
        return [_image_url(image) for image in self.images or ()]


def _image_url(image: Any) -> str:
    if isinstance(image, dict):
        image = image.get("image_url")
        image = image.get("url") if isinstance(image, dict) else image
    return image if isinstance(image, str) else ""


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    """``is_error`` is a vendor extra: the tool failed."""

    content: str | list[ToolPart]
    tool_call_id: str
    name: str | None = None
    is_error: bool | None = None
    cache_control: CacheControl = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


def texts_of(content: str | list[Any] | None) -> list[str]:
    """The texts of a message's content that are not empty: the whole of it, or one per text part."""
    if isinstance(content, list):
        return [part.text for part in content if isinstance(part, TextPart) and part.text]
    return [content] if content else []


def text_of(content: str | list[Any] | None) -> str:
    """The text of an answer's content, whose parts are pieces of it."""
    return "".join(texts_of(content))
