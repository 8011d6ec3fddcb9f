"""Log lines: JSON for machines or coloured text for people, on standard error, never with a secret."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from pydantic import SecretStr

from tradingbot_engine.settings import LoggingSettings

_SECRET_WORDS = ("secret", "token", "api_key", "apikey", "password", "authorization", "private", "url")


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """URLs count as secrets, since providers put keys into them; endpoints are logged by name."""
    for key, value in event.items():
        if isinstance(value, SecretStr) or any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "<redacted>"
    return event


def configure_logs(settings: LoggingSettings) -> None:
    """Route structlog and the standard library's loggers to standard error."""
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.json_lines
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )
