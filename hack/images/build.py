"""Build the images, look into them, and write them as Docker archives that `kind load image-archive` takes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from images import base, host_pip
from images.archive import leftovers, read
from images.prove import prove, trials
from images.store import ImageError, Store

ROOT = Path(__file__).parents[2]
REGISTRY = "registry.tradingbot.dev"
"""The charts' default; images with these names are loaded into a cluster rather than pulled."""
TARGETS = ("engine", "operator")


@dataclass(frozen=True)
class Built:
    """One image on disk."""

    name: str
    archive: Path
    image_id: str


def version() -> str:
    """Return the project's version, which is the images' tag."""
    found = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if found is None:
        raise ImageError("pyproject.toml states no version")
    return found[1]


def name_of(target: str, tag: str) -> str:
    """Return an image's full name."""
    return f"{REGISTRY}/tradingbot-{target}:{tag}"


def docker_reaches_the_base() -> bool:
    """Say whether a Docker daemon is here that holds or can pull the Dockerfile's base."""
    if shutil.which("docker") is None:
        return False
    for command in (["image", "inspect", base.PYTHON], ["pull", "--quiet", base.PYTHON]):
        try:
            done = subprocess.run(["docker", *command], capture_output=True, check=False, timeout=300)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 0:
            return True
    return False


def build(targets: Sequence[str], *, tag: str, out: Path, store: Store, cache: Path, with_docker: bool) -> list[Built]:
    """
    Build targets of the Dockerfile.

    Args:
        targets: Of TARGETS, or `postgres`, the database that e2e uses.
        tag: Tag of the images.
        out: Folder for the archives.
        store: buildah's images and layers.
        cache: Folder for what is made once per machine.
        with_docker: Build by Docker; otherwise by buildah on a base made of Debian packages.

    Raises:
        ImageError: A build failed, or an image holds what it must not.
    """
    ours = nullcontext() if with_docker and "postgres" not in targets else store.to_ourselves()
    with tempfile.TemporaryDirectory(prefix="tradingbot-images-") as folder, ours:
        secrets = host_pip.secrets(host_pip.of_this_machine(os.environ), Path(folder))
        return [_one(target, tag, out, store, cache, with_docker, secrets) for target in targets]


def _one(
    target: str, tag: str, out: Path, store: Store, cache: Path, with_docker: bool, secrets: Sequence[str]
) -> Built:
    name, archive = name_of(target, tag), out / f"tradingbot-{target}.tar"
    if target == "postgres":
        from images import postgres

        image_id = postgres.make(store, cache, name)
        store.export(name, archive)
    elif with_docker:
        image_id = _by_docker(target, name, archive, secrets)
    else:
        base.provide(store, cache)
        image_id = store.bud(file=ROOT / "Dockerfile", context=ROOT, target=target, tag=name, extra=secrets)
        store.export(name, archive)
    if target in TARGETS:
        try:
            _look_into(target, name, archive, None if with_docker else store)
        except ImageError:
            archive.unlink()
            raise
    return Built(name, archive, image_id)


def _look_into(target: str, name: str, archive: Path, store: Store | None) -> None:
    """Raise ImageError if an image holds what it must not, or does not do its work as a cluster runs it."""
    if found := leftovers(read(archive)):
        raise ImageError(f"{name} holds what it must not:\n" + "\n".join(found[:20]))
    sample = (ROOT / "crds/samples/first-bot.yaml").read_text()
    prove(store, name, trials(target, version=version(), sample=sample))


def _by_docker(target: str, name: str, archive: Path, secrets: Sequence[str]) -> str:
    """Build by Docker's BuildKit, and save."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    for line in (
        ["docker", "build", "--quiet", "--network=host", f"--target={target}", f"--tag={name}", *secrets, str(ROOT)],
        ["docker", "save", f"--output={archive}", name],
    ):
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise ImageError(f"{' '.join(line[:2])} failed with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    done = subprocess.run(
        ["docker", "image", "inspect", "--format={{.Id}}", name], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
