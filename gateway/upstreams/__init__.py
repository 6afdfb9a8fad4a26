"""Rooms of the upstream vendors: adapters without I/O, and the transport that carries them."""
