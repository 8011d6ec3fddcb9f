"""
A process that prints secrets in every way that a program prints: run by the redaction test, which reads what came out.

Arguments: the engine's settings file, and a JSON file {name: secret}.
"""

import asyncio
import json
import logging
import sys
import threading
import warnings
from pathlib import Path

import aiohttp
import asyncpg
import structlog
from aiohttp import web

from tradingbot_engine.errors import EngineError, PermanentError, TemporaryError
from tradingbot_engine.logs import configure_logs, timed
from tradingbot_engine.settings import load_settings
from tradingbot_engine.tracing import request, trade


def shown_by_structlog(log, secrets):
    for name, secret in secrets.items():
        log.info("as a value", detail=secret)
        log.info(f"inside the text {secret} of the event")
        log.warning("nested", data={"headers": {"X-Api-Key": secret}, "list": [secret, (secret,)], secret: 1})
        log.info("under a telling name", api_key=secret, password=secret, authorization=secret, url=secret)
        log.info("as an object", thing=Thing(secret), error=EngineError(f"it said {secret}"))
        log.info("as bytes", raw=secret.encode(), text=repr(secret.encode()))
        try:
            local = secret
            raise PermanentError(f"{name}: the provider said {local}")
        except PermanentError:
            log.exception("caught")
        try:
            try:
                raise ValueError(secret)
            except ValueError as error:
                raise KeyError(secret) from error
        except KeyError as error:
            error.add_note(f"noted {secret}")
            log.error("chained", exc_info=error)
    log.info(
        "header pairs",
        pairs=str([("Authorization", "Bearer " + secrets["bearer"]), ("x-api-key", secrets["swap_key"])]),
    )
    with timed(log, "timed work", level="info", mint="M"):
        pass


class Thing:
    def __init__(self, secret):
        self.secret = secret

    def __str__(self):
        return f"Thing({self.secret})"

    __repr__ = __str__


class Broken(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def shown_by_foreign_loggers(secrets):
    for name in ("aiohttp.client", "asyncpg", "asyncio", "some.library"):
        for secret in secrets.values():
            logging.getLogger(name).warning("it failed: %s", secret)
            logging.getLogger(name).error(
                "odd %d", secret
            )  # a broken call: its arguments must not be printed as they are
            try:
                raise OSError(secret)
            except OSError:
                logging.getLogger(name).exception("with %r", {"url": secret})
    warnings.warn(f"deprecated {secrets['query_key']}", stacklevel=1)


async def shown_by_real_clients(log, settings, secrets):
    """Errors of the libraries themselves, asked with addresses that hold keys."""
    app = web.Application()
    app.router.add_get("/{tail:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for url in (
            f"http://127.0.0.1:{port}/{secrets['path_key']}?api-key={secrets['query_key']}",
            f"http://user:{secrets['user_password']}@127.0.0.1:1/{secrets['path_key']}",
        ):
            try:
                await session.get(url, headers={"x-api-key": secrets["swap_key"]})
            except aiohttp.ClientError as error:
                log.error("asked in vain", exc_info=error, error_text=repr(error))
    await runner.cleanup()
    try:
        await asyncpg.connect(settings.ledger.url.get_secret_value(), timeout=2)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        log.error("no database", exc_info=error)
    task = asyncio.create_task(forgotten(secrets["query_key"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task  # asyncio's own handler tells of an error that nobody took


async def refuse(_):
    raise web.HTTPForbidden(text="no")


async def forgotten(secret):
    raise RuntimeError(f"forgotten {secret}")


def main():
    settings = load_settings(Path(sys.argv[1]))
    secrets = json.loads(Path(sys.argv[2]).read_text())
    configure_logs(settings.logging)
    log = structlog.get_logger("leaky")
    log.info("settings", settings=settings, again=repr(settings), dumped=settings.model_dump())
    shown_by_structlog(log, secrets)
    shown_by_foreign_loggers(secrets)
    asyncio.run(shown_by_real_clients(log, settings, secrets))
    try:
        raise Broken
    except Broken:
        log.exception("an error without a text")
    with trade("1f9c2b7e4d10aaaabbbbccccddddeeee"), request("r-1-2"):
        log.info("traced")
        log.info("error in a trade", error=str(TemporaryError("the node hung")))
        log.info("kept", signature=secrets_free_signature(), mint="DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263")
    thread = threading.Thread(target=fail, args=(secrets["query_key"],))
    thread.start()
    thread.join()
    raise RuntimeError(f"unhandled at the end {secrets['pg_password']} {secrets['key_base58']}")


def secrets_free_signature():
    return "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"


def fail(secret):
    raise RuntimeError(f"in a thread {secret}")


main()
