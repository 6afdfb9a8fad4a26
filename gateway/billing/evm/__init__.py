"""What the gateway reads from and signs for EVM chains: JSON-RPC, EIP-712 digests, wire values."""
