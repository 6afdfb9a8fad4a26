"""The image archive: reproducible bytes, and the fields that OCI and Docker require."""

import hashlib
import io
import json
import tarfile

from nitro.image.oci import Image, layer_of, pack
from nitro.tree import Directory, File, Symlink, Tree


def tree() -> Tree:
    root = Tree()
    root.add("usr/bin/python3", Symlink("python3.11"))
    root.add("usr/bin/python3.11", File(b"\x7fELF", 0o755))
    root.add("tmp", Directory(0o1777))
    root.add("a/" + "very-long-name/" * 12 + "file", File(b"deep"))
    return root


def image() -> Image:
    return pack(tree(), name="gateway:test", command=["/start"], environment={"PATH": "/usr/bin"})


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        return {name: content.read() for name, content in files.items() if content}


def test_the_same_tree_gives_the_same_bytes() -> None:
    assert image() == image()


def test_the_bytes_are_these() -> None:
    """Changes only with the format of every image, and then all published digests change."""
    assert image().digest == "sha256:f1a4c618a34a23f5a62f6542b78a773905d11000d07e14776772bbc0fdfcaedc"


def test_every_blob_is_named_after_its_content() -> None:
    files = unpacked(image().archive)
    blobs = {name: content for name, content in files.items() if name.startswith("blobs/")}
    assert len(blobs) == 3
    for name, content in blobs.items():
        assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"


def test_the_oci_index_leads_to_the_layer() -> None:
    files = unpacked(image().archive)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    entry = json.loads(files["index.json"])["manifests"][0]
    assert entry["digest"] == image().digest
    manifest = json.loads(files[f"blobs/{entry['digest'].replace(':', '/')}"])
    assert manifest["layers"][0]["digest"] == f"sha256:{hashlib.sha256(layer_of(tree())).hexdigest()}"
    config = json.loads(files[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    assert config["config"] == {"Cmd": ["/start"], "Env": ["PATH=/usr/bin"]}
    assert (config["os"], config["architecture"], config["created"]) == ("linux", "amd64", "1970-01-01T00:00:00Z")


def test_docker_finds_its_own_manifest() -> None:
    files = unpacked(image().archive)
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["gateway:test"]
    assert {entry["Config"], *entry["Layers"]} <= set(files)


def test_the_layer_says_nothing_of_its_builder() -> None:
    with tarfile.open(fileobj=io.BytesIO(layer_of(tree()))) as tar:
        members = {member.name: member for member in tar}
    assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in members.values()} == {
        (0, 0, "", "", 0)
    }
    assert members["usr/bin/python3"].linkname == "python3.11"
    assert members["tmp"].mode == 0o1777
    assert members["usr/bin/python3.11"].mode == 0o755
    assert [path for path, _ in tree().entries()] == list(members)
