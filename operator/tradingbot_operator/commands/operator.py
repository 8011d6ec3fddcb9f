"""`tradingbot operator`: look after the TradingBots of a cluster."""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime

from tradingbot_operator.app import Operator
from tradingbot_operator.settings import OperatorSettings

EXTRAS = ("kopf", "asyncio", "aiohttp.access")


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def operator(settings: OperatorSettings, *, level: str = "info", json_lines: bool = True) -> None:
    """Serve until SIGTERM or SIGINT."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if json_lines else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in EXTRAS:  # each change of each object is news to kopf, and to nobody else
        logging.getLogger(name).setLevel(logging.WARNING)
    asyncio.run(Operator(settings).run())
