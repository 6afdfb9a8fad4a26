"""The upstream vendors: adapters without I/O, and the transport that sends their requests."""
