"""Parts of the resource that are accepted already but not acted upon yet: said, so that nobody relies on them."""

from collections.abc import Iterator
from typing import Any

from tradingbot_operator.crd.v1alpha1.chain import Localnet
from tradingbot_operator.crd.v1alpha1.execution import ExpiryProof
from tradingbot_operator.manifest.problem import Path, Problem, shown

LATER = "accepted, not yet in force"

NOT_YET: tuple[tuple[str, str], ...] = (
    ("localnet.name", "without meaning on a laptop: every bot has its own localnet there"),
    ("market.screen", "it screens the tokens that are named; it finds no others yet"),
    ("market.feeds", f"{LATER}: prices come from the pools"),
    ("scaling", f"{LATER}: one engine trades all tokens"),
)
ONLY_ON_A_CLUSTER = "without meaning on a laptop"
CLUSTER_ONLY = (
    "template",
    "engine.image",
    "engine.imagePullPolicy",
    "ledger.sqlite.size",
    "ledger.sqlite.storageClassName",
)


def notes_of(data: Any) -> Iterator[Problem]:
    """Yield a note for every part of a manifest that states something which has no effect yet."""
    spec = data.get("spec") if isinstance(data, dict) else None
    if not isinstance(spec, dict):
        return
    for place, message in NOT_YET:
        if _get(spec, place) not in (None, [], {}):
            yield _note(place, message)
    yield from _execution_notes(spec)
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and not isinstance(replicas, bool) and replicas > 1:
        path: Path = ("spec", "replicas")
        yield Problem(path, f"{LATER}: `tradingbot run` refuses more than one", shown(replicas, path))
    policy = spec.get("deletionPolicy")
    if policy not in (None, "Drain"):
        here = "; there `tradingbot-engine close-out` sells what a bot holds" if policy == "ClosePositions" else ""
        yield _note("deletionPolicy", ONLY_ON_A_CLUSTER + here)
    for place in CLUSTER_ONLY:
        if _get(spec, place) not in (None, [], {}):
            yield _note(place, ONLY_ON_A_CLUSTER)


def _execution_notes(spec: dict[str, Any]) -> Iterator[Problem]:
    """Tell of a mark that proves nothing, and of expiry that fewer nodes than needed can prove."""
    mark = _get(spec, "execution.mark")
    path: Path = ("spec", "execution", "mark")
    if mark == "None":
        yield Problem(path, "no audit can prove that no trade was lost or doubled: state Memo", shown(mark, path))
    if spec.get("mode") != "Live":
        return
    stated = _get(spec, "execution.expiryProof.providers")
    wanted = ExpiryProof().providers if stated is None else stated
    nodes = len(_list(spec, "rpc.endpoints"))
    if not nodes and spec.get("cluster") == "localnet":
        shared = _get(spec, "localnet.nodes")
        nodes = Localnet().nodes if shared is None else shared
    if isinstance(wanted, int) and isinstance(nodes, int) and 0 < nodes < wanted:
        path = ("spec", "execution", "expiryProof", "providers")
        text = (
            f"the bot has {nodes} node(s): large or old trades that never landed stay open: add nodes, or state fewer"
        )
        yield Problem(path, text, f"{wanted} (default)" if stated is None else shown(wanted, path))


def _note(place: str, message: str) -> Problem:
    return Problem(("spec", *place.split(".")), message)


def _get(data: Any, place: str) -> Any:
    for step in place.split("."):
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _list(data: Any, place: str) -> list[Any]:
    found = _get(data, place)
    return found if isinstance(found, list) else []
