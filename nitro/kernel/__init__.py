"""The enclave's kernel, from Debian's source by lock, compiled by locked tools."""
