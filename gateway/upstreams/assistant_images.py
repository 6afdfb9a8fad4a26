"""The pictures of earlier answers, as clients send them back (facts/providers.md 9.1)."""

from typing import Any


def assistant_image_url(picture: Any) -> str:
    """The URL of one of an assistant's pictures, as a string or in OpenRouter's object; empty for anything else."""
    if isinstance(picture, dict):
        picture = picture.get("image_url")
        picture = picture.get("url") if isinstance(picture, dict) else picture
    return picture if isinstance(picture, str) else ""
