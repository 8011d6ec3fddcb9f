"""Tokens that a position sold or lost without having bought them, and those that paid for it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0005"
down_revision: str | None = "0004"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Run the frozen text for the ledger's kind of database."""
    dialect = op.get_context().dialect.name
    for statement in (
        Path(__file__).with_name(f"r0005_adjustments.{dialect}.sql").read_text(encoding="utf-8").split(";\n")
    ):
        if statement.strip():
            op.execute(statement)
