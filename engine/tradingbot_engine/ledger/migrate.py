"""
From any older revision of the ledger's schema to the newest.

Alembic renders what is missing as SQL text, and the ledger runs it with its own connection in one transaction: one way for
both databases, and none of it is half done after a crash. A ledger that is up to date never loads Alembic.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

from tradingbot_engine.errors import PermanentError

HEAD = "0008"
"""The newest revision, as this release reads and writes it."""

Dialect = Literal["sqlite", "postgresql"]


class LedgerTooNew(PermanentError):
    """The ledger was written by a newer release: use that one, or a copy of the ledger from before."""


def upgrade_script(dialect: Dialect, *, since: str | None, to: str = HEAD) -> str:
    """
    Return the SQL that brings a ledger from revision `since` (None: empty) to `to`, "" if there is nothing to do.

    Raises:
        LedgerTooNew: This release does not know the revision `since`.
    """
    if since == to:
        return ""
    from alembic import command
    from alembic.util import CommandError

    buffer = io.StringIO()
    config = config_for(dialect, buffer)
    try:
        command.upgrade(config, f"{since}:{to}" if since else to, sql=True)
    except CommandError as error:
        raise LedgerTooNew(f"the ledger is of revision {since}, this release knows {HEAD} and older") from error
    return buffer.getvalue()


def config_for(dialect: Dialect, buffer: io.StringIO | None = None) -> Any:
    """Return Alembic's configuration, made here instead of in a file."""
    from alembic.config import Config

    config = Config(output_buffer=buffer, stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["dialect"] = dialect
    return config


def revisions() -> list[str]:
    """Return all revisions, oldest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(config_for("sqlite")).walk_revisions()][::-1]
