"""`python hack/images`: build the project's images, and say what is in them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from images.archive import read, weights
from images.build import TARGETS, build, docker_reaches_the_base, version
from images.store import ImageError, Store, cache_dir

MB = 1_000_000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hack/images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="build images and write them as Docker archives")
    make.add_argument("targets", nargs="*", default=[*TARGETS], metavar="TARGET", help="engine, operator, postgres")
    make.add_argument("--tag", default=version(), help="tag of the images (default: the project's version)")
    make.add_argument("--out", type=Path, default=cache_dir() / "images" / "archives", help="folder for the archives")
    make.add_argument("--by", choices=["docker", "buildah"], help="default: Docker where it reaches the base")
    sizes = commands.add_parser("sizes", help="say what an archive's parts weigh")
    sizes.add_argument("archives", nargs="+", type=Path)
    found = parser.parse_args()
    if found.command == "build" and (unknown := set(found.targets) - {*TARGETS, "postgres"}):
        parser.error(f"no such image: {', '.join(sorted(unknown))}; there are engine, operator, postgres")
    return found


def print_sizes(archive: Path) -> None:
    """Print the parts of an image from 1 MB on, the heaviest first."""
    parts = weights(read(archive))
    print(f"{archive.name}: {parts.total() / MB:.1f} MB")
    for name, size in parts.most_common():
        if size >= MB:
            print(f"  {size / MB:6.1f}  {name}")
    print(f"  {sum(size for size in parts.values() if size < MB) / MB:6.1f}  all else")


def main() -> int:
    """Run one command and return its exit code."""
    os.umask(0o022)  # what lands in an image is readable by its account
    found = arguments()
    if found.command == "sizes":
        for archive in found.archives:
            print_sizes(archive)
        return 0
    begun = time.monotonic()
    with_docker = found.by == "docker" or (found.by is None and docker_reaches_the_base())
    store = Store(cache_dir() / "images" / "store")
    try:
        for built in build(
            found.targets, tag=found.tag, out=found.out, store=store, cache=cache_dir(), with_docker=with_docker
        ):
            print(
                f"{built.name}\n  {built.archive} ({built.archive.stat().st_size / MB:.0f} MB), {built.image_id[:19]}"
            )
    except ImageError as error:
        print(f"hack/images: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
