"""Break one line of real code on purpose, loudly refusing when the line is not there any more."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class MutationMissing(AssertionError):
    """The text to be broken is not in the source: the code was changed, so the mutant must be written anew."""


def mutated(function: F, *changes: tuple[str, str]) -> F:
    """
    Return a copy of `function` with each (old, new) text of its source replaced; install it by monkeypatch.

    The copy sees the module's globals. A method's copy may not use `super()` without arguments or closures.

    Raises:
        MutationMissing: An old text is not found exactly once, or the change changes nothing.
    """
    plain = inspect.unwrap(function)
    source = getattr(plain, "__mutant_source__", None) or inspect.getsource(plain)  # a mutant may be broken further
    where = f"{plain.__module__}.{plain.__qualname__}"
    for old, new in changes:
        if source.count(old) != 1:
            raise MutationMissing(f"{where} holds {old!r} {source.count(old)} times, not once")
        if old == new:
            raise MutationMissing(f"{where}: {old!r} is replaced by itself")
        source = source.replace(old, new)
    if plain.__closure__:
        raise MutationMissing(f"{where} is a closure and cannot be copied")
    scope: dict[str, Any] = {}
    code = compile(textwrap.dedent(source), f"<mutant of {where}>", "exec", dont_inherit=False)
    module = inspect.getmodule(plain)
    assert module is not None
    exec(code, module.__dict__, scope)
    mutant = scope[plain.__name__]
    mutant.__mutant_source__ = source
    return mutant  # type: ignore[no-any-return]


def mutated_text(text: str, old: str, new: str, *, where: str) -> str:
    """Return `text` (an SQL statement, say) with `old` replaced by `new`; as strict as `mutated`."""
    if text.count(old) != 1 or old == new:
        raise MutationMissing(f"{where} holds {old!r} {text.count(old)} times, not once")
    return text.replace(old, new)
