"""Write, read and measure enclave image files without nitro-cli, as specified in facts/enclave.md 3."""
