"""The engine's and the operator's presets of risk are the same numbers."""

from __future__ import annotations

from dataclasses import asdict

from tradingbot_engine.core.risk.profiles import PROFILES
from tradingbot_operator.crd.v1alpha1 import effective


def test_both_packages_know_the_same_profiles():
    """They share no code, so a number that is changed in one must be changed in the other."""
    assert {name: asdict(p) for name, p in PROFILES.items()} == {n: asdict(p) for n, p in effective.PROFILES.items()}
