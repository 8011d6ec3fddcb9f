"""The engine's settings on this machine: written from the manifest, with a new generation when a live number changed."""

import hashlib
import json
from typing import Any

from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_cluster
from tradingbot_operator.local.state_dir import StateDir, write_private
from tradingbot_operator.local.supplies import Supplies
from tradingbot_operator.wire.chain import Chain
from tradingbot_operator.wire.render import Places, Resolved, render, risk


def configure(bot: TradingBot, *, chain: Chain, supplies: Supplies, state: StateDir) -> int:
    """
    Write the engine's settings; return their generation.

    A change of what may change while it runs gives a new generation.

    Raises:
        BadInput: The state directory is another bot's.
    """
    remembered = state.claim_for(bot, fingerprint(bot))
    generation = int(remembered["generation"])
    settings = render(
        bot,
        places=Places(
            sqlite=str(state.ledger),
            wallet_key=supplies.wallet_key,
            admin_port_file=str(state.admin_port),
            last_status_file=str(state.last_status),
            admin_token=str(state.admin_token),
        ),
        resolved=Resolved(
            chain=chain,
            wallet_address=supplies.wallet_address,
            ledger_url=supplies.ledger_url,
            swap_api_key=supplies.swap_api_key,
        ),
        cluster_id=f"laptop-{remembered['id']}",
        generation=generation,
    )
    write_private(state.engine_config, json.dumps(settings, indent=2))
    return generation


def fingerprint(bot: TradingBot) -> str:
    """Return a short hash of what may change while a bot runs."""
    live = json.dumps({"paused": bot.spec.paused, "risk": risk(bot.spec)}, sort_keys=True)
    return hashlib.sha256(live.encode()).hexdigest()[:16]


def fixed_part(bot: TradingBot) -> dict[str, Any]:
    """Return what cannot change while a bot runs: all but the pause and the risk numbers, capital excepted."""
    data = bot.spec.model_dump(by_alias=True, exclude={"paused"})
    data["risk"] = {"capital": bot.spec.risk.capital}
    return {
        "spec": data,
        "name": bot.metadata.name,
        "namespace": bot.metadata.namespace,
        "cluster": effective_cluster(bot.spec),
    }
