"""newc archives: parsed by hand, and by cpio where installed."""

import io
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.eif.cpio import CpioError, Entry, directory, regular, symlink, write_cpio

FIELDS = ["ino", "mode", "uid", "gid", "nlink", "mtime", "filesize"]
DEVICES = ["devmajor", "devminor", "rdevmajor", "rdevminor"]
FIELDS += [*DEVICES, "namesize", "check"]


def archive(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    write_cpio(entries, out)
    return out.getvalue()


def parse(data: bytes) -> list[tuple[str, dict[str, int], bytes]]:
    """Names, header fields and contents, the trailer left out."""
    found: list[tuple[str, dict[str, int], bytes]] = []
    position = 0
    while True:
        assert data[position : position + 6] == b"070701"
        words = data[position + 6 : position + 110]
        fields = {name: int(words[8 * i : 8 * i + 8], 16) for i, name in enumerate(FIELDS)}
        end = position + 110 + fields["namesize"]
        name = data[position + 110 : end - 1].decode()
        assert data[end - 1] == 0
        start = end + -end % 4
        position = start + fields["filesize"] + -(start + fields["filesize"]) % 4
        if name == "TRAILER!!!":
            assert not any(data[position:])
            return found
        found.append((name, fields, data[start : start + fields["filesize"]]))


ENTRIES = [
    regular("etc/motd", b"hi", mode=0o600),
    directory("etc"),
    regular("etc-file", b"x" * 5),
    symlink("bin", "usr/bin"),
]


def test_every_field_is_fixed_or_from_the_entry() -> None:
    parsed = parse(archive(ENTRIES))
    assert [name for name, _, _ in parsed] == ["bin", "etc", "etc-file", "etc/motd"]
    for inode, (_, fields, _) in enumerate(parsed, start=1):
        fixed = {"ino": inode, "uid": 0, "gid": 0, "nlink": 1, "mtime": 0, "check": 0, **dict.fromkeys(DEVICES, 0)}
        assert {name: fields[name] for name in fixed} == fixed
    by_name = {name: (fields, data) for name, fields, data in parsed}
    assert by_name["etc/motd"][0]["mode"] == stat.S_IFREG | 0o600
    assert by_name["etc/motd"][1] == b"hi"
    assert by_name["etc"][0]["mode"] == stat.S_IFDIR | 0o755
    assert by_name["bin"] == ({**by_name["bin"][0], "mode": stat.S_IFLNK | 0o777}, b"usr/bin")


def test_order_of_entries_umask_and_clock_do_not_matter(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    entries = [*ENTRIES, regular("file", source)]
    first = archive(entries)
    source.chmod(0o400)
    os.utime(source, (1, 1))
    assert archive(entries[::-1]) == first
    assert archive([*ENTRIES, regular("file", b"content")]) == first
    assert len(first) % 512 == 0


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([directory("/etc")], "not a name"),
        ([directory("")], "not a name"),
        ([directory("a"), regular("a/../b", b"")], "not a name"),
        ([directory("./a")], "not a name"),
        ([directory("a/")], "not a name"),
        ([regular("a\x00b", b"")], "not a name"),
        ([regular("TRAILER!!!", b"")], "not a name"),
        ([directory("a"), regular("a", b"")], "given twice"),
        ([regular("a/b", b"")], "its directory is not in the archive"),
        ([regular("a", b""), regular("a/b", b"")], "its directory is not in the archive"),
    ],
)
def test_entries_that_no_archive_should_have(entries: list[Entry], reason: str) -> None:
    with pytest.raises(CpioError, match=reason):
        archive(entries)


@given(st.dictionaries(st.text("abc-.é", min_size=1, max_size=5).filter(lambda n: n not in (".", "..")), st.binary()))
def test_any_files_come_back(files: dict[str, bytes]) -> None:
    parsed = parse(archive([regular(name, data) for name, data in files.items()]))
    assert {name: data for name, _, data in parsed} == files
    assert [name.encode() for name, _, _ in parsed] == sorted(name.encode() for name in files)


@pytest.mark.needs("cpio")
def test_cpio_extracts_it(tmp_path: Path) -> None:
    entries = [entry for entry in ENTRIES if entry.path != "dev/console"]
    command: list[Any] = ["cpio", "--extract", "--quiet", "--no-absolute-filenames"]
    subprocess.run(command, input=archive(entries), cwd=tmp_path, check=True)
    assert (tmp_path / "etc" / "motd").read_bytes() == b"hi"
    assert (tmp_path / "bin").readlink() == Path("usr/bin")
    assert (tmp_path / "etc-file").stat().st_mode == stat.S_IFREG | 0o644
