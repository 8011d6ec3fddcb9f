"""Why a bot that runs does not trade: the condition Trading says so in one word, and trades again when it is put right."""

from __future__ import annotations

from e2e import database
from e2e.bot import HELD, Bot, manifest
from e2e.kube import Kube, wait_for
from e2e.story import Story
from e2e.ways import way_in, way_out
from e2e.world import World

CONFIG = "/etc/tradingbot/engine.json"


def by_hand(bot: Bot, *command: str) -> str:
    """Run a command of the engine in its pod, as a person would."""
    inside = ("--container=engine", "--", "tradingbot-engine", *command, "--config", CONFIG)
    return bot.kube.run("exec", f"deploy/{bot.engine_name}", *inside)


def test_halted_by_drawdown_until_somebody_resets_it(trading: Bot, story: Story) -> None:
    """The limits reach the running engine; wide again they do not lift the halt within the hour, a person does."""
    pod = trading.pod()
    story.breaks("a drawdown that the next dip of a price exceeds")
    trading.patch(risk={"drawdown": {"warningPercent": 0.0002, "haltPercent": 0.0004, "emergencyPercent": 90}})
    way_in(trading, story, "Trading", "False", "Halted", says="below")
    trading.patch(risk={"drawdown": None})
    trading.wait_condition("Progressing", "False", "UpToDate")
    assert trading.engine()["tier"] == "HALT"
    by_hand(trading, "reset-tier", "--reason", "a test is over")
    way_out(trading, story, "Halted")
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"], "the limits came by a new pod"
    trading.wait_fills(trading.fills())


def test_sold_out_by_hand_and_let_trade_again(trading: Bot, story: Story) -> None:
    """Whatever is held goes, nothing is bought meanwhile, and undoing it lets the bot trade on."""
    story.breaks("everything sold by hand")
    by_hand(trading, "close-out")
    way_in(trading, story, "Trading", "False", "ClosingOut", says="")
    assert trading.counted(HELD) == 0, "something is still held"
    trading.buys_nothing(for_s=20)
    by_hand(trading, "close-out", "--undo")
    way_out(trading, story, "ClosingOut")
    trading.wait_fills(trading.fills())


def test_money_that_is_kept_for_exits_is_not_spent(trading: Bot, story: Story) -> None:
    """A wallet that holds no more than the reserve cannot buy."""
    story.breaks("a reserve beyond what the wallet holds")
    trading.patch(engine={"settings": {"risk.fee_reserve_lamports": 1_000_000_000_000}})
    way_in(trading, story, "Trading", "False", "WalletEmpty", says="fund the wallet")
    trading.buys_nothing(for_s=20)
    trading.patch(engine=None)
    way_out(trading, story, "WalletEmpty")


def test_a_chain_that_stands_still(trading: Bot, story: Story) -> None:
    """Nodes answer, and have nothing new to say: no price is fresh, so nothing is bought."""
    story.breaks("chain halted")
    trading.fault("halt")
    way_in(trading, story, "Trading", "False", "StaleMarketData", says="no token has a fresh price")
    trading.buys_nothing(for_s=20)
    before = trading.fills()
    trading.heal()
    way_out(trading, story, "StaleMarketData")
    assert trading.wait_fills(before) > before


def test_one_node_alone_vouches_for_the_ledger(trading: Bot, story: Story, breakable: World) -> None:
    """A new engine finds two of three nodes away: positions may be left, none is opened before a second node agrees."""
    trading.patch(engine={"settings": {"rpc.one_node_after_s": 5}})
    trading.wait_condition("Progressing", "False", "UpToDate")
    trading.wait_trading()
    story.breaks("two of three nodes down, and the engine killed")
    trading.fault("down", nodes=[0, 1])
    breakable.kill(trading.pod())
    way_in(trading, story, "Trading", "False", "OneNodeOnly", says="alone vouches")
    trading.buys_nothing(for_s=20)
    trading.heal()
    way_out(trading, story, "OneNodeOnly")


def test_a_database_that_answers_before_it_is_safe(on_postgres: Bot, story: Story) -> None:
    """An engine does not start on it: what it is told is done might be gone after a crash of the database."""
    story.breaks("fsync off, and the engine's pod deleted")
    _tell_database(on_postgres.kube, "ALTER SYSTEM SET fsync = off")
    on_postgres.kube.run("delete", "pod", on_postgres.pod()["metadata"]["name"])
    way_in(on_postgres, story, "Trading", "False", "LedgerNotDurable", says="fsync")
    assert on_postgres.engine()["phase"] == "STARTING", "it trades on a database that may forget"
    _tell_database(on_postgres.kube, "ALTER SYSTEM RESET fsync")
    on_postgres.kube.run("delete", "pod", on_postgres.pod()["metadata"]["name"])
    way_out(on_postgres, story, "LedgerNotDurable")


def test_two_bots_on_one_ledger(on_postgres: Bot, story: Story) -> None:
    """The second is refused with the first one's name, and the first one trades on."""
    kube, address = on_postgres.kube, {"secretKeyRef": {"name": database.SECRET, "key": database.KEY}}
    story.breaks("a second bot given the first one's ledger")
    second = Bot(kube, "second")
    kube.apply(manifest("second", ledger={"urlFrom": address}))
    way_in(second, story, "Trading", "False", "LedgerInUse", says=on_postgres.name)
    before = on_postgres.fills()
    assert on_postgres.wait_fills(before) > before
    assert second.engine()["phase"] == "STARTING"
    on_postgres.wait_condition("Trading", "True")
    kube.run("delete", "tradingbot", "second", "--wait=false")
    wait_for("the second is gone", lambda: not kube.exists("tradingbot", "second"))
    before = on_postgres.fills()
    assert on_postgres.wait_fills(before) > before, "the second one's end was the first one's, too"


def test_an_old_copy_of_the_ledger_put_back(trading: Bot, story: Story, breakable: World) -> None:
    """The chain knows trades that the copy does not: the engine refuses it, and trades on with the newest one."""
    pod = trading.pod()
    node, there = pod["spec"]["nodeName"], _folder(trading)
    _copy(breakable, trading, f"{there}/.", f"{there}.old")
    done = trading.wait_fills(trading.fills() + 1)
    story.breaks("the ledger replaced by a copy of before the last trades, engine killed")
    breakable.pause(pod, "engine")
    for source, target in ((f"{there}/.", f"{there}.new"), (f"{there}.old/.", there)):
        breakable.on_node(node, "sh", "-c", f"rm -f {target}/ledger.db*; mkdir -p {target} && cp -a {source} {target}")
    breakable.kill(trading.pod())
    way_in(trading, story, "Trading", "False", "LedgerBehindChain", says="newest")
    breakable.pause(trading.pod(), "engine")
    breakable.on_node(node, "sh", "-c", f"rm -f {there}/ledger.db*; cp -a {there}.new/. {there}")
    breakable.kill(trading.pod())
    way_out(trading, story, "LedgerBehindChain")
    assert trading.fills() >= done, "it trades on the old copy"
    trading.wait_fills(trading.fills())


def _copy(world: World, bot: Bot, source: str, target: str) -> None:
    """Copy the ledger's files while its engine stands still, so that they belong together."""
    pod = bot.pod()
    world.pause(pod, "engine")
    try:
        world.on_node(pod["spec"]["nodeName"], "sh", "-c", f"mkdir -p {target} && cp -a {source} {target}")
    finally:
        world.resume(pod, "engine")


def _folder(bot: Bot) -> str:
    """Return where on its node the volume of the ledger lies."""
    volume = bot.kube.get("persistentvolumeclaim", f"{bot.name}-ledger")["spec"]["volumeName"]
    spec = bot.kube.get("persistentvolume", volume)["spec"]
    return str((spec.get("local") or spec.get("hostPath"))["path"])


def _tell_database(kube: Kube, statement: str) -> None:
    """Have its superuser say something, and have it read again."""
    for sql in (statement, "SELECT pg_reload_conf()"):
        words = (
            "env",
            f"PGPASSWORD={database.PASSWORD}",
            "psql",
            "--host=/tmp",
            "--username=postgres",
            "--command",
            sql,
        )
        kube.run("exec", f"pod/{database.NAME}", "--", *words)
