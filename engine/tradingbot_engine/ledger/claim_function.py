# ruff: noqa: S608  (the text is put together from constants of this package)
"""
`claiming.claim` as a function of PostgreSQL, for a whole batch of claims in one round trip.

A single statement would not do: all of it would see one snapshot, and none of it could look at what it had just written.
Each statement in the function takes a new snapshot, after the locks.

The claims of a batch are judged one after the other, each as if those before it had been committed; what they add to the rows that
all of them share (the bot's, the strategies') is kept in variables and written once, since every version of a row that a transaction
makes is walked over by its later statements.
"""

from __future__ import annotations

from tradingbot_engine.ledger.checks import EXPOSURE, FACTS, TEXT_FACTS, verdict_sql
from tradingbot_engine.ledger.claiming import (
    EXIT_OPENS_SQL,
    EXPOSE_SQL,
    INSERT_SQL,
    ORDER_NAMES,
    POSITION_SQL,
    VERDICT_NAMES,
)
from tradingbot_engine.ledger.owning import FENCE_SQL, JOURNAL_SQL
from tradingbot_engine.ledger.program import LOCK

NAME = "claim_batch_v2"
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
    opening = ["c.id", "c.shard", "c.strategy", "c.mint", "c.reserve_quote", "c.signal_at_ms", "c.price"]
    position = _with(POSITION_SQL, opening).replace("VALUES (", "SELECT ").removesuffix(")")
    exit_opens = EXIT_OPENS_SQL.replace(" WHERE id = $1", " FROM made WHERE positions.id = made.position_id")
    journal = _with(JOURNAL_SQL, ["x.shard", "x.epoch", "'CLAIM'", "x.id", "0", "NULL", "'INTENT'", "x.now_ms"])
    verdict = verdict_sql(lambda name: f"c.{name}").replace("FROM bots b LEFT", "FROM (SELECT 1) AS one LEFT")
    return f"""\
CREATE FUNCTION {NAME}(items jsonb) RETURNS TABLE ({returned})
LANGUAGE plpgsql AS $claim$
DECLARE
    c record;
    b bots;
    there boolean;
    ours boolean;
    known boolean;
    exposed bigint;
    added jsonb := '{{}}';
    granted bigint[] := '{{}}';
BEGIN
    -- All shards first and in one order: two batches never wait for each other in a circle.
    PERFORM 1 FROM shards WHERE shard IN (SELECT x.shard FROM jsonb_to_recordset(items) AS x (shard bigint))
        ORDER BY shard FOR NO KEY UPDATE;
    -- The bot's row once for all: each claim finds in b and added what the claims before it were granted.
    SELECT * INTO b FROM bots FOR NO KEY UPDATE;
    there := FOUND;
    FOR c IN SELECT * FROM jsonb_to_recordset(items) AS x ({columns}) ORDER BY x.ord LOOP
        r_ord := c.ord;
        r_reason := '';
        SELECT EXISTS ({_with(FENCE_SQL.removesuffix(LOCK), ["c.shard", "c.holder", "c.epoch"])}),
            EXISTS (SELECT 1 FROM intents WHERE id = c.id) INTO ours, known;
        IF NOT ours THEN
            r_outcome := 'FENCED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF known THEN
            r_outcome := 'KNOWN';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF NOT there THEN
            r_outcome := 'NO_BOT';
            RETURN NEXT;
            CONTINUE;
        END IF;
        exposed := coalesce((added ->> c.strategy)::bigint, 0);
        {_indented(verdict.replace(EXPOSURE, f"({EXPOSURE} + exposed)"))}
        INTO r_reason, {facts};
        IF r_reason <> '' THEN
            r_outcome := 'REFUSED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF c.purpose = 'ENTRY' THEN
            WITH made AS ({insert} RETURNING 1)
            {position} FROM made;
        ELSE
            WITH made AS ({insert} RETURNING position_id)
            {exit_opens};
        END IF;
        IF NOT FOUND THEN
            r_outcome := 'TWIN';
            RETURN NEXT;
            CONTINUE;
        END IF;
        b.open_intents := b.open_intents + 1;
        b.reserved_quote := b.reserved_quote + c.reserve_quote;
        b.reserved_lamports := b.reserved_lamports + c.reserve_lamports;
        IF c.purpose = 'ENTRY' THEN
            added := added || jsonb_build_object(c.strategy, exposed + c.reserve_quote);
        END IF;
        granted := granted || c.ord;
        r_outcome := 'CLAIMED';
        RETURN NEXT;
    END LOOP;
    IF granted <> '{{}}' THEN
        {journal.replace("VALUES (", "SELECT ").removesuffix(")")}
            FROM jsonb_to_recordset(items) AS x (ord bigint, id text, now_ms bigint, shard bigint, epoch bigint)
            WHERE x.ord = ANY (granted) ORDER BY x.ord;
        UPDATE bots SET open_intents = b.open_intents, reserved_quote = b.reserved_quote,
            reserved_lamports = b.reserved_lamports;
        {EXPOSE_SQL.replace("VALUES ($1, $2)", "SELECT key, value::bigint FROM jsonb_each_text(added) ORDER BY key")};
    END IF;
END $claim$
"""


def _indented(text: str) -> str:
    return text.replace(chr(10), chr(10) + "        ")


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
