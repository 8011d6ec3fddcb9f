"""Every reason a condition may have, as data: what it means and what to do. The table in the docs is made from it."""

from dataclasses import dataclass

CONDITIONS = {
    "Ready": "Every pod that the bot should have can trade.",
    "Progressing": "The cluster is on its way to what the manifest says.",
    "Degraded": "Something is wrong that does not pass by itself, or has lasted.",
    "Trading": "New signals may become trades.",
    "Drained": "Nothing of the bot is open; a deleted bot goes only then.",
    "Drifted": "Somebody else added to objects of the bot; what is ours is put back at once.",
}


@dataclass(frozen=True)
class Reason:
    """
    One reason.

    Attributes:
        condition: Where it appears.
        status: The condition's status with it.
        meaning: What is the case.
        todo: What a person should do; "" where there is nothing to do.
    """

    condition: str
    status: str
    name: str
    meaning: str
    todo: str = ""


REASONS = (
    Reason("Ready", "True", "AllReady", "Every pod is ready."),
    Reason("Ready", "Unknown", "Pending", "The operator has not looked yet.", "Is the operator running?"),
    Reason("Ready", "False", "NoPod", "No pod exists yet."),
    Reason("Ready", "False", "PodNotReady", "A pod is there and not ready: it starts, drains, or its engine refuses to trade.", "See the conditions Degraded and Trading."),
    Reason("Ready", "False", "Deleting", "The bot is being deleted."),
    Reason("Progressing", "False", "UpToDate", "The cluster is what the manifest says."),
    Reason("Progressing", "False", "Blocked", "Nothing more happens before the condition Degraded is dealt with.", "See the condition Degraded."),
    Reason("Progressing", "True", "Applying", "Objects are being written."),
    Reason("Progressing", "True", "RollingOut", "Pods are being replaced one by one, each drained first, or are starting."),
    Reason("Progressing", "True", "Deleting", "The bot is being drained and deleted.", "See the condition Drained."),
    Reason("Degraded", "False", "AsExpected", "Nothing is wrong."),
    Reason("Degraded", "False", "NotInForce", "Nothing is wrong, but something that the manifest asks for has no effect.", "The message says what: take it out of the manifest, or rely on what holds instead."),
    Reason("Degraded", "True", "InvalidSpec", "The manifest is wrong; nothing is touched, and what runs goes on as it was.", "Put right what the message lists; `tradingbot validate -f` says the same."),
    Reason("Degraded", "True", "SecretMissing", "A Secret that the manifest names, or a key of it, does not exist; running pods go on.", "Create the Secret, or name another one."),
    Reason("Degraded", "True", "NamespaceTerminating", "The namespace is being deleted; nothing can be made in it.", "Nothing, if that is meant. Trades may stay open in the ledger: see the condition Drained."),
    Reason("Degraded", "True", "Forbidden", "The operator's ServiceAccount may not do what it has to.", "Install the chart's RBAC, or give the right that the message names."),
    Reason("Degraded", "True", "QuotaExceeded", "The namespace's ResourceQuota is used up.", "Raise the quota, or ask for less in spec.template.resources."),
    Reason("Degraded", "True", "ObjectRefused", "The API server calls an object of ours wrong.", "The message names the field; spec.template is where such values come from."),
    Reason("Degraded", "True", "ApiUnavailable", "The API server could not be asked, or asks for patience; running pods go on.", "Nothing if it passes; else look after the API server."),
    Reason("Degraded", "True", "ImagePullFailed", "The engine's image cannot be pulled.", "Put spec.engine.image right, or give the node access to the registry."),
    Reason("Degraded", "True", "SettingsRefused", "The engine refuses its settings and does not start.", "The message is the engine's; change the manifest."),
    Reason("Degraded", "True", "CrashLooping", "The engine ends again and again.", "`kubectl logs --previous` of the pod; trades in flight are journalled, and the next start follows them."),
    Reason("Degraded", "True", "OutOfMemory", "The engine needs more memory than its limit.", "Raise spec.template.resources.limits.memory."),
    Reason("Degraded", "True", "PodNotStarting", "A container cannot be created.", "The message is the kubelet's."),
    Reason("Degraded", "True", "Unschedulable", "No node takes the pod.", "The message is the scheduler's: nodeSelector, tolerations, resources, volumes."),
    Reason("Degraded", "True", "PodRefused", "The Deployment may not make its pods.", "The message is the API server's: admission, pod security, quota."),
    Reason("Degraded", "True", "RolloutStuck", "The roll-out makes no progress within its deadline.", "See the pods' conditions and events."),
    Reason("Degraded", "True", "EngineUnreachable", "An engine runs, and its admin port does not answer the operator: a pause would not reach it.", "NetworkPolicy, node, or a hanging engine: see the pod. Deleting the pod drains it."),
    Reason("Degraded", "True", "LiveRefused", "A running engine refuses the manifest's pause or risk numbers.", "The message is the engine's; change the manifest."),
    Reason("Degraded", "True", "CloseOutRefused", "A running engine refuses to sell everything, or to trade again after that.", "The message is the engine's; an engine of an older release cannot: deletionPolicy Drain keeps the positions."),
    Reason("Degraded", "True", "SettleFailed", "What a deletion left open could not be settled.", "See the pods of the settle Job; tradingbot.dev/force-delete: \"true\" gives up."),
    Reason("Degraded", "True", "InternalError", "The operator met a fault of its own with this bot; others are not touched.", "Report it with the operator's log; it tries again."),
    Reason("Trading", "True", "Trading", "New signals become trades."),
    Reason("Trading", "Unknown", "EngineUnreachable", "No engine answers.", "See the conditions Ready and Degraded."),
    Reason("Trading", "False", "NoPod", "No engine runs.", "See the conditions Ready and Degraded."),
    Reason("Trading", "False", "Starting", "The engine starts."),
    Reason("Trading", "False", "Resolving", "It is not known yet what became of trades that were open when the last engine stopped.", "Nothing; beyond minutes see the message."),
    Reason("Trading", "False", "Paused", "By spec.paused, or by hand.", "Set spec.paused to false; `kubectl tradingbot resume` clears a pause by hand."),
    Reason("Trading", "False", "Halted", "The drawdown or the day's loss reached a limit.", "Look at the trades; `tradingbot reset-tier` lets it trade again."),
    Reason("Trading", "False", "ClosingOut", "All that the bot holds is being sold, or was: nothing is bought any more.", "Nothing while it is deleted; else `tradingbot-engine close-out --undo` in the pod lets it trade again."),
    Reason("Trading", "False", "Draining", "The engine finishes what is in flight, and stops."),
    Reason("Trading", "False", "StaleMarketData", "Prices are too old to open a position.", "See the RPC nodes' health."),
    Reason("Trading", "False", "StaleEquity", "The value of the positions is not known well enough.", "See the RPC nodes' health."),
    Reason("Trading", "False", "NoEndpoint", "No RPC node can be asked.", "See spec.rpc.endpoints and the providers."),
    Reason("Trading", "False", "ExitsFirst", "RPC nodes are back; exits that came due without them go out before anything is bought.", "Nothing: it passes in seconds."),
    Reason("Trading", "False", "OneNodeOnly", "One RPC node of several vouches for the ledger: positions are left, none is opened.", "See spec.rpc.endpoints and the providers: a second one has to answer."),
    Reason("Trading", "False", "NoShards", "The pod owns no slice of the tokens.", "Nothing if it passes: another pod still holds them."),
    Reason("Trading", "False", "LedgerUnavailable", "The ledger does not answer.", "Look after the database or the volume."),
    Reason("Trading", "False", "LedgerBehindChain", "The ledger is older than the chain: a copy was restored.", "Bring the newest ledger back; the engine never trades from an old one."),
    Reason("Trading", "False", "LedgerNotDurable", "The ledger's storage may lose what it confirmed.", "Use durable storage: synchronous_commit, no network file system."),
    Reason("Trading", "False", "LedgerInUse", "Another engine holds the ledger.", "End the other one, or give this bot a ledger of its own."),
    Reason("Trading", "False", "WalletEmpty", "The wallet cannot pay for a trade.", "Fund the wallet."),
    Reason("Trading", "False", "NotTrading", "The engine says so; the message is its own.", "See the engine's log."),
    Reason("Drained", "False", "Running", "The bot is in use."),
    Reason("Drained", "False", "Draining", "Trades in flight are followed to their end."),
    Reason("Drained", "False", "ClosingPositions", "deletionPolicy ClosePositions: every position is being sold, by the engine or, where none runs any more, by a Job.", "Nothing if the number falls; the message says what holds a sale up. deletionPolicy Drain keeps the positions."),
    Reason("Drained", "False", "PodStillRunning", "A pod is ending, or its node does not answer: what it may still do is not known before it is gone.", "Nothing if it passes; a node that is gone for good has to be deleted, or the pod by force."),
    Reason("Drained", "False", "Settling", "A Job resolves what the ledger still holds open; it trades nothing.", "Nothing; an attempt takes up to about 75 s to be proven."),
    Reason("Drained", "False", "SettleFailed", "What is open could not be settled.", "See the condition Degraded."),
    Reason("Drained", "False", "NamespaceTerminating", "Trades may be open, and no Job that settles them can be made any more.", "tradingbot.dev/force-delete: \"true\" lets the bot and its ledger go."),
    Reason("Drained", "False", "InvalidSpec", "What is open cannot be settled by a manifest that is wrong.", "Put the manifest right, or tradingbot.dev/force-delete: \"true\"."),
    Reason("Drained", "True", "NothingOpen", "The engines stopped with nothing open in the ledger."),
    Reason("Drained", "True", "NeverStarted", "No engine ever ran."),
    Reason("Drained", "True", "Settled", "The settle Job found nothing open any more."),
    Reason("Drained", "True", "Orphaned", "deletionPolicy Orphan: what is open on chain is left alone."),
    Reason("Drifted", "False", "InSync", "Nobody else added anything."),
    Reason("Drifted", "True", "ForeignFields", "Objects of the bot hold fields that somebody else added; they are left alone.", "Remove them, or put them into spec.template."),
)  # fmt: skip
BY_KEY = {(reason.condition, reason.name): reason for reason in REASONS}


def table() -> str:
    """Return the table of conditions and reasons as Markdown."""
    out = ["| condition | status | reason | what it means | what to do |", "|---|---|---|---|---|"]
    out += [f"| {r.condition} | {r.status} | `{r.name}` | {r.meaning} | {r.todo} |" for r in REASONS]
    return "\n".join(out) + "\n"
