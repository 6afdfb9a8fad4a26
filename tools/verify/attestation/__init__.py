"""AWS Nitro attestation documents: parser, certificate path, policy. Specified in facts/enclave.md 2."""
