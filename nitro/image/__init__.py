"""The enclave's root file system, and its image archive for Docker and OCI tools."""
