"""Claims on PostgreSQL in one round trip: the function that judges and writes a batch of them."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """SQLite's writer is in the same process and needs no function."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(Path(__file__).with_name("r0002_claim.postgresql.sql").read_text(encoding="utf-8"))
