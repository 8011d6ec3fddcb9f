"""The pool program: its source, the build, and the binary that is committed."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent


class ProgramDamaged(RuntimeError):
    """`pool.so` is not the file whose hash stands beside it: build it anew with build.sh, or restore it."""


def pool_elf() -> bytes:
    """
    Return the pool program's file, ready for `add_program`.

    Raises:
        ProgramDamaged: Its bytes do not match the committed hash.
    """
    elf = (FOLDER / "pool.so").read_bytes()
    if hashlib.sha256(elf).hexdigest() != (FOLDER / "pool.so.sha256").read_text().split()[0]:
        raise ProgramDamaged(f"{FOLDER / 'pool.so'} does not match pool.so.sha256")
    return elf
