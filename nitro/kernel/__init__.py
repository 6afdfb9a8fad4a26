"""The enclave's kernel: Debian's locked source, compiled with locked tools."""
