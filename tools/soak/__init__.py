"""A seeded soak: every fault of networks, vendors, facilitators and clients at once, and what must hold after it."""
