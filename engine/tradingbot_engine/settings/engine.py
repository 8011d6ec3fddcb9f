"""All groups together, and the rules that span them."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tradingbot_engine.settings.bot import BotSettings, WalletSettings
from tradingbot_engine.settings.bus import BusSettings
from tradingbot_engine.settings.execution import ExecutionSettings
from tradingbot_engine.settings.health import HealthSettings
from tradingbot_engine.settings.idempotency import IdempotencySettings
from tradingbot_engine.settings.market import MarketSettings
from tradingbot_engine.settings.queue import QueueSettings
from tradingbot_engine.settings.risk import RiskSettings, StrategySettings
from tradingbot_engine.settings.rpc import RpcSettings
from tradingbot_engine.settings.rules import View, broken_rules
from tradingbot_engine.settings.runtime import (
    AdminSettings,
    LedgerSettings,
    LoggingSettings,
    MetricsSettings,
    ShutdownSettings,
)
from tradingbot_engine.settings.screen import ScreenSettings


class Contradictions(ValueError):
    """Settings that are sound alone and do not go together; `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class EngineSettings(BaseSettings):
    """All groups; see each."""

    model_config = SettingsConfigDict(
        env_prefix="TRADINGBOT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    bot: BotSettings
    wallet: WalletSettings
    rpc: RpcSettings
    market: MarketSettings
    screen: ScreenSettings = ScreenSettings()
    strategies: tuple[StrategySettings, ...] = Field(min_length=1, max_length=32)
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    ledger: LedgerSettings
    queue: QueueSettings = QueueSettings()
    bus: BusSettings = BusSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    health: HealthSettings = HealthSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    admin: AdminSettings = AdminSettings()
    logging: LoggingSettings = LoggingSettings()
    metrics: MetricsSettings = MetricsSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load.py` merges file and environment, which names elements of lists too

    @model_validator(mode="after")
    def _consistent(self) -> EngineSettings:
        groups: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        if problems := list(broken_rules(View(groups))):
            raise Contradictions(problems)
        return self
