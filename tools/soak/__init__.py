"""A seeded soak test: faults of networks, vendors, facilitator and clients at once, and invariants checked after it."""
