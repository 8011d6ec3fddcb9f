"""Images brought from the machine to every node of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tradingbot_cluster.cluster import Cluster, kind_program
from tradingbot_cluster.commands import run
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.programs import Say


def split(images: Sequence[str]) -> tuple[list[str], list[str]]:
    """
    Return the images given as archives (paths of files) and those given by a name in the cluster's engine.

    Raises:
        Missing: One looks like the path of an archive, and there is no such file.
    """
    archives = [image for image in images if Path(image).is_file()]
    names = [image for image in images if image not in archives]
    for name in names:
        if name.endswith((".tar", ".tar.gz")):
            raise Missing(f"{name}: no such archive (buildah push IMAGE docker-archive:{name}:NAME:TAG writes one)")
    return archives, names


def load(cluster: Cluster, images: Sequence[str], say: Say) -> None:
    """Bring images to every node; pods find them with `imagePullPolicy: IfNotPresent`."""
    archives, names = split(images)
    environment = cluster.engine().environment
    kind = kind_program(cluster.places, say)
    for archive in archives:
        run(kind, "load", "image-archive", Path(archive).resolve(), "--name", cluster.name, env=environment)
        say(f"{archive}: loaded")
    if names:
        run(kind, "load", "docker-image", *names, "--name", cluster.name, env=environment)
        say(f"{', '.join(names)}: loaded")
