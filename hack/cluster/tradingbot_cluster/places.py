"""Where things are kept: the repository's recipes, the cache of what was built, and the folder of each cluster that runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tradingbot_cluster.errors import ClusterError

RECIPES = Path(__file__).resolve().parents[1]
"""The folder `hack/cluster`."""

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


@dataclass(frozen=True)
class Places:
    """The folders that outlive a command, all below one."""

    root: Path

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Places:
        """Return the folders of this user: `$XDG_CACHE_HOME/tradingbot`, by default `~/.cache/tradingbot`."""
        given = environment.get("XDG_CACHE_HOME", "")
        # The specification of base directories: a relative path is to be ignored.
        base = Path(given) if given.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".cache"
        return cls(base / "tradingbot")

    @property
    def built(self) -> Path:
        """What was built, one folder for each hash of inputs."""
        return self.root / "built"

    def cluster(self, name: str) -> Path:
        """
        Return the folder of a running cluster; it exists exactly while something of that cluster may be left.

        Raises:
            ClusterError: The name can't be a part of host names and container names.
        """
        if not NAME.fullmatch(name):
            raise ClusterError(
                f"--name: {name!r} can't name a cluster; use at most 30 lower-case letters, digits and hyphens, no hyphen at either end"
            )
        return self.root / "clusters" / name

    def clusters(self) -> list[str]:
        """Return the names of all clusters that left a folder."""
        folder = self.root / "clusters"
        return sorted(p.name for p in folder.iterdir() if NAME.fullmatch(p.name)) if folder.is_dir() else []


def places() -> Places:
    """Return the folders that this process' environment names."""
    return Places.of(os.environ)
