"""The response of an image endpoint: images, and failures among them (facts/providers.md 6.6, 7.4)."""

from typing import Any

import msgspec

from gateway.openai_api.errors import upstream_error, upstream_undecodable
from gateway.upstreams import media_types


class Failure(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class Item(msgspec.Struct):
    """An image, or the reason why it is missing: ``error``, or ``respect_moderation`` false."""

    b64_json: str | None = None
    url: str | None = None
    mime_type: str | None = None
    error: Failure | None = None
    respect_moderation: bool | None = None

    @property
    def image(self) -> str | None:
        """The image as a ``data:`` URI of its sniffed type, or the vendor's URL of it."""
        if not self.b64_json:
            return self.url
        data = self.b64_json.partition(",")[2] if self.b64_json.startswith("data:") else self.b64_json
        try:
            sniffed = media_types.sniff_base64(data)
        except ValueError:
            raise upstream_error(
                "upstream_bad_response", "The upstream returned an image that is not valid base64"
            ) from None
        return f"data:{sniffed or self.mime_type or 'image/jpeg'};base64,{data}"


class ImagesResponse(msgspec.Struct):
    model: str | None = None
    data: list[Item] | None = None
    error: Any = None
    code: Any = None
    type: Any = None

    @property
    def failure(self) -> Failure | None:
        """The error of the first missing image that has one."""
        return next((item.error for item in self.data or () if item.error is not None), None)

    @property
    def moderated(self) -> bool:
        """An image was withheld by moderation."""
        return any(item.respect_moderation is False for item in self.data or ())


_decode = msgspec.json.Decoder(ImagesResponse).decode


def decode(body: bytes) -> ImagesResponse:
    """Decode ``body``. Raises 502."""
    try:
        return _decode(body)
    except (ValueError, RecursionError):
        raise upstream_undecodable() from None
