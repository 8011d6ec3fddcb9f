"""An image is looked into before it is handed on: what it weighs, and what must not be in it."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from images.archive import Image, leftovers, read, weights


def layer(files: dict[str, int], mode: int = 0o644) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, size in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = size, mode
            tar.addfile(member, io.BytesIO(b"x" * size))
    return out.getvalue()


def archive(path: Path, *layers: bytes) -> Image:
    """Return what is read from an archive with these layers."""
    names = [f"{index}/layer.tar" for index, _ in enumerate(layers)]
    manifest = [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": names}]
    files = {"manifest.json": json.dumps(manifest).encode(), "config.json": b'{"config": {"User": "65532:65532"}}'}
    with tarfile.open(path / "image.tar", "w") as tar:
        for name, data in (files | dict(zip(names, layers, strict=True))).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return read(path / "image.tar")


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/gcc-12", "usr/bin/x86_64-linux-gnu-gcc", "usr/local/bin/cc", "usr/bin/ld", "usr/bin/as", "usr/bin/make",
        "opt/pip/bin/pip", "src/pins.txt", "etc/pip.conf", "etc/pip.ca.pem", "root/.netrc", "tmp/secret",
        "opt/tradingbot/lib/python3.11/site-packages/pip/__init__.py",
        "opt/tradingbot/lib/python3.11/site-packages/zstandard/tests/a.py",
    ],
)  # fmt: skip
def test_what_must_not_be_in_an_image_is_found(path: str, tmp_path: Path) -> None:
    """Compilers, installers, stages of the build and this machine's configuration."""
    (line,) = leftovers(archive(tmp_path, layer({path: 1})))
    assert line.startswith(f"/{path}: ")


def test_what_a_later_layer_hides_is_found_too(tmp_path: Path) -> None:
    """A deleted file is still in the image for whoever unpacks it."""
    image = archive(tmp_path, layer({"etc/pip.conf": 1}), layer({"etc/.wh.pip.conf": 0}))
    assert "etc/pip.conf" not in image.files()
    assert len(leftovers(image)) == 1


def test_what_belongs_into_an_image_is_no_leftover(tmp_path: Path) -> None:
    """Names that only look alike."""
    files = {
        "usr/bin/basename": 1,
        "usr/bin/last": 1,
        "bin/as-user": 1,
        "root/.bashrc": 1,
        "opt/tradingbot/bin/tradingbot": 1,
    }
    assert leftovers(archive(tmp_path, layer(files))) == []


def test_a_file_that_runs_with_anothers_rights_is_found(tmp_path: Path) -> None:
    """Debian's own su and mount stand in its bin folders; nothing of ours may join them."""
    assert leftovers(archive(tmp_path, layer({"opt/tradingbot/bin/x": 1}, mode=0o4755))) != []
    assert leftovers(archive(tmp_path, layer({"usr/bin/su": 1}, mode=0o4755))) == []


def test_weights_count_what_a_container_sees(tmp_path: Path) -> None:
    """Packages by name with their metadata and bundled libraries; replaced and deleted files once or not at all."""
    site = "opt/tradingbot/lib/python3.11/site-packages"
    image = archive(
        tmp_path,
        layer({"usr/bin/python3.11": 100, "gone": 50}),
        layer(
            {
                f"{site}/aiohttp/a.py": 10,
                f"{site}/aiohttp-3.1.dist-info/RECORD": 5,
                ".wh.gone": 0,
                "usr/bin/python3.11": 90,
            }
        ),
    )
    assert weights(image) == {"base (Debian, Python)": 90, "aiohttp": 15}


def test_a_whole_folder_can_be_hidden(tmp_path: Path) -> None:
    """As an opaque folder of a layer does."""
    image = archive(tmp_path, layer({"a/b": 1, "a/c/d": 1, "e": 1}), layer({"a/.wh..wh..opq": 0, "a/new": 1}))
    assert set(image.files()) == {"a/new", "e"}
