"""Reads the gateway's event streams."""

import json
from typing import Any


def events(stream: bytes) -> list[dict[str, Any]]:
    """The JSON objects of a stream's events, ``[DONE]`` and comments left out."""
    return [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]
