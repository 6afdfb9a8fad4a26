"""HTTP/1.1 server on aiohttp's low-level one: connections, request bodies under limits, and fast responses."""
