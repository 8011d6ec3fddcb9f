"""What every group of settings shares: the frozen base and the checked kinds of text and number."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import based58
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from tradingbot_engine.settings.urls import url_problem

PUBLIC_KEY_BYTES = 32
MAX_PATH_CHARS = 4096
LINE = r"^[^\x00-\x1f\x7f]*$"
"""Pattern of a text that people read and that other systems are told: no control characters."""


def _public_key(text: str) -> str:
    size = len(based58.b58decode(text.encode()))
    if size != PUBLIC_KEY_BYTES:
        raise ValueError(f"must be a public key of {PUBLIC_KEY_BYTES} bytes, it holds {size}")
    return text


def _http_url(text: str) -> str:
    if problem := url_problem(text, schemes=("http", "https")):
        raise ValueError(problem)
    return text


def _path(value: Any) -> Any:
    """An empty path would be the working directory, and one with a NUL is an error only where it is opened."""
    if isinstance(value, str):
        if not value:
            raise ValueError("must name a file")
        if "\0" in value:
            raise ValueError("must not hold control characters")
        if len(value) > MAX_PATH_CHARS:
            raise ValueError(f"must be at most {MAX_PATH_CHARS} characters long")
    return value


def _secret_line(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise refused("must not hold control characters")
    return secret


Base58Key = Annotated[
    str,
    Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}$", json_schema_extra={"format": "public-key"}),
    AfterValidator(_public_key),
]
FilePath = Annotated[
    Path, BeforeValidator(_path), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_PATH_CHARS})
]
SecretLine = Annotated[SecretStr, AfterValidator(_secret_line)]
HttpUrl = Annotated[str, Field(max_length=2048), AfterValidator(_http_url)]


class Group(BaseModel):
    """A frozen group; unknown names are refused, and so are numbers that are no numbers (NaN, infinity, true)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _no_bool_for_a_number(cls, data: Any, handler: Any) -> Any:
        """Pydantic would read `true` as 1; nobody who writes it means that."""
        if isinstance(data, dict):
            swapped = {
                name: _Bool(value)
                for name, value in data.items()
                if isinstance(value, bool)
                and name in cls.model_fields
                and _is_number(cls.model_fields[name].annotation)
            }
            if swapped:
                data = {**data, **swapped}
        return handler(data)


class _Bool:
    """Stands for a bool where a number belongs, so that the number's own check refuses it and shows what stood there."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __repr__(self) -> str:
        return str(self._value).lower()


def _is_number(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return any(_is_number(inner) for inner in get_args(annotation))
    return annotation in (int, float)


def refused(message: str) -> PydanticCustomError:
    """Return the error of a check whose value must not be shown."""
    return PydanticCustomError("refused", "{message}", {"message": message})
