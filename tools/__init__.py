"""What operators, verifiers and tests run beside the gateway; nothing here enters the enclave."""
