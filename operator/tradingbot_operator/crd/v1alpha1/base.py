"""What every model of the resource shares: camelCase, strict types, no unknown field, and the field types of the API."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

EXACT_MAX = 2**53
"""Up to here every reader of JSON keeps a whole number exact; an API server compares limits as floats."""


class Model(BaseModel):
    """
    A frozen object of the API, read as an API server reads it.

    Strict, since that converts nothing either: "60" is no number; but 5.0 is 5 where a whole number belongs. A null stands
    for an absent field: nulls of fields that are not nullable are pruned before defaults are filled in.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _as_an_api_server_reads(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias: _is_whole(field.annotation) for field in cls.model_fields.values()}
        return {
            key: _whole(value) if known.get(key) else value
            for key, value in data.items()
            if value is not None or key not in known
        }


@dataclass(frozen=True)
class Unit:
    """The unit of a number, shown by `tradingbot explain` and `kubectl explain`."""

    name: str

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Put the unit into the schema."""
        return {**handler(core_schema), "x-unit": self.name}


def _is_whole(annotation: Any) -> bool:
    """Whether a field takes whole numbers; an absent one may be None."""
    return annotation is int or any(_is_whole(option) for option in get_args(annotation))


def _whole(value: Any) -> Any:
    """Return 5 for 5.0, and everything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_MAX else value


def _without_nulls(value: Any) -> Any:
    """Prune a map's nulls; what is no map is left to its type."""
    return {key: one for key, one in value.items() if one is not None} if isinstance(value, dict) else value


def _int_or_string(value: Any) -> Any:
    value = _whole(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("int_or_string", "must be a number without fraction, or a string")
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("scalar", "must be a number, true, false or a string")
    return value


def _quantity(value: Any) -> Any:
    if len(str(value)) > QUANTITY_CHARS or not re.fullmatch(QUANTITY, str(value)):
        raise PydanticCustomError("quantity", "must be a Kubernetes quantity such as 500m, 2 or 1Gi")
    return value


BASE58 = r"^[1-9A-HJ-NP-Za-km-z]{32,44}$"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_1035 = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DATA_KEY = r"^[-._a-zA-Z0-9]+$"
HTTP_URL = r"^https?://[^\x00-\x20/?#]+[^\x00-\x20]*$"
WEBSOCKET_URL = r"^wss?://[^\x00-\x20/?#]+[^\x00-\x20]*$"
FEED_URL = r"^(https?|wss?)://[^\x00-\x20/?#]+[^\x00-\x20]*$"
QUALIFIED = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
QUANTITY = r"[+]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?[0-9]+))?"
QUANTITY_CHARS = 64

PATTERNS = {
    BASE58: "must be an address in base58, 32 to 44 characters without 0, O, I and l",
    DNS_LABEL: "must be lower case letters, digits and '-', beginning and ending with a letter or digit",
    DNS_1035: "must be lower case letters, digits and '-', beginning with a letter and not ending with '-'",
    DNS_SUBDOMAIN: "must be lower case letters, digits, '-' and '.', as names of Kubernetes objects are",
    DATA_KEY: "must be letters, digits, '-', '_' and '.', as keys of a Secret are",
    QUALIFIED: "must be a name such as team or example.com/team, as keys of labels are",
    HTTP_URL: "must be an address that begins with http:// or https://",
    WEBSOCKET_URL: "must be an address that begins with ws:// or wss://",
    FEED_URL: "must be an address that begins with http://, https://, ws:// or wss://",
}
"""What a pattern asks for, in words."""

Address = Annotated[str, Field(pattern=BASE58, max_length=44), Unit("base58 public key")]
Name = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]
HttpUrl = Annotated[str, Field(pattern=HTTP_URL, max_length=2048)]
WebsocketUrl = Annotated[str, Field(pattern=WEBSOCKET_URL, max_length=2048)]
Scalar = Annotated[
    Any, AfterValidator(_scalar), Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]
IntOrString = Annotated[
    Any, BeforeValidator(_int_or_string), Field(json_schema_extra={"x-kubernetes-int-or-string": True})
]
Quantity = Annotated[
    Any,
    BeforeValidator(_int_or_string),
    AfterValidator(_quantity),
    Field(
        json_schema_extra={
            "x-kubernetes-int-or-string": True,
            "pattern": f"^{QUANTITY}$",
            "maxLength": QUANTITY_CHARS,
            "minimum": 0,
        }
    ),
    Unit("Kubernetes quantity"),
]


PrunedNulls = BeforeValidator(_without_nulls)
"""Beside a map of typed values: nulls in it are pruned, too."""


class SecretKeyRef(Model):
    """One value of a Secret in the bot's namespace."""

    name: Annotated[str, Field(pattern=DNS_SUBDOMAIN, max_length=253)]
    """Name of the Secret."""
    key: Annotated[str, Field(pattern=DATA_KEY, max_length=253)]
    """Key of the value within the Secret."""


class FromSecret(Model):
    """A value that is kept in a Secret."""

    secret_key_ref: SecretKeyRef
    """Which Secret, and which key of it."""
