"""Shared fixtures: one root file system, built once, and the launcher's host."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from nitro.image import rootfs
from nitro.inputs import Inputs
from nitro.tree import Tree
from tests.nitro.launcher_host import BACKGROUND, Host, ended

STAND_IN_DAEMON = b"#!/bin/sh\nexit 1\n"


@pytest.fixture(scope="session")
def root_tree() -> Tree:
    """The root file system with a stand-in for nitriding; needs apt-get and dpkg-deb."""
    return rootfs.build(Inputs(), STAND_IN_DAEMON)


@pytest.fixture(scope="session")
def root_folder(root_tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("enclave") / "root"
    root_tree.write_to(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host of stand-in commands; what is still running at the end is killed."""
    host = Host(tmp_path)
    yield host
    for name in BACKGROUND:
        if not ended(pid := host.pid(name)):
            os.kill(pid, signal.SIGKILL)
