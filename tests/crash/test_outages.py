"""The database's server is killed while processes of ours live on (F62, F63)."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from tests.crash import marks
from tests.crash.bases import on_server
from tests.crash.conftest import variants
from tests.crash.lane import Lane, lane
from tests.crash.nursery import Child
from tests.crash.outages import Outages
from tests.crash.tally import Tally
from tests.crash.trials import INNER
from tests.support.postgres import PATIENCE, PostgresServer, server

pytestmark = pytest.mark.long

# Long enough for a server to be back within the lease; what callers wait is in proportion.
UNHURRIED = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "20"}
# What a killed server has not written down is gone, the numbers of its transactions with it: nothing is written early.
FORGETFUL = {"wal_writer_delay": "10s"}
KILLS = 2


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that tests may kill; it runs again when they end."""
    with server(**FORGETFUL) as made:
        yield made


@pytest.fixture(scope="module")
def held(own_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """One hotel on it."""
    with lane(tmp_path_factory.mktemp("lane"), deadline=2.0, bases=on_server(own_server.url, own_server)) as made:
        yield made


@contextmanager
def down(own: PostgresServer) -> Iterator[None]:
    """Killed, and started again at the end."""
    own.kill()
    try:
        yield
    finally:
        own.start()


def goes_on(child: Child) -> None:
    """SIGCONT."""
    child.signal(signal.SIGCONT)


def used(held: Lane, after: int) -> set[object]:
    """Which pairs' access tokens the vendor has accepted since, by its own count."""
    return {entry["ordinal"] for entry in held.journal(after) if entry["outcome"] == "accepted"}


@pytest.mark.row("F62")
def test_down_before_the_intent(own_server: PostgresServer, held: Lane) -> None:
    """A token in hand is used on; one that the vendor ends is not refreshed: 503, nothing sent, and later healed."""
    held.settled()
    after = held.last_entry()
    caller = held.fork("call+pause+call+pause+call+pause+call", 0)
    caller.stopped()
    with down(own_server):
        goes_on(caller)
        caller.stopped()
        held.end_tokens()
        goes_on(caller)
        caller.stopped()
        assert not held.refreshes(after)
    goes_on(caller)
    report = caller.end()
    assert report is not None
    assert report.statuses[:5] == [200, 0, 200, 0, 0], report
    told = [error.split(":")[0] for error in report.errors]
    assert told[0] == "StoreUnavailable"
    assert report.statuses[5:] == [200] or told[1:] == ["StoreUnavailable"]  # not seen yet that the server is back
    held.served()
    assert len(held.refreshes(after)) == 1


@pytest.mark.parametrize("mark", [marks.PARSED, pytest.param(marks.IN_TRANSACTION, marks=pytest.mark.long)])
@pytest.mark.row("F62")
def test_down_with_the_pair_in_hand(mark: str, own_server: PostgresServer, held: Lane) -> None:
    """K6, K7: it waits in memory, used by nobody, and is committed when the server is back; one refresh."""
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=mark, settings=UNHURRIED)
    caller.stopped()
    with down(own_server):
        goes_on(caller)
        assert caller.wait_for(marks.WAITING)
        assert not used(held, after)
    report = caller.end()
    assert report is not None
    assert (report.statuses, report.errors) == ([200], [])
    assert held.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in held.refreshes(after)] == ["issued"]
    held.served()


@pytest.mark.long
@pytest.mark.parametrize("mark", sorted(set(INNER) - {marks.PARSED, marks.IN_TRANSACTION, marks.COMMITTING}))
@pytest.mark.row("F62")
def test_down_for_a_moment(mark: str, own_server: PostgresServer, held: Lane) -> None:
    """At every other point of a refresh: one refresh, and whoever asked is served."""
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=mark, settings=UNHURRIED)
    caller.stopped()
    with down(own_server):
        goes_on(caller)
    report = caller.end()
    assert report is not None
    if mark == marks.LEASED:  # the intent cannot be written: nothing is sent
        assert report.statuses == [200] or report.errors[0].startswith("StoreUnavailable"), report
    else:
        assert (report.statuses, report.errors) == ([200], [])
    held.served()
    assert held.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in held.refreshes(after)] == ["issued"]


def restarted(own: PostgresServer) -> None:
    """The whole server is killed, and started again."""
    with down(own):
        pass


def recovered(own: PostgresServer) -> None:
    """One of its processes is killed, as when memory runs out: the others end themselves, and it recovers by itself."""
    with psycopg.connect(own.url, autocommit=True) as one, psycopg.connect(own.url, autocommit=True) as other:
        os.kill(one.info.backend_pid, signal.SIGKILL)
        with suppress(psycopg.OperationalError):  # ended only when the server has taken note
            while True:
                other.execute("SELECT pg_sleep(0.01)")
    until = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(own.url).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until
        else:
            return


@pytest.mark.parametrize("crash", [restarted, recovered], ids=["restarted", "recovered"])
@pytest.mark.parametrize("taken", [False, True], ids=["its number is free", "its number is another's"])
@pytest.mark.row("F63")
def test_a_crash_forgets_the_commit(
    crash: Callable[[PostgresServer], None], taken: bool, own_server: PostgresServer, held: Lane
) -> None:
    """K8: COMMIT is sent to a server that never heard of the transaction, or gave its number to another one since.

    The pair is committed once, whatever is said of that number, and used by nobody before.
    """
    generation = held.settled()["generation"]
    held.end_tokens()
    after = held.last_entry()
    caller = held.fork("call", 0, stop_at=marks.COMMITTING, settings=UNHURRIED)
    caller.stopped()
    (begun,) = held.sql(
        "SELECT backend_xid::text::bigint AS number FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        " AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    crash(own_server)
    if taken:
        numbers = [held.sql("SELECT pg_current_xact_id()::text::bigint AS number")[0]["number"]]
        assert numbers[0] <= begun["number"], "a crash that forgets nothing proves nothing"
        while numbers[-1] < begun["number"]:
            numbers += [row["number"] for row in held.sql("SELECT pg_current_xact_id()::text::bigint AS number")]
    assert held.row()["generation"] == generation
    goes_on(caller)
    report = caller.end()
    assert report is not None
    assert (report.statuses, report.errors) == ([200], []), held.story(0, after)
    assert held.row()["generation"] == generation + 1
    assert [entry["outcome"] for entry in held.refreshes(after)] == ["issued"]
    held.served()


@pytest.mark.long
@pytest.mark.parametrize(
    "serving", [pytest.param(True, id="service"), pytest.param(False, id="vaults", marks=pytest.mark.long)]
)
@variants("V2/n", "V0/n")
@pytest.mark.row("F62", "F63")
def test_a_server_killed_at_random(variant: str, serving: bool, own_server: PostgresServer, tmp_path: Path) -> None:
    """Two processes live through it, their clocks two hours apart when they are vaults; each serves every hotel."""
    place = on_server(own_server.url, own_server)
    tally = Tally()
    with lane(tmp_path, variant=variant, hotels=3, deadline=1.0, service=True, bases=place) as ready:
        outages = Outages(ready, random.Random(7), tally, processes=2, serving=serving)
        outages.warm_up()
        while tally.kills < KILLS:
            outages.round(lambda: tally.kills < KILLS)
        if serving:
            outages.finish()
    assert tally.kills == KILLS
    assert tally.cost
