# ruff: noqa: S608  (the text is put together from constants of this package)
"""
`claiming.claim` as a function of PostgreSQL, for a whole batch of claims in one round trip.

Starting a statement costs more than its work on one row: constraints and indexes' conditions are read and compiled anew each time.
So the batch is read by one statement and written by one per table. In between the claims are judged one after the other, each as
if those before it had been committed, by expressions alone; what they add to the rows that all of them share (the bot's, the
strategies') is kept in variables and written once.

Claims of one batch must not meet in an id, a position, or a strategy's mint (`claiming.apart`): none of them could look at what another
has not written yet. If they do, or a row is there that nobody looked for, the unique indexes object, and all of the batch is undone.
Each statement in the function takes a new snapshot, after the locks.
"""

from __future__ import annotations

import re

from tradingbot_engine.ledger.checks import (
    FACTS,
    JOINS,
    KNOWN,
    MARKED_SQL,
    OURS,
    TEXT_FACTS,
    named,
    reason_sql,
)
from tradingbot_engine.ledger.claiming import (
    CLAIMED_SQL,
    EXPOSE_SQL,
    INSERT_SQL,
    POSITION_NAMES,
    POSITION_SQL,
    VALUE_NAMES,
    WRITTEN_NAMES,
)

NAME = "claim_batch_v4"
"""A release that changes the function gives it a new name, so that two releases can share a ledger while one replaces the other."""

TEXT_VALUES = frozenset(
    {"id", "strategy", "mint", "side", "purpose", "position_id", "signal_reason", "today", "holder"}
)
PLAN_SETTINGS = ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "material", "memoize")
"""Off: a plan that was made when the tables were small is kept, and must still look rows up one by one when they are large."""
_COLUMN = re.compile(r"\b([spo])\.(\w+)")
_MARKED = "c.marked"


def claim_function() -> str:
    """
    Return the statement that creates the function; it takes one array per value, in the order of `VALUE_NAMES`.

    The newest revision that has a claim function holds this text word for word, a frozen copy on purpose: what was released
    stays as it was, and the text says everything twice that PL/pgSQL cannot share.
    """
    arguments = ", ".join(f"a_{name} {value_type(name)}[]" for name in VALUE_NAMES)
    returned = ", ".join(
        ("r_ord bigint", "r_outcome text", "r_reason text", *(f"r_{n} {_fact_type(n)}" for n, _ in FACTS))
    )
    off = " ".join(f"SET enable_{name} = off" for name in PLAN_SETTINGS)
    reason = named(reason_sql().replace(MARKED_SQL, _MARKED), _of_record)
    columns = sorted({*_COLUMN.findall(reason), *(c for _, sql in FACTS for c in _COLUMN.findall(sql))})
    facts = "\n            ".join(f"r_{name} := {_of_loop(named(sql, _of_record))};" for name, sql in FACTS)
    given = (
        f"unnest({', '.join(f'a_{name}' for name in VALUE_NAMES)}) WITH ORDINALITY AS x ({', '.join(VALUE_NAMES)}, ord)"
    )
    some = "WHERE x.ord = ANY (granted)"
    insert = _selected(INSERT_SQL, [f"x.{name}" for name in WRITTEN_NAMES])
    written = f"{insert}\n            FROM {given}\n            {some} ORDER BY x.ord"
    position = _selected(POSITION_SQL, [f"x.{name}" for name in POSITION_NAMES])
    opening = ("purpose", *POSITION_NAMES)
    entered = (
        f"{position}\n        FROM unnest({', '.join(f'a_{n}' for n in opening)}) WITH ORDINALITY AS x ({', '.join(opening)}, ord)"
        f"\n        {some} AND x.purpose = 'ENTRY' ORDER BY x.ord"
    )
    journal = _selected(CLAIMED_SQL, ["x.shard", "x.epoch", "x.id", "x.now_ms"])
    return f"""\
CREATE FUNCTION {NAME}({arguments}) RETURNS TABLE ({returned})
LANGUAGE plpgsql {off} AS $claim$
DECLARE
    b bots;
    c record;
    there boolean;
    added_intents bigint := 0;
    added_quote bigint := 0;
    added_lamports bigint := 0;
    added_exposure bigint;
    place integer;
    exposed text[] := '{{}}';
    exposures bigint[] := '{{}}';
    leaving text[] := '{{}}';
    granted bigint[] := '{{}}';
    written bigint;
BEGIN
    -- All shards first and in one order: two batches never wait for each other in a circle.
    PERFORM 1 FROM shards WHERE shard = ANY (a_shard) ORDER BY shard FOR NO KEY UPDATE;
    -- The bot's row once for all: each claim finds in it and in what was added what the claims before it were granted.
    SELECT * INTO b FROM bots FOR NO KEY UPDATE;
    there := FOUND;
    FOR c IN
        SELECT x.*, {OURS} AS ours, {KNOWN} AS known,
            {", ".join(f"{t}.{n} AS {t}_{n}" for t, n in columns)}, {MARKED_SQL} AS marked
        FROM {given}
            {named(JOINS, lambda name: f"x.{name}").replace(" LEFT", chr(10) + "            LEFT")}
        ORDER BY x.ord
    LOOP
        r_ord := c.ord;
        r_reason := '';
        IF NOT c.ours OR c.known OR NOT there THEN
            r_outcome := CASE WHEN NOT c.ours THEN 'FENCED' WHEN c.known THEN 'KNOWN' ELSE 'NO_BOT' END;
            RETURN NEXT;
            CONTINUE;
        END IF;
        place := array_position(exposed, c.strategy);
        added_exposure := CASE WHEN place IS NULL THEN 0 ELSE exposures[place] END;
        r_reason := {_of_loop(reason).replace(chr(10), chr(10) + "        ")};
        IF r_reason <> '' THEN
            {facts}
            r_outcome := 'REFUSED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        added_intents := added_intents + 1;
        added_quote := added_quote + c.reserve_quote;
        added_lamports := added_lamports + c.reserve_lamports;
        granted := array_append(granted, c.ord);
        IF c.purpose <> 'ENTRY' THEN
            leaving := array_append(leaving, c.position_id);
        ELSIF place IS NULL THEN
            exposed := array_append(exposed, c.strategy);
            exposures := array_append(exposures, c.reserve_quote);
        ELSE
            exposures[place] := added_exposure + c.reserve_quote;
        END IF;
    END LOOP;
    IF added_intents = 0 THEN
        RETURN;
    END IF;
    IF cardinality(a_id) = 1 THEN
        {written} ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            -- A unique index objected; the id was not there a moment ago, under the same lock.
            added_intents := 0;
            added_quote := 0;
            added_lamports := 0;
            added_exposure := 0;
            {facts}
            r_outcome := 'TWIN';
            RETURN NEXT;
            RETURN;
        END IF;
    ELSE
        -- If an index objects here the batch is undone, since its later claims were judged as if the earlier were there: each comes alone.
        {written};
    END IF;
    {entered};
    IF leaving <> '{{}}' THEN
        UPDATE positions SET exit_open = 1 WHERE id = ANY (leaving);
    END IF;
    {journal}
        FROM unnest(a_id, a_shard, a_epoch, a_now_ms) WITH ORDINALITY AS x (id, shard, epoch, now_ms, ord)
        WHERE x.ord = ANY (granted) ORDER BY x.ord;
    UPDATE bots SET open_intents = open_intents + added_intents, reserved_quote = reserved_quote + added_quote,
        reserved_lamports = reserved_lamports + added_lamports;
    {EXPOSE_SQL.replace("VALUES ($1, $2)", "SELECT * FROM unnest(exposed, exposures) ORDER BY 1")};
    RETURN QUERY SELECT g, 'CLAIMED', '', {", ".join(f"NULL::{_fact_type(n)}" for n, _ in FACTS)} FROM unnest(granted) AS g;
END $claim$
"""


def _of_record(name: str) -> str:
    """Return what stands for a value in the loop: what was added is in variables, all else in the row `c`."""
    return name if name.startswith("added_") else f"c.{name}"


def _of_loop(sql: str) -> str:
    """Return an expression over the joined rows as one over the row `c`, which holds their columns."""
    return _COLUMN.sub(r"c.\1_\2", sql)


def _selected(sql: str, values: list[str]) -> str:
    """Return an INSERT of parameters as one of a query's columns."""
    for number in range(len(values), 0, -1):  # the highest first: $1 is in $10
        sql = sql.replace(f"${number}", values[number - 1])
    head, _, tail = sql.partition("VALUES (")
    row, _, rest = tail.partition(")")
    return f"{head}SELECT {row}{rest}"


def value_type(name: str) -> str:
    """Return the type in which PostgreSQL takes a value of a claim."""
    if name == "price":
        return "double precision"
    return "text" if name in TEXT_VALUES else "bigint"


def _fact_type(name: str) -> str:
    return "text" if name in TEXT_FACTS else "bigint"
