"""Enclave image files: write, read and measure them without nitro-cli. facts/enclave.md 3 is the specification."""
