"""What a manifest may ask of the nodes is what an engine can live with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tradingbot_operator.crd.v1alpha1.chain import Endpoint


@pytest.mark.parametrize("rate", [0, 0.1, 0.99, -1])
def test_fewer_than_one_request_a_second_is_refused_by_name(rate: float) -> None:
    """Following one trade to its end takes half a dozen questions; the engine refuses the same number."""
    with pytest.raises(ValidationError, match=r"(?s)requestsPerSecond.*greater than or equal to 1"):
        Endpoint.model_validate({"name": "a", "url": "https://node.example", "requestsPerSecond": rate})
    assert Endpoint.model_validate({"name": "a", "url": "https://node.example", "requestsPerSecond": 1}).name == "a"
