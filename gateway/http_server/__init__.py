"""HTTP/1.1 from clients: connections, request bodies, and responses on aiohttp's low-level server."""
