"""JSON responses of the endpoints that are not on the hot path."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response with ``body`` encoded as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), headers=headers, content_type="application/json")
