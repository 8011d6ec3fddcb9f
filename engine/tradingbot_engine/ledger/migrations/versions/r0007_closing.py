"""The wish to close out: every position sold, none opened, whatever process comes next."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0007"
down_revision: str | None = "0006"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Run the frozen text for the ledger's kind of database; an engine of the release before still calls the old function."""
    dialect = op.get_context().dialect.name
    here = Path(__file__).parent
    for statement in (here / f"r0007_closing.{dialect}.sql").read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
    if dialect == "postgresql":
        op.execute((here / "r0007_claim.postgresql.sql").read_text(encoding="utf-8"))
