"""The rent of guard accounts: the transactions that fetch it, and which guards they fetch."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Run the frozen text for the ledger's kind of database."""
    dialect = op.get_context().dialect.name
    for statement in Path(__file__).with_name(f"r0004_rent.{dialect}.sql").read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
