"""The TEE registry on chain: approve an image, register an enclave by its attestation, see what is registered."""
