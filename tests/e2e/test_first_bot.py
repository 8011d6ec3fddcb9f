"""The first sample, unchanged, from `kubectl apply` to `kubectl delete`."""

from __future__ import annotations

import json

from e2e.audit import audit
from e2e.bot import SAMPLE, Bot, condition_of
from e2e.kube import HANGS_AFTER_S, Kube, wait_for
from e2e.nursery import keeper
from e2e.story import Story
from e2e.world import World

OWNED = (
    "deployments,services,configmaps,networkpolicies,poddisruptionbudgets,serviceaccounts,roles,rolebindings,jobs,pods"
)
KUBERNETES_OWN = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def test_first_bot_is_applied_trades_and_is_deleted(world: World, place: Kube, story: Story) -> None:
    """The sample works on a cluster as it does on a laptop: ready, trading, told so; drained, gone, and no trade in doubt."""
    bot = Bot(place)
    place.run("apply", "-f", str(SAMPLE))
    with story.measured("apply to Ready"):
        bot.wait_condition("Ready", "True")
    bot.wait_fills()
    fills = sorted(bot.engine()["fills"], key=lambda fill: int(fill["slot"]))
    story.figure("trades at the first look", len(fills))
    bot.wait_trading()
    body = bot.body()
    found = {
        kind: condition_of(body, kind)[:2]
        for kind in ("Ready", "Progressing", "Degraded", "Trading", "Drained", "Drifted")
    }
    assert found == {
        "Ready": ("True", "AllReady"),
        "Progressing": ("False", "UpToDate"),
        "Degraded": ("False", "AsExpected"),
        "Trading": ("True", "Trading"),
        "Drained": ("False", "Running"),
        "Drifted": ("False", "InSync"),
    }
    assert body["status"]["phase"] == "Trading"
    assert "first-bot   Live   Trading" in place.run("get", "tradingbots")
    alarms = [
        e for e in place.items("events") if e["type"] == "Warning" and e["involvedObject"]["kind"] == "TradingBot"
    ]
    assert not alarms, f"a start that went well alarmed somebody: {[(e['reason'], e['message']) for e in alarms]}"
    story.judged("first-bot, while it trades", audit(place, bot.name, image=world.engine_image))
    place.apply(keeper())
    with story.measured("delete to gone"):
        place.run("delete", "-f", str(SAMPLE), f"--timeout={HANGS_AFTER_S:g}s", within_s=HANGS_AFTER_S + 30)
    verdict = audit(place, bot.name, image=world.engine_image)
    story.judged("first-bot, gone", verdict)
    assert verdict.counts["open"] == 0
    place.run("delete", "tradingbot", "keeper")
    wait_for("nothing of it runs", lambda: _left(place) == KUBERNETES_OWN)
    claims = {claim["metadata"]["name"] for claim in place.items("persistentvolumeclaims")}
    assert claims == {"first-bot-ledger", "shared-localnet"}, "ledger and chain outlive the bot"
    assert place.exists("secret/first-bot-wallet"), "the wallet outlives the bot"
    assert (
        json.loads(place.run("get", "secrets", "--output=json"))["items"][0]["metadata"]["name"] == "first-bot-wallet"
    )


def _left(kube: Kube) -> set[str]:
    lines = kube.run("get", OWNED, "--output=name").split()
    return {
        line.replace("serviceaccounts", "serviceaccount")
        for line in lines
        if not line.startswith("pod/first-bot-audit")
    }
