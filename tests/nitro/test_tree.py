"""The in-memory root file system: rejected entries, and that only names, modes and bytes count."""

import os
from pathlib import Path

import pytest

from nitro.errors import BuildError
from nitro.tree import Directory, File, Symlink, Tree


def small() -> Tree:
    tree = Tree()
    tree.add("usr/bin/tool", File(b"#!/bin/sh\n", 0o755))
    tree.add("etc/name", File(b"x"))
    tree.add("bin", Symlink("usr/bin"))
    tree.add("tmp", Directory(0o1777))
    return tree


def test_parents_come_first_and_order_is_by_path_component() -> None:
    tree = small()
    tree.add("etc-old/file", File(b""))
    assert [path for path, _ in tree.entries()] == [
        "bin",
        "etc",
        "etc/name",
        "etc-old",
        "etc-old/file",
        "tmp",
        "usr",
        "usr/bin",
        "usr/bin/tool",
    ]
    assert tree["usr"] == Directory(0o755)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "", "."])
def test_paths_outside_are_refused(path: str) -> None:
    with pytest.raises(BuildError, match="is not a valid path in an image"):
        Tree().add(path, File(b""))


def test_two_inputs_for_one_path_are_refused() -> None:
    tree = small()
    tree.add("etc/name", File(b"x"))
    with pytest.raises(BuildError, match="two inputs have the path etc/name"):
        tree.add("etc/name", File(b"y"))
    with pytest.raises(BuildError, match="etc/name/below is below etc/name"):
        tree.add("etc/name/below", File(b""))
    with pytest.raises(BuildError, match="bin/tool is below bin"):
        tree.add("bin/tool", File(b""))


def test_a_directory_may_be_named_again_with_its_mode() -> None:
    tree = small()
    tree.add("usr/bin", Directory(0o750))
    assert tree["usr/bin"] == Directory(0o750)


def test_the_listing_names_everything_once() -> None:
    assert small().listing() == (
        "0777 bin -> usr/bin\n"
        "0755 etc /\n"
        "0644 etc/name 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
        "1777 tmp /\n"
        "0755 usr /\n"
        "0755 usr/bin /\n"
        "0755 usr/bin/tool a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf\n"
    )


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("etc/name", File(b"y")),
        ("etc/name", File(b"x", 0o600)),
        ("bin", Symlink("usr/sbin")),
        ("tmp", Directory(0o755)),
        ("etc/more", File(b"")),
    ],
)
def test_any_difference_moves_the_digest(path: str, entry: File | Symlink | Directory) -> None:
    changed = Tree()
    for name, each in small().entries():
        changed.add(name, entry if name == path else each)
    if path not in changed:
        changed.add(path, entry)
    assert changed.digest() != small().digest()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_disk_and_back_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        small().write_to(tmp_path / "root")
    finally:
        os.umask(before)
    assert Tree.read_from(tmp_path / "root").listing() == small().listing()


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BuildError, match="pipe is not a file"):
        Tree.read_from(tmp_path)


def test_size_counts_bytes_of_files() -> None:
    assert small().size() == len(b"#!/bin/sh\n") + 1
