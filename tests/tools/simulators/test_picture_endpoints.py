"""/images/generations of xAI and ModelArk, and the generated images."""

import base64
import struct
import zlib
from typing import Any

import pytest

from tests.tools.simulators.clients import HttpClient, Response
from tools.simulators import Fleet, Scenario
from tools.simulators.sample_images import jpeg, png

SEEDREAM = "seedream-4-0-250828"


async def paint(http: HttpClient, vendor: str, **fields: Any) -> Response:
    model = SEEDREAM if vendor == "bytedance" else "grok-imagine-image"
    return await http.post(vendor, "/images/generations", {"model": model, "prompt": "a cat", **fields})


@pytest.mark.parametrize("size", [0, 1000, 200_000])
def test_a_png_is_whole_and_as_large_as_wanted(size: int) -> None:
    data = png(0x123456, size)
    assert len(data) >= size
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, kinds = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(body)
        kinds.append(body[:4])
        at += 12 + length
    assert kinds == [b"IHDR", b"siMu", b"IDAT", b"IEND"]


@pytest.mark.parametrize("size", [0, 1000, 200_000])
def test_a_jpeg_is_a_chain_of_segments(size: int) -> None:
    data = jpeg(7, size)
    assert len(data) >= size
    assert (data[:2], data[-2:]) == (b"\xff\xd8", b"\xff\xd9")
    at, markers = 2, []
    while data[at + 1] != 0xDA:
        assert data[at] == 0xFF
        markers.append(data[at + 1])
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    assert [marker for marker in markers if marker != 0xFE] == [0xE0, 0xDB, 0xC0, 0xC4, 0xC4]


def test_seeds_make_different_pictures() -> None:
    assert png(1) != png(2)
    assert jpeg(1) != jpeg(2)


async def test_xai_prices_each_picture(http: HttpClient) -> None:
    response = await paint(http, "xai", n=3, response_format="b64_json")
    assert response.json["usage"] == {"cost_in_usd_ticks": 600_000_000}
    for picture in response.json["data"]:
        assert base64.b64decode(picture["b64_json"]).startswith(b"\xff\xd8")
        assert picture["mime_type"] == "image/jpeg"
        assert picture["revised_prompt"]


async def test_modelark_counts_delivered_pictures_and_reports_failed_ones(http: HttpClient) -> None:
    http.fleet.ark.enqueue(Scenario(pictures=1, failed_pictures=1))
    response = await paint(http, "bytedance", response_format="b64_json", size="2K", watermark=False)
    assert (response.status, response.json["model"]) == (200, SEEDREAM)
    assert response.json["usage"]["generated_images"] == 1
    assert response.json["data"][0]["size"] == "2048x2048"
    assert response.json["data"][1]["error"]["code"] == "OutputImageSensitiveContentDetected"


async def test_modelark_makes_several_pictures_in_sequence_only(http: HttpClient) -> None:
    response = await paint(
        http,
        "bytedance",
        sequential_image_generation="auto",
        sequential_image_generation_options={"max_images": 3},
    )
    assert len(response.json["data"]) == 3
    assert response.json["data"][0]["url"].startswith("https://")


async def test_a_picture_can_be_large_and_prefixed(http: HttpClient) -> None:
    http.fleet.xai.enqueue(Scenario(picture_bytes=2_000_000, picture_prefix=True))
    response = await paint(http, "xai", response_format="b64_json")
    text = response.json["data"][0]["b64_json"]
    assert text.startswith("data:image/jpeg;base64,")
    assert len(text) > 2_600_000


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "xai quality": ("xai", {"quality": "hd"}, "quality"),
    "xai size": ("xai", {"size": "1024x1024"}, "size"),
    "xai n": ("xai", {"n": 11}, "n must be"),
    "xai format": ("xai", {"response_format": "png"}, "response_format"),
    "modelark n": ("bytedance", {"n": 1}, "n"),
    "modelark size": ("bytedance", {"size": "2048×2048"}, "size"),
    "modelark references": ("bytedance", {"image": ["https://example.com/a.png"] * 11}, "reference"),
    "modelark no prompt": ("bytedance", {"prompt": ""}, "MissingParameter"),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_the_endpoints_refuse(http: HttpClient, case: str) -> None:
    vendor, fields, said = REFUSED[case]
    response = await paint(http, vendor, **fields)
    assert response.status == 400
    assert said in response.body.decode()


async def test_grok_2_image_is_gone_with_a_500(http: HttpClient) -> None:
    response = await paint(http, "xai", model="grok-2-image")
    assert response.status == 500
    assert "grok-imagine-image" in response.json["error"]


async def test_grok_2_image_still_answers_in_a_fleet_of_the_past() -> None:
    async with Fleet(serve_retired=True) as fleet:
        import aiohttp

        async with aiohttp.ClientSession() as session:
            response = await paint(HttpClient(fleet, session), "xai", model="grok-2-image")
    assert response.json["usage"] == {"cost_in_usd_ticks": 700_000_000}


async def test_a_prompt_can_spell_out_its_scenario(http: HttpClient) -> None:
    response = await paint(http, "xai", prompt='@sim {"error": "content_policy"}')
    assert response.status == 403
