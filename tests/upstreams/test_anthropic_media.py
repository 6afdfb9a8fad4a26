"""Pictures and files in Anthropic's blocks, inline or by URL (facts/providers.md 3.4)."""

import base64
from typing import Any

import pytest

from tests.upstreams.anthropic_chats import HELLO, calls, refusal, result, text, turns, user

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF").decode()
NOTE = "data:text/plain;base64," + base64.b64encode("Høst".encode()).decode()


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": PNG}, "cache_control": {"type": "ephemeral"}},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]},
                "cache_control": {"type": "ephemeral"},
            },
        ),
        (
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF.partition(",")[2]},
                "title": "a.pdf",
            },
        ),
        (
            {"type": "file", "file": {"file_data": "https://example.com/a.pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}},
        ),
        (
            {"type": "file", "file": {"file_data": NOTE}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Høst"}},
        ),
        (
            {"type": "file", "file": {"file_data": PNG}},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG.partition(",")[2]}},
        ),
    ],
)
def test_pictures_and_files(part: dict[str, Any], block: dict[str, Any]) -> None:
    assert turns(user([text("Look"), part])) == [user([text("Look"), block])]


def data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize("declared", ["image/png", "image/jpg", "image/tiff", "application/octet-stream"])
@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"\xff\xd8\xff\xe0" + bytes(30), "image/jpeg"), (b"RIFF" + bytes(4) + b"WEBPVP8 ", "image/webp")],
)
def test_a_picture_is_of_the_type_that_its_content_shows(declared: str, content: bytes, media_type: str) -> None:
    uri = data_uri(declared, content)
    source = {"type": "base64", "media_type": media_type, "data": uri.partition(",")[2]}
    for part in ({"type": "image_url", "image_url": {"url": uri}}, {"type": "file", "file": {"file_data": uri}}):
        assert turns(HELLO, calls("a"), result("a", [part]))[2]["content"][0]["content"] == [
            {"type": "image", "source": source}
        ]


def test_a_pdf_is_of_the_type_that_its_content_shows() -> None:
    part = {"type": "file", "file": {"file_data": data_uri("application/octet-stream", b"%PDF-1.7")}}
    assert turns(user([part]))[0]["content"][0]["source"]["media_type"] == "application/pdf"


@pytest.mark.parametrize(
    ("declared", "block"),
    [
        (
            "image/png",
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "JVBERi0xLjc="}},
        ),
        (
            "text/plain",
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "%PDF-1.7"}},
        ),
    ],
)
def test_a_document_that_is_quoted_as_something_cheaper_is_not_sent_as_one(
    declared: str, block: dict[str, Any]
) -> None:
    part = {"type": "file", "file": {"file_data": data_uri(declared, b"%PDF-1.7")}}
    assert turns(user([part])) == [user([block])]


@pytest.mark.parametrize("content", [b"A", b"ID3 is a format"])
def test_what_the_content_does_not_show_is_as_declared(content: bytes) -> None:
    part = {"type": "file", "file": {"file_data": data_uri("text/plain", content)}}
    assert turns(user([part]))[0]["content"][0]["source"]["data"] == content.decode()


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        ({"type": "image_url", "image_url": {"url": "http://example.com/a.png"}}, "image_url.url", None),
        ({"type": "image_url", "image_url": {"url": "ftp://example.com/a.png"}}, "image_url.url", None),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,***"}}, "image_url.url", "invalid_base64"),
        ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}}, "image_url.url", "invalid_image"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "file.file_id", "unsupported_value"),
        ({"type": "file", "file": {"file_data": "data:text/csv;base64,aGk="}}, "file.file_data", "unsupported_value"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "file.file_data", None),
        ({"type": "file", "file": {"file_data": "aGk="}}, "file.file_data", None),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, "", "unsupported_value"),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, "", "unsupported_value"),
    ],
)
def test_what_the_model_cannot_read_is_refused(part: dict[str, Any], param: str, code: str | None) -> None:
    error = refusal(user([text("Look"), part]))
    assert error.param == f"messages[0].content[1].{param}".rstrip(".")
    assert error.code == code
