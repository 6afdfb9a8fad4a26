"""How the vendors' image endpoints differ, as data (facts/providers.md 6.6, 7.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.upstreams.error_rules import ErrorRule, model_not_found
from gateway.upstreams.openai.errors import MODELARK_ERRORS, XAI_ERRORS


@dataclass(frozen=True, kw_only=True)
class ImagesDialect:
    """One vendor's image endpoint."""

    errors: tuple[ErrorRule, ...]
    """The first matching rule applies."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields sent with every request."""
    references: int = 0
    """The highest number of input images."""
    sizes: bool = False
    """The vendor supports ``size``, the caller's ``image_config.image_size``."""
    counts: bool = False
    """The vendor supports ``n``."""


XAI_IMAGES = ImagesDialect(
    errors=(ErrorRule(model_not_found, status=(400, 500), message="grok-imagine-image"), *XAI_ERRORS),
    counts=True,
)

MODELARK_IMAGES = ImagesDialect(
    errors=MODELARK_ERRORS,
    fixed={"watermark": False},
    references=10,
    sizes=True,
)
