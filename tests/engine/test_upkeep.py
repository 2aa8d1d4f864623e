"""Upkeep: what is due is done behind the callers, oldest first, within the rate, by one process at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.fakes import APP, issued, pair
from tests.support.hotels import BusyVendor, hotels, keep_up, limited
from tests.support.stage import SqliteDatabase, Stage

from cloudbeds_auth.engine.jobs import AFTER_FAILURE, AT_ONCE, OF_ONE
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports import MaySend
from cloudbeds_auth.rules.api_errors import DeadToken
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, CredentialKind, Fence, Grant, Role
from cloudbeds_auth.rules.schedule import DAY, PAUSE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Answer, Refused
from cloudbeds_auth.transactions import upkeep
from cloudbeds_auth.transactions.connections import count_states, disconnect
from cloudbeds_auth.transactions.grants import Leased, take_lease
from cloudbeds_auth.transactions.refusals import confirm, count_refusal
from cloudbeds_auth.transactions.upkeep import claim_due, next_due

STALE = 3240.0  # nine tenths of an hour
YEAR = 365 * DAY


@pytest.mark.long
@pytest.mark.row("F76")
async def test_all_hotels_expire_together(stage: Stage) -> None:
    """Two hundred are refreshed ahead of time by two processes: the first to expire first, ten requests a second.

    Over a server, where each transaction takes its time, it is eighty.
    """
    vendor = BusyVendor()
    known = await hotels(stage, 200 if isinstance(stage.database, SqliteDatabase) else 80)
    processes = [await limited(stage, vendor), await limited(stage, vendor)]
    await stage.clock.sleep(STALE)
    began = stage.clock.steady()
    await asyncio.gather(*(keep_up(process, 200) for process in processes))
    trouble = [told for told in stage.notes.told if "fail" in told[0] or "unavailable" in told[0]]
    assert len(vendor.renewed) == len(set(vendor.renewed)) == vendor.proofs == len(known), trouble
    places = {f"R-{at}": at for at in range(len(known))}
    late = [abs(places[token] - at) for at, token in enumerate(vendor.renewed)]
    assert max(late) <= 2 * AT_ONCE * len(processes)
    assert vendor.most_in_a_second() <= 10
    assert max(vendor.moments) - began < 0.1 * 3600  # none was expired by then
    assert (await stage.one.store.read(count_states())).connections[State.FRESH] == len(known)


@pytest.mark.long
@pytest.mark.row("F77")
async def test_the_vendor_is_down_for_six_hours(stage: Stage) -> None:
    """Nothing is deleted, nobody is asked to reconnect, and it heals by itself within one interval.

    Over a server, where each transaction takes its time, it is one hour.
    """
    vendor, known = BusyVendor(), await hotels(stage, 2)
    hours = 6 if isinstance(stage.database, SqliteDatabase) else 1
    stage.dice.roll = 0.99
    process = await limited(stage, vendor)
    await stage.clock.sleep(STALE)
    vendor.down = True
    await keep_up(process, hours * 3600)
    assert vendor.renewed == []
    for at, grant in enumerate(known):
        assert f"R-{at}" in await stage.tokens(grant.id)
        assert (await stage.row(grant.id)).reauth is None
    vendor.down = False
    await keep_up(process, stage.timing.backoff_cap + PAUSE)
    assert sorted(vendor.renewed) == ["R-0", "R-1"]
    for grant in known:
        assert ((await stage.row(grant.id)).state, (await stage.row(grant.id)).proven) == (State.FRESH, True)


@pytest.mark.long
@pytest.mark.row("F75")
async def test_fifty_processes_in_a_crash_loop(stage: Stage) -> None:
    """No start refreshes what is not due; what is due is refreshed once, within the rate; a backoff is kept."""
    vendor, known = BusyVendor(), await hotels(stage, 8)
    for _ in range(50):
        await (await limited(stage, vendor)).upkeep.tick()
    assert vendor.moments == []
    await stage.clock.sleep(STALE)
    vendor.down = True
    for process in stage.processes[1:4]:
        await process.upkeep.tick()
    failed = len(vendor.moments)
    assert failed == len(known)
    await asyncio.gather(*(process.upkeep.tick() for process in stage.processes[1:]))
    assert len(vendor.moments) == failed  # held back, whoever comes
    vendor.down = False
    # Those whose answer was lost are proven to work, and renewed when they end.
    await asyncio.gather(*(keep_up(process, 0.1 * 3600 + 60) for process in stage.processes[1:20]))
    assert sorted(vendor.renewed) == [f"R-{at}" for at in range(len(known))]
    assert vendor.most_in_a_second() <= 10


@pytest.mark.row("F51")
@pytest.mark.parametrize("jump", [YEAR, -YEAR])
async def test_the_wall_clock_jumps_a_year(stage: Stage, jump: float) -> None:
    """Whatever is taken to be due is refreshed within the rate and no faster, there and back."""
    vendor, known = BusyVendor(), await hotels(stage, 30)
    for grant in known[::2]:
        stage.sql("UPDATE grants SET used_at = NULL, due_at = due_at + ? WHERE id = ?", 28 * DAY, grant.id)
    process = await limited(stage, vendor)
    for distance in (jump, 0.0):
        stage.clock.jump = distance
        await keep_up(process, 60)
        assert vendor.most_in_a_second() <= 10
    for grant in known:
        row = await stage.row(grant.id)
        assert (row.reauth, row.valid_for > 0) == (None, True)
    sent = len(vendor.moments)
    await keep_up(process, 600)
    assert len(vendor.moments) == sent  # and then there is peace


async def test_an_idle_grant_is_kept_alive(stage: Stage) -> None:
    """Nobody used it for weeks: before the thirtieth day it is refreshed, and the new token is used once (rule 14)."""
    vendor, (grant,) = BusyVendor(), await hotels(stage, 1, used=False)
    process = await limited(stage, vendor)
    await stage.clock.sleep(26.9 * DAY)
    await keep_up(process, PAUSE)
    assert vendor.moments == []
    await stage.clock.sleep(3.1 * DAY - 2 * PAUSE)
    await keep_up(process, PAUSE)
    assert (vendor.renewed, vendor.proofs) == (["R-0"], 1)
    assert (await stage.row(grant.id)).proven
    assert 26 * DAY < (await stage.one.store.read(next_due()) or 0) <= 30 * DAY


async def test_a_grant_that_is_used_again(stage: Stage) -> None:
    """The first call after idle weeks makes it due when its token turns stale."""
    vendor, (grant,) = BusyVendor(), await hotels(stage, 1, used=False)
    process = await limited(stage, vendor)
    stage.one.calls.note((await stage.row(grant.id)).token(), "GET", "/api/v1.3/userinfo", 200)
    await stage.one.calls.flush(everything=True)
    await keep_up(process, STALE - PAUSE)
    assert vendor.moments == []
    await keep_up(process, 2 * PAUSE)
    assert vendor.renewed == ["R-0"]


async def test_an_idle_api_key_is_used(stage: Stage) -> None:
    """It has nothing to refresh: `/userinfo` is asked before twenty days are over, and again after as many."""
    key = pair(1, refresh=None, kind=CredentialKind.API_KEY, lifetime=10 * YEAR, property_ids=("1000",))
    grant = await stage.connected(key)
    await stage.clock.sleep(17.9 * DAY)
    await stage.one.upkeep.tick()
    assert stage.vendor.asked == []
    await stage.clock.sleep(2.1 * DAY)
    await stage.one.upkeep.tick()
    await stage.one.upkeep.tick()
    assert (stage.vendor.asked, stage.endpoint.sent) == (["A-1"], [])
    assert (await stage.one.store.read(next_due()) or 0) > 17 * DAY
    assert (await stage.row(grant.id)).generation == 1


async def test_a_candidate_that_was_left_behind(stage: Stage) -> None:
    """Whoever received it was killed before the proof: a minute later somebody else goes on with it."""
    grant = await stage.connected(pair(1, property_ids=("1000",)), proven=False)
    await stage.one.upkeep.tick()
    assert (await stage.row(grant.id)).role is Role.CANDIDATE
    await stage.clock.sleep(61)
    await stage.one.upkeep.tick()
    assert (await stage.row(grant.id)).role is Role.ACTIVE
    assert (await stage.one.store.read(next_due()) or 0) > 26 * DAY


@pytest.mark.parametrize("token", ["lasts", "is over"])
async def test_a_refused_grant_and_a_newer_approval(stage: Stage, token: str) -> None:
    """The old grant is due and the vendor refuses it: the approval that waits is gone on with at once, also where a
    wall clock that was set back would make it wait for an hour."""
    (old,) = await hotels(stage, 1)
    new = await stage.candidate(old.connection_id, pair(7, property_ids=old.property_ids))
    await stage.clock.sleep(STALE if token == "lasts" else 3700.0)
    stage.sql("UPDATE grants SET due_at = due_at + 7200 WHERE id = ?", new.id)
    stage.vendor.thinks("A-0", DeadToken())
    stage.endpoint.will(Refused("revoked"))
    await stage.one.upkeep.tick()
    assert (await stage.row(new.id)).role is Role.ACTIVE
    assert (await stage.row(old.id)).role is Role.SUPERSEDED


async def test_whoever_is_killed_while_sending(stage: Stage) -> None:
    """The intent makes the grant due: nobody has to ask for it before the doubt is settled."""
    (grant,) = await hotels(stage, 1, used=False)
    await stage.clock.sleep(3700)
    stopped = asyncio.Event()

    async def never() -> object:
        await stopped.wait()
        return issued(9)

    stage.endpoint.will(never)  # type: ignore[arg-type]
    task = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await asyncio.sleep(1)
    await stage.kill(stage.one)
    with pytest.raises(Exception, match="stopping"):
        await task
    other = await stage.process()
    stage.one = other
    stage.endpoint.will(issued(2))
    await keep_up(other, 60)
    assert (stage.endpoint.sent, (await stage.row(grant.id)).state) == (["R-0", "R-0"], State.FRESH)


class Slow(BusyVendor):
    """Answers after a second, and a client id in `hangs` after a minute."""

    hangs: frozenset[str] = frozenset()

    async def _asked(self) -> None:
        await super()._asked()
        await asyncio.sleep(1.0)

    async def refresh(self, app: App, client_secret: Secret, refresh_token: Secret, may_send: MaySend) -> Answer:
        if app.client_id in self.hangs:
            await asyncio.sleep(60.0)
        return await super().refresh(app, client_secret, refresh_token, may_send)


async def of_two_apps(stage: Stage, ours: int, theirs: int) -> list[Grant]:
    """So many stale hotels of each, ours the first to expire."""
    stage.apps["other"] = replace(APP, id="other", client_id="client-2")
    known = await hotels(stage, ours + theirs)
    for grant in known[ours:]:
        stage.sql("UPDATE grants SET app = 'other', client_id = 'client-2' WHERE id = ?", grant.id)
        stage.sql("UPDATE connections SET app = 'other' WHERE id = ?", grant.connection_id)
    await stage.clock.sleep(STALE)
    return known


async def test_upkeep_is_as_fast_as_the_vendors_rate(stage: Stage) -> None:
    """Where each answer takes a second, two client ids have 3.6 refreshes with their proofs a second each."""
    vendor, number = Slow(), 50
    known = await of_two_apps(stage, number, number)
    process = await limited(stage, vendor)
    began = stage.clock.steady()
    assert await process.upkeep.overdue() == pytest.approx(2 * number / 1000, abs=0.01)
    await process.upkeep.tick()
    assert await process.upkeep.overdue() == 0.0
    assert len(vendor.renewed) == vendor.proofs == len(known)
    assert stage.clock.steady() - began <= number / 3.6 + 4.0  # two answers, and the turns of the last ones
    assert vendor.most_in_a_second() <= 2 * 10


async def test_what_becomes_due_while_the_slowest_is_out(stage: Stage) -> None:
    """It is begun, and done, before that has come back."""
    first, later = await hotels(stage, 2)
    stage.sql("UPDATE grants SET due_at = due_at + 5 WHERE id = ?", later.id)
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(15.0, issued("slow")), issued("quick"))
    ticking = asyncio.create_task(stage.one.upkeep.tick())
    await stage.clock.sleep(10.0)
    assert ((await stage.row(first.id)).generation, (await stage.row(later.id)).generation) == (1, 2)
    await ticking
    assert (await stage.row(first.id)).generation == 2


async def test_a_client_id_that_gets_no_answers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of its hotels are due first, the others' are refreshed; of its own only so many are under way."""
    monkeypatch.setattr(upkeep, "LOOKED_AT", 20)
    vendor = Slow()
    vendor.hangs = frozenset({APP.client_id})
    known = await of_two_apps(stage, 100, 5)
    process = await limited(stage, vendor)
    ticking = asyncio.create_task(process.upkeep.tick())
    await stage.clock.sleep(15.0)
    assert sorted(vendor.renewed) == sorted(f"R-{at}" for at in range(100, 105))
    assert {(await stage.row(grant.id)).generation for grant in known[100:]} == {2}
    leased = stage.sql("SELECT count(*) FROM grants WHERE lease_owner IS NOT NULL")
    assert AT_ONCE < leased[0][0] <= OF_ONE
    ticking.cancel()
    await process.idle()


async def test_a_database_that_is_away_while_some_are_under_way(stage: Stage) -> None:
    """They are waited for; nothing more is begun; then the loop is told."""
    (grant,) = await hotels(stage, 1)
    await stage.clock.sleep(STALE)

    async def away() -> Answer:
        stage.one.driver.dark = True
        await stage.clock.sleep(3.0)
        stage.one.driver.dark = False
        return issued("anew")

    stage.endpoint.will(away)
    await stage.one.upkeep.tick()
    assert (await stage.row(grant.id)).generation == 2
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await stage.one.upkeep.tick()
    stage.one.driver.dark = False


async def test_two_processes_never_find_the_same_work(stage: Stage) -> None:
    """Of two that look at once, each claims its own."""
    await hotels(stage, 7)
    await stage.clock.sleep(STALE)
    one, two = stage.one.store, (await stage.process()).store
    found = await asyncio.gather(one.write(claim_due(4, 60)), two.write(claim_due(4, 60)))
    assert sorted(map(len, found)) == [3, 4]
    assert not set(found[0]) & set(found[1])
    assert await one.write(claim_due(4, 60)) == []


async def test_one_grant_never_stops_the_others(stage: Stage) -> None:
    """A row that does not open is told about; the rest of the tick goes on, and so does the next."""
    vendor, known = BusyVendor(), await hotels(stage, 3)
    process = await limited(stage, vendor)
    stage.sql("UPDATE tokens SET sealed = ? WHERE grant_id = ?", b"\0", known[0].id)
    await stage.clock.sleep(STALE)
    begun = stage.clock.steady()
    assert 0 < await process.upkeep.tick() <= PAUSE
    assert sorted(vendor.renewed) == ["R-1", "R-2"]
    assert stage.clock.steady() - begun < AFTER_FAILURE, "the others do not wait as for a database that is away"
    failed = {"connection_id": None, "grant": known[0].id, "error": "DoesNotOpen"}
    assert ("upkeep_failed", failed) in stage.notes.told


async def test_what_a_stop_finds_under_way(stage: Stage) -> None:
    """The tick is cancelled; what it sent comes back and is committed before the store closes."""
    vendor, (grant,) = BusyVendor(), await hotels(stage, 1)
    process = await limited(stage, vendor)
    await stage.clock.sleep(STALE)
    tick = asyncio.create_task(process.upkeep.tick())
    await asyncio.sleep(0.1)
    tick.cancel()
    await process.idle()
    assert tick.cancelled()
    assert (await stage.row(grant.id)).generation == 2


async def test_marked_and_disconnected_grants_are_left_alone(stage: Stage) -> None:
    """Where a person has to act, nothing is ever due; a newer approval takes the old grant's place."""
    marked, gone, old = await hotels(stage, 3)
    stage.sql("UPDATE grants SET first_refused = ?, first_reason = 'revoked'", stage.clock.steady() - 100)
    lease = await stage.one.store.write(take_lease(marked.id, "us", 30.0))
    assert isinstance(lease, Leased)
    await stage.one.store.write(
        count_refusal(Fence(marked.id, 1, lease.epoch), "revoked", may_mark=True, interval=60.0)
    )
    await stage.one.store.write(disconnect(gone.connection_id))
    await stage.candidate(old.connection_id, pair(9, property_ids=("1002",)))
    await stage.one.candidates.resume(old.connection_id)
    for grant in (marked, gone, old):
        assert stage.sql("SELECT due_at FROM grants WHERE id = ?", grant.id) == [(None,)], grant.id


async def test_a_late_proof_makes_a_marked_grant_due_again(stage: Stage) -> None:
    """A 2xx clears the mark; the grant is looked after like any other."""
    (grant,) = await hotels(stage, 1)
    stage.sql("UPDATE grants SET reauth = 'revoked', state = 'reauthorization_required', due_at = NULL")
    assert await stage.one.store.write(confirm(grant.id, 1))
    assert await stage.one.store.read(next_due()) == pytest.approx(STALE)


async def test_a_dead_candidate_is_not_asked_for_without_end(stage: Stage) -> None:
    """Each look costs one question a minute, no more."""
    await stage.connected(pair(1), proven=False)
    stage.vendor.thinks("A-1", DeadToken())
    stage.one.driver.refuse("take_lease", times=100)
    await keep_up(stage.one, 600)
    assert 5 <= len(stage.vendor.asked) <= 11
