"""One contract for every place where members are kept: rows of the ledger's databases, and Leases of a real API server."""

from __future__ import annotations

import asyncio
import base64
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from mutants.mutate import mutated_text
from support.api_server import kube_api
from support.ledgers import NOW_MS
from support.places import Place, postgres_place, sqlite_place

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_engine.clock import ManualClock, SystemClock
from tradingbot_engine.cluster.keeper import MemberKeeper
from tradingbot_engine.cluster.lease_members import LeaseMembers, api_server
from tradingbot_engine.cluster.ledger_members import LedgerMembers, member_name
from tradingbot_engine.cluster.membership import Membership, Standing, Terms
from tradingbot_engine.cluster.port import Member, MemberStore
from tradingbot_engine.errors import PermanentError, TemporaryError
from tradingbot_engine.ledger import members
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.members import add_members
from tradingbot_engine.ledger.program import execute

__all__ = ["kube_api"]
pytest_plugins = ["support.ledger_fixtures"]
RECORDS = 3
_numbers = itertools.count(1)


@dataclass
class Somewhere:
    """A place with three free records; each `store` is another process's."""

    store: Callable[[], Awaitable[MemberStore]]
    delete: Callable[[str], Awaitable[None]]
    touch: Callable[[str], Awaitable[None]]
    """Let somebody else write a record without changing whose it is."""


# --- rows of a ledger
@asynccontextmanager
async def rows_of(place: Place) -> AsyncIterator[Somewhere]:
    ledger = await place.open()
    assert isinstance(ledger, ProgramLedger)
    await ledger.change(lambda: add_members(member_name(n) for n in range(RECORDS)))

    async def store() -> MemberStore:
        # A SQLite file is one process's: there, stores share the ledger.
        mine = ledger if place.kind == "sqlite" else await place.open(f"holder-{next(_numbers)}")
        assert isinstance(mine, ProgramLedger)
        return LedgerMembers(mine, clock=ManualClock(now_ms=NOW_MS))

    async def delete(name: str) -> None:
        await ledger.change(lambda: execute("DELETE FROM members WHERE name = $1", name))

    async def touch(name: str) -> None:
        await ledger.change(lambda: execute("UPDATE members SET version = version + 1 WHERE name = $1", name))

    yield Somewhere(store, delete, touch)


# --- Leases
OF_A_BOT = """
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: bot, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: bot, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: bot}}
subjects: [{{kind: ServiceAccount, name: bot, namespace: {namespace}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: bot, namespace: {namespace}}}
rules:
- {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch]}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [bonk-member-0, bonk-member-1, bonk-member-2]
  verbs: [update]
"""
LEASE = """
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {{name: {name}, namespace: {namespace}, labels: {{tradingbot.dev/bot: {bot}}}}}
"""


def a_namespace(api: ControlPlane) -> tuple[str, str]:
    """Return a namespace with a bot's Leases, and its ServiceAccount's token; the account may do what the bot's Role allows."""
    namespace = f"members-{next(_numbers)}"
    leases = [(f"bonk-member-{n}", "bonk") for n in range(RECORDS)]
    leases += [("other-member-0", "other"), ("bonk-else", "bonk"), ("bonk-member-7", "someone")]
    texts = [LEASE.format(name=name, namespace=namespace, bot=bot) for name, bot in leases]
    api.kubectl("apply", "-f", "-", text_in="---".join([OF_A_BOT.format(namespace=namespace), *texts]))
    return namespace, api.kubectl("create", "token", "bot", "-n", namespace).strip()


def trust_of(api: ControlPlane) -> ssl.SSLContext:
    cluster = yaml.safe_load(api.kubeconfig.read_text())["clusters"][0]["cluster"]
    if "certificate-authority" in cluster:
        return ssl.create_default_context(cafile=api.kubeconfig.parent / cluster["certificate-authority"])
    text = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return ssl.create_default_context(cadata=text)


def leases(api: ControlPlane, namespace: str, token: str, *, bot: str = "bonk", url: str = "") -> LeaseMembers:
    return LeaseMembers(
        url=url or api.url,
        trust=trust_of(api),
        token=lambda: token,
        namespace=namespace,
        bot=bot,
        clock=ManualClock(now_ms=NOW_MS),
    )


@asynccontextmanager
async def leases_of(api: ControlPlane) -> AsyncIterator[Somewhere]:
    namespace, token = await asyncio.to_thread(a_namespace, api)
    opened: list[LeaseMembers] = []

    async def store() -> MemberStore:
        opened.append(leases(api, namespace, token))
        await opened[-1].open()
        return opened[-1]

    async def delete(name: str) -> None:
        await asyncio.to_thread(api.kubectl, "delete", "lease", name, "-n", namespace)

    async def touch(name: str) -> None:
        mark = f"touched=t{next(_numbers)}"
        await asyncio.to_thread(api.kubectl, "label", "lease", name, mark, "-n", namespace, "--overwrite")

    yield Somewhere(store, delete, touch)
    for one in opened:
        await one.close()


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("leases", marks=pytest.mark.kubernetes),
    ]
)
async def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Somewhere]:
    match request.param:
        case "sqlite":
            async with sqlite_place(tmp_path) as place, rows_of(place) as found:
                yield found
        case "postgres":
            async with postgres_place(request.getfixturevalue("postgres_server")) as place, rows_of(place) as found:
                yield found
        case _:
            async with leases_of(request.getfixturevalue("kube_api")) as found:
                yield found


async def first(store: MemberStore) -> Member:
    return (await store.members())[0]


async def claim(store: MemberStore, seen: Member, who: str = "one", *, takes_shards: bool = True) -> Member | None:
    return await store.claim(seen, holder=who, incarnation=f"{who}-run", takes_shards=takes_shards)


async def test_records_that_were_made_beforehand_are_free_and_listed_by_name(somewhere: Somewhere) -> None:
    """The bot's own, and no others."""
    found = await (await somewhere.store()).members()
    assert [r.name for r in found] == sorted(r.name for r in found)
    assert len(found) == RECORDS
    assert all(r == Member(r.name, r.version) for r in found)


async def test_a_record_says_who_claimed_it_until_it_is_let_go(somewhere: Somewhere) -> None:
    """What one writes, another reads; every write is another version."""
    mine, others = await somewhere.store(), await somewhere.store()
    seen = await first(mine)
    held = await claim(mine, seen, takes_shards=False)
    assert held == Member(seen.name, held.version if held else "", "one", "one-run", False)
    assert held is not None
    assert await first(others) == held
    renewed = await mine.renew(held, takes_shards=True)
    assert renewed is not None
    assert await first(others) == renewed == replace(held, version=renewed.version, takes_shards=True)
    same = await mine.renew(renewed, takes_shards=True)
    assert same is not None
    assert await mine.release(same)
    free = await first(others)
    assert free == Member(seen.name, free.version)
    versions = [r.version for r in (seen, held, renewed, same, free)]
    assert len(set(versions)) == len(versions)


async def test_of_many_that_claim_one_record_at_once_one_gets_it(somewhere: Somewhere) -> None:
    """Each compares with what it saw, and all saw it free."""
    stores = [await somewhere.store() for _ in range(6)]
    seen = [await first(store) for store in stores]
    got = await asyncio.gather(
        *(claim(store, record, f"pod-{n}") for n, (store, record) in enumerate(zip(stores, seen, strict=True)))
    )
    winners = [record for record in got if record is not None]
    assert len(winners) == 1
    assert await first(stores[0]) == winners[0]


async def test_a_write_that_is_not_about_the_newest_version_changes_nothing(somewhere: Somewhere) -> None:
    """A zombie renews, releases or claims what another holds by now: None, and the record stays."""
    zombie, heir = await somewhere.store(), await somewhere.store()
    held = await claim(zombie, await first(zombie), "zombie")
    assert held is not None
    taken = await claim(heir, await first(heir), "heir")
    assert taken is not None
    assert await zombie.renew(held, takes_shards=True) is None
    assert not await zombie.release(held)
    assert await claim(zombie, held, "zombie") is None
    assert await first(heir) == taken
    await zombie.members()  # it may have seen the newest: an old version stays an old one
    assert await zombie.renew(held, takes_shards=True) is None
    assert await first(heir) == taken


async def test_what_somebody_else_writes_to_our_record_is_noticed_and_kept(somewhere: Somewhere) -> None:
    """The next look shows it still ours, and it is renewed from there."""
    store = await somewhere.store()
    held = await claim(store, await first(store))
    assert held is not None
    await somewhere.touch(held.name)
    assert await store.renew(held, takes_shards=True) is None
    again = await first(store)
    assert again == replace(held, version=again.version)
    assert await store.renew(again, takes_shards=True) is not None


async def test_a_record_that_was_deleted_is_written_no_more(somewhere: Somewhere) -> None:
    """Nothing makes it again but who made it."""
    store = await somewhere.store()
    held = await claim(store, await first(store))
    assert held is not None
    await somewhere.delete(held.name)
    assert await store.renew(held, takes_shards=True) is None
    assert not await store.release(held)
    assert await claim(store, held) is None
    assert len(await store.members()) == RECORDS - 1


async def eventually(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.02)


async def test_processes_become_members_leave_and_are_missed(somewhere: Somewhere) -> None:
    """Three keepers find a record each; one leaves, and is gone at the next look; one dies, and is gone after its lease."""
    terms = Terms(lease_s=3, give_up_s=2, renew_s=0.5)
    parts = [Membership(holder=f"pod-{n}", incarnation=f"run-{n}", terms=terms) for n in range(RECORDS)]
    keepers = [
        MemberKeeper(
            store=await somewhere.store(), membership=part, clock=SystemClock(), ready=lambda: True, look_s=0.1
        )
        for part in parts
    ]
    tasks = [asyncio.create_task(keeper.run()) for keeper in keepers]
    now_s = SystemClock().monotonic_s
    try:
        await eventually(lambda: all(len(part.sharers()) == RECORDS for part in parts))
        assert len({part.record.name for part in parts if part.record is not None}) == RECORDS
        assert all(part.standing(now_s()) is Standing.MEMBER for part in parts)
        parts[0].leave()
        await eventually(lambda: all(len(part.sharers()) == RECORDS - 1 for part in parts))
        assert all("run-0" in part.incarnations() for part in parts)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await keepers[0].release()
        await eventually(lambda: all("run-0" not in part.incarnations() for part in parts[1:]))
        died_s = now_s()
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        await eventually(lambda: parts[2].incarnations() == {"run-2"})
        assert now_s() - died_s > terms.give_up_s
        assert parts[1].standing(now_s()) is Standing.DOUBTFUL
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- what belongs to one of them
async def one_row(place: Place) -> tuple[ProgramLedger, LedgerMembers]:
    """Return a ledger and its members: one record."""
    ledger = await place.open()
    assert isinstance(ledger, ProgramLedger)
    store = LedgerMembers(ledger, clock=ManualClock(now_ms=NOW_MS))
    await store.provide(1)
    return ledger, store


async def test_a_file_has_one_member(tmp_path: Path) -> None:
    """Two processes on one SQLite file are refused by name."""
    async with sqlite_place(tmp_path) as place:
        ledger = await place.open()
        assert isinstance(ledger, ProgramLedger)
        store = LedgerMembers(ledger, clock=ManualClock())
        with pytest.raises(PermanentError, match=r"replicas: 2 processes .* PostgreSQL"):
            await store.provide(2)
        await store.provide(1)
        assert [r.name for r in await store.members()] == ["member-0"]


@pytest.mark.postgres
async def test_more_records_are_provided_without_touching_those_in_use(pg_place: Place) -> None:
    """1 → 3 → 2 replicas; several processes may provide them at once."""
    _, store = await one_row(pg_place)
    held = await claim(store, await first(store))
    await asyncio.gather(store.provide(3), store.provide(3), store.provide(2))
    assert [r.name for r in await store.members()] == ["member-0", "member-1", "member-2"]
    assert await first(store) == held


@pytest.mark.postgres
async def test_a_row_that_was_deleted_and_made_again_is_not_the_one_that_was_seen(pg_place: Place) -> None:
    """Its versions begin anew."""
    ledger, store = await one_row(pg_place)
    held = await claim(store, await first(store))
    await ledger.change(lambda: execute("DELETE FROM members"))
    await store.provide(1)
    thief = await claim(store, await first(store), "thief")
    assert held is not None
    assert thief is not None
    assert held.version == thief.version
    assert await store.renew(held, takes_shards=True) is None
    assert await first(store) == thief


@pytest.mark.postgres
async def test_a_database_that_is_not_open_is_a_passing_trouble(pg_place: Place) -> None:
    """The same as for the ledger: nothing is known, so look again."""
    ledger, store = await one_row(pg_place)
    await ledger.close()
    with pytest.raises(TemporaryError):
        await store.members()


@pytest.mark.kubernetes
async def test_leases_say_to_people_what_members_say_to_each_other(kube_api: ControlPlane) -> None:
    """kubectl shows holder and times; labels of others stay, and so do transitions in a row."""
    namespace, token = await asyncio.to_thread(a_namespace, kube_api)
    store = leases(kube_api, namespace, token)
    await store.open()
    try:
        held = await claim(store, await first(store))
        assert held is not None
        assert await store.renew(held, takes_shards=True) is not None
        text = kube_api.kubectl("get", "lease", held.name, "-n", namespace, "-o", "yaml")
        lease = yaml.safe_load(text)
        assert lease["metadata"]["labels"] == {"tradingbot.dev/bot": "bonk"}
        assert lease["metadata"]["annotations"]["tradingbot.dev/takes-shards"] == "true"
        spec = lease["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 15, 1)
        assert str(spec["renewTime"]).startswith("2023-11-14")
    finally:
        await store.close()


@pytest.mark.kubernetes
async def test_a_pod_cannot_write_the_lease_of_another_bot(kube_api: ControlPlane) -> None:
    """The Role names the bot's own; being refused is no passing trouble, and the text has no token in it."""
    namespace, token = await asyncio.to_thread(a_namespace, kube_api)
    store = leases(kube_api, namespace, token, bot="other")
    await store.open()
    try:
        with pytest.raises(PermanentError, match="403") as caught:
            await claim(store, await first(store))
        assert token not in str(caught.value)
    finally:
        await store.close()


@pytest.mark.kubernetes
async def test_an_api_server_that_is_away_or_does_not_know_us_is_a_passing_trouble(kube_api: ControlPlane) -> None:
    """kubelet renews tokens, and API servers come back."""
    strangers = leases(kube_api, "default", "no-token-at-all")
    away = leases(kube_api, "default", "x", url="https://127.0.0.1:9")
    for store in (strangers, away):
        with pytest.raises(TemporaryError, match="not open"):
            await store.members()
        await store.open()
        with pytest.raises(TemporaryError):
            await store.members()
        await store.close()


def test_a_pod_finds_its_api_server_in_its_environment() -> None:
    """IPv6 in brackets; outside of a pod it says so."""
    assert (
        api_server({"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"})
        == "https://10.96.0.1:6443"
    )
    assert api_server({"KUBERNETES_SERVICE_HOST": "fd00::1"}) == "https://[fd00::1]:443"
    with pytest.raises(PermanentError, match="KUBERNETES_SERVICE_HOST"):
        api_server({})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AND version = $6 ", "AND $6 = $6 "),
        ("AND holder = $7 AND incarnation = $8 ", "AND $7 = $7 AND $8 = $8 "),
        ("version = version + 1, ", ""),
    ],
)
async def test_each_compare_of_a_row_is_needed(
    old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one of them a write that is behind gets through, or is not seen."""

    async def schedule() -> None:
        for play in (
            test_a_record_says_who_claimed_it_until_it_is_let_go,
            test_what_somebody_else_writes_to_our_record_is_noticed_and_kept,
        ):
            async with sqlite_place(tmp_path) as place, rows_of(place) as somewhere:
                await play(somewhere)
        async with sqlite_place(tmp_path) as place:
            await test_a_row_that_was_deleted_and_made_again_is_not_the_one_that_was_seen(place)

    await schedule()
    monkeypatch.setattr(members, "WRITE_SQL", mutated_text(members.WRITE_SQL, old, new, where="WRITE_SQL"))
    with pytest.raises(AssertionError):
        await schedule()
