"""Look into a Docker archive: what each file of the image weighs, and whether anything is in it that must not be."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORBIDDEN = (
    (r"(usr/)?(local/)?bin/(.*-)?(gcc|g\+\+|cc|c\+\+|clang|ld|as|make)(-[0-9.]+)?$", "a compiler's tool"),
    (r"opt/(pip|source)/", "a stage of the build"),
    (r"src/.+", "a stage of the build"),
    (r"opt/tradingbot/.*/site-packages/(pip|setuptools|wheel)/", "an installer"),
    (r"opt/tradingbot/.*/tests?/", "tests of a package"),
    (r"etc/pip\.(conf|ca\.pem)$", "this machine's pip configuration"),
    (r"(root|tmp|var/tmp)/.+", "a leftover of the build"),
)
"""What no image may hold: pattern of the path, and what it would be. The base's own pip is not ours to drop."""
HARMLESS = re.compile(r"root/\.(bashrc|profile|wget-hsts)$|root/\.cache$")
"""What Debian and the Python image themselves put there."""


@dataclass(frozen=True)
class Entry:
    """One file of an image."""

    path: str
    """Without the leading slash."""
    size: int
    """Bytes."""
    mode: int
    """Permission bits."""


@dataclass(frozen=True)
class Image:
    """What an archive holds."""

    names: tuple[str, ...]
    config: dict[str, Any]
    """The image's configuration, as the OCI names it: Env, User, Entrypoint and so on under `config`."""
    layers: tuple[tuple[Entry, ...], ...]
    """Files and links by layer, the base's first; whiteouts are kept as they stand."""

    def files(self) -> dict[str, Entry]:
        """Return what a container would see: later layers win, whiteouts are obeyed."""
        seen: dict[str, Entry] = {}
        for layer in self.layers:
            for entry in layer:
                folder, _, name = entry.path.rpartition("/")
                prefix = folder + "/" if folder else ""
                if name == ".wh..wh..opq":
                    seen = {path: kept for path, kept in seen.items() if not path.startswith(prefix)}
                elif name.startswith(".wh."):
                    gone = prefix + name.removeprefix(".wh.")
                    seen = {p: kept for p, kept in seen.items() if p != gone and not p.startswith(gone + "/")}
                else:
                    seen[entry.path] = entry
        return seen


def read(archive: Path) -> Image:
    """Read an archive as `docker save` and buildah write it."""
    with tarfile.open(archive) as tar:
        manifest = json.load(_open(tar, "manifest.json"))[0]
        config = json.load(_open(tar, manifest["Config"]))
        layers = []
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=_open(tar, name)) as layer:
                layers.append(
                    tuple(
                        Entry(member.name.removeprefix("./"), member.size, member.mode)
                        for member in layer
                        if not member.isdir()
                    )
                )
    return Image(tuple(manifest["RepoTags"] or ()), config, tuple(layers))


def _open(tar: tarfile.TarFile, name: str) -> Any:
    member = tar.getmember(name)
    if member.issym():  # equal layers are stored once
        member = tar.getmember(str(Path(name).parent.joinpath(member.linkname)).replace("../", ""))
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{name} in the archive is no file")
    return file


def leftovers(image: Image) -> list[str]:
    """Return a sentence for each thing that must not be in the image, and is, in any layer."""
    out = []
    for layer in image.layers:
        for entry in layer:
            for pattern, meaning in FORBIDDEN:
                if re.match(pattern, entry.path) and not HARMLESS.match(entry.path):
                    out.append(f"/{entry.path}: {meaning}")
            if entry.mode & 0o6000 and not entry.path.startswith(("usr/bin/", "bin/", "usr/sbin/", "sbin/")):
                out.append(f"/{entry.path}: runs with another's rights")
    return out


def weights(image: Image) -> Counter[str]:
    """Return bytes by part: the base, Python's packages by name, and our own."""
    out: Counter[str] = Counter()
    for entry in image.files().values():
        match = re.match(r"opt/tradingbot/lib/python3[^/]*/site-packages/([^/]+)", entry.path)
        if match is None:
            out["base (Debian, Python)" if not entry.path.startswith("opt/tradingbot") else "launcher"] += entry.size
        else:
            name = re.sub(r"-[0-9].*\.dist-info$|\.libs$|\.(cpython|abi3).*$|\.py$", "", match[1]).lower()
            out[name.replace("-", "_").removeprefix("_")] += entry.size
    return out
