"""An image archive for ``docker load`` and OCI tools: an OCI layout with Docker's manifest.json.

Its one layer is uncompressed, so that the bytes do not depend on the version of a compressor.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nitro.tree import Directory, Entry, File, Symlink, Tree

_EPOCH = "1970-01-01T00:00:00Z"
_MEDIA = "application/vnd.oci.image."


@dataclass(frozen=True)
class Image:
    """The archive's bytes, and the digest of its OCI manifest as ``sha256:…``, by which registries name the image."""

    archive: bytes
    digest: str


def pack(tree: Tree, *, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Image:
    """The image of ``tree`` for linux/amd64, tagged ``name`` (``repository:tag``) when Docker loads it."""
    layer = layer_of(tree)
    config = _json(
        {
            "architecture": "amd64",
            "config": {"Cmd": list(command), "Env": [f"{key}={value}" for key, value in environment.items()]},
            "created": _EPOCH,
            "history": [{"created": _EPOCH, "created_by": "python -m nitro.image"}],
            "os": "linux",
            "rootfs": {"diff_ids": [_digest(layer)], "type": "layers"},
        }
    )
    manifest = _json(
        {
            "config": _descriptor("config.v1+json", config),
            "layers": [_descriptor("layer.v1.tar", layer)],
            "mediaType": f"{_MEDIA}manifest.v1+json",
            "schemaVersion": 2,
        }
    )
    annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    index = {
        "manifests": [{**_descriptor("manifest.v1+json", manifest), "annotations": annotations}],
        "mediaType": f"{_MEDIA}index.v1+json",
        "schemaVersion": 2,
    }
    for_docker = [{"Config": _blob(config), "Layers": [_blob(layer)], "RepoTags": [name]}]
    archive = Tree()
    archive.add("oci-layout", File(_json({"imageLayoutVersion": "1.0.0"})))
    archive.add("index.json", File(_json(index)))
    archive.add("manifest.json", File(_json(for_docker)))
    for blob in (config, layer, manifest):
        archive.add(_blob(blob), File(blob))
    return Image(layer_of(archive), _digest(manifest))


def layer_of(tree: Tree) -> bytes:
    """A tar of ``tree`` in tree order; all entries are owned by root and dated 1970."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, entry in tree.entries():
            tar.addfile(_header(path, entry), io.BytesIO(entry.data) if isinstance(entry, File) else None)
    return target.getvalue()


def _header(path: str, entry: Entry) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    match entry:
        case Directory():
            header.type, header.mode = tarfile.DIRTYPE, entry.mode
        case File():
            header.size, header.mode = len(entry.data), entry.mode
        case Symlink():
            header.type, header.mode, header.linkname = tarfile.SYMTYPE, 0o777, entry.target
    return header


def _descriptor(kind: str, blob: bytes) -> dict[str, str | int]:
    return {"digest": _digest(blob), "mediaType": _MEDIA + kind, "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _blob(blob: bytes) -> str:
    return f"blobs/{_digest(blob).replace(':', '/')}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
