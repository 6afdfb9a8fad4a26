"""The root file system of the enclave, and the archive that Docker and OCI tools load."""
