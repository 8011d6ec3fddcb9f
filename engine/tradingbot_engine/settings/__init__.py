"""
Everything an engine can be told, as frozen groups, one file per stage.

The file is JSON in the shape of `EngineSettings`; the environment (`TRADINGBOT_RPC__REQUEST_TIMEOUT_S=…`, in lists by number
`TRADINGBOT_RPC__ENDPOINTS__0__URL=…`) wins over it.
All problems are reported at once; secrets are never printed.
"""

from tradingbot_engine.settings.base import Group
from tradingbot_engine.settings.bot import BotSettings, WalletSettings
from tradingbot_engine.settings.bus import BusSettings
from tradingbot_engine.settings.engine import EngineSettings
from tradingbot_engine.settings.execution import (
    ExecutionSettings,
    ExpiryProofSettings,
    PriorityFeeSettings,
    SwapSettings,
)
from tradingbot_engine.settings.health import HealthSettings
from tradingbot_engine.settings.idempotency import IdempotencySettings
from tradingbot_engine.settings.load import SettingsInvalid, load_settings, problems_of
from tradingbot_engine.settings.market import EventTimeSettings, MarketSettings, TokenSettings
from tradingbot_engine.settings.protections import switched_off
from tradingbot_engine.settings.queue import QueueSettings
from tradingbot_engine.settings.risk import DailyLossSettings, DrawdownSettings, RiskSettings, StrategySettings
from tradingbot_engine.settings.rpc import EndpointSettings, RpcSettings
from tradingbot_engine.settings.runtime import (
    AdminSettings,
    LedgerSettings,
    LoggingSettings,
    MetricsSettings,
    ShutdownSettings,
)
from tradingbot_engine.settings.screen import ScreenSettings

__all__ = [
    "AdminSettings",
    "BotSettings",
    "BusSettings",
    "DailyLossSettings",
    "DrawdownSettings",
    "EndpointSettings",
    "EngineSettings",
    "EventTimeSettings",
    "ExecutionSettings",
    "ExpiryProofSettings",
    "Group",
    "HealthSettings",
    "IdempotencySettings",
    "LedgerSettings",
    "LoggingSettings",
    "MarketSettings",
    "MetricsSettings",
    "PriorityFeeSettings",
    "QueueSettings",
    "RiskSettings",
    "RpcSettings",
    "ScreenSettings",
    "SettingsInvalid",
    "ShutdownSettings",
    "StrategySettings",
    "SwapSettings",
    "TokenSettings",
    "WalletSettings",
    "load_settings",
    "problems_of",
    "switched_off",
]
