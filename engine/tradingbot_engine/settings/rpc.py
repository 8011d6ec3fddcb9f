"""How Solana nodes are asked."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator, model_validator

from tradingbot_engine.settings.base import Group


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
