"""The gateway's files that are included in the image, and the inputs that the image refuses."""

from pathlib import Path

import pytest

from nitro.errors import BuildError
from nitro.image.__main__ import SIZE_LIMIT, refuse_bulk
from nitro.image.rootfs import gateway
from nitro.inputs import ROOT
from nitro.tree import Directory, File, Tree


def test_the_gateway_with_fixed_modes_and_no_bytecode(tmp_path: Path) -> None:
    (tmp_path / "billing" / "__pycache__").mkdir(parents=True)
    (tmp_path / "billing" / "__pycache__" / "quote.cpython-311.pyc").write_bytes(b"\x00")
    (tmp_path / "billing" / "quote.py").write_bytes(b"pass\n")
    (tmp_path / "billing" / "quote.py").chmod(0o700)
    (tmp_path / "py.typed").touch()
    assert dict(gateway(tmp_path).entries()) == {
        "billing": Directory(0o755),
        "billing/quote.py": File(b"pass\n", 0o644),
        "py.typed": File(b"", 0o644),
    }


@pytest.mark.parametrize("name", [".env", "quote.py.orig", "journal.sqlite", "quote.pyc"])
def test_a_stray_file_is_refused_not_packed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(BuildError, match="does not have a suffix that is allowed in the image"):
        gateway(tmp_path)


@pytest.mark.parametrize("target", ["quote.py", "nowhere", "billing"])
def test_a_link_is_refused_not_followed_or_left_out(tmp_path: Path, target: str) -> None:
    """An editor's lock file, for example, is a link to nowhere whose name ends in .py."""
    (tmp_path / "quote.py").touch()
    (tmp_path / "billing").mkdir()
    (tmp_path / ".#quote.py").symlink_to(target)
    with pytest.raises(BuildError, match=r"gateway/\.#quote\.py is a symbolic link"):
        gateway(tmp_path)


def test_the_path_of_the_checkout_excludes_nothing(tmp_path: Path) -> None:
    package = tmp_path / "__pycache__" / "gateway"
    package.mkdir(parents=True)
    (package / "quote.py").touch()
    assert "quote.py" in gateway(package)


def test_this_repository_s_gateway_is_packed_whole() -> None:
    packed = {path for path, entry in gateway(ROOT / "gateway").entries() if isinstance(entry, File)}
    sources = {file.relative_to(ROOT / "gateway").as_posix() for file in (ROOT / "gateway").rglob("*.py")}
    assert sources <= packed


def test_bulk_is_refused() -> None:
    tree = Tree()
    tree.add("bulk", File(bytes(SIZE_LIMIT - 1)))
    refuse_bulk(tree)
    tree.add("straw", File(b"x"))
    with pytest.raises(BuildError, match=f"has {SIZE_LIMIT} bytes"):
        refuse_bulk(tree)
