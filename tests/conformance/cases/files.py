"""Image, document and audio input; image output requested from models without it."""

import base64
from typing import Any

from tests.conformance.cases.case import Case, answering, text_part, user
from tests.conformance.cases.tools import TOOLS, called
from tests.conformance.harness import PICTURE
from tools.simulators.sample_images import png

PNG = base64.b64encode(png(0xC0FFEE)).decode()
FETCHED = base64.b64encode(PICTURE).decode()
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
WAV = base64.b64encode(b"RIFF\x04\x00\x00\x00WAVE").decode()

PNG_URI, PDF_URI = f"data:image/png;base64,{PNG}", f"data:application/pdf;base64,{PDF}"
URL = "https://pictures.example/oslo.png"
PART, RESULT_PART = "messages[0].content[1]", "messages[2].content[1]"
BYTES = {"anthropic": (PNG,), "google": (PNG,)}


def asking_about(part: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return (user([text_part("What is this?"), part]),)


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


CASES = (
    Case(
        name="a picture",
        messages=asking_about(picture(PNG_URI)),
        scenario=answering("A pixel."),
        texts=("A pixel.",),
        arrives=(PNG_URI,),
        arrives_as=BYTES,
        refused={"nous": f"{PART}.type"},
    ),
    Case(
        name="a picture by URL",
        messages=asking_about(picture(URL)),
        scenario=answering("A pixel."),
        texts=("A pixel.",),
        arrives=(URL,),
        arrives_as={"google": (FETCHED,)},
        refused={"nous": f"{PART}.type"},
    ),
    Case(
        name="a PDF",
        messages=asking_about({"type": "file", "file": {"file_data": PDF_URI, "filename": "paper.pdf"}}),
        scenario=answering("A paper."),
        texts=("A paper.",),
        arrives=(PDF_URI, "paper.pdf"),
        arrives_as={"anthropic": (PDF, "paper.pdf"), "google": (PDF,)},
        refused={"xai": f"{PART}.type", "bytedance": f"{PART}.type", "nous": f"{PART}.type"},
    ),
    Case(
        name="sound",
        messages=asking_about({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
        scenario=answering("A click."),
        texts=("A click.",),
        arrives=(WAV,),
        refused={
            "openai": f"{PART}.type",
            "xai": f"{PART}.type",
            "bytedance": f"{PART}.type",
            "nous": f"{PART}.type",
            "anthropic": PART,
        },
    ),
    Case(
        name="a picture in a tool's result",
        parameters=TOOLS,
        messages=(
            user("What does the camera see?"),
            {"role": "assistant", "content": None, "tool_calls": [called("call_1", "clock", "{}")]},
            {"role": "tool", "tool_call_id": "call_1", "content": [text_part("This:"), picture(PNG_URI)]},
        ),
        scenario=answering("A pixel."),
        texts=("A pixel.",),
        arrives=("This:", PNG),
        refused={
            "openai": f"{RESULT_PART}.type",
            "xai": f"{RESULT_PART}.type",
            "bytedance": f"{RESULT_PART}.type",
            "nous": f"{RESULT_PART}.type",
        },
    ),
    Case(
        name="a picture asked of a model of words",
        parameters={"modalities": ["text", "image"]},
        scenario=answering("No."),
        refused=dict.fromkeys(("openai", "xai", "bytedance", "nous", "anthropic", "google"), "modalities"),
    ),
)
