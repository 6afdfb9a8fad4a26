"""The whole gateway in one command: no keys, no Docker, no account and, once installed, no network."""
