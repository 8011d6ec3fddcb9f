"""The ledger, stopping, the admin port and the logs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from tradingbot_engine.settings.base import FilePath, Group, refused


def _postgres(url: SecretStr) -> SecretStr:
    text = url.get_secret_value()
    if not text.startswith(("postgresql://", "postgres://")) or not text.isprintable():
        raise refused("must start with postgresql:// and hold no control characters")
    return url


class LedgerSettings(Group):
    """Where the ledger is (exactly one of file and URL), and how long its journal reaches back."""

    sqlite_path: FilePath | None = None
    """A file of the bot's own."""
    url: Annotated[SecretStr, AfterValidator(_postgres)] | None = Field(default=None, max_length=2048)
    """postgresql://…"""
    keep_days: int = Field(default=400, ge=30, le=36_500)
    """Days for which the journal of ended trades is kept; trades themselves, their transactions and fills stay for ever."""

    @model_validator(mode="after")
    def _one(self) -> LedgerSettings:
        if (self.sqlite_path is None) == (self.url is None):
            raise ValueError("exactly one of sqlite_path and url must be set")
        return self


class ShutdownSettings(Group):
    """How the engine stops."""

    graceful: bool = Field(default=True, json_schema_extra={"seed": "ENABLE_GRACEFUL_SHUTDOWN"})
    """Whether a stop follows the trades in flight; without it they stay journalled for the next owner."""
    trade_timeout_s: float = Field(default=30, ge=0, le=3600, json_schema_extra={"seed": "SHUTDOWN_TIMEOUT_MS"})
    """How long trades in flight are followed; what is then open stays in the ledger for the next owner."""
    force_timeout_s: float = Field(default=60, ge=0, le=7200)
    """After this the engine ends, whatever is under way; not below `trade_timeout_s`."""


class AdminSettings(Group):
    """The admin port."""

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255, pattern=r"^[0-9A-Za-z.:-]+$")
    """Interface that is listened on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes a free port; `port_file` tells which."""
    port_file: FilePath | None = None
    """Where the port is written."""
    last_status_file: FilePath | None = None
    """Where a drained engine leaves its last status document, for whoever could not ask in time."""
    token_file: FilePath | None = None
    """0600; made if it does not exist. Absent: /v1 is refused."""


class LoggingSettings(Group):
    """What is written about the work, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", json_schema_extra={"seed": "LOG_LEVEL"})
    """The least level that is written."""
    json_lines: bool = Field(default=True, json_schema_extra={"seed": "LOG_JSON"})
    """One JSON object per line; false: text for people."""
    trace_requests: bool = Field(default=True, json_schema_extra={"seed": "TRACE_REQUEST_IDS"})
    """Whether lines carry the ids of the request and the trade that they are about."""
    error_stacks: bool = Field(default=False, json_schema_extra={"seed": "RPC_ERROR_STACKS"})
    """Whether errors are written with their stack; otherwise with type, text and the place they came from."""


class MetricsSettings(Group):
    """What is counted."""

    max_series: int = Field(default=2000, ge=10, le=100_000, json_schema_extra={"unit": "series"})
    """Label sets of one metric; counts beyond it go to the label set `other`, gauges are refused."""
