"""Pictures, files, recordings and videos in Gemini's contents, inline or by URL."""

from typing import Any

import pytest

from gateway.upstreams.adapter import Attachment
from tests.upstreams.gemini_chats import PNG, PNG_PART, adapter, chat, refusal, sent, turns, user

TEXT = {"type": "text", "text": "See."}


@pytest.mark.parametrize(
    ("part", "inline"),
    [
        ({"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}, PNG_PART["inlineData"]),
        (
            {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9j/4AAQ"}},
            {"mimeType": "image/jpeg", "data": "/9j/4AAQ"},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
            {"mimeType": "application/pdf", "data": "JVBERi0="},
        ),
        (
            {"type": "file", "file": {"file_data": "data:text/plain;base64,SGk="}},
            {"mimeType": "text/plain", "data": "SGk="},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"mimeType": "audio/wav", "data": "UklGRg=="},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
            {"mimeType": "audio/mpeg", "data": "SUQz"},
        ),
        (
            {"type": "input_audio", "input_audio": {"url": "data:audio/mpeg;base64,SUQz"}},
            {"mimeType": "audio/mpeg", "data": "SUQz"},
        ),
    ],
)
def test_files_travel_inline(part: dict[str, Any], inline: dict[str, str]) -> None:
    assert turns(user({"type": "text", "text": "See:"}, part))[0]["parts"] == [{"text": "See:"}, {"inlineData": inline}]


def test_videos() -> None:
    video = {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA", "fps": 0.5}}
    assert turns(user(video))[0]["parts"] == [
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}, "videoMetadata": {"fps": 0.5}}
    ]


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,a!"}}, "image_url.url", "invalid_base64"),
        (
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}},
            "image_url.url",
            "unsupported_value",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:application/pdf;base64,JVBERi0="}},
            "image_url.url",
            "unsupported_value",
        ),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "image_url.url", None),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id", "unsupported_value"),
        (
            {"type": "file", "file": {"file_data": "data:application/zip;base64,UEs="}},
            "file.file_data",
            "unsupported_value",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "midi"}},
            "input_audio.format",
            "unsupported_value",
        ),
        ({"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}}, "input_audio.data", "invalid_base64"),
        ({"type": "input_audio", "input_audio": {"url": PNG}}, "input_audio.url", "unsupported_value"),
        ({"type": "input_audio", "input_audio": {"url": "https://example.com/a.mp3"}}, "input_audio.url", None),
    ],
)
def test_files_that_cannot_be_read(part: dict[str, Any], param: str, code: str | None) -> None:
    error = refusal(messages=[user({"type": "text", "text": "x"}, part)])
    assert (error.param, error.code) == (f"messages[0].content[1].{param}", code)


def test_a_picture_model_hears_nothing() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    assert refusal("gemini-2.5-flash-image", messages=[user(audio)]).param == "messages[0].content[0].input_audio"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user({"type": "image_url", "image_url": {"url": "https://youtu.be/1"}}), "content[0].image_url.url"),
        (user({"type": "input_audio", "input_audio": {"url": "https://youtu.be/1"}}), "content[0].input_audio.url"),
        (user({"type": "file", "file": {"file_data": "https://YouTube.com/watch?v=1"}}), "content[0].file.file_data"),
        ({"role": "assistant", "content": "", "images": ["https://m.youtube.com/watch?v=1"]}, "images[0]"),
    ],
)
def test_a_video_of_youtube_is_sent_as_a_video_only(message: dict[str, Any], param: str) -> None:
    """Whose tokens are quoted: by any other name, hours of it were quoted as one picture."""
    error = refusal(messages=[message, user(TEXT)])
    assert (error.param, error.code) == (f"messages[0].{param}", "unsupported_value")


@pytest.mark.parametrize("media_type", ["text/plain", "application/pdf", "video/mp4", "audio/wav"])
def test_an_earlier_picture_is_a_picture(media_type: str) -> None:
    """Quoted as one: a megabyte of text, sent as one, was paid like a picture."""
    image = {"image_url": {"url": f"data:{media_type};base64,SGk="}}
    error = refusal(messages=[{"role": "assistant", "content": "", "images": [image]}, user(TEXT)])
    assert (error.param, error.code) == ("messages[0].images[0]", "unsupported_value")


def test_urls_are_named_once_and_their_bytes_inlined() -> None:
    page, pdf = "https://example.com/a.png", "https://example.com/b.pdf"
    song = "https://example.com/d.mp3"
    youtube, own = "https://www.youtube.com/watch?v=1", "https://generativelanguage.googleapis.com/v1beta/files/f1"
    messages = [
        user(
            {"type": "image_url", "image_url": {"url": page}},
            {"type": "file", "file": {"file_data": pdf}},
            {"type": "video_url", "video_url": {"url": youtube}},
            {"type": "image_url", "image_url": {"url": page}},
            {"type": "image_url", "image_url": {"url": PNG}},
            {"type": "file", "file": {"file_data": own}},
            {"type": "input_audio", "input_audio": {"url": song}},
        ),
        {"role": "assistant", "content": "", "images": ["https://example.com/c.png", PNG]},
        user({"type": "text", "text": "Compare."}),
    ]
    bound = chat(messages=messages)
    assert list(adapter().remote_files(bound)) == [page, pdf, song, "https://example.com/c.png"]
    bound.attachments.update(
        {
            page: Attachment("image/png", b"\x89PNG"),
            pdf: Attachment("application/pdf", b"%PDF-"),
            song: Attachment("audio/mpeg", b"ID3"),
            "https://example.com/c.png": Attachment("image/webp", b"RIFF"),
        }
    )
    first, second, _ = sent(bound)["contents"]
    assert first["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"fileData": {"fileUri": youtube}},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
        PNG_PART,
        {"fileData": {"fileUri": own}},
        {"inlineData": {"mimeType": "audio/mpeg", "data": "SUQz"}},
    ]
    assert second["parts"][0]["inlineData"] == {"mimeType": "image/webp", "data": "UklGRg=="}


@pytest.mark.parametrize("url", ["https://[x]/a.png", "https://[::1", "https://a]b.example", "https://\u2100.example"])
def test_what_is_no_url_is_left_to_whoever_fetches_it(url: str) -> None:
    bound = chat(messages=[user({"type": "image_url", "image_url": {"url": url}})])
    assert list(adapter().remote_files(bound)) == [url]
    bound.attachments[url] = Attachment("image/png", b"\x89PNG")
    assert sent(bound)["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}]
