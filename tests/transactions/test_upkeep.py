"""The transactions of upkeep: what is due, and who does it."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock, SqliteBench, about
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.engine.history import record_calls
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.model import CredentialKind
from cloudbeds_auth.rules.schedule import CANDIDATE, DAY, KEEP_ALIVE, KEEP_KEY_ALIVE, spread
from cloudbeds_auth.rules.webhooks import FIRST, POLL
from cloudbeds_auth.transactions import upkeep
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import (
    AttemptEnd,
    Busy,
    Leased,
    Written,
    commit_pair,
    renew_lease,
    settle,
    take_lease,
)
from cloudbeds_auth.transactions.refusals import Counted, confirm, count_refusal
from cloudbeds_auth.transactions.statements import Statement, Transaction, Tx, transaction
from cloudbeds_auth.transactions.upkeep import (
    Queue,
    Queued,
    claim_due,
    claim_polls,
    claim_retries,
    due_beyond,
    next_due,
    read_overdue,
    read_queues,
    retry_all,
)

HOLD = 60.0


async def used(bench: Bench, grant_id: str) -> None:
    """Somebody called with it just now."""
    now = bench.clock.wall
    await record_calls(bench.store, [Calls(grant_id, 1, now, now, 1, 0, {})])


# --- when a grant is due


async def test_nothing_is_ever_due_without_grants(bench: Bench) -> None:
    """None, not a moment."""
    assert (await bench.store.read(next_due()), list(await bench.store.write(claim_due(4, HOLD)))) == (None, [])
    assert await bench.store.read(read_overdue()) == 0.0


@pytest.mark.usefixtures("clock")
async def test_a_candidate_is_due_soon(bench: Bench) -> None:
    """Whoever received it proves it at once; else somebody else does."""
    await bench.approved()
    assert await bench.store.read(next_due()) == about(CANDIDATE)


@pytest.mark.usefixtures("clock")
async def test_a_grant_in_use_is_due_when_it_turns_stale(bench: Bench) -> None:
    """An idle one is kept alive, spread out (rules 10, 14)."""
    grant = await bench.hotel()
    assert await bench.store.read(next_due()) == about(spread(KEEP_ALIVE, grant.id))
    await used(bench, grant.id)
    assert await bench.store.read(next_due()) == about(grant.stale_in)


@pytest.mark.usefixtures("clock")
async def test_an_api_key_is_used_now_and_then(bench: Bench) -> None:
    """Never refreshed; a use moves the moment ahead."""
    grant = await bench.connected(pair(1, refresh=None, kind=CredentialKind.API_KEY))
    await used(bench, grant.id)
    assert await bench.store.read(next_due()) == about(spread(KEEP_KEY_ALIVE, grant.id))


@pytest.mark.usefixtures("clock")
async def test_an_attempt_that_runs_or_failed_says_when_the_next_may_begin(bench: Bench) -> None:
    """The hold of its intent, then the hold of its end; a pair puts it back to its life's own moment."""
    grant = await bench.hotel()
    await used(bench, grant.id)
    fence = await bench.intent(grant)
    assert await bench.store.read(next_due()) == about(20.0)
    await bench.store.write(settle(fence, AttemptEnd.LOST, hold=45.0))
    assert await bench.store.read(next_due()) == about(45.0)
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=500.0)) is Written.DONE
    assert await bench.store.read(next_due()) == about(500.0)


@pytest.mark.usefixtures("clock")
async def test_a_refused_pass_is_due_after_its_interval(bench: Bench) -> None:
    """Asked again then, by whoever is first."""
    fence = await bench.leased(await bench.hotel())
    await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=60.0))
    assert await bench.store.read(next_due()) == about(60.0)


@pytest.mark.usefixtures("clock")
async def test_a_grant_that_is_proven_out_of_doubt_is_left_alone_for_a_while(bench: Bench) -> None:
    """A stale token that works while an attempt is unresolved is not asked about in a loop."""
    grant = await bench.hotel()
    await used(bench, grant.id)
    bench.clock.pass_(3500.0)
    fence = await bench.intent(grant)
    await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
    await bench.store.write(confirm(grant.id, 1))
    assert await bench.store.read(next_due()) == about(60.0)


async def test_what_is_over_is_never_due(bench: Bench) -> None:
    """Superseded, disconnected, marked before that or not."""
    old = await bench.hotel()
    await bench.connected(pair("new", property_ids=("1000",)))
    current = await current_grant(bench.store, old.connection_id)
    assert current is not None
    fence = await bench.leased(current)
    for _ in range(2):
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert await bench.store.read(next_due()) == about(300.0)
    await bench.store.write(disconnect(current.connection_id))
    assert await bench.store.read(next_due()) is None
    gone = await bench.connected()
    await bench.store.write(disconnect(gone.connection_id))
    assert await bench.store.read(next_due()) is None


async def test_marked_grants_have_a_queue_of_their_own(bench: Bench) -> None:
    """Claimed apart from those in use; after five minutes, then ten once a retry was refused; all of an app at once."""
    one, two = [await bench.connected(pair(at, property_ids=(at,))) for at in ("1", "2")]
    fences = {grant.id: await bench.leased(grant) for grant in (one, two)}
    for fence in fences.values():
        for _ in range(2):
            await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert await bench.store.write(claim_retries(9, 60.0)) == []
    assert await bench.store.write(retry_all("another app", 9)) == 0
    assert await bench.store.write(retry_all("default", 1)) == 1
    assert await bench.store.write(claim_due(9, 60.0)) == []
    (claimed,) = await bench.store.write(claim_retries(9, 60.0))
    assert await bench.store.write(claim_retries(9, 60.0)) == [], "nobody else is given it"
    refused = await bench.store.write(count_refusal(fences[claimed], "revoked", may_mark=True, interval=0.0))
    assert refused is Counted.STILL_MARKED
    assert await bench.store.read(next_due()) == about(300.0)
    await bench.store.write(confirm(one.id if claimed == two.id else two.id, 1))
    assert await bench.store.read(next_due()) == about(600.0)


# --- who does it


async def test_claiming(bench: Bench, clock: HandClock) -> None:
    """At most as many as asked for, those due longest first; told in the order in which they expire; nobody else's."""
    grants = [await bench.connected(pair(f"{at}", lifetime=1000.0 + at)) for at in range(3)]
    for grant in grants[::-1]:
        await used(bench, grant.id)
    clock.pass_(2000.0)
    other = await bench.another()
    assert await bench.store.read(next_due()) == 0.0
    assert await bench.store.read(read_overdue()) == about(2000.0 - 900.0)
    assert list(await bench.store.write(claim_due(2, HOLD))) == [grants[0].id, grants[1].id]
    assert list(await other.write(claim_due(2, HOLD))) == [grants[2].id]
    assert list(await other.write(claim_due(2, HOLD))) == []
    assert await bench.store.read(next_due()) == about(HOLD)
    clock.pass_(HOLD)
    assert len(await other.write(claim_due(9, HOLD))) == 3


@pytest.mark.row("F99")
@pytest.mark.parametrize("back", [600.0, 3600.0, 365 * DAY])
async def test_what_is_due_when_the_wall_clock_is_set_back(bench: Bench, clock: HandClock, back: float) -> None:
    """As far ahead as it was, for whoever looks next; a moment that was written since, and one of before, stay."""
    grants = [await bench.hotel(), await bench.approved()]
    clock.pass_(30.0)
    before = await bench.store.read(next_due())
    assert before == about(CANDIDATE - 30.0)
    clock.wall -= back
    assert list(await bench.store.write(claim_due(4, HOLD))) == []
    assert await bench.store.read(next_due()) == about(CANDIDATE)
    clock.pass_(CANDIDATE)
    assert list(await bench.store.write(claim_due(4, HOLD))) == [grants[1].id]
    assert await bench.store.read(next_due()) == about(HOLD)


@transaction
def due_of_app(tx: Tx, grant_id: str, app: str, due_at: float) -> Transaction[None]:
    """Another app's, due since then."""
    changed = {"id": grant_id, "app": app, "due_at": due_at}
    yield Statement("due_of_app", "UPDATE grants SET app = :app, due_at = :due_at WHERE id = :id", changed)
    home = "UPDATE connections SET app = :app WHERE id = (SELECT connection_id FROM grants WHERE id = :id)"
    yield Statement("app_of_home", home, changed)


@pytest.mark.parametrize("looked_at", [3, 1000])
async def test_one_apps_work_is_not_before_anothers(
    bench: Bench, clock: HandClock, monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    """Of each app so many and no more; none of one that has no room, however many of its grants are due first: what is
    beyond those that are looked at is found when these have been passed.
    """
    monkeypatch.setattr(upkeep, "LOOKED_AT", looked_at)
    bench.attacked = True  # no product moves a grant to another app
    grants = [await bench.hotel() for _ in range(7)]
    ours, theirs = grants[:5], grants[5:]
    began = clock.wall - 100.0
    for at, grant in enumerate(grants):
        await bench.store.write(due_of_app(grant.id, "default" if grant in ours else "other", began + at))
    store = bench.store
    assert set(await store.write(claim_due(4, HOLD, of_one=2))) == (
        {ours[0].id, ours[1].id} | ({theirs[0].id, theirs[1].id} if looked_at > 3 else set())
    )
    if looked_at == 3:
        full = ["default", "absent"]
        assert list(await store.write(claim_due(4, HOLD, of_one=2, full=full))) == []
        since = await store.read(due_beyond(0.0))  # the three of ours that are left
        assert began + 4 < since < began + 5
        found = await store.write(claim_due(4, HOLD, of_one=2, full=full, since=since))
        assert set(found) == {one.id for one in theirs}
    assert await store.read(due_beyond(began + 5)) == 0.0
    assert set(await store.write(claim_due(9, HOLD))) == {one.id for one in ours[2:]}


@pytest.mark.row("F99")
@pytest.mark.parametrize("back", [600.0, 3600.0])
async def test_a_row_when_the_clock_is_set_back(bench: Bench, clock: HandClock, back: float) -> None:
    """Whoever reads it is told no longer duration than when it was written; whoever writes it lets time go on."""
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    clock.steady -= back
    row = await bench.row(grant.id)
    assert (row.lease_left, row.held_back, row.unresolved_age) == (about(30.0), about(20.0), 0.0)
    clock.pass_(5.0)
    assert (await bench.row(grant.id)).lease_left == about(30.0), "nobody has written it yet"
    taken = await bench.store.write(take_lease(grant.id, "others", 30.0))
    assert taken == Busy(about(30.0))
    clock.pass_(10.0)
    row = await bench.row(grant.id)
    assert (row.lease_left, row.held_back, row.unresolved_age) == (about(20.0), about(10.0), about(10.0))
    assert await bench.store.write(renew_lease(grant.id, fence.epoch, 30.0))
    clock.pass_(30.0)
    assert isinstance(await bench.store.write(take_lease(grant.id, "others", 30.0)), Leased)


async def test_a_use_in_the_past_changes_nothing(bench: Bench, clock: HandClock) -> None:
    """The last use is the last, in whatever order they are told."""
    grant = await bench.hotel()
    await used(bench, grant.id)
    before = (await bench.look(grant.connection_id)).used_at
    late = Calls(grant.id, 1, clock.wall - 500.0, clock.wall - 400.0, 1, 0, {})
    await record_calls(bench.store, [late])
    assert (await bench.look(grant.connection_id)).used_at == before


# --- whose app state is asked about


async def test_each_connection_is_asked_about_now_and_then(bench: Bench, clock: HandClock) -> None:
    """First a minute after it connected, then every time after as long as was said; by one process at a time."""
    grants = [await bench.connected() for _ in range(3)]
    other = await bench.another()
    assert list(await bench.store.write(claim_polls(9, POLL))) == []
    clock.pass_(FIRST)
    mine, theirs = await bench.store.write(claim_polls(2, POLL)), await other.write(claim_polls(9, POLL))
    assert sorted([*mine, *theirs]) == [grant.connection_id for grant in grants]
    assert len(mine) == 2
    clock.pass_(POLL - 1)
    assert list(await other.write(claim_polls(9, POLL))) == []
    clock.pass_(1)
    assert len(await other.write(claim_polls(9, POLL))) == 3


async def test_nobody_is_asked_about_whom_cloudbeds_refuses(bench: Bench, clock: HandClock) -> None:
    """Marked, superseded, disconnected, or not proven yet."""
    old = await bench.hotel()
    current = await bench.connected(pair("new", property_ids=("1000",)))
    gone = await bench.connected()
    await bench.store.write(disconnect(gone.connection_id))
    await bench.approved()
    clock.pass_(POLL)
    assert list(await bench.store.write(claim_polls(9, 0.0))) == [old.connection_id]
    fence = await bench.leased(current)
    for _ in range(2):
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert list(await bench.store.write(claim_polls(9, 0.0))) == []


async def test_a_poll_further_ahead_than_is_ever_written(bench: Bench, clock: HandClock) -> None:
    """The wall clock was set back since: it is due now."""
    grant = await bench.hotel()
    clock.wall -= POLL + DAY
    assert list(await bench.store.write(claim_polls(9, POLL))) == [grant.connection_id]


@pytest.mark.parametrize(("state", "due"), [("fresh", 3240.0), ("in_doubt", 86400.0)])
async def test_a_call_makes_an_idle_grant_due(db: SqliteBench, state: str, due: float) -> None:
    """The earlier of both moments; one that recovers keeps the moment of its next attempt."""
    grant = await db.connected()
    db.sql("UPDATE grants SET due_at = ?, state = ?", db.clock.wall + 86400, state)
    await record_calls(db.store, [Calls(grant.id, 1, db.clock.wall, db.clock.wall, 1, 0, {})])
    assert await db.store.read(next_due()) == about(due)


# --- for people


async def test_what_waits_in_each_queue(bench: Bench, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now, within an hour, and for how long the first has waited; no more is counted than matters."""
    assert set((await bench.store.read(read_queues())).values()) == {Queued(0, 0, 0.0)}
    for _ in range(3):
        await bench.approved()
    assert (await bench.store.read(read_queues()))[Queue.UPKEEP] == Queued(0, 3, 0.0)
    clock.pass_(CANDIDATE + 5.0)
    assert (await bench.store.read(read_queues()))[Queue.UPKEEP] == Queued(3, 0, about(5.0))
    monkeypatch.setattr(upkeep, "MOST_COUNTED", 2)
    assert (await bench.store.read(read_queues()))[Queue.UPKEEP].waiting == 2


async def test_a_comparison_that_comes_first(bench: Bench) -> None:
    """Has not waited for a day."""
    await bench.connected()
    assert (await bench.store.read(read_queues()))[Queue.COMPARISONS] == Queued(1, 0, 0.0)
