"""The ledger, stopping, the admin port and the logs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator

from tradingbot_engine.settings.base import Group


class LedgerSettings(Group):
    """Where the ledger is: exactly one of the two."""

    sqlite_path: Path | None = None
    url: SecretStr | None = None
    """postgresql://…"""

    @model_validator(mode="after")
    def _one(self) -> LedgerSettings:
        if (self.sqlite_path is None) == (self.url is None):
            raise ValueError("exactly one of sqlite_path and url must be set")
        if self.url is not None and not self.url.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("url must start with postgresql://")
        return self


class ShutdownSettings(Group):
    """How long a drain follows what is in flight."""

    trade_timeout_s: float = Field(default=30, ge=0)
    force_timeout_s: float = Field(default=60, ge=0)


class AdminSettings(Group):
    """The admin port."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port; `port_file` tells which."""
    port_file: Path | None = None
    token_file: Path | None = None
    """0600; made if it does not exist. Absent: /v1 is refused."""


class LoggingSettings(Group):
    """What is written about the work."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = True
