"""
Everything an engine can be told, as frozen groups, one per stage.

The file is JSON in the shape of `EngineSettings`; the environment (`TRADINGBOT_RPC__REQUEST_TIMEOUT_S=…`) wins over it.
All problems are reported at once; secrets are never printed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tradingbot_engine.errors import PermanentError

Base58Key = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}$")]
HttpUrl = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)]
WebsocketUrl = Annotated[str, Field(pattern=r"^wss?://\S+$", max_length=2048)]


class Group(BaseModel):
    """A frozen group; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BotSettings(Group):
    """Who this bot is."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")
    """Name of the TradingBot resource."""
    namespace: str = "default"
    bot_id: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """Adopt this id instead of making one (a bot that moved)."""
    mode: Literal["Paper", "Live"] = "Paper"
    cluster: Literal["mainnet-beta", "devnet", "localnet"] = "localnet"
    cluster_id: str = "laptop"
    """Where the bot's processes run; a ledger held from elsewhere is refused until adopted."""
    adopt: bool = False
    """Take over a ledger that another cluster id holds."""
    generation: int = Field(default=1, ge=0)
    """Generation of the manifest that these settings were rendered from."""
    paused: bool = False
    shards: int = Field(default=1, ge=1, le=1024)
    """How many slices the tokens are spread over; one engine owns all of them here."""


class WalletSettings(Group):
    """The wallet that trades."""

    address: Base58Key
    key_file: Path | None = None
    """Solana CLI JSON (64 numbers) or base58; its public key must equal `address`. Not needed on paper."""


class EndpointSettings(Group):
    """One RPC provider; the URL may hold a key, so it is a secret."""

    name: str = Field(min_length=1, max_length=63)
    url: SecretStr
    websocket_url: SecretStr | None = None
    requests_per_second: float = Field(default=50, gt=0)
    concurrency: int = Field(default=10, ge=1)
    priority: int = Field(default=0, ge=0)
    """Lower is asked first."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value

    @field_validator("websocket_url")
    @classmethod
    def _websocket(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("ws://", "wss://")):
            raise ValueError("must start with ws:// or wss://")
        return value


class RpcSettings(Group):
    """How Solana nodes are asked."""

    endpoints: tuple[EndpointSettings, ...] = Field(min_length=1)
    request_timeout_s: float = Field(default=2.0, gt=0)
    """How long one request to one node may take, in seconds of wall time."""
    max_in_flight: int = Field(default=200, ge=1)
    """Requests under way at once, over all endpoints."""

    @model_validator(mode="after")
    def _names_differ(self) -> RpcSettings:
        names = [e.name for e in self.endpoints]
        if len(set(names)) != len(names):
            raise ValueError("endpoint names must differ")
        return self


class TokenSettings(Group):
    """A token that the bot may trade."""

    mint: Base58Key
    symbol: str = Field(default="", max_length=32)


class EventTimeSettings(Group):
    """
    How event time follows from the slot, where the chain plays faster than the wall (localnet).

    Event time in milliseconds = `origin_ms` + (slot - `origin_slot`) × `ms_per_slot`. Absent: wall time.
    """

    origin_slot: int = Field(ge=0)
    origin_ms: int = Field(ge=0)
    ms_per_slot: float = Field(gt=0)


class MarketSettings(Group):
    """What is traded, and where prices come from."""

    quote: Literal["SOL", "USDC"] = "SOL"
    tokens: tuple[TokenSettings, ...] = Field(min_length=1, max_length=1000)
    max_staleness_ms: int = Field(default=500, ge=1)
    """Without a proof of life from the feed for this long (wall time), entries are blocked."""
    event_time: EventTimeSettings | None = None
    history_url: HttpUrl | None = None
    """Base of an OHLCV API in GeckoTerminal's shape, asked for bars that the ledger lacks."""
    price_url: HttpUrl | None = None
    """Base of a price API in Jupiter's shape (`/price/v3`), for thresholds stated in dollars."""

    @model_validator(mode="after")
    def _mints_differ(self) -> MarketSettings:
        mints = [t.mint for t in self.tokens]
        if len(set(mints)) != len(mints):
            raise ValueError("mints must differ")
        return self


class StrategySettings(Group):
    """One instance of a strategy."""

    name: str = Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
    type: str
    allocation_percent: float = Field(default=100, gt=0, le=100)
    """Share of the capital that this strategy may have in positions at once."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Checked against the catalogue's ranges for the type."""


class DrawdownSettings(Group):
    """Fall of equity from its peak, in percent, at which a tier begins."""

    warning_percent: float = Field(default=3, gt=0, lt=100)
    halt_percent: float = Field(default=5, gt=0, lt=100)
    emergency_percent: float = Field(default=10, gt=0, lt=100)

    @model_validator(mode="after")
    def _ordered(self) -> DrawdownSettings:
        if not self.warning_percent < self.halt_percent < self.emergency_percent:
            raise ValueError("must satisfy warning < halt < emergency")
        return self


class DailyLossSettings(Group):
    """Loss since the start of the UTC day, in percent of the day's opening equity."""

    warning_percent: float = Field(default=2, gt=0, lt=100)
    halt_percent: float = Field(default=3, gt=0, lt=100)

    @model_validator(mode="after")
    def _ordered(self) -> DailyLossSettings:
        if not self.warning_percent < self.halt_percent:
            raise ValueError("must satisfy warning < halt")
        return self


class RiskSettings(Group):
    """Limits of the whole bot; effective values, a profile already applied."""

    profile: Literal["Conservative", "Balanced", "Aggressive"] = "Balanced"
    capital: int | None = Field(default=None, gt=0)
    """Capital in quote base units; absent: the wallet's balance when the bot first starts."""
    max_position_percent: float = Field(default=2, gt=0, le=100)
    max_strategy_percent: float = Field(default=10, gt=0, le=100)
    strategy_drawdown_percent: float = Field(default=5, gt=0, le=100)
    """Realized loss of one strategy from its own peak, in percent of capital, at which it opens nothing more."""
    drawdown: DrawdownSettings = DrawdownSettings()
    daily_loss: DailyLossSettings = DailyLossSettings()
    fee_reserve_lamports: int = Field(default=50_000_000, ge=0)
    """What entries leave in the wallet so that exits can always pay."""
    failed_fee_budget_lamports: int = Field(default=20_000_000, ge=0)
    """What failed transactions may cost per UTC day before entries stop."""
    max_open_intents: int = Field(default=64, ge=1)
    marks_max_age_ms: int = Field(default=5000, ge=100)


class SwapSettings(Group):
    """The Jupiter-shaped swap API."""

    base_url: HttpUrl = "https://api.jup.ag"
    version: Literal["v1", "v2"] = "v1"
    api_key: SecretStr | None = None
    timeout_s: float = Field(default=3.0, gt=0)


class PriorityFeeSettings(Group):
    """What is offered to validators for speed."""

    level: Literal["medium", "high", "veryHigh"] = "medium"
    max_lamports: int = Field(default=1_000_000, ge=0)


class ExpiryProofSettings(Group):
    """When more than one provider must agree that an attempt can never land."""

    providers: int = Field(default=2, ge=1)
    above_lamports: int = Field(default=10_000_000_000, ge=0)


class ExecutionSettings(Group):
    """From intent to fill."""

    swap: SwapSettings = SwapSettings()
    mark: Literal["Memo", "Guard", "None"] = "Memo"
    max_slippage_bps: int = Field(default=100, ge=1, le=5000)
    max_price_impact_bps: int = Field(default=100, ge=1, le=10_000)
    priority_fee: PriorityFeeSettings = PriorityFeeSettings()
    commitment: Literal["processed", "confirmed"] = "confirmed"
    expiry_proof: ExpiryProofSettings = ExpiryProofSettings()
    resend_interval_s: float = Field(default=1.5, gt=0)
    poll_interval_s: float = Field(default=0.4, gt=0)
    entry_max_age_s: float = Field(default=30, gt=0)
    """An entry whose signal is older is abandoned instead of attempted (again)."""
    entry_max_attempts: int = Field(default=2, ge=1)
    workers: int = Field(default=16, ge=1)
    """Trades followed at once."""
    paper_latency_ms: int = Field(default=800, ge=0)


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


class QueueSettings(Group):
    """Signals waiting for a worker."""

    max_size: int = Field(default=10_000, ge=1)
    deadline_ms: int = Field(default=5000, ge=1)
    warning_threshold: float = Field(default=0.8, gt=0, le=1)
    critical_threshold: float = Field(default=0.95, gt=0, le=1)


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


class EngineSettings(BaseSettings):
    """All groups; see each."""

    model_config = SettingsConfigDict(
        env_prefix="TRADINGBOT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    bot: BotSettings
    wallet: WalletSettings
    rpc: RpcSettings
    market: MarketSettings
    strategies: tuple[StrategySettings, ...] = Field(min_length=1, max_length=32)
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    ledger: LedgerSettings
    queue: QueueSettings = QueueSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    admin: AdminSettings = AdminSettings()
    logging: LoggingSettings = LoggingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings

    @model_validator(mode="after")
    def _consistent(self) -> EngineSettings:
        problems = []
        names = [s.name for s in self.strategies]
        if len(set(names)) != len(names):
            problems.append("strategies: names must differ")
        total = sum(s.allocation_percent for s in self.strategies)
        if total > 100 + 1e-9:
            problems.append(f"strategies: allocations sum to {total:g} %, at most 100 is possible")
        if self.risk.max_position_percent > self.risk.max_strategy_percent:
            problems.append("risk: max_position_percent must not exceed max_strategy_percent")
        if self.shutdown.force_timeout_s < self.shutdown.trade_timeout_s:
            problems.append("shutdown: force_timeout_s must not be below trade_timeout_s")
        if self.queue.warning_threshold >= self.queue.critical_threshold:
            problems.append("queue: warning_threshold must be below critical_threshold")
        if self.bot.mode == "Live" and self.wallet.key_file is None:
            problems.append("wallet: key_file is needed in mode Live")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class SettingsInvalid(PermanentError):
    """The settings cannot be used; the text lists every problem, one a line."""


_SECRET_FIELDS = frozenset({"url", "websocket_url", "api_key", "key_file"})


def problems_of(error: ValidationError) -> list[str]:
    """Return one line per problem: path, what is wrong, and the value unless it could be a secret."""
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"]) or "settings"
        shown = ""
        if not item["loc"] or (
            item["loc"][-1] not in _SECRET_FIELDS and not isinstance(item.get("input"), dict | list)
        ):
            value = item.get("input")
            shown = "" if isinstance(value, dict | list) else f" (value {value!r})"
        lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}{shown}")
    return lines


def load_settings(path: Path) -> EngineSettings:
    """
    Read settings from a JSON file and the environment.

    Raises:
        SettingsInvalid: The file cannot be read, is not JSON, or has problems (all of them listed).
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsInvalid(f"{path}: is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise SettingsInvalid(f"{path}: must hold a JSON object")
    try:
        return EngineSettings(**data)
    except ValidationError as error:
        raise SettingsInvalid("\n".join(problems_of(error))) from error
