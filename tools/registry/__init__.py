"""The on-chain TEE registry: approve images, register enclaves by attestation, show entries."""
