"""Key injection worth trusting: verify the enclave, seal the keys to it, hand the bundle over, see that it arrived."""
