"""Build, measure and launch the enclave image."""
