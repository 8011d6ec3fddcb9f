"""Exits that slipped are counted apart from those that expired or were given up; claims of a batch share one update of the bot's row."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Run the frozen text for the ledger's kind of database; an engine of the release before still calls the old function."""
    dialect = op.get_context().dialect.name
    here = Path(__file__).parent
    for statement in (here / f"r0003_slips.{dialect}.sql").read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
    if dialect == "postgresql":
        op.execute((here / "r0003_claim.postgresql.sql").read_text(encoding="utf-8"))
