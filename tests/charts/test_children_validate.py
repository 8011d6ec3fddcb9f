"""What a bot becomes, against the published schemas of the Kubernetes API: no unknown field, none of a wrong type."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.kube_schemas import misfits

GOLDEN = Path(__file__).parents[1] / "unit/operator/golden"
OLDEST, NEWEST = "1.29", "1.35"
"""The charts' kubeVersion, and what e2e runs on."""
OBJECTS = [
    (path.name, found)
    for path in sorted(GOLDEN.rglob("*.yaml"))
    for found in yaml.safe_load_all(path.read_text())
    if found and found["kind"] != "TradingBot"
]


def test_there_are_children_to_look_at() -> None:
    """Else the test below would be content with nothing."""
    assert {"Deployment", "NetworkPolicy", "Role", "Job"} <= {found["kind"] for _, found in OBJECTS}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_child_fits_the_api(version: str) -> None:
    """A field that the API server drops in silence, or refuses, is found without a cluster."""
    assert misfits(OBJECTS, version) == []


def test_a_field_that_the_api_lacks_is_found() -> None:
    """The check can fail."""
    deployment: dict[str, Any] = next(found for _, found in OBJECTS if found["kind"] == "Deployment")
    wrong = deployment | {"spec": deployment["spec"] | {"replicaz": 1}}
    (said,) = misfits([("here", wrong), ("there", deployment)], NEWEST)
    assert said.startswith("here: Deployment: ")
    assert "replicaz" in said
