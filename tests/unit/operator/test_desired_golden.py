"""
What a bot becomes, word for word: every object of four bots stands in `golden/`.

`python tests/unit/operator/test_desired_golden.py` writes them anew; the difference is what a review reads.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.children import children
from tradingbot_operator.desired.localnet import localnet_objects, localnet_of
from tradingbot_operator.desired.settle_job import settle_objects
from tradingbot_operator.desired.token_secret import needs_wallet, token_secret, wallet_secret
from tradingbot_operator.manifest.verdict import problems_of

HERE = Path(__file__).parent / "golden"
CASES = ("first-bot", "paper-sqlite", "live-postgres", "everything")
CONTEXT = Context(
    engine_image="registry.example/tradingbot-engine:0.1.0",
    operator_version="0.1.0+build.7",
    operator_namespace="tradingbot-system",
    cluster_id="0a1b2c3d-0000-4000-8000-00000000c1d5",
    pull_secrets=("registry",),
    scraper_namespaces=("monitoring",),
)


def bot_of(case: str) -> Bot:
    """Return the bot of a case, as an API server would hand it out."""
    data = yaml.safe_load((HERE / f"{case}.bot.yaml").read_text())
    data["metadata"] |= {"uid": f"{case}-uid", "generation": 7, "creationTimestamp": "2026-01-02T03:04:05Z"}
    found, problems = problems_of(data, catalogue())
    assert found is not None, [str(p) for p in problems]
    assert isinstance(found, TradingBot)
    return Bot.of(found)


def objects_of(case: str) -> list[dict[str, Any]]:
    """Return everything that the operator ever makes for a case."""
    bot = bot_of(case)
    objects = list(children(bot, context=CONTEXT))
    objects.append(token_secret(bot, context=CONTEXT, token="the-token"))
    if needs_wallet(bot):
        objects.append(wallet_secret(bot, context=CONTEXT, keypair="[1,2,3]"))
    if bot.on_localnet:
        objects += localnet_objects(localnet_of([bot]), context=CONTEXT)
    return objects + list(settle_objects(bot, context=CONTEXT, token="another"))


def text_of(case: str) -> str:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def lines(dumper: yaml.SafeDumper, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, lines)
    return yaml.dump_all(objects_of(case), Dumper=Dumper, sort_keys=False, width=120, explicit_start=True)


@pytest.mark.parametrize("case", CASES)
def test_the_objects_of_a_bot_are_those_that_were_reviewed(case: str):
    """No child changes without a difference that somebody sees."""
    assert text_of(case) == (HERE / f"{case}.objects.yaml").read_text()


if __name__ == "__main__":
    for name in CASES:
        (HERE / f"{name}.objects.yaml").write_text(text_of(name))
