"""kind's configuration of one cluster: what `kind.yaml` says of all clusters, and what the command line says of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tradingbot_cluster.places import RECIPES

TEMPLATE = RECIPES / "kind.yaml"


def kind_config(*, workers: int, port: int | None, template: Path = TEMPLATE) -> dict[str, Any]:
    """
    Return the configuration.

    Args:
        workers: How many nodes beside the control plane.
        port: Of the API server on 127.0.0.1; None lets kind choose.
        template: What is the same for all clusters.
    """
    config: dict[str, Any] = yaml.safe_load(template.read_text())
    config["nodes"] = [*config["nodes"], *({"role": "worker"} for _ in range(workers))]
    if port is not None:
        config["networking"] |= {"apiServerAddress": "127.0.0.1", "apiServerPort": port}
    return config
