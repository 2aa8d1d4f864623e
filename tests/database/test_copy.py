"""Moving a database to another one: with the databases that ship."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.fakes import pair
from tests.support.genuine import altered
from tests.support.installation import APP, HOTELS, filled, opened, secrets, settings, silent
from tests.support.keys import KEY
from tests.support.processes import leased, row
from tests.support.shown import show_no_more, show_twice, wrongly_shown

from cloudbeds_auth.database import backup, bulk, check, copy, maintenance, opening
from cloudbeds_auth.database.bulk import Progress
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.engine.history import record_calls
from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly
from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Event
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import add_app, read_app
from cloudbeds_auth.transactions.audit import add_audit
from cloudbeds_auth.transactions.authorizations import NewLink, add_link
from cloudbeds_auth.transactions.caller_keys import GoodKey, add_caller_key, find_caller, read_caller_keys
from cloudbeds_auth.transactions.connections import disconnect, list_connections
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, take_lease, write_intent
from cloudbeds_auth.transactions.history import forget, read_history, take_over
from cloudbeds_auth.transactions.pasted_keys import PastedKey, add_pasted_key
from cloudbeds_auth.transactions.rows import add_event
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Call, Rows, Statement, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.verification import verify_history


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite"])
def ways(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    """Source and target."""
    kinds, made = request.param.split(" to "), []
    for number, kind in enumerate(kinds):
        url = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/{number}.db"
        made.append(settings(url))
    return made[0], made[1]


async def test_everything_moves(ways: tuple[Settings, Settings]) -> None:
    """Tokens, kept ones too, histories and connections are in the target; only the target refreshes from then on."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)
        history = await running.read(read_history("con_0"))
        assert [event.kind for event in history].count("calls") == 3
        told: list[str] = []
        copied = await maintenance.copy(source, target.database_url, lambda what, done, total: told.append(what))
        assert (copied["connections"], copied["grants"], copied["tokens"]) == (HOTELS, HOTELS, HOTELS + 1)
        assert {"hotels latched", "hotels closed", "grants", "newest events"} <= set(told)
        behind = await maintenance.copy_history(source, target.database_url, silent)
        assert set(behind) == set(copy.HISTORY)
        assert set(copied) | set(behind) == set(bulk.TABLES)
        fence = await leased(running, await row(running, "gra_1"))
        assert not await running.write(write_intent(fence, 1, lease=30.0, hold=0.0)), (
            "a process that still runs is latched"
        )
    async with opened(source) as again:
        assert again.read_only
    async with opened(target) as there:
        assert not there.read_only
        assert await secrets(there) == before
        moved = await there.read(read_app(APP.id))
        assert moved is not None
        assert [secret.reveal() for secret in moved.secrets] == ["second", "first"], "sealed as they rested"
        assert await there.read(read_history("con_0")) == history
        fence = await leased(there, await row(there, "gra_1"))
        assert await there.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_a_hotel_with_an_api_key(ways: tuple[Settings, Settings]) -> None:
    """What never ends has no end in the target, either."""
    source, target = ways
    await filled(source)
    key = pair("key", refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER)
    async with opened(source) as running:
        await running.write(add_pasted_key(PastedKey("hash-key", "default", key, None), "con_key", "gra_key"))
        before = await row(running, "gra_key")
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (await row(there, "gra_key")).valid_for == before.valid_for == FOREVER


async def test_a_key_that_was_made_where_the_clock_was_behind(ways: tuple[Settings, Settings]) -> None:
    """A child's id sorts before its parent's: both move."""
    source, target = ways
    await filled(source)
    new = NewKey("a job", frozenset({Scope.READ}))
    async with opened(source) as running:
        for key_id, parent in (("key_9", None), ("key_1", "key_9")):
            await running.write(add_caller_key(key_id, key_id, new, parent=parent))
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert [one.id for one in await there.read(read_caller_keys(limit=9))] == ["key_9", "key_1"]


async def test_given_up_and_made_again(ways: tuple[Settings, Settings]) -> None:
    """The source was adopted after the move, and went on: the target is older, and not used for that."""
    source, target = ways
    await filled(source)
    await maintenance.copy(source, target.database_url, silent)
    await maintenance.adopt(source, silent)
    with pytest.raises(ConfigurationError, match="adopted since"):
        await maintenance.copy(source, target.database_url, silent)
    async with opened(source) as running:
        assert not running.read_only


@pytest.mark.row("F74")
async def test_another_target_of_the_same_name(ways: tuple[Settings, Settings], tmp_path: Path) -> None:
    """Two URLs that are shown alike (`?host=one`, `?host=two`): the hotels that moved to the first do not move to the
    second as well, and the two never both refresh them.
    """
    source, target = ways
    second = settings(f"sqlite:///{tmp_path}/second.db")
    await filled(source)
    await copied_with(source, target, asyncio.sleep)
    with pytest.raises(ConfigurationError, match="another database with the same name as this target"):
        await copied_with(source, second, asyncio.sleep)
    async with opened(target) as there:
        assert not there.read_only
        assert len((await there.read(list_connections(states=list(State)))).connections) == HOTELS
    async with opened(second) as empty:
        assert not (await empty.read(list_connections(states=list(State)))).connections
    await maintenance.adopt(source, silent)
    await copied_with(source, second, asyncio.sleep)


async def test_two_at_once(ways: tuple[Settings, Settings]) -> None:
    """The one that began first does no more to a target that another one fills, or has opened."""
    source, target = ways
    await filled(source)

    async def overtaken() -> None:
        await maintenance.copy(source, target.database_url, overtake)

    def overtake(what: str, done: int, total: int) -> None:
        if what == "connections" and done == 0 and not told:
            told.append(what)
            with ThreadPoolExecutor(1) as aside:
                aside.submit(asyncio.run, maintenance.copy(source, target.database_url, silent)).result()

    told: list[str] = []
    with pytest.raises(ConfigurationError, match="another `database copy`"):
        await overtaken()
    async with opened(target) as there:
        assert not there.read_only
        assert len((await there.read(list_connections(states=list(State)))).connections) == HOTELS


async def test_marks_that_are_wrong(ways: tuple[Settings, Settings]) -> None:
    """Lists of the target find each connection once, by its current grant, whatever marks were read."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        await running.write(show_twice("con_1"))
        await running.write(show_no_more("con_2"))
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert await there.read(wrongly_shown()) == []
        assert len((await there.read(list_connections(states=list(State)))).connections) == HOTELS


async def test_once_more(ways: tuple[Settings, Settings]) -> None:
    """Run again after it was done, it copies nothing: the target may have moved on."""
    source, target = ways
    await filled(source)
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        grant = await row(there, "gra_1")
        fence = await leased(there, grant)
        assert await there.write(write_intent(fence, 1, lease=30.0, hold=0.0))
        await there.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))
        moved_on = await secrets(there)
    assert await maintenance.copy(source, target.database_url, silent) == {}
    async with opened(target) as there:
        assert await secrets(there) == moved_on


HOTEL_TABLES = [table for table in bulk.TABLES if table not in copy.HISTORY]


class Killed(Exception):
    """The process ends here."""


@pytest.mark.long
async def test_killed_while_copying(ways: tuple[Settings, Settings]) -> None:
    """At each step: neither side refreshes, and the whole is simply run again, as often as that happens."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)

    for step in ("hotels latched", "hotels closed", "calls of an earlier attempt", *HOTEL_TABLES, "newest events"):

        def kill(what: str, done: int, total: int, *, at: str = step) -> None:
            if (what, done) == (at, total):
                raise Killed

        with pytest.raises(Killed):
            await maintenance.copy(source, target.database_url, kill)
        async with opened(target) as there:
            assert there.read_only
            with pytest.raises(StoreReadOnly):
                await there.write(take_lease("gra_0", "us", 30.0))
        async with opened(source) as here:
            fence = await leased(here, await row(here, "gra_1"))
            assert not await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))
            await here.write(release_lease("gra_1", fence.epoch))
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert await secrets(there) == before


@pytest.mark.parametrize("step", ["_close", "_open"])
async def test_killed_at_the_end(ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Before the source is closed, or before the target is opened: run again, it ends as it would have."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)
    with monkeypatch.context() as patch:
        patch.setattr(copy, step, _killed)
        with pytest.raises(Killed):
            await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert there.read_only
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (there.read_only, await secrets(there)) == (False, before)


def _killed(now: object, **parts: object) -> None:
    raise Killed


async def test_a_refresh_under_way_commits_first(ways: tuple[Settings, Settings]) -> None:
    """A pair that is in hand when the copy begins is committed, and copied."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=30.0)
        assert await running.write(write_intent(fence, 1, lease=30.0, hold=0.0))

        async def comes_back(seconds: float) -> None:
            assert (
                await running.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))
                is Written.DONE
            )
            await running.write(release_lease(grant.id, fence.epoch))

        shown: list[tuple[str, int, int]] = []
        await copied_with(source, target, comes_back, lambda *step: shown.append(step))
        assert [step for step in shown if "under way" in step[0]] == [("refreshes under way, finished", 0, 1)]
    async with opened(target) as there:
        assert (await row(there, "gra_1")).access.reveal() == "A-1-2"


async def test_a_refresh_that_comes_back_while_rows_are_copied(ways: tuple[Settings, Settings]) -> None:
    """Its lease had run out, and its grant may have been copied: the pair is dropped unused, and the parent moves."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=0.01)
        assert await running.write(write_intent(fence, 1, lease=0.01, hold=0.0))
    await asyncio.sleep(0.05)
    written: list[Written] = []

    async def comes_back() -> Written:
        async with opened(source) as again:
            return await again.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))

    def show(what: str, done: int, total: int) -> None:
        if what == "tokens" and not written:
            with ThreadPoolExecutor(1) as thread:
                written.append(thread.submit(asyncio.run, comes_back()).result())

    await maintenance.copy(source, target.database_url, show)
    assert written == [Written.GONE]
    async with opened(target) as there:
        assert [token.value.reveal() for token in (await row(there, "gra_1")).tokens] == ["R-1-1"]


async def test_a_refresh_that_comes_back_too_late(ways: tuple[Settings, Settings]) -> None:
    """A pair that comes in when everything is copied is dropped unused: its parent, in the target, works on."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=0.01)
        assert await running.write(write_intent(fence, 1, lease=0.01, hold=0.0))

        async def passes(seconds: float) -> None:
            """The lease runs out: whoever held it is paused."""

        await copied_with(source, target, passes)
        assert (
            await running.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0)) is Written.GONE
        )
    async with opened(target) as there:
        assert [token.value.reveal() for token in (await row(there, "gra_1")).tokens] == ["R-1-1"]


async def copied_with(
    source: Settings, target: Settings, pause: Callable[[float], object], progress: Progress = silent
) -> None:
    """As `maintenance.copy`, with our own pause."""
    here, mine = await opening.open_driver(source)
    there, theirs = await opening.open_driver(target)
    try:
        sealer = AesGcmSealer([KEY])
        one = copy.Side(here, mine, "source", sealer, is_postgres=False)
        other = copy.Side(there, theirs, "target", sealer, is_postgres=False)
        await copy.copy(one, other, progress, pause)  # type: ignore[arg-type]
    finally:
        await here.close()
        await there.close()


async def moved(source: Settings, target: Settings) -> None:
    """The hotels, without their histories."""
    await filled(source)
    await maintenance.copy(source, target.database_url, silent)


async def test_the_target_is_used_before_its_history_is_there(ways: tuple[Settings, Settings]) -> None:
    """What happens there is numbered after what happened here, and stays where it is when the rest comes."""
    source, target = ways
    await moved(source, target)
    async with opened(source) as here, opened(target) as there:
        before = await here.read(read_history("con_0"))
        assert len(await there.read(read_history("con_0"))) == 1
        await leased(there, await row(there, "gra_0"))
        assert await there.write(disconnect("con_0"))
        newer = await there.read(read_history("con_0"))
        await maintenance.copy_history(source, target.database_url, silent)
        newest = max(event.sequence for event in before if event.kind != "calls")
        assert [event.sequence for event in newer] == [newest + 1, newest]
        after = await there.read(read_history("con_0"))
        assert [event for event in after if event != newer[0]] == before
        assert newer[0] in after


@pytest.mark.row("F107")
async def test_what_was_forgotten_meanwhile_does_not_come_back(ways: tuple[Settings, Settings]) -> None:
    """Names of calls of a hotel that was forgotten in the target, and all of one that was deleted there, stay away."""
    source, target = ways
    await filled(source)
    async with opened(source) as here:
        for number in range(HOTELS):
            await record_calls(here, [Calls(f"gra_{number}", 1, 1e9, 1e9, 1, 1, {"GET /guests/7": 1}, "y/1")])
        for number in range(HOTELS):
            await here.write(refused(f"gra_{number}"))
            await here.write(add_later(f"gra_{number}"))
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert await there.write(disconnect("con_0"))
        assert await there.write(forget("con_0"))
        await there.write(deleted("con_1", "gra_1"))
        await maintenance.copy_history(source, target.database_url, silent)
        assert named(await there.read(read_history("con_0"))) == []
        assert await there.read(read_history("con_1")) == []
        assert sorted(named(await there.read(read_history("con_2")))) == ["call_refused", "calls"]
        assert (await there.read(verify_history("con_0"))).problems == []


def named(history: Sequence[Event]) -> list[str]:
    """The kinds of what names the path of a call."""
    return [event.kind for event in history if "/guests/7" in str(event.data)]


@transaction
def refused(tx: Tx, grant_id: str) -> Transaction[None]:
    """An event that names the path of a call."""
    grant = yield from query_one("grant", grant_id=grant_id)
    assert grant is not None
    yield from add_event(tx, grant, "call_refused", path="/guests/7")


@transaction
def add_later(tx: Tx, grant_id: str) -> Transaction[None]:
    """A newer event, which is copied with the hotel: the one before it comes with the history."""
    grant = yield from query_one("grant", grant_id=grant_id)
    assert grant is not None
    yield from add_event(tx, grant, "proved")


@transaction
def deleted(tx: Tx, connection_id: str, grant_id: str) -> Transaction[None]:
    """As an approval that nobody claimed."""
    yield from query("drop_all_tokens", grant_id=grant_id)
    yield from query("delete_properties", grant_id=grant_id)
    yield from query("delete_grant", grant_id=grant_id)
    yield from query("delete_events", connection_id=connection_id)
    yield from query("delete_connection", connection_id=connection_id)


@pytest.mark.row("A59", "A76")
async def test_what_is_authenticated_stays_so(ways: tuple[Settings, Settings]) -> None:
    """Links, keys for callers and histories, before the history has come and when it has; what was altered in the
    source is refused in the target, too.
    """
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        new = NewKey("a job", frozenset({Scope.READ}))
        await running.write(add_caller_key("key_1", "key_1", new, parent=None))
        await running.write(disconnect("con_1"))
        await running.write(_rewritten("con_2"))
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        broken = await altered(there)
        assert {one.split(":")[0] for one in broken} == {"con_2"}
        assert not (await row(there, "gra_2")).genuine
        assert (await row(there, "gra_0")).genuine
        await leased(there, await row(there, "gra_0"))
        assert await there.write(disconnect("con_0"))
        for home in ("con_0", "con_1"):
            assert (await there.read(verify_history(home))).problems == []
    await maintenance.copy_history(source, target.database_url, silent)
    async with opened(target) as there:
        assert {one.split(":")[0] for one in await altered(there)} == {"con_2"}
        for home in ("con_0", "con_1"):
            found = await there.read(verify_history(home))
            assert (found.problems, {verified for _, verified in found.events}) == ([], {True}), home
        assert isinstance(await there.read(find_caller("key_1")), GoodKey)


@transaction
def _rewritten(tx: Tx, connection_id: str) -> Transaction[None]:
    """By somebody who has no key."""
    about = {"home": connection_id}
    yield Statement("altered_link", "UPDATE grants SET app = 'other' WHERE connection_id = :home", about)
    yield Statement("altered_event", "UPDATE events SET actor = 'nobody' WHERE connection_id = :home", about)
    yield Statement("altered_chain", "UPDATE connections SET chain = '[]' WHERE id = :home", about)


async def test_two_that_copy_one_history(ways: tuple[Settings, Settings]) -> None:
    """The one whose place the other has passed stops: no line is added twice."""
    source, target = ways
    await moved(source, target)

    other: list[dict[str, int]] = []

    def overtaken(what: str, done: int, total: int) -> None:
        if not other:
            other.append({})
            with ThreadPoolExecutor(1) as thread:
                work = maintenance.copy_history(source, target.database_url, silent)
                other[0] = thread.submit(asyncio.run, work).result()

    with pytest.raises(ConfigurationError, match="another process is copying"):
        await maintenance.copy_history(source, target.database_url, overtaken)
    async with opened(source) as here, opened(target) as there:
        assert await there.read(read_history("con_0")) == await here.read(read_history("con_0"))


async def test_lines_of_an_earlier_version_are_merged_when_they_have_come(ways: tuple[Settings, Settings]) -> None:
    """The target had gone through its few events; it goes through all of them again."""
    source, target = ways
    await moved(source, target)
    async with opened(target) as there:
        while await there.write(take_over(9)):
            pass
        await maintenance.copy_history(source, target.database_url, silent)
        assert await there.write(take_over(1)), "there is more to go through"


async def test_the_history_of_a_move_that_was_given_up(ways: tuple[Settings, Settings]) -> None:
    """The source was adopted, so there are two that hold the hotels: nothing more is copied, and it says so."""
    source, target = ways
    await moved(source, target)
    await maintenance.adopt(source, silent)
    with pytest.raises(ConfigurationError, match="adopted since"):
        await maintenance.copy_history(source, target.database_url, silent)


async def test_a_database_that_was_moved(ways: tuple[Settings, Settings], tmp_path: Path) -> None:
    """Whatever says that it is read-only, and `database check`, names both: it may be a copy, or was moved."""
    source, target = ways
    both = "copy of another installation's database, or one whose hotels were moved elsewhere"
    await moved(source, target)
    async with opened(source) as here:
        with pytest.raises(StoreReadOnly, match=both):
            await here.write(take_lease("gra_0", "us", 30.0))
    (problem,) = (await check.scan(source, silent)).problems
    assert problem.startswith(f"{HOTELS} hotels are not refreshed here: they were moved elsewhere")
    with pytest.raises(ConfigurationError, match="were moved elsewhere, to ") as refused:
        await maintenance.copy(source, f"sqlite:///{tmp_path}/else.db", silent)
    assert refused.value.next_step.startswith("copy from ")


async def test_giving_up_the_move(ways: tuple[Settings, Settings]) -> None:
    """When the target is gone for good, the source is adopted and refreshes again, every latch as it was."""
    source, target = ways
    await filled(source)
    await maintenance.copy(source, target.database_url, silent)
    await maintenance.adopt(source, silent)
    async with opened(source) as here:
        assert not here.read_only
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_a_target_in_use(ways: tuple[Settings, Settings]) -> None:
    """A target that holds hotels of its own is left alone, and so is the source."""
    source, target = ways
    await filled(source)
    await filled(target)
    with pytest.raises(ConfigurationError, match=r"holds apps, connections, .* of its own"):
        await maintenance.copy(source, target.database_url, silent)
    async with opened(source) as here:
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


MADE: dict[str, Callable[[], Call[object]]] = {
    "apps": lambda: add_app(APP),
    "links": lambda: add_link(NewLink("hash-1", "default", None, None, None, 60.0)),
    "caller_keys": lambda: add_caller_key("key_1", "hash-1", NewKey("a job", frozenset({Scope.READ})), parent=None),
    "audit": lambda: add_audit("signed_in", None, {}),
}


@pytest.mark.parametrize("table", MADE)
async def test_a_target_with_something_in_it(ways: tuple[Settings, Settings], table: str) -> None:
    """Nothing that somebody made there is deleted, where no hotel is, either; and nothing happens to the source."""
    source, target = ways
    await filled(source)
    async with opened(target) as there:
        await there.write(MADE[table]())
        before = await rows_of(there, table)
    with pytest.raises(ConfigurationError, match=f"{table}.* of its own"):
        await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert not there.read_only
        assert await rows_of(there, table) == before != []
    async with opened(source) as here:
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def rows_of(store: Database, table: str) -> list[str]:
    """The rows of a table, each as text."""
    return [str(dict(one)) for one in await store.read(all_rows(table))]


@transaction
def all_rows(tx: Tx, table: str) -> Transaction[Rows]:
    """Every row of a table."""
    return (yield Statement("all", f"SELECT * FROM {table}", {}))


async def test_a_copy_is_not_moved(tmp_path: Path) -> None:
    """What is itself a copy of another installation has nothing to move."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    backup.back_up(source.database_path, tmp_path / "copy.db", silent)
    with pytest.raises(ConfigurationError, match="copy of another installation"):
        await maintenance.copy(settings(f"sqlite:///{tmp_path}/copy.db"), f"sqlite:///{tmp_path}/two.db", silent)


async def test_a_copy_with_its_mark_is_not_moved(tmp_path: Path) -> None:
    """Read-only where it is, it does not become writable by being moved elsewhere, as long as it is not adopted."""
    source, copied = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "copy"))
    await filled(source)
    for made in ("", ".instance"):
        shutil.copy(f"{source.database_path}{made}", f"{copied.database_path}{made}")
    with pytest.raises(ConfigurationError, match="copy of another installation"):
        await maintenance.copy(copied, f"sqlite:///{tmp_path}/two.db", silent)
    await maintenance.adopt(copied, silent)
    assert (await maintenance.copy(copied, f"sqlite:///{tmp_path}/two.db", silent))["grants"] == HOTELS


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///", "postgresql://host"])
async def test_a_target_that_is_none(tmp_path: Path, url: str) -> None:
    """A URL that names no database is refused before anything is latched."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    with pytest.raises(ConfigurationError, match="--to"):
        await maintenance.copy(source, url, silent)
    with pytest.raises(ConfigurationError, match="in use"):
        await maintenance.copy(source, source.database_url, silent)
