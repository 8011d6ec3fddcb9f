"""All groups together, and the rules that span them."""

from __future__ import annotations

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tradingbot_engine.settings.bot import BotSettings, WalletSettings
from tradingbot_engine.settings.execution import ExecutionSettings
from tradingbot_engine.settings.market import MarketSettings
from tradingbot_engine.settings.queue import QueueSettings
from tradingbot_engine.settings.risk import RiskSettings, StrategySettings
from tradingbot_engine.settings.rpc import RpcSettings
from tradingbot_engine.settings.runtime import AdminSettings, LedgerSettings, LoggingSettings, ShutdownSettings


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
