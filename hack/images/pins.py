"""
Print the pins of one image: what a dependency group needs, from constraints.txt, with hashes.

    python3 pins.py engine < constraints.txt > pins.txt

Runs inside the image's build too, so it uses the standard library alone. The constraints say under every package what
it is `via`; a package is needed if the group names it or if a needed package is among its reasons. pip then installs
with --require-hashes, which refuses any dependency that was missed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Pin:
    """One package of the constraints."""

    name: str
    """Normalised, such as `prometheus-client`."""
    text: str
    """Version, marker and hashes, as pip reads them; without the comments."""
    via: frozenset[str]
    """The packages that ask for it."""


def normal(name: str) -> str:
    """Return a package's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def name_of(requirement: str) -> str:
    """
    Return the normalised name of a requirement such as `aiohttp>=3.12,<4`.

    Raises:
        ValueError: It does not begin with a name.
    """
    match = NAME.match(requirement.strip())
    if match is None:
        raise ValueError(f"{requirement!r} is no requirement: write a package's name")
    return normal(match[0])


def read(constraints: str) -> dict[str, Pin]:
    """Return the pins by name, in the order of the file."""
    pins = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", constraints):
        lines = block.splitlines()
        if not lines:
            continue
        name = name_of(lines[0])
        code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        reasons = [line.strip().removeprefix("#").strip() for line in lines if line.lstrip().startswith("#")]
        via = frozenset(normal(reason.removeprefix("via ").strip()) for reason in reasons if reason and reason != "via")
        pins[name] = Pin(name, "\n".join(code).removesuffix("\\").rstrip() + "\n", via)
    return pins


def closure(group: Iterable[str], pins: Mapping[str, Pin]) -> list[Pin]:
    """
    Return the pins that a group needs, in the order of the file.

    Raises:
        KeyError: The group names a package that has no pin.
    """
    direct = {name_of(requirement) for requirement in group}
    if absent := sorted(direct - pins.keys()):
        raise KeyError(f"not in the constraints: {', '.join(absent)} (make lock)")
    needed = direct
    while more := {pin.name for pin in pins.values() if pin.name not in needed and pin.via & needed}:
        needed = needed | more
    return [pin for pin in pins.values() if pin.name in needed]


def group_of(pyproject: Path, name: str) -> list[str]:
    """Return a dependency group's requirements; groups that include others are not used here."""
    groups: dict[str, list[str]] = tomllib.loads(pyproject.read_text())["dependency-groups"]
    return groups[name]


def main() -> None:
    pins = read(sys.stdin.read())
    for pin in closure(group_of(Path("pyproject.toml"), sys.argv[1]), pins):
        sys.stdout.write(pin.text)


if __name__ == "__main__":
    main()
