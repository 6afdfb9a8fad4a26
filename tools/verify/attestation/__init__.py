"""AWS Nitro attestation documents: parse, path, policy. facts/enclave.md 2 is the specification."""
