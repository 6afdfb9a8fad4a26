"""How the vendors' picture endpoints differ, as data (facts/providers.md 6.6, 7.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.openai_api.errors import GatewayError, model_not_found
from gateway.upstreams.error_rules import MODELARK_ERRORS, XAI_ERRORS, ErrorRule, VendorError


@dataclass(frozen=True, kw_only=True)
class ImagesDialect:
    """One vendor's picture endpoint.

    ``fixed`` are fields sent with every request. ``references`` is how many pictures a request may build on,
    ``size`` the field that ``image_config.image_size`` goes to, empty for none. ``counts``: the vendor takes ``n``.
    ``errors``: first matching rule decides.
    """

    errors: tuple[ErrorRule, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    references: int = 0
    size: str = ""
    counts: bool = False


def _moved(error: VendorError) -> GatewayError:
    return model_not_found("The upstream does not serve this model")


XAI_IMAGES = ImagesDialect(
    errors=(ErrorRule(_moved, status=(400, 500), message="grok-imagine-image"), *XAI_ERRORS),
    counts=True,
)

MODELARK_IMAGES = ImagesDialect(
    errors=MODELARK_ERRORS,
    fixed={"watermark": False},
    references=10,
    size="size",
)
