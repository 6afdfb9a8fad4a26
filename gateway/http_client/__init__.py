"""HTTP/1.1 client for upstreams and facilitators: a connection pool per origin, responses read as they arrive."""
