"""JSON responses of the endpoints that are not on the hot path."""

from typing import Any

import msgspec
from aiohttp import web


def json_response(body: Any, status: int = 200) -> web.Response:
    """A response with ``body`` encoded as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
