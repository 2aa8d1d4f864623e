"""Counted calls never stand before a refresh, and what rests of them stays small, however long a hotel is polled."""

from __future__ import annotations

import asyncio
import errno
import json
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from tests.support.failing import FailingDriver
from tests.support.fakes import pair
from tests.support.intercept import Write, intercept
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine.history import Retention, record_calls, roll_up_calls
from cloudbeds_auth.errors import InvalidRequest, StoreUnavailable
from cloudbeds_auth.rules.history import LONGEST_PATH, MOST_PATHS, Calls
from cloudbeds_auth.rules.model import AccessToken, Event, moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import note_problem
from cloudbeds_auth.transactions.runner import Driver
from cloudbeds_auth.transactions.statements import Body, Call, Transaction

T = TypeVar("T")
HOTELS = 1500
LATENCY = 0.002  # seconds to the database and back
TIMEOUT = 5.0  # seconds that it grants one transaction
LEASE_WAITS = 0.1  # seconds at most for somebody else's transaction
CONNECTIONS = """
WITH RECURSIVE n (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM n WHERE at < ?)
INSERT INTO connections (id, app, created_at) SELECT 'con_' || at, 'default', 0 FROM n
"""
GRANTS = """
INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime, stale_at,
    clock_id, received_at, shown)
SELECT REPLACE(id, 'con_', 'gra_'), id, 'default', 1, 'oauth', 'active', 'fresh', 1, 0, 3600, 0, 'boot-1', 0, ''
FROM connections WHERE active_grant IS NULL
"""


def busy(stage: Stage, hotels: int) -> None:
    """So many hotels are connected, and each is called for once."""
    stage.sql(CONNECTIONS, hotels)
    stage.sql(GRANTS)
    for at in range(1, hotels + 1):
        stage.one.calls.note(token(f"gra_{at}"), "GET", "/api/v1.3/getReservations", 200)


def token(grant_id: str, generation: int = 1) -> AccessToken:
    return AccessToken(Secret("A"), moment(2_000_000_000.0), generation, grant_id=grant_id)


class Distant:
    """A driver over another one, at a distance: a transaction that would take too long is rolled back.

    `took`: how long each transaction was open. `held`: the grants whose rows each locked.
    """

    wakeups = None

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.took: list[float] = []
        self.held: list[set[object]] = []

    async def read(self, body: Body[T]) -> T:
        return await self.inner.read(body)

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        return await self.inner.write(lambda now: self._measured(body(now)), synced=synced)

    async def close(self) -> None:
        await self.inner.close()

    def _measured(self, running: Transaction[T]) -> Transaction[T]:
        held: set[object] = set()
        took = 2 * LATENCY  # to begin and to commit
        try:
            statement = next(running)
            while True:
                took += LATENCY
                if took > TIMEOUT:
                    raise StoreUnavailable("canceling statement due to statement timeout")
                if statement.sql.startswith("UPDATE grants") or "locked" in statement.name:
                    held.add(statement.parameters["grant_id"])
                statement = running.send((yield statement))
        except StopIteration as done:
            self.took.append(took)
            self.held.append(held)
            value: T = done.value
            return value


def far_away(process: Process) -> Distant:
    assert isinstance(process.driver, FailingDriver)
    made = Distant(process.driver.inner)
    process.driver.inner = made
    return made


async def told(stage: Stage, connection_id: str) -> list[dict[str, Any]]:
    """What the history tells of calls, oldest first."""
    events = await stage.one.store.read(read_history(connection_id, limit=100_000))
    return [dict(event.data) for event in reversed(events) if event.kind == "calls"]


@pytest.mark.row("F96")
async def test_1500_hotels_are_counted_in_the_end(stage: Stage) -> None:
    """With the database 2 ms away and five seconds for a transaction, nothing is left after a few flushes."""
    busy(stage, HOTELS)
    stage.sql("UPDATE grants SET used_at = ?", stage.clock.wall())
    far_away(stage.one)
    for _ in range(10):
        await stage.one.calls.flush(everything=True)
    for at in (1, 2, HOTELS // 2, HOTELS):
        assert [line["count"] for line in await told(stage, f"con_{at}")] == [1]


@pytest.mark.row("F96")
async def test_a_flush_holds_nothing_that_a_refresh_needs(stage: Stage) -> None:
    """A batch locks no hotel's rows; the time of last use is noted a hotel at a time. Neither takes 100 ms."""
    busy(stage, 250)
    database = far_away(stage.one)
    await stage.one.calls.flush(everything=True)
    assert database.took
    assert max(database.took) <= LEASE_WAITS
    assert max(len(held) for held in database.held) <= 1


@pytest.mark.row("F96")
async def test_a_failed_flush_is_smaller_the_next_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half as many hotels each time, down to one; once it succeeds more again. Nothing is lost, or counted twice."""
    busy(stage, 250)
    sizes: list[int] = []
    fails = True

    async def add_calls(write: Write, call: Call[Any]) -> Any:
        sizes.append(len(call.args[0]))
        if fails:
            raise StoreUnavailable("too much at once")
        return await write(call)

    intercept(monkeypatch, stage.one.store, "add_calls", add_calls)
    for _ in range(8):
        await stage.one.calls.flush(everything=True)
    assert all(later <= max(1, earlier // 2) for earlier, later in pairwise(sizes)), sizes
    assert sizes[-1] == 1
    fails = False
    await stage.one.calls.flush(everything=True)
    assert (sizes[8], sizes[9], sum(sizes[8:])) == (1, 2, 250)
    for at in (1, 125, 250):
        assert [line["count"] for line in await told(stage, f"con_{at}")] == [1]


@pytest.mark.row("F96")
async def test_a_flush_whose_answer_is_lost_is_counted_once(stage: Stage) -> None:
    """It is written again under the same name, with what came in since."""
    grant = await stage.connected()
    stage.one.calls.note(token(grant.id), "GET", "/a", 200)
    stage.one.driver.forget("add_calls")
    await stage.one.calls.flush(everything=True)
    stage.one.calls.note(token(grant.id), "GET", "/a", 200)
    await stage.one.calls.flush(everything=True)
    assert [line["count"] for line in await told(stage, grant.connection_id)] == [2]


@pytest.mark.parametrize("meanwhile", [False, True], ids=["nothing more", "a call is counted meanwhile"])
async def test_a_flush_that_is_cancelled_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    """The background is stopped in the middle of one; what was in hand is written at the end, in one line with what was
    counted meanwhile.
    """
    grant = await stage.connected()
    stage.one.calls.note(token(grant.id), "GET", "/a", 200)

    async def for_ever(write: Write, call: Call[Any]) -> None:
        await asyncio.sleep(1e6)

    with monkeypatch.context() as patched:
        intercept(patched, stage.one.store, "add_calls", for_ever)
        flush = asyncio.create_task(stage.one.calls.flush(everything=True))
        await asyncio.sleep(1.0)
        if meanwhile:
            stage.one.calls.note(token(grant.id), "GET", "/b", 401)
            await stage.one.calls.flush()  # counted, and not due yet
        flush.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flush
    await stage.one.calls.flush(everything=True)
    lines = await told(stage, grant.connection_id)
    assert [(line["count"], line["refused"]) for line in lines] == [(2, 1) if meanwhile else (1, 0)]


async def test_a_flush_that_fails_in_another_way_loses_nothing(stage: Stage) -> None:
    """Too many open files: whoever flushes hears of it, and what was in hand is written the next time."""
    grant = await stage.connected()
    stage.one.calls.note(token(grant.id), "GET", "/a", 200)
    stage.one.driver.refuse("add_calls", 1, OSError(errno.EMFILE, "Too many open files"))
    with pytest.raises(OSError, match="Too many"):
        await stage.one.calls.flush(everything=True)
    await stage.one.calls.flush(everything=True)
    assert [line["count"] for line in await told(stage, grant.connection_id)] == [1]


# --- as they grow older

DAY = 86400.0
POLL = "GET /api/v1.3/getReservations"


async def polled(stage: Stage, grant_id: str, days: float, every: float = 60.0, processes: int = 1) -> None:
    """Call once in `every` seconds for so many days, by each of so many processes, and write it down once a day."""
    left = round(days * DAY / every)
    while left:
        calls: list[Calls] = []
        for _ in range(min(left, round(DAY / every))):
            now = stage.clock.wall()
            calls += [Calls(grant_id, 1, now + at, now + at, 1, 0, {POLL: 1}) for at in range(processes)]
            left -= 1
            await stage.clock.sleep(every)
        await record_calls(stage.one.store, calls)


async def grow_old(stage: Stage, days: int = 400) -> None:
    """As upkeep does, until it has nothing to do for an hour."""
    while await Retention(stage.one.world, days).tick() <= 1.0:
        pass


@pytest.mark.row("F98")
async def test_minutes_become_hours_and_hours_days(stage: Stage) -> None:
    """After a day and after a month; nothing that was counted is lost."""
    grant = await stage.connected()
    await polled(stage, grant.id, 40, every=600.0)
    await grow_old(stage)
    lines = await told(stage, grant.connection_id)
    assert sum(line["count"] for line in lines) == 40 * 144
    assert sum(line["methods"][POLL] for line in lines) == 40 * 144
    spans = [line["last"] - line["first"] for line in lines]
    assert 143 <= sum(span < 600 for span in spans) <= 145 + 6
    assert sum(3000 <= span < 3600 for span in spans) == pytest.approx(29 * 24, abs=26)
    assert sum(span > 3600 for span in spans) == pytest.approx(10, abs=1)


@pytest.mark.row("F98")
async def test_lines_of_several_processes_become_one(stage: Stage) -> None:
    """Of one minute and generation, soon."""
    grant = await stage.connected()
    await polled(stage, grant.id, 1 / 24, processes=3)
    assert len(await told(stage, grant.connection_id)) == 180
    await stage.clock.sleep(3600)
    await grow_old(stage)
    lines = await told(stage, grant.connection_id)
    assert len(lines) == pytest.approx(60, abs=1)
    assert sum(line["count"] for line in lines) == 180


@pytest.mark.row("F98")
async def test_a_hotel_that_is_polled_for_ever(stage: Stage) -> None:
    """Its lines are as many after ten times the retention as after twice: what is added replaces what is too old."""
    grant = await stage.connected()
    sizes = []
    for _ in range(10):
        await polled(stage, grant.id, 60, every=14_400.0)
        await grow_old(stage, days=60)
        sizes.append(len(await told(stage, grant.connection_id)))
    assert max(sizes[1:]) - min(sizes[1:]) <= 2, sizes
    assert max(sizes) < 60 * 6 // 2 + 60


@pytest.mark.row("F98")
async def test_a_line_is_no_longer_than_this(stage: Stage) -> None:
    """However long the paths are that a caller makes up, and however many lines were merged."""
    grant = await stage.connected()
    for hour in range(3):
        for at in range(MOST_PATHS):
            stage.one.calls.note(token(grant.id), "GET", f"/{hour}/{at}/" + "x" * 9000, 200)
        await stage.one.calls.flush(everything=True)
        await stage.clock.sleep(300)
    await stage.clock.sleep(2 * DAY)
    await grow_old(stage)
    (line,) = await told(stage, grant.connection_id)
    assert line["count"] == 3 * MOST_PATHS
    assert (len(line["methods"]), line["methods"]["other"]) == (MOST_PATHS + 1, 2 * MOST_PATHS)
    assert max(map(len, line["methods"])) <= LONGEST_PATH


@pytest.mark.row("F98")
async def test_a_batch_of_merging_is_bounded(stage: Stage) -> None:
    """At most so many lines at a time, soon again while there are more; another process may do the next batch."""
    grant = await stage.connected()
    await polled(stage, grant.id, 1, every=600.0)
    await stage.clock.sleep(2 * DAY)
    before = len(await told(stage, grant.connection_id))
    assert await roll_up_calls(stage.one.store, 10)
    between = len(await told(stage, grant.connection_id))
    assert before - 20 <= between < before
    while await roll_up_calls(stage.one.store, 10):
        pass
    lines = await told(stage, grant.connection_id)
    assert len(lines) == 24
    assert sum(line["count"] for line in lines) == 144


@pytest.mark.row("F98")
async def test_lines_that_an_earlier_version_wrote(stage: Stage) -> None:
    """They were events, and are taken over a few at a time; the newest event stays, and numbers go on after it. Of a
    hotel that was forgotten there is only when it called.
    """
    grant, other = await stage.connected(), await stage.connected(pair(2, property_ids=("2000",)))
    began = stage.clock.wall()
    for number in range(10, 110):
        at = began + 60.0 * number
        data = json.dumps({"first": at - 50, "last": at - 5, "count": 2, "refused": 1, "methods": {POLL: 2}})
        for hotel, shown in ((grant, data), (other, "{}")):
            line = (hotel.connection_id, number, at, "calls", "caller", hotel.id, 1, shown)
            stage.sql("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", *line)
    await stage.clock.sleep(40 * DAY)
    rounds = 0
    while await roll_up_calls(stage.one.store, 20):
        rounds += 1
    assert rounds >= 10
    for hotel in (grant, other):
        kinds = "SELECT COUNT(*) FROM events WHERE connection_id = ? AND kind = 'calls'"
        assert stage.sql(kinds, hotel.connection_id) == [(1,)]
        await stage.one.store.write(note_problem(hotel.id, 1, "wrong_property", {}))
        (newest, *_) = await stage.one.store.read(read_history(hotel.connection_id))
        assert newest.sequence == 110
    *merged, newest_line = await told(stage, grant.connection_id)
    assert len(merged) <= 2, "days"
    assert sum(line["count"] for line in merged) == sum(line["methods"][POLL] for line in merged) == 198
    assert sum(line["refused"] for line in merged) == 99
    assert newest_line["count"] == 2
    forgotten = await told(stage, other.connection_id)
    assert [line.get("methods", {}) for line in forgotten] == [{}] * len(forgotten)
    assert forgotten[0]["first"] == pytest.approx(began + 600)
    assert not await roll_up_calls(stage.one.store, 20), "once and for all"


@pytest.mark.row("F98")
async def test_a_young_line_of_an_earlier_version(stage: Stage) -> None:
    """It is shown as it was, a minute of its own."""
    grant = await stage.connected()
    at = stage.clock.wall()
    data = json.dumps({"first": at - 50, "last": at - 5, "count": 2, "refused": 1, "methods": {POLL: 2}})
    stage.sql(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        *(grant.connection_id, 0, at, "calls", "caller", grant.id, 1, data),
    )
    await grow_old(stage)
    assert await told(stage, grant.connection_id) == [json.loads(data)]


# --- what people read


async def pages(stage: Stage, connection_id: str, limit: int) -> list[Event]:
    """A whole history, page by page."""
    found: list[Event] = []
    cursor = None
    while page := await stage.one.views.events(connection_id, cursor=cursor, limit=limit):
        found += page
        cursor = page[-1].cursor
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_a_history_page_by_page(stage: Stage, limit: int) -> None:
    """Events and lines of calls, newest first, each once: also several that began at the same moment."""
    grant = await stage.connected()
    lines: list[Calls] = []
    for generation in (1, 2, 3):
        now = stage.clock.wall()
        lines += [Calls(grant.id, generation, now + 1, now + 2, 1, 0, {}, line) for line in ("a", "b", "c")]
        await stage.clock.sleep(10)
        await stage.one.store.write(note_problem(grant.id, 1, f"problem_{generation}", {}))
    lines.append(Calls(grant.id, 3, stage.clock.wall(), stage.clock.wall(), 9, 0, {}, "d"))
    await record_calls(stage.one.store, lines)
    whole = await stage.one.views.events(grant.connection_id, limit=200)
    assert [(event.kind, event.sequence) for event in whole] == [
        ("calls", 6),
        ("call_refused", 6),
        *[("calls", 5)] * 3,
        ("call_refused", 5),
        *[("calls", 4)] * 3,
        ("call_refused", 4),
        *[("calls", 3)] * 3,
        ("proved", 3),
        ("promoted", 2),
        ("candidate_received", 1),
    ]
    assert await pages(stage, grant.connection_id, limit) == whole


async def test_a_history_over_a_clock_that_was_set_back(stage: Stage) -> None:
    """Events keep their order, and nothing is left out or told twice."""
    grant = await stage.connected()
    for number, jump in enumerate((0.0, -500.0, 300.0, -1000.0)):
        stage.clock.jump = jump
        now = stage.clock.wall()
        await record_calls(stage.one.store, [Calls(grant.id, 1, now + 5, now + 5, 1, 0, {}, f"l{number}")])
        await stage.clock.sleep(10)
        await stage.one.store.write(note_problem(grant.id, 1, f"problem_{number}", {}))
    for limit in (1, 2, 3):
        found = await pages(stage, grant.connection_id, limit)
        assert [event.sequence for event in found if event.kind != "calls"] == [7, 6, 5, 4, 3, 2, 1]
        assert sum(event.kind == "calls" for event in found) == 4


@pytest.mark.parametrize("cursor", ["", "x", "12", "1_2", "1_2_3_4", "-1_2_3", "٣_1_1", "1" * 30, f"{'1' * 30}_1_1"])
async def test_a_cursor_that_no_page_gave(stage: Stage, cursor: str) -> None:
    """It is refused as the caller's mistake, whatever it is."""
    grant = await stage.connected()
    with pytest.raises(InvalidRequest, match="cursor"):
        await stage.one.views.events(grant.connection_id, cursor=cursor)


# --- last use


async def test_the_time_of_last_use_is_written_now_and_then(stage: Stage) -> None:
    """At once after a long pause, and not again for five minutes: a hotel that is busy has its row left alone."""
    grant = await stage.connected()
    seen = []
    for _ in range(20):
        stage.one.calls.note(token(grant.id), "GET", "/a", 200)
        await stage.one.calls.flush(everything=True)
        seen.append((await stage.one.views.connection(grant.connection_id)).used_at)
        await stage.clock.sleep(60)
    assert len(set(seen)) == 4
    assert stage.one.driver.seen["set_used"] == 4


async def test_the_use_of_many_hotels(stage: Stage) -> None:
    """Some are noted with each batch, so that other lines do not wait: those first that were idle longest."""
    busy(stage, 50)
    began = stage.clock.wall()
    stage.sql("UPDATE grants SET used_at = ? WHERE id <> 'gra_33'", began - DAY)
    for expected in (20, 40, 50):
        for at in range(1, 51):
            stage.one.calls.note(token(f"gra_{at}"), "GET", "/a", 200)
        await stage.one.calls.flush(everything=True)
        noted = {name for (name,) in stage.sql("SELECT id FROM grants WHERE used_at >= ?", began)}
        assert len(noted) == expected
        assert "gra_33" in noted
        await stage.clock.sleep(60)


async def test_a_short_life_is_written_more_often(stage: Stage) -> None:
    """So that a token of a minute is refreshed ahead while it is used, too."""
    grant = await stage.connected(pair(1, lifetime=60.0))
    for _ in range(3):
        await stage.clock.sleep(6)
        stage.one.calls.note(token(grant.id), "GET", "/a", 200)
        await stage.one.calls.flush(everything=True)
    assert stage.one.driver.seen["set_used"] == 3


# --- personal data


async def test_paths_of_a_forgotten_hotel(stage: Stage) -> None:
    """Of its lines only the numbers stay; one that another process writes behind afterwards tells no path either, and
    merging brings none back.
    """
    grant, other = await stage.connected(), await stage.process()
    path = "/api/v1.3/getGuest/Ada"
    for process in (stage.one, other):
        process.calls.note(token(grant.id), "GET", path, 200)
    await stage.one.calls.flush(everything=True)
    assert path in str(await told(stage, grant.connection_id))
    await stage.one.store.write(disconnect(grant.connection_id))
    await Retention(stage.one.world, 400).forget(grant.connection_id)
    await other.calls.flush(everything=True)
    for _ in range(2):
        lines = await told(stage, grant.connection_id)
        assert (sum(line["count"] for line in lines), [line["methods"] for line in lines]) == (2, [{}] * len(lines))
        await stage.clock.sleep(2 * DAY)
        await grow_old(stage)
