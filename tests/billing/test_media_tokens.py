"""What files are expected to put before a model, before any vendor has counted."""

import base64
import wave
import zlib
from io import BytesIO
from typing import Any

import pytest

from gateway.billing import media_tokens as media
from gateway.billing.usage_estimate import prompt_tokens

PAGE, PICTURE = 1500, 1120


def uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def file(media_type: str, data: bytes) -> dict[str, Any]:
    return {"file_data": uri(media_type, data), "filename": "report"}


def pdf(pages: int) -> bytes:
    tree = b"1 0 obj << /Type /Pages /Count %d >> endobj\n" % pages
    page = b"2 0 obj\n<< /Type /Page /Parent 1 0 R /MediaBox [0 0 612 792] >>\nendobj\n"
    return b"%PDF-1.4\n" + tree + page * pages + b"trailer << /Root 3 0 R >>\n%%EOF\n"


def packed_pdf(pages: int, line_end: bytes = b"\r\n") -> bytes:
    """Its page objects compressed, ten to a stream, as most programs write them today."""
    streams = []
    for start in range(0, pages, 10):
        objects = b"<</Type/Page/Parent 1 0 R>> " * min(10, pages - start)
        packed = zlib.compress(b"2 0 3 28 " + objects)
        head = b"<</Type/ObjStm/N 10/First 9/Filter/FlateDecode/Length %d>>stream" % len(packed)
        streams.append(head + line_end + packed + b"\nendstream endobj\n")
    return b"%PDF-1.7\n" + b"".join(streams) + b"%%EOF"


def wav(seconds: int, rate: int = 16_000) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate)
        recording.writeframes(b"\0\0" * rate * seconds)
    return file.getvalue()


@pytest.mark.parametrize("pages", [1, 30, 104])
def test_pages_of_a_document(pages: int) -> None:
    for document in (pdf(pages), packed_pdf(pages), packed_pdf(pages, b"\n")):
        assert media.tokens("file", file("application/pdf", document)) == pages * PAGE


def test_a_document_without_pages_in_sight_counts_by_its_size() -> None:
    packed = zlib.compress(b"<</Type/Page>>", wbits=-15)
    for document in (b"\0" * 200_000, b"%PDF <</Type/ObjStm>>stream\n" + packed + b"\0" * 200_000):
        assert media.tokens("file", file("application/x-pdf", document)) == 11 * PAGE
    assert media.tokens("file", {"file_data": "data:application/pdf;base64,A"}) == PAGE


@pytest.mark.parametrize(
    "bomb",
    [
        b"/ObjStm" * 100_000,
        b"/ObjStm stream\n" * 100_000,
        b"/ObjStm stream\n" + zlib.compress(b"/Type/Page " * 10_000_000),
        (b"/ObjStm stream\n\x78\x9c" + b"\0\0\0\xff\xff" * 30_000) * 20,
    ],
)
def test_a_document_made_to_be_long_in_reading(bomb: bytes) -> None:
    assert media.tokens("file", file("application/pdf", bomb)) <= 10_000 * PAGE


def test_a_document_s_unpacking_is_bounded() -> None:
    packed = b"/ObjStm stream\n" + zlib.compress(b"\0" * 10_000_000) + b"\n"
    last = b"/ObjStm stream\n" + zlib.compress(b"/Type/Page ")
    text = b"%" * 200_000
    assert media._pages(text + packed + last, media.DecompressionBudget()) == 1
    assert media._pages(text + packed * 2 + last, media.DecompressionBudget()) == 0


def test_a_small_document_is_not_unpacked_to_a_large_one() -> None:
    """Twenty kilobytes took 80 ms, before any payment."""
    budget = media.DecompressionBudget()
    bomb = b"%PDF /ObjStm stream\n" + zlib.compress(b"/Type/" * 3_000_000)
    before = budget.left
    assert media._pages(bomb, budget) == 0
    assert before - budget.left < 110 * len(bomb)
    assert media._pages(packed_pdf(30), budget) == 30


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_seconds_of_a_recording_that_says_its_rate(rate: int) -> None:
    spoken = wav(20, rate)
    said = {"data": base64.b64encode(spoken).decode(), "format": "wav"}
    assert media.tokens("input_audio", said) == 21 * 32
    assert media.tokens("file", file("audio/wav", spoken)) == 21 * 32


@pytest.mark.parametrize("rate", [0, 1, 3_999, 400_000, 2**32 - 1])
def test_a_rate_that_no_recording_has(rate: int) -> None:
    lying = bytearray(wav(20))
    lying[28:32] = rate.to_bytes(4, "little")
    assert media.tokens("file", file("audio/wav", bytes(lying))) == (1 + len(lying) // 4_000) * 32


def test_seconds_by_size() -> None:
    """Ten minutes of MP3 at 32 kbit/s, and a film of ten seconds at 480 kbit/s."""
    song = base64.b64encode(b"ID3" + b"\0" * 2_400_000).decode()
    assert media.tokens("input_audio", {"data": song, "format": "mp3"}) == 601 * 32
    film = uri("video/mp4", b"\0" * 600_000)
    assert media.tokens("video_url", {"url": film}) == 11 * 300
    assert media.tokens("file", {"file_data": film}) == 11 * 300


@pytest.mark.parametrize(("fps", "frames"), [(0.1, 1), (-3, 1), (1, 1), (1.5, 2), (24, 24), (10**400, 24), ("x", 1)])
def test_a_film_is_looked_at_as_often_as_asked(fps: Any, frames: int) -> None:
    assert media.tokens("video_url", {"url": uri("video/mp4", b"\0" * 600_000), "fps": fps}) == 11 * 300 * frames


@pytest.mark.parametrize(
    ("name", "medium", "tokens"),
    [
        ("image_url", {"url": "https://pictures.example/a.png"}, PICTURE),
        ("image_url", {"url": uri("image/png", b"\x89PNG" + b"\0" * 1_000_000)}, PICTURE),
        ("image_url", "https://pictures.example/a.png", PICTURE),
        ("images", "data:,A", PICTURE),
        ("images", {"image_url": {"url": "data:,A"}}, PICTURE),
        ("file", {"file_data": "https://files.example/a.pdf"}, 10 * PAGE),
        ("file", {"file_id": "file-1"}, 10 * PAGE),
        ("file", {"file_data": uri("text/csv", b"a,b\n" * 1000)}, 1000),
        ("video_url", {"url": "https://films.example/watch"}, 300 * 300),
        ("video_url", {"url": "https://films.example/watch", "fps": 2}, 2 * 300 * 300),
        ("input_audio", {"data": "", "format": "wav"}, 32),
        ("input_audio", None, 32),
        ("input_audio", {"url": "https://songs.example/a.mp3"}, 300 * 32),
        ("input_audio", {"url": uri("audio/mpeg", b"ID3" + b"\0" * 40_000)}, 11 * 32),
        ("file", 7, 10 * PAGE),
    ],
)
def test_what_stands_under_the_name_of_a_medium(name: str, medium: Any, tokens: int) -> None:
    assert media.tokens(name, medium) == tokens


def test_only_what_stands_beside_the_content_is_text() -> None:
    assert media.labels("input_audio", {"url": "data:audio/mpeg;base64,SUQz", "format": "mp3"}) == ["mp3"]
    assert media.labels("input_audio", {"data": "SUQz", "format": "mp3"}) == ["mp3"]


def object_stream(data: bytes) -> bytes:
    return b"<</Type/ObjStm/Length 1>>stream\n" + data + b"\nendstream\n"


def test_the_streams_of_a_document_share_a_bound_on_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = [zlib.compress(bytes([number]) * 800) for number in range(4)]
    left = 1000 - 800 - len(packed[0] + b"\nendstream\n") // 8
    monkeypatch.setattr(media, "_MAX_DECOMPRESSED_BYTES", 1000)
    document = b"%PDF" + b"".join(map(object_stream, packed))
    assert 0 < left < 200
    monkeypatch.setattr(media, "_MAX_COMPRESSED_BYTES", len(packed[0] + b"\nendstream\n"))
    assert [len(objects) for objects in media._object_streams(document, media.DecompressionBudget())] == [800, left]


def test_what_cannot_be_decompressed_counts_against_the_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = object_stream(zlib.compress(b"page"))
    broken = object_stream(b"x" * 300)
    monkeypatch.setattr(media, "_MAX_COMPRESSED_BYTES", 200)
    for bound, found in ((199, []), (202, [b"pag"]), (1000, [b"page"])):
        monkeypatch.setattr(media, "_MAX_DECOMPRESSED_BYTES", bound)
        assert list(media._object_streams(b"%PDF" + broken + whole, media.DecompressionBudget())) == found


def test_only_so_many_streams_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_MAX_STREAMS", 2)
    document = b"%PDF" + object_stream(zlib.compress(b"page")) * 3
    assert list(media._object_streams(document, media.DecompressionBudget())) == [b"page"] * 2


def test_the_documents_of_a_request_share_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request of a megabyte has room for fifty documents that hold 16 MiB each."""
    monkeypatch.setattr(media, "_MAX_DECOMPRESSED_BYTES", 2000)
    document = file("application/pdf", b"%PDF" + object_stream(zlib.compress(b"/Type/Page " * 100)))
    parts = [{"type": "file", "file": document}] * 4
    alone = [prompt_tokens({"messages": [{"role": "user", "content": [part]}]}) for part in parts]
    assert [tokens // PAGE for tokens in alone] == [100] * 4
    together = prompt_tokens({"messages": [{"role": "user", "content": parts}]})
    assert 100 < together // PAGE < 200
