"""aiohttp's connection pool, with connections that end when they are closed."""

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class AbortingHandler(ResponseHandler):
    """One client connection; closing it is aborting it.

    Closed, TLS in uvloop reads on for up to 30 s, and as fast as it can, from a peer that does not heed its
    ``close_notify`` (MagicStack/uvloop#471): a vendor would go on generating, a file go on growing beyond its limit.
    """

    def close(self) -> None:
        self.abort()


class Connector(aiohttp.TCPConnector):
    """A pool of connections of the class ``handler``."""

    def __init__(self, handler: type[AbortingHandler] = AbortingHandler, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(handler, loop=self._loop)  # type: ignore[assignment] # it is a ResponseHandler
