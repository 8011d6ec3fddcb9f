# ruff: noqa: S608  (the text is put together from constants of this package)
"""
`claiming.claim` as a function of PostgreSQL, for a whole batch of claims in one round trip.

A single statement would not do: all of it would see one snapshot, and none of it could look at what it had just written.
Each statement in the function takes a new snapshot, after the locks.
"""

from __future__ import annotations

from tradingbot_engine.ledger.checks import FACTS, TEXT_FACTS, verdict_sql
from tradingbot_engine.ledger.claiming import (
    EXIT_OPENS_SQL,
    EXPOSE_SQL,
    INSERT_SQL,
    ORDER_NAMES,
    POSITION_SQL,
    RESERVE_SQL,
    VERDICT_NAMES,
)
from tradingbot_engine.ledger.owning import FENCE_SQL, JOURNAL_SQL

NAME = "claim_batch_v1"
"""A release that changes the function gives it a new name, so that two releases can share a ledger while one replaces the other."""

TEXT_VALUES = frozenset(
    {"id", "strategy", "mint", "side", "purpose", "position_id", "signal_reason", "today", "holder"}
)
VALUE_NAMES = tuple(dict.fromkeys((*ORDER_NAMES, *VERDICT_NAMES, "shard", "holder", "epoch")))


def claim_function() -> str:
    """Return the statement that creates the function."""
    columns = ", ".join(f"{name} {_type(name)}" for name in ("ord", *VALUE_NAMES))
    returned = ", ".join(
        ("r_ord bigint", "r_outcome text", "r_reason text", *(f"r_{n} {_fact_type(n)}" for n, _ in FACTS))
    )
    facts = ", ".join(f"r_{name}" for name, _ in FACTS)
    order = [f"c.{name}" for name in ORDER_NAMES]
    insert = _with(INSERT_SQL.removesuffix(" RETURNING 1"), [*order, "c.shard", "c.epoch", "c.now_ms"])
    return f"""\
CREATE FUNCTION {NAME}(items jsonb) RETURNS TABLE ({returned})
LANGUAGE plpgsql AS $claim$
DECLARE
    c record;
BEGIN
    -- All shards first and in one order: two batches never wait for each other in a circle.
    PERFORM 1 FROM shards WHERE shard IN (SELECT x.shard FROM jsonb_to_recordset(items) AS x (shard bigint))
        ORDER BY shard FOR NO KEY UPDATE;
    FOR c IN SELECT * FROM jsonb_to_recordset(items) AS x ({columns}) ORDER BY x.ord LOOP
        r_ord := c.ord;
        r_reason := '';
        PERFORM {_with(FENCE_SQL, ["c.shard", "c.holder", "c.epoch"]).removeprefix("SELECT ")};
        IF NOT FOUND THEN
            r_outcome := 'FENCED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        PERFORM 1 FROM intents WHERE id = c.id;
        IF FOUND THEN
            r_outcome := 'KNOWN';
            RETURN NEXT;
            CONTINUE;
        END IF;
        PERFORM 1 FROM bots FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            r_outcome := 'NO_BOT';
            RETURN NEXT;
            CONTINUE;
        END IF;
        {verdict_sql(lambda name: f"c.{name}").replace(chr(10), chr(10) + "        ")}
        INTO r_reason, {facts};
        IF r_reason <> '' THEN
            r_outcome := 'REFUSED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        {insert};
        IF NOT FOUND THEN
            r_outcome := 'TWIN';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF c.purpose = 'ENTRY' THEN
            {_with(POSITION_SQL, ["c.id", "c.shard", "c.strategy", "c.mint", "c.reserve_quote", "c.signal_at_ms", "c.price"])};
        ELSE
            {_with(EXIT_OPENS_SQL, ["c.position_id"])};
        END IF;
        {_with(JOURNAL_SQL, ["c.shard", "c.epoch", "'CLAIM'", "c.id", "0", "NULL", "'INTENT'", "c.now_ms"])};
        {_with(RESERVE_SQL, ["c.reserve_quote", "c.reserve_lamports"])};
        IF c.purpose = 'ENTRY' THEN
            {_with(EXPOSE_SQL, ["c.strategy", "c.reserve_quote"])};
        END IF;
        r_outcome := 'CLAIMED';
        RETURN NEXT;
    END LOOP;
END $claim$
"""


def _type(name: str) -> str:
    if name == "price":
        return "double precision"
    return "text" if name in TEXT_VALUES else "bigint"


def _fact_type(name: str) -> str:
    return "text" if name in TEXT_FACTS else "bigint"


def _with(sql: str, values: list[str]) -> str:
    """Return a statement with its parameters replaced by the function's variables, the highest number first."""
    for number in range(len(values), 0, -1):
        sql = sql.replace(f"${number}", values[number - 1])
    return sql
