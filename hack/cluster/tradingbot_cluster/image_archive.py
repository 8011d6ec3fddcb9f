"""Image archives (`docker load`, `ctr images import`) written out of tars and folders, with nothing but the standard library."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """One image: layers from the lowest, and how its containers start."""

    tags: Sequence[str]
    layers: Sequence[Path]
    """Uncompressed tars; one that several images share is stored once."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """As in the image specification: Entrypoint, Cmd, Env, StopSignal."""


def layer_of(folder: Path, out: Path) -> Path:
    """
    Write a folder as a layer and return it; the same files give the same bytes.

    Everything in it belongs to root, with the modes that it has, and no times.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = 0
        return entry

    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if "__pycache__" not in path.parts:
                tar.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=plain)
    return out


def write_archive(out: Path, images: Sequence[Image]) -> None:
    """Write images as one archive."""
    digests = {layer: _digest(layer) for image in images for layer in image.layers}
    manifest: list[dict[str, Any]] = []
    with tarfile.open(out, "w") as tar:
        for digest, layer in {digest: layer for layer, digest in digests.items()}.items():
            entry = tarfile.TarInfo(f"{digest}.tar")
            entry.size = layer.stat().st_size
            with layer.open("rb") as content:
                tar.addfile(entry, content)
        for image in images:
            names = [digests[layer] for layer in image.layers]
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "created": "1970-01-01T00:00:00Z",
                    "config": {"Env": [PATH], **image.config},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}" for name in names]},
                }
            ).encode()
            name = hashlib.sha256(config).hexdigest() + ".json"
            if name not in {one["Config"] for one in manifest}:
                _put(tar, name, config)
            manifest.append({"Config": name, "RepoTags": list(image.tags), "Layers": [f"{n}.tar" for n in names]})
        _put(tar, "manifest.json", json.dumps(manifest).encode())


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
