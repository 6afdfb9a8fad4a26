"""HTTP/1.1 to upstreams and facilitators: pooled connections, and responses that arrive on them."""
