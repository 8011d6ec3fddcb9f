"""
Log lines: JSON for machines or text for people, on standard error, with the ids of what they are about, never with a secret.

Every line passes through one chain, those of foreign libraries too: ids, level, time, error, redaction, rendering.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import structlog

from tradingbot_engine.redact import safe_text, scrub, scrub_data
from tradingbot_engine.settings import LoggingSettings
from tradingbot_engine.tracing import trace

_Event = MutableMapping[str, Any]
_OWN = "tradingbot_engine"


def configure_logs(settings: LoggingSettings) -> None:
    """Route structlog, the standard library's loggers, warnings and unhandled errors to standard error."""
    level = getattr(logging, settings.level.upper())
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    before: list[structlog.types.Processor] = [structlog.contextvars.merge_contextvars]
    if settings.trace_requests:
        before.append(_with_trace)
    before += [structlog.processors.add_log_level, stamp]
    after = [error_teller(stacks=settings.error_stacks), _redacted, _renderer(settings)]
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a broken log call would print its arguments as they are
    _log_unhandled()


@contextmanager
def timed(log: Any, event: str, *, level: str = "debug", **fields: Any) -> Iterator[None]:
    """Log how long the work inside took, in milliseconds, also when it fails: `timed(_log, "quote", mint=mint)`."""
    began_s = time.perf_counter()
    try:
        yield
    except BaseException as error:
        took_ms = round((time.perf_counter() - began_s) * 1000, 2)
        getattr(log, level)(event, took_ms=took_ms, failed=type(error).__name__, **fields)
        raise
    getattr(log, level)(event, took_ms=round((time.perf_counter() - began_s) * 1000, 2), **fields)


def error_teller(*, stacks: bool) -> Callable[[Any, str, _Event], _Event]:
    """Return the step that turns an exception into text: type, text and place; its stack only if asked for."""

    def tell(_: Any, __: str, event: _Event) -> _Event:
        error = event.pop("exc_info", None)
        if error is True:
            error = sys.exc_info()[1]
        elif isinstance(error, tuple):
            error = error[1]
        if isinstance(error, BaseException):
            event.setdefault("error", f"{type(error).__name__}: {safe_text(error)}")
            if place := _place(error.__traceback__):
                event["where"] = place
            if stacks:
                event["exception"] = stack_text(error)
        if not stacks:
            event.pop("stack_info", None)
            event.pop("stack", None)
        return event

    return tell


def stack_text(error: BaseException) -> str:
    """Return an error's stack without secrets, and without the values of variables."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as broken:  # an error whose own text fails
        text = "".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__name__} ({type(broken).__name__})"
    return scrub(text)


def _with_trace(_: Any, __: str, event: _Event) -> _Event:
    for name, value in trace().items():
        event.setdefault(name, value)
    return event


def _redacted(_: Any, __: str, event: _Event) -> _Event:
    for name, value in list(event.items()):
        event[name] = scrub_data(value, name=name)
    return event


def _renderer(settings: LoggingSettings) -> structlog.types.Processor:
    if settings.json_lines:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _place(frames: TracebackType | None) -> str:
    """Return file, line and function of the innermost frame of our own, or of the innermost at all."""
    found = ""
    for frame, line in traceback.walk_tb(frames):
        name = str(frame.f_globals.get("__name__", "?"))
        if name.startswith(_OWN) or not found.startswith(_OWN):
            found = f"{name}:{line} {frame.f_code.co_name}"
    return found


def _log_unhandled() -> None:
    log = structlog.get_logger(_OWN)

    def on_main(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        log.critical("unhandled error", exc_info=error)

    def on_thread(args: threading.ExceptHookArgs) -> None:
        log.critical("unhandled error in a thread", exc_info=args.exc_value)

    def on_object(args: Any) -> None:
        log.error("error nobody could catch", exc_info=args.exc_value)

    sys.excepthook = on_main
    threading.excepthook = on_thread
    sys.unraisablehook = on_object
