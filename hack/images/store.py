"""buildah on a store of its own, so that nothing on the machine's own store is read or changed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class ImageError(Exception):
    """An image can't be built here; the message says what to do."""


def cache_dir() -> Path:
    """Return the folder for what is built once per machine: $XDG_CACHE_HOME/tradingbot."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingbot"


@dataclass(frozen=True)
class Store:
    """One folder of images and build layers."""

    folder: Path

    def run(self, command: str, *arguments: str) -> str:
        """
        Run one buildah command and return its output.

        Raises:
            ImageError: buildah is missing or failed; with the end of what it said.
        """
        if shutil.which("buildah") is None:
            raise ImageError("buildah is missing: apt-get install buildah (or start Docker with a registry at hand)")
        self.folder.mkdir(parents=True, exist_ok=True)
        line = [
            "buildah",
            "--root",
            str(self.folder / "root"),
            "--runroot",
            str(self.folder / "run"),
            command,
            *arguments,
        ]
        done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            tail = "\n".join(line[:400] for line in (done.stdout + done.stderr).splitlines()[-30:])
            raise ImageError(f"buildah {command} failed with exit code {done.returncode}:\n{tail}")
        return done.stdout.strip()

    @contextmanager
    def to_ourselves(self) -> Iterator[None]:
        """
        Hold the store against a second build, and leave no container and no mount behind.

        What a build that was killed left is removed first.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self.run("rm", "--all")
                yield
            finally:
                self.run("rm", "--all")
                # buildah binds its layers' folder to itself, and leaves that to the next start of the machine.
                while (
                    subprocess.run(
                        ["umount", self.folder / "root/overlay"], capture_output=True, check=False
                    ).returncode
                    == 0
                ):
                    pass

    def has(self, image: str) -> bool:
        """Say whether an image stands in the store."""
        names = self.run("images", "--all", "--noheading", "--format", "{{.Name}}:{{.Tag}}").splitlines()
        return image in names

    def bud(self, *, file: Path, context: Path, target: str, tag: str, extra: Sequence[str]) -> str:
        """Build one target of a Dockerfile and return the image's id. Layers are reused; times in the layers are zero."""
        return self.run(
            "bud", "--isolation=chroot", "--network=host", "--pull-never", "--layers", "--timestamp=0",
            "--identity-label=false", "--quiet",
            f"--file={file}", f"--target={target}", f"--tag={tag}", *extra, str(context),
        ).splitlines()[-1]  # fmt: skip

    def export(self, image: str, archive: Path) -> None:
        """Write an image as a Docker archive, replaced at once when it is whole."""
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        self.run("push", "--quiet", image, f"docker-archive:{partial}:{image}")
        partial.replace(archive)
