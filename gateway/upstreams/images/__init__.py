"""Image models behind the vendors' /images/generations, used as chat models (facts/providers.md 6.6, 7.4, 9)."""

from gateway.upstreams.images.adapter import ImagesAdapter
from gateway.upstreams.images.dialects import MODELARK_IMAGES, XAI_IMAGES, ImagesDialect

__all__ = ["MODELARK_IMAGES", "XAI_IMAGES", "ImagesAdapter", "ImagesDialect"]
