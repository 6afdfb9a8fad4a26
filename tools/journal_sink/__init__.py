"""The host's side of an enclave's journal: keeps sealed records that it cannot read."""
