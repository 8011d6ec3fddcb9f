"""Objects against the published schemas of the Kubernetes API, without a cluster."""

from collections.abc import Iterable
from typing import Any

import kubernetes_validate


def misfits(objects: Iterable[tuple[str, dict[str, Any]]], version: str) -> list[str]:
    """
    Return what the API of a version of Kubernetes would refuse or drop in silence, one line an object.

    Args:
        objects: Each with where it stands.
        version: Such as `1.35`.
    """
    found = []
    for where, body in objects:
        try:
            kubernetes_validate.validate(body, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{where}: {body['kind']}: {error}")
    return found
