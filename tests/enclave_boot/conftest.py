"""The marker of tests that boot an image: minutes, and parts that have to be prepared."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "enclave: boots the enclave image in an emulator; run by `make test-enclave`")
