"""All tables, as the first release has them."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Run the frozen text for the ledger's kind of database."""
    dialect = op.get_context().dialect.name
    for statement in Path(__file__).with_name(f"r0001_tables.{dialect}.sql").read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
