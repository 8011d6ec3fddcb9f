"""
Make an installed environment fit for an image: a launcher, no ballast, byte code that needs no clock.

    python3 finish.py PREFIX PACKAGE COMMAND

Runs inside the image's build, on the standard library alone. Byte code is compiled into the image (its file system is
read-only at run time) and marked as never to be checked against its source, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
from pathlib import Path

BALLAST_SUFFIXES = (".pyx", ".pxd", ".pxi", ".c", ".cpp", ".h", ".pyi")
"""Sources that a compiler or a type checker reads; nothing opens them at run time."""
COMPILED_MODULE = re.compile(r"\.(cpython-[^/]+|abi3)\.so$|/[^/]+\.libs/[^/]+\.so[^/]*$")
"""What the loader of this machine loads. The pool program of localnet is a library too, of another machine: its bytes stay."""
BALLAST_FOLDERS = ("tests", "testing")
"""Packages' own tests, by the folder's name. SQLAlchemy's fixtures are the greatest."""
UNUSED_CLASSES = tuple(
    f"kubernetes/{client}/{part}" for client in ("client", "aio/client") for part in ("api", "models")
)
"""120 MB of generated classes, loaded one by one when asked for. The operator speaks plain JSON and asks for none."""
LAUNCHER = """\
#!{python} -P
import sys
from {package}.__main__ import main
sys.exit(main(prog_name="{command}"))
"""


def write_launcher(prefix: Path, package: str, command: str) -> None:
    """Write PREFIX/bin/COMMAND. `-P` keeps the working directory off the import path."""
    path = prefix / "bin" / command
    path.write_text(LAUNCHER.format(python=prefix / "bin/python3", package=package, command=command))
    path.chmod(0o755)


def drop_ballast(site: Path, *, keep: str) -> None:
    """Remove what nothing reads at run time from every package but `keep`, our own, which ships nothing in vain."""
    for path in sorted(site.rglob("*")):
        if path.is_relative_to(site / keep):
            continue
        if path.is_dir() and path.name in BALLAST_FOLDERS and path.parent.parent == site:
            shutil.rmtree(path)
        elif path.is_file() and path.suffix in BALLAST_SUFFIXES:
            path.unlink()


def drop_unused_classes(site: Path) -> None:
    """Remove the client's generated classes; the packages themselves stay, since the client imports them."""
    for folder in UNUSED_CLASSES:
        for path in (site / folder).glob("*.py"):
            if path.name != "__init__.py":
                path.unlink()


def strip_libraries(site: Path) -> None:
    """Drop debug and local symbols of compiled modules: about two thirds of what they weigh."""
    libraries = sorted(str(path) for path in site.rglob("*") if COMPILED_MODULE.search(str(path)))
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)


def compile_all(site: Path) -> None:
    """
    Compile every module, one after the other: parallel runs would number interned names differently.

    Raises:
        SystemExit: A module does not compile.
    """
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(site, quiet=1, invalidation_mode=mode, workers=1, stripdir=None):
        sys.exit("a module does not compile")


def main() -> None:
    prefix, package, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    (site,) = prefix.glob("lib/python3*/site-packages")
    scripts = [path for path in (prefix / "bin").iterdir() if not path.name.startswith("python")]
    for path in scripts:
        path.unlink()
    drop_ballast(site, keep=package)
    drop_unused_classes(site)
    strip_libraries(site)
    compile_all(site)
    write_launcher(prefix, package, command)


if __name__ == "__main__":
    main()
