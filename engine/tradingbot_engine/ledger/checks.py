"""
What must hold for a new intent, in order; the first that fails names the refusal.

Each check is a condition in SQL that both databases understand, so that SQLite's writer and PostgreSQL's function judge by the
same text. `{name}` stands for a value of the claim, `{added_…}` for what the claims before it in the same transaction were granted
and is not yet written; `b` is the bot's row, `s` the strategy's, `p` the position's, `o` the strategy's open position in the mint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tradingbot_engine.domain.intents import OrderIntent
from tradingbot_engine.domain.money import SOL, Currency
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.ledger.port import ClaimLimits, Ownership

_OLDEST_MARK = "{now_ms} - {marks_max_age_ms}"
MARKED_SQL = "(SELECT min(m.at_ms) FROM marks m)"
"""When the shard that is furthest behind marked its positions."""
_IN_SOL = f"b.quote_mint = '{SOL_MINT}'"
OPEN_INTENTS = "(b.open_intents + {added_intents})"
_HELD_QUOTE = "(b.reserved_quote + {added_quote})"
_HELD_LAMPORTS = "(b.reserved_lamports + {added_lamports})"
_FREE_LAMPORTS = f"(b.wallet_lamports - {_HELD_LAMPORTS} - CASE WHEN {_IN_SOL} THEN {_HELD_QUOTE} ELSE 0 END)"
_FREE_QUOTE = f"(CASE WHEN {_IN_SOL} THEN {_FREE_LAMPORTS} ELSE b.wallet_quote - {_HELD_QUOTE} END)"
_NEEDED_LAMPORTS = f"({{reserve_lamports}} + CASE WHEN {_IN_SOL} THEN {{reserve_quote}} ELSE 0 END)"
_FEES_TODAY = "(CASE WHEN b.fees_day >= {today} THEN b.fees_failed ELSE 0 END)"
EXPOSURE = "(coalesce(s.exposure, 0) + {added_exposure})"
_FALL = "coalesce(s.peak - s.realized, 0)"

ENTRY_CHECKS: tuple[tuple[str, str], ...] = (
    ("ClosingOut", "b.closing_since_ms > 0"),
    ("Paused", "b.paused = 1"),
    ("Latched", "b.latch = 1"),
    ("TierHalt", "b.tier IN ('HALT', 'EMERGENCY')"),
    ("StaleEquity", f"b.marked_at_ms < {_OLDEST_MARK} OR {MARKED_SQL} < {_OLDEST_MARK}"),
    ("PositionOpen", "o.state = 'OPEN'"),
    ("EntryOpen", "o.state = 'PENDING'"),
    ("StrategyLimit", f"{EXPOSURE} + {{reserve_quote}} > {{max_strategy_quote}}"),
    ("StrategyDrawdown", f"{_FALL} > 0 AND {_FALL} >= {{strategy_max_drawdown_quote}}"),
    ("TooManyOpenIntents", f"{OPEN_INTENTS} >= {{max_open_intents}}"),
    ("InsufficientFunds", f"{_FREE_QUOTE} < {{reserve_quote}} OR {_FREE_LAMPORTS} < {_NEEDED_LAMPORTS}"),
    ("FeeReserve", f"{_FREE_LAMPORTS} - {_NEEDED_LAMPORTS} < {{fee_reserve_lamports}}"),
    ("FailedFeeBudget", f"{_FEES_TODAY} > 0 AND {_FEES_TODAY} >= {{failed_fee_budget_lamports}}"),
)
EXIT_CHECKS: tuple[tuple[str, str], ...] = (
    ("PositionNotOpen", "p.id IS NULL OR p.state <> 'OPEN'"),
    ("ExitOpen", "p.exit_open = 1"),
    ("ExitTooLarge", "{amount_in} > p.bought - p.sold"),
)

FACTS: tuple[tuple[str, str], ...] = (
    ("tier", "b.tier"),
    ("marked_at_ms", "b.marked_at_ms"),
    ("open_intents", OPEN_INTENTS),
    ("exposure", EXPOSURE),
    ("fall", _FALL),
    ("free_quote", _FREE_QUOTE),
    ("free_lamports", _FREE_LAMPORTS),
    ("fees_failed", _FEES_TODAY),
    ("held", "coalesce(p.bought - p.sold, 0)"),
    ("position_state", "coalesce(p.state, '')"),
)
"""What a refusal's message tells."""

TEXT_FACTS = frozenset({"tier", "position_state"})

JOINS = (
    "LEFT JOIN shards f ON f.shard = {shard} AND f.holder = {holder} AND f.epoch = {epoch} "
    "LEFT JOIN intents k ON k.id = {id} "
    "LEFT JOIN strategies s ON s.strategy = {strategy} "
    "LEFT JOIN positions p ON p.id = {position_id} "
    # At most one, and found by the unique index whose condition this is.
    "LEFT JOIN positions o ON o.strategy = {strategy} AND o.mint = {mint} AND o.state <> 'CLOSED'"
)
"""Everything that a claim is judged by, beside the bot's row: `f` is there if the shard is ours, `k` if the id is known."""
OURS, KNOWN = "f.shard IS NOT NULL", "k.id IS NOT NULL"


def reason_sql() -> str:
    """Return the expression for what speaks against a claim, "" if nothing does; `{name}` still stands for its values."""
    cases = [f"WHEN {{purpose}} = 'ENTRY' AND ({sql}) THEN '{reason}'" for reason, sql in ENTRY_CHECKS]
    cases += [f"WHEN {{purpose}} = 'EXIT' AND ({sql}) THEN '{reason}'" for reason, sql in EXIT_CHECKS]
    return "CASE\n    " + "\n    ".join(cases) + "\n    ELSE '' END"


def verdict_sql(name: Callable[[str], str]) -> str:
    """
    Return the statement that judges a claim: one row of whether the shard is ours, whether the id is known, and the reason.

    Args:
        name: Gives the SQL (a parameter, a variable) that stands for a value of the claim.
    """
    return named(f"SELECT {OURS}, {KNOWN}, {reason_sql()}\nFROM bots b {JOINS}", name)


def facts_sql(name: Callable[[str], str]) -> str:
    """Return the statement that reads the facts for a refusal's message."""
    return named(f"SELECT {', '.join(sql for _, sql in FACTS)}\nFROM bots b {JOINS}", name)


def named(template: str, name: Callable[[str], str]) -> str:
    """Return a template with `{name}` replaced by the SQL that stands for it."""
    return template.format_map(_Names(name))


class _Names(Mapping[str, str]):
    """Looks names up by a function, for `str.format_map`."""

    def __init__(self, name: Callable[[str], str]) -> None:
        self._name = name

    def __getitem__(self, key: str) -> str:
        return self._name(key)

    def __iter__(self) -> Any:
        raise TypeError("only single names are looked up")

    def __len__(self) -> int:
        raise TypeError("only single names are looked up")


def claim_values(intent: OrderIntent, limits: ClaimLimits, ownership: Ownership) -> dict[str, Any]:
    """Return every value that checks and columns may name; written out, since claims are the ledger's hottest path."""
    return {
        "id": intent.id,
        "strategy": intent.strategy,
        "mint": intent.mint,
        "side": intent.side.value,
        "purpose": intent.purpose.value,
        "priority": intent.priority.value,
        "position_id": intent.position_id,
        "amount_in": intent.amount_in,
        "reserve_quote": intent.reserve_quote,
        "reserve_lamports": intent.reserve_lamports,
        "max_slippage_bps": intent.max_slippage_bps,
        "max_priority_fee_lamports": intent.max_priority_fee_lamports,
        "signal_at_ms": intent.signal_at_ms,
        "created_at_ms": intent.created_at_ms,
        "price": intent.price,
        "signal_reason": intent.reason,
        "quote": limits.quote,
        "now_ms": limits.now_ms,
        "today": limits.today,
        "max_strategy_quote": limits.max_strategy_quote,
        "max_open_intents": limits.max_open_intents,
        "fee_reserve_lamports": limits.fee_reserve_lamports,
        "failed_fee_budget_lamports": limits.failed_fee_budget_lamports,
        "marks_max_age_ms": limits.marks_max_age_ms,
        "strategy_max_drawdown_quote": limits.strategy_max_drawdown_quote,
        "shard": ownership.shard,
        "holder": ownership.holder,
        "epoch": ownership.epoch,
    }


def refusal_message(reason: str, claim: Mapping[str, Any], fact: Mapping[str, Any]) -> str:
    """Return a refusal in words, with its numbers."""
    quote: Currency = claim["quote"]
    match reason:
        case "ClosingOut":
            return "the bot is being closed out: what it holds is sold, and nothing is bought any more"
        case "Paused":
            return "the bot is paused by its manifest"
        case "Latched":
            return "the bot was paused by hand; resume it to open positions"
        case "TierHalt":
            return f"drawdown tier {fact['tier']} opens no positions"
        case "StaleEquity":
            age_ms = claim["now_ms"] - fact["marked_at_ms"]
            return f"a mark is too old (the bot's: {age_ms} ms, limit {claim['marks_max_age_ms']} ms)"
        case "PositionOpen":
            return f"{claim['strategy']} holds a position in {claim['mint']} already"
        case "EntryOpen":
            return f"{claim['strategy']} is entering {claim['mint']} already"
        case "StrategyLimit":
            together = fact["exposure"] + claim["reserve_quote"]
            limit = quote.text(claim["max_strategy_quote"])
            return f"{claim['strategy']} would hold {quote.text(together)} > limit {limit}"
        case "StrategyDrawdown":
            limit = quote.text(claim["strategy_max_drawdown_quote"])
            return f"{claim['strategy']} lies {quote.text(fact['fall'])} below its peak, limit {limit}"
        case "TooManyOpenIntents":
            return f"{fact['open_intents']} intents are open, limit {claim['max_open_intents']}"
        case "InsufficientFunds":
            free = quote.text(fact["free_quote"])
            if quote != SOL:
                free += f" and {SOL.text(fact['free_lamports'])}"
            fees = SOL.text(claim["reserve_lamports"])
            return f"free: {free}; needed: {quote.text(claim['reserve_quote'])}, and {fees} for fees and rent"
        case "FeeReserve":
            return (
                f"of {SOL.text(fact['free_lamports'])} that is free an entry must leave "
                f"{SOL.text(claim['fee_reserve_lamports'])}, so that exits can always pay"
            )
        case "FailedFeeBudget":
            limit = SOL.text(claim["failed_fee_budget_lamports"])
            return f"failed transactions cost {SOL.text(fact['fees_failed'])} today, limit {limit}"
        case "PositionNotOpen":
            return f"position {claim['position_id']} is {fact['position_state'] or 'unknown'}, not OPEN"
        case "ExitOpen":
            return f"position {claim['position_id']} has an exit under way"
        case "ExitTooLarge":
            return f"{claim['amount_in']} base units > {fact['held']} held"
    return reason
