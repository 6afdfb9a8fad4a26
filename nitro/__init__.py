"""Everything that makes, measures and launches the enclave image."""
