"""Translates content parts into Gemini's parts; files are sent as inline bytes (facts/providers.md 5.2)."""

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.messages import (
    AssistantMessage,
    AudioPart,
    FilePart,
    ImagePart,
    InputAudio,
    TextPart,
    ToolMessage,
    ToolPart,
    UserMessage,
    UserPart,
    VideoPart,
)
from gateway.upstreams import data_uri
from gateway.upstreams.adapter import Chat

Part = dict[str, Any]

TEXT_MESSAGE_KEYS = frozenset({"role", "content"})
"""The keys of a message that is plain text if its content is a string."""

_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_AUDIO_FORMATS = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
}
_FILES_API = "https://generativelanguage.googleapis.com/v1beta/files/"
_YOUTUBE = frozenset({"www.youtube.com", "youtube.com", "m.youtube.com", "youtu.be"})


def content_parts(chat: Chat, content: str | list[UserPart] | list[ToolPart], where: str) -> list[Part]:
    """The parts of a user's or a tool's content. Raises 400 for a type that the model does not support."""
    if isinstance(content, str):
        return [{"text": content}]
    return [_part(chat, part, f"{where}[{place}]") for place, part in enumerate(content)]


def _media(chat: Chat, url: str, param: str, *, video: bool = False) -> Part:
    """The file at ``url`` as inline bytes, or the URL itself where Gemini fetches it.

    Only a ``video`` may be one of YouTube's: as anything else it is quoted at a fraction of what it costs.
    """
    if data_uri.is_data_uri(url):
        uri = data_uri.parse(url, param)
        return _inline(chat, uri.media_type, uri.base64, param)
    if (attachment := chat.attachments.get(url)) is not None:
        return _inline(chat, attachment.media_type, base64.b64encode(attachment.data).decode(), param)
    if _on_youtube(url) and not video:
        raise unsupported_value(f"Invalid '{param}': send a YouTube video as 'video_url'.", param)
    if _fetched_by_gemini(url):
        return {"fileData": {"fileUri": url}}
    raise invalid_request(
        f"Invalid '{param}': this URL is not supported with this model. Send the file as a data: URI.", param
    )


def picture(chat: Chat, url: str, param: str) -> Part:
    """The image at ``url``; as text or a film it would cost more than a picture, which is what is quoted."""
    return _require_media_type(_media(chat, url, param), "image/", param)


def remote_urls(chat: Chat) -> list[str]:
    """The URLs of the conversation's files to fetch, in order and without duplicates."""
    urls: dict[str, None] = {}
    for sent, message in zip(chat.body["messages"], chat.request.messages, strict=True):
        if not (sent.keys() == TEXT_MESSAGE_KEYS and type(sent["content"]) is str):
            urls |= dict.fromkeys(_urls(message))
    return [url for url in urls if not data_uri.is_data_uri(url) and not _fetched_by_gemini(url)] if urls else []


def _part(chat: Chat, part: UserPart | ToolPart, where: str) -> Part:
    match part:
        case TextPart(text=text):
            return {"text": text}
        case ImagePart(image_url=image):
            return picture(chat, image.url, f"{where}.image_url.url")
        case VideoPart(video_url=video):
            found = _media(chat, video.url, f"{where}.video_url.url", video=True)
            return found if video.fps is None else found | {"videoMetadata": {"fps": video.fps}}
        case AudioPart(input_audio=audio):
            return _recording(chat, audio, f"{where}.input_audio")
        case FilePart(file=file) if file.file_data:
            return _media(chat, file.file_data, f"{where}.file.file_data")
        case FilePart():
            raise unsupported_value(
                "File IDs are not supported with this model. Send the file as 'file_data'.", f"{where}.file.file_id"
            )


def _recording(chat: Chat, audio: InputAudio, where: str) -> Part:
    if audio.url is not None:
        return _require_media_type(_media(chat, audio.url, f"{where}.url"), "audio/", f"{where}.url")
    media_type = _AUDIO_FORMATS.get((audio.format or "").lower())
    if media_type is None:
        known = ", ".join(_AUDIO_FORMATS)
        raise unsupported_value(f"Supported audio formats for this model: {known}.", f"{where}.format")
    return _inline(chat, media_type, data_uri.checked_base64(audio.data or "", f"{where}.data"), where)


def _require_media_type(part: Part, kind: str, param: str) -> Part:
    if "inlineData" in part and not part["inlineData"]["mimeType"].startswith(kind):
        raise unsupported_value(f"Invalid '{param}': not of a type {kind}*.", param)
    return part


def _inline(chat: Chat, media_type: str, data: str, param: str) -> Part:
    modality = "pdf" if media_type == "application/pdf" else media_type.partition("/")[0]
    refused = modality == "image" and media_type not in _IMAGES
    if refused or (modality != "text" and modality not in chat.model.inputs):
        raise unsupported_value(f"The model '{chat.request.model}' cannot read '{media_type}'.", param)
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _fetched_by_gemini(url: str) -> bool:
    return url.startswith(_FILES_API) or _on_youtube(url)


def _on_youtube(url: str) -> bool:
    try:
        return url.startswith("https://") and urlsplit(url).hostname in _YOUTUBE
    except ValueError:
        return False


def _urls(message: Any) -> Iterator[str]:
    if isinstance(message, AssistantMessage):
        yield from filter(None, message.image_urls)
    elif isinstance(message, UserMessage | ToolMessage) and not isinstance(message.content, str):
        for part in message.content:
            match part:
                case ImagePart(image_url=image):
                    yield image.url
                case VideoPart(video_url=video):
                    yield video.url
                case AudioPart(input_audio=audio) if audio.url:
                    yield audio.url
                case FilePart(file=file) if file.file_data:
                    yield file.file_data
