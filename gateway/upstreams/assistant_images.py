"""Images of earlier assistant messages, as clients send them back (facts/providers.md 9.1)."""

from typing import Any


def assistant_image_url(image: Any) -> str:
    """The URL of an entry of ``images``, a string or OpenRouter's object; empty for anything else."""
    if isinstance(image, dict):
        image = image.get("image_url")
        image = image.get("url") if isinstance(image, dict) else image
    return image if isinstance(image, str) else ""
