"""Key injection: verify the enclave, seal the keys to it, post the bundle, and verify the receipt."""
