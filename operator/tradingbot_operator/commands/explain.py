"""`tradingbot explain`: every field with its type, default, range, unit and meaning, told from the models alone."""

import math
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tradingbot_operator.catalogue import Catalogue
from tradingbot_operator.crd.v1alpha1 import TradingBot, effective
from tradingbot_operator.crd.v1alpha1.base import IntOrString, Quantity, Scalar, Unit
from tradingbot_operator.errors import BadInput

NAMED_TYPES = {str(IntOrString): "number or string", str(Quantity): "quantity", str(Scalar): "number, bool or string"}


@dataclass(frozen=True)
class FieldText:
    """One field, as people read it."""

    path: str
    type_name: str
    default: str
    limits: str
    unit: str
    meaning: str
    model: type[BaseModel] | None

    def line(self) -> str:
        """Return the field on one line."""
        facts = [self.type_name + (f" [{self.default}]" if self.default else ""), self.limits, self.unit]
        return f"{self.path}  <{', '.join(fact for fact in facts if fact)}>"


def explain(path: str | None, catalogue: Catalogue) -> str:
    """
    Return the explanation of the whole resource, of one field with all below it, or of the strategies.

    Args:
        path: A field such as spec.risk.drawdown ("spec." may be left out), "strategies" also lists the catalogue, or a
            strategy's name.

    Raises:
        BadInput: There is no such field.
    """
    if path in catalogue.strategies:
        return _strategies(catalogue, only=path)
    fields = list(fields_of(TradingBot, ""))
    if not path:
        shown = [f for f in fields if not f.path.startswith(("metadata.", "status"))]
        return "\n".join([_one(f) for f in shown] + ["", "Strategies: `tradingbot explain strategies`"])
    wanted = path.replace("[]", "").strip(".")
    candidates = (wanted, f"spec.{wanted}")
    plain = {f.path.replace("[]", ""): f for f in fields}
    found = next((plain[c] for c in candidates if c in plain), None)
    if found is None:
        wanted = wanted.removeprefix("spec.")
        words = {p.removeprefix("spec."): p for p in plain}
        by_end = [p for p in plain if p.rsplit(".", 1)[-1].lower() == wanted.rsplit(".", 1)[-1].lower()]
        close = by_end or [words[c] for c in get_close_matches(wanted, words, n=3, cutoff=0.6)]
        hint = f": did you mean {', '.join(close[:5])}?" if close else ": `tradingbot explain` lists all"
        raise BadInput(f"no field {path}{hint}")
    below = [f for f in fields if f.path != found.path and f.path.startswith((found.path + ".", found.path + "["))]
    text = "\n".join([_one(f) for f in (found, *below)])
    if found.path in ("spec.strategies[]", "spec.strategies"):
        text += "\n\n" + _strategies(catalogue)
    if found.path.startswith("spec.risk") or found.path == "spec.execution.maxSlippageBps":
        text += "\n\n" + _profiles()
    return text


def number(value: Any) -> str:
    """Return a number as it is written in a manifest: digits, no exponent, no fraction of zero."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = f"{Decimal(str(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _one(field: FieldText) -> str:
    return f"{field.line()}\n    {field.meaning}"


def _profiles() -> str:
    lines = ["Profiles (what risk.profile fills in where a number is left out):"]
    for name, numbers in effective.PROFILES.items():
        lines.append(f"  {name}: " + ", ".join(f"{key} {number(value)}" for key, value in vars(numbers).items()))
    return "\n".join(lines)


def _strategies(catalogue: Catalogue, only: str | None = None) -> str:
    lines = [f"Strategies of engine {catalogue.engine_version}:"]
    for strategy in catalogue.strategies.values():
        if only and strategy.name != only:
            continue
        lines.append(f"{strategy.name}  version {strategy.version}, feeds {', '.join(strategy.feeds)}")
        lines += [f"    {strategy.description}"] if strategy.description else []
        for p in strategy.parameters.values():
            bounds = [f"from {number(p.minimum)}"] if p.minimum is not None else []
            bounds += [f"to {number(p.maximum)}"] if p.maximum is not None else []
            default = str(p.default).lower() if isinstance(p.default, bool) else number(p.default)
            facts = [f"{p.type} [{default}]", " ".join(bounds), p.unit]
            lines += [f"  {p.name}  <{', '.join(f for f in facts if f)}>", f"      {p.description}"]
    return "\n".join(lines)


def fields_of(model: type[BaseModel], prefix: str) -> Iterator[FieldText]:
    """Yield the fields of a model and of all below it, in their order; `prefix` stands before every path."""
    for field in model.model_fields.values():
        if field.description == "Kubernetes' own.":
            continue
        text = _field(field, prefix)
        yield text
        if text.model is not None:
            yield from fields_of(text.model, f"{text.path}.")


def _field(field: FieldInfo, prefix: str) -> FieldText:
    metadata: list[Any] = list(field.metadata)
    type_text, is_list, model = _type(field.annotation, metadata)
    return FieldText(
        path=f"{prefix}{field.alias}{'[]' if is_list else ''}",
        type_name=type_text,
        default=_default(field),
        limits=_limits(metadata),
        unit=next((m.name for m in metadata if isinstance(m, Unit)), ""),
        meaning=" ".join((field.description or "").split()),
        model=model,
    )


def _type(annotation: Any, metadata: list[Any]) -> tuple[str, bool, type[BaseModel] | None]:
    """Return the type in words, whether it is a list, and the model below it; gathers what Annotated says."""
    if str(annotation) in NAMED_TYPES:
        metadata += [m for m in annotation.__metadata__ if isinstance(m, Unit)]
        return NAMED_TYPES[str(annotation)], False, None
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        for extra in annotation.__metadata__:
            metadata += extra.metadata if isinstance(extra, FieldInfo) else [extra]
        return _type(annotation.__origin__, metadata)
    if origin in (typing.Union, types.UnionType):
        inner = next(a for a in typing.get_args(annotation) if a is not type(None))
        return _type(inner, metadata)
    if origin is Literal:
        return " | ".join(str(a) for a in typing.get_args(annotation)), False, None
    if origin is list:
        inner_text, _, model = _type(typing.get_args(annotation)[0], [])
        return f"list of {inner_text}", model is not None, model
    if origin is dict:
        value = _type(typing.get_args(annotation)[1], [])[0]
        return f"map of {value}", False, None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "map", False, annotation
    words = {str: "string", int: "integer", float: "number", bool: "bool"}
    return words.get(annotation, "any"), False, None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    if default is None or default is PydanticUndefined or isinstance(default, BaseModel):
        return ""
    return (
        str(default).lower()
        if isinstance(default, bool)
        else (number(default) if isinstance(default, int | float) else str(default))
    )


def _limits(metadata: list[Any]) -> str:
    words = []
    for entry in metadata:
        if isinstance(entry, Ge):
            words.append(f"from {number(entry.ge)}")
        elif isinstance(entry, Gt):
            words.append(f"above {number(entry.gt)}")
        elif isinstance(entry, Le):
            words.append(f"to {number(entry.le)}")
        elif isinstance(entry, Lt):
            words.append(f"below {number(entry.lt)}")
        elif isinstance(entry, MinLen) and entry.min_length > 1:
            words.append(f"at least {entry.min_length} long")
        elif isinstance(entry, MaxLen):
            words.append(f"at most {entry.max_length}")
    return " ".join(words)
