"""The market of localnet: tokens, pools, traders that move them, their history, and the APIs that quote them."""

from tradingbot_engine.localnet.market.market import Market, transactions_per_slot
from tradingbot_engine.localnet.market.recordings import load_recording
from tradingbot_engine.localnet.market.replay import BadRecording, Recording
from tradingbot_engine.localnet.market.scenario import Scenario
from tradingbot_engine.localnet.market.tokens import BadToken

__all__ = [
    "BadRecording",
    "BadToken",
    "Market",
    "Recording",
    "Scenario",
    "load_recording",
    "transactions_per_slot",
]
