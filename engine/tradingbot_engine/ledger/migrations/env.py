"""Alembic's entry: renders revisions as SQL text, which the ledger itself runs in one transaction."""

from __future__ import annotations

from alembic import context

from tradingbot_engine.ledger.schema import metadata

context.configure(
    dialect_name=context.config.attributes["dialect"],
    target_metadata=metadata,
    literal_binds=True,
    transactional_ddl=False,  # the caller's transaction is the only one
    output_buffer=context.config.output_buffer,
)
context.run_migrations()
