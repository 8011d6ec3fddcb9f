"""Who trades the bot: members of a bot that has several processes and no Kubernetes to keep Leases for it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Run the frozen text for the ledger's kind of database; an engine of the release before knows nothing of it."""
    dialect = op.get_context().dialect.name
    for statement in Path(__file__).with_name(f"r0008_members.{dialect}.sql").read_text(encoding="utf-8").split(";\n"):
        if statement.strip():
            op.execute(statement)
