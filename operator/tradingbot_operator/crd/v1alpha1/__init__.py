"""TradingBot in version `tradingbot.dev/v1alpha1`: the pydantic models here are its only definition."""

from tradingbot_operator.crd.v1alpha1.effective import EffectiveRisk, effective_cluster, effective_risk
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.tradingbot import API_VERSION, KIND, TradingBot

__all__ = [
    "API_VERSION",
    "KIND",
    "EffectiveRisk",
    "TradingBot",
    "TradingBotSpec",
    "effective_cluster",
    "effective_risk",
]
