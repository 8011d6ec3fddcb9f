"""All JSON-RPC methods by their names."""

from tradingbot_engine.localnet.rpc.accounts import METHODS as _ACCOUNTS
from tradingbot_engine.localnet.rpc.chain import METHODS as _CHAIN
from tradingbot_engine.localnet.rpc.history import METHODS as _HISTORY
from tradingbot_engine.localnet.rpc.node import Method
from tradingbot_engine.localnet.rpc.sending import METHODS as _SENDING
from tradingbot_engine.localnet.rpc.tokens import METHODS as _TOKENS

METHODS: dict[str, Method] = {**_CHAIN, **_ACCOUNTS, **_TOKENS, **_HISTORY, **_SENDING}
"""Every method by its name."""
