"""What every group of settings shares: the frozen base and the checked kinds of text."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Base58Key = Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}$")]
HttpUrl = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)]
WebsocketUrl = Annotated[str, Field(pattern=r"^wss?://\S+$", max_length=2048)]


class Group(BaseModel):
    """A frozen group; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
