"""A base of Debian packages that stands in for docker.io/library/python:3.11-slim where no registry can be reached."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from images.store import ImageError, Store

PYTHON = "docker.io/library/python:3.11-slim"
"""The Dockerfile's base: Debian 12 with Python 3.11, from either source."""
SUITE = "bookworm"
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
"""Makes /bin a link from the start; the package that would do it afterwards brings all of Perl, 50 MB."""
LEFT_OUT = tuple(f"/usr/share/{name}/*" for name in ("doc", "info", "lintian", "locale", "man"))
"""What no program reads."""
REBUILT_EVERY_S = 30 * 86_400
TIDY = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache'
"""What would differ from one making to the next, or only weigh."""


@dataclass(frozen=True)
class Recipe:
    """A Debian of some packages."""

    packages: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Patterns of paths that are never unpacked, beside LEFT_OUT."""
    removed: str = ""
    """Patterns, separated by spaces, of what the packages' scripts need and nobody after them."""


BASE = Recipe(("usr-is-merged", "ca-certificates", "python3", "python3-venv"))


def arguments(recipe: Recipe, archive: Path) -> list[str]:
    """Return mmdebstrap's command line."""
    remove = f'cd "$1" && rm -rf {recipe.removed}'
    return [
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(recipe.packages)}",
        "--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in (*LEFT_OUT, *recipe.left_out)),
        f"--hook-dir={MERGED_USR}",
        f"--customize-hook={TIDY}",
        *([f"--customize-hook={remove}"] if recipe.removed else []), SUITE, str(archive),
    ]  # fmt: skip


def tarball(cache: Path, recipe: Recipe) -> Path:
    """
    Return an archive of a Debian with these packages, made once a month, so that it takes up security fixes.

    Raises:
        ImageError: mmdebstrap is missing or failed.
    """
    if shutil.which("mmdebstrap") is None:
        raise ImageError("mmdebstrap is missing: apt-get install mmdebstrap (or start Docker with a registry at hand)")
    inputs = [*arguments(recipe, Path()), str(int(time.time() // REBUILT_EVERY_S))]
    key = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    archive = cache / "images" / f"debian-{key}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        partial = archive.with_name(f"partial-{archive.name}")
        done = subprocess.run(arguments(recipe, partial), capture_output=True, text=True, check=False)
        if done.returncode:
            partial.unlink(missing_ok=True)
            raise ImageError(f"mmdebstrap failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
        partial.replace(archive)
    return archive


def provide(store: Store, cache: Path) -> None:
    """Put the base into the store under the name that the Dockerfile asks for, unless it stands there."""
    archive = tarball(cache, BASE)
    made_from = store.folder / "base"
    if store.has(PYTHON) and made_from.exists() and made_from.read_text() == archive.name:
        return
    container = store.run("from", "scratch")
    store.run("add", "--quiet", container, str(archive), "/")
    store.run(
        "config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "--env", "LANG=C.UTF-8", container
    )
    store.run("commit", "--quiet", "--rm", "--timestamp=0", container, PYTHON)
    made_from.write_text(archive.name)
