"""What pip needs to know about this machine's package index while an image is built; nothing of it stays in the image."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CARRIED = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
"""Options of pip that name an index or the way to it. Paths of this machine mean nothing inside the build."""
CA_INSIDE = "/etc/pip.ca.pem"
"""Where the Dockerfile mounts the file of certificate authorities."""


@dataclass(frozen=True)
class HostPip:
    """A pip configuration for the build, and the authorities that it names."""

    text: str
    """An ini file; it may hold an index's password, so it is written for its owner alone."""
    ca_file: Path | None
    """File with certificate authorities, if this machine names one."""


def from_listing(listing: str) -> HostPip:
    """
    Return what `pip config list` says, as a file for the build. Later lines win: files first, the environment last.

    Raises:
        ValueError: A line is not `name='value'`.
    """
    options: dict[str, str] = {}
    ca_file = None
    for line in listing.splitlines():
        name, found, value = line.partition("=")
        if not found:
            raise ValueError(f"pip config list says {line!r}; expected NAME='VALUE'")
        option = name.rpartition(".")[2]
        plain = str(ast.literal_eval(value))
        if option == "cert":
            ca_file = Path(plain)
        elif option in CARRIED:
            options[option] = plain
    if ca_file is not None:
        options["cert"] = CA_INSIDE
    body = "".join(f"{name} = {' '.join(value.split())}\n" for name, value in options.items())
    return HostPip("[global]\n" + body, ca_file)


def of_this_machine(environment: Mapping[str, str]) -> HostPip:
    """Return the configuration that pip follows here."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        check=True,
        capture_output=True,
        text=True,
        env=dict(environment),
    ).stdout
    return from_listing(listing)


def secrets(found: HostPip, folder: Path) -> list[str]:
    """Write the configuration under FOLDER and return the build's `--secret` arguments."""
    path = folder / "pip.conf"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(found.text)
    out = [f"--secret=id=pip,src={path}"]
    if found.ca_file is not None and found.ca_file.is_file():
        out.append(f"--secret=id=ca,src={found.ca_file}")
    return out
