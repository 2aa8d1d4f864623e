"""Rules 8 and 10, and the flights: who gets which token when, and what a thousand callers cost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from tests.support.fakes import HOUR, STALE, issued, pair
from tests.support.stage import Stage
from tests.support.virtual import VirtualLoop, settle

from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    RefreshInDoubt,
    RefreshPending,
    StoreUnavailable,
    TryAgain,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.model import AccessToken, Fence, Grant
from cloudbeds_auth.rules.refresh import Ask, Timing
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Refused
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import Leased, commit_pair, release_lease, take_lease


async def lent(stage: Stage, grant: Grant, **more: object) -> AccessToken:
    """What the first process lends."""
    return await stage.one.access.access_token(grant.connection_id, **more)  # type: ignore[arg-type]


# --- rule 8: a rejected token is named


async def test_many_callers_with_the_same_401(stage: Stage) -> None:
    """N callers whose calls were answered 401 cost one refresh, on one machine and on the next."""
    grant = await stage.connected()
    token = await lent(stage, grant)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(stage.later(2.0, issued(2)))
    again = await asyncio.gather(*(lent(stage, grant, rejected=token) for _ in range(50)))
    assert {one.reveal() for one in again} == {"A-2"}
    two = await stage.process()
    for rejected in (token, token.generation):
        assert (await two.access.access_token(grant.connection_id, rejected=rejected)).reveal() == "A-2"
    assert (stage.endpoint.sent, stage.vendor.asked) == (["R-1"], ["A-1", "A-2"])


async def test_the_stored_token_differs(stage: Stage) -> None:
    """A program that held an old token for hours (F54): one reading, nothing sent, nothing proven."""
    grant = await stage.connected()
    token = await lent(stage, grant)
    two = await stage.process()
    stage.endpoint.will(issued(2))
    await two.refresh(grant.id, 1)
    await two.idle()
    stage.vendor.asked.clear()
    assert (await lent(stage, grant, rejected=token)).reveal() == "A-2"
    assert (len(stage.endpoint.sent), stage.vendor.asked) == (1, [])
    assert (await lent(stage, grant)).reveal() == "A-2", "and it is remembered"


async def test_one_401_on_two_machines_at_once(stage: Stage) -> None:
    """The second waits for what the first brings, and never sends."""
    grant = await stage.connected()
    two = await stage.process()
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(stage.later(5.0, issued(2)))
    tokens = await asyncio.gather(
        stage.one.access.access_token(grant.connection_id, rejected=1),
        two.access.access_token(grant.connection_id, rejected=1),
    )
    assert [token.reveal() for token in tokens] == ["A-2", "A-2"]
    assert stage.endpoint.sent == ["R-1"]


async def test_the_very_token_that_was_rejected_comes_back_unproven(stage: Stage) -> None:
    """A refresh behind ends without a pair; a caller with a 401 does not take its A but asks by itself."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(3.0, Ambiguous("lost")))
    token = await lent(stage, grant)
    await settle()
    stage.vendor.script = [DeadToken()]
    stage.dice.roll = 0.0
    stage.endpoint.will(issued(2))
    assert (await lent(stage, grant, rejected=token)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1", "R-1"]


async def test_an_older_token_of_a_flight_that_still_proves_is_not_handed_back(stage: Stage) -> None:
    """The proof of A-2 takes long; another process, the lease being over, commits A-3. Whoever names A-2 gets A-3."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    proof = asyncio.Event()

    async def slow_proof() -> Verdict:
        await proof.wait()
        return Inconclusive("late")

    stage.vendor.thinks("A-2", slow_proof)
    stage.endpoint.will(issued(2))
    second = await lent(stage, grant, rejected=1)
    assert second.reveal() == "A-2"
    row = await stage.row(grant.id)
    store = (await stage.process()).world.db
    await store.write(release_lease(grant.id, 1))  # as if it had run out while the process stood still
    lease = await store.write(take_lease(grant.id, "another machine", 30.0))
    assert isinstance(lease, Leased)
    fence = Fence(grant.id, row.generation, lease.epoch)
    await store.write(commit_pair(fence, row.tokens[-1], pair(3), stale_after=HOUR))
    assert (await lent(stage, grant, rejected=second)).reveal() == "A-3"
    assert (await lent(stage, grant)).reveal() == "A-3"
    proof.set()


# --- rule 10: fresh, stale, expired


async def test_fresh_comes_from_memory(stage: Stage) -> None:
    """The second look needs no database, no vendor and no turn of the event loop."""
    grant = await stage.connected()
    await lent(stage, grant)
    stage.one.driver.dark = True
    asking = stage.one.access.access_token(grant.connection_id)
    with pytest.raises(StopIteration) as done:
        asking.send(None)
    assert done.value.value.reveal() == "A-1"
    assert stage.one.access.cached(grant.connection_id, 60.0) is not None
    assert stage.one.access.cached("con_other", 60.0) is None


async def test_stale_is_used_and_refreshed_behind(stage: Stage) -> None:
    """At nine tenths callers get the old token at once, one refresh runs behind, later callers get the new one."""
    grant = await stage.connected()
    await lent(stage, grant)
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(5.0, issued(2)))
    began = stage.clock.steady()
    assert {token.reveal() for token in await asyncio.gather(*(lent(stage, grant) for _ in range(5)))} == {"A-1"}
    assert stage.clock.steady() == began
    await stage.one.world.tasks.drain()
    assert (await lent(stage, grant)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_several_hotels_are_refreshed_behind_at_once(stage: Stage) -> None:
    """One hotel's refresh behind its callers is not in the way of another's."""
    hotels = [await stage.connected(pair(number, property_ids=(str(number),))) for number in (1, 2)]
    for one in hotels:
        await lent(stage, one)
    await stage.clock.sleep(STALE)
    for number in (3, 4):
        stage.endpoint.will(stage.later(5.0, issued(number)))
    assert [(await lent(stage, one)).reveal() for one in hotels] == ["A-1", "A-2"]
    await stage.one.world.tasks.drain()
    assert sorted(stage.endpoint.sent) == ["R-1", "R-2"]


async def test_a_herd_costs_the_store_one_look(stage: Stage) -> None:
    """Two hundred callers of one moment that were all refused: one look before the refresh, whatever the pool holds."""
    grant = await stage.connected()
    token = await lent(stage, grant)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    before = stage.one.driver.seen["current"]
    lending = (stage.one.access.access_token(grant.connection_id, rejected=token) for _ in range(200))
    assert {one.reveal() for one in await asyncio.gather(*lending)} == {"A-2"}
    assert stage.one.driver.seen["current"] == before + 1


async def test_a_look_that_has_begun_is_nobody_elses(stage: Stage) -> None:
    """Who comes later may know of something newer: what a look had found by then is not for him."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2))
    two = await stage.process()

    async def meanwhile() -> None:
        await two.access.access_token(grant.connection_id)
        assert (await lent(stage, grant)).reveal() == "A-2"

    stage.one.driver.after("current", meanwhile)
    assert (await lent(stage, grant)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_callers_during_a_sending_refresh_wait_for_the_new_token(stage: Stage) -> None:
    """Once R has left, A0 may be dead at any moment: who starts now waits, who was in memory is not served from it."""
    grant = await stage.connected()
    await lent(stage, grant)
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(5.0, issued(2)))
    assert (await lent(stage, grant)).reveal() == "A-1"
    await settle()
    assert stage.endpoint.sent == ["R-1"]
    assert stage.one.access.cached(grant.connection_id, 0.0) is None
    began = stage.clock.steady()
    assert (await lent(stage, grant)).reveal() == "A-2"
    assert stage.clock.steady() - began == pytest.approx(5.0)


async def test_a_fruitless_refresh_behind_rests(stage: Stage) -> None:
    """The endpoint is down while the token is stale: callers are served, one attempt per lease's time."""
    grant = await stage.connected()
    await lent(stage, grant)
    await stage.clock.sleep(STALE)
    stage.dice.roll = 0.0
    stage.endpoint.script = [Ambiguous("HTTP 503") for _ in range(100)]
    stage.vendor.script = [DeadToken() for _ in range(100)]
    for _ in range(100):
        assert (await lent(stage, grant)).reveal() == "A-1"
        await stage.clock.sleep(1.0)
    assert 3 <= len(stage.endpoint.sent) <= 4


async def test_a_waiter_of_a_fruitless_refresh_is_served_what_lasts(stage: Stage) -> None:
    """It waited for a new token that did not come: the unexpired one is the answer."""
    grant = await stage.connected()
    await lent(stage, grant)
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(5.0, Ambiguous("lost")))
    await lent(stage, grant)
    await settle()
    assert (await lent(stage, grant)).reveal() == "A-1"


async def test_expired_waits(stage: Stage) -> None:
    """No token to use: the caller waits for the refresh."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(7.0, issued(2)))
    began = stage.clock.steady()
    assert (await lent(stage, grant)).reveal() == "A-2"
    assert stage.clock.steady() - began == pytest.approx(7.0)


async def test_min_valid(stage: Stage) -> None:
    """Less left than asked for: refreshed; more than half the lifetime asked for: as if half were."""
    grant = await stage.connected()
    await stage.clock.sleep(1700.0)
    assert (await lent(stage, grant, min_valid=1900.0)).reveal() == "A-1"
    await stage.clock.sleep(200.0)
    assert (await lent(stage, grant, min_valid=1600.0)).reveal() == "A-1"
    assert stage.one.access.cached(grant.connection_id, 1600.0) is not None
    assert stage.one.access.cached(grant.connection_id, 1750.0) is None
    stage.endpoint.will(issued(2))
    assert (await lent(stage, grant, min_valid=9999.0)).reveal() == "A-2"


async def test_a_lifetime_is_read_and_nothing_is_sent(stage: Stage) -> None:
    """Also of a token that ended; of nothing it has no end."""
    grant = await stage.expired()
    assert await stage.one.views.lifetime(grant.connection_id) == grant.lifetime == 3600.0
    assert await stage.one.views.lifetime("con_nobody") == float("inf")
    assert stage.endpoint.sent == []


async def test_a_pair_just_received_is_returned_whatever_its_lifetime(stage: Stage) -> None:
    """A lifetime shorter than `min_valid` causes no loop: one refresh, its token."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2, lifetime=60.0))
    assert (await lent(stage, grant, min_valid=3000.0)).reveal() == "A-2"
    assert (await lent(stage, grant, min_valid=60.0)).reveal() == "A-2"
    assert len(stage.endpoint.sent) == 1


@pytest.mark.row("F51")
async def test_a_wall_clock_that_jumps_ahead(stage: Stage) -> None:
    """A year forward: the stored expiry is past, the token is refreshed once and then lent."""
    grant = await stage.connected()
    stage.clock.jump = 366 * 86400.0
    stage.endpoint.will(issued(2))
    assert {(await lent(stage, grant)).reveal() for _ in range(3)} == {"A-2"}


@pytest.mark.row("F51")
async def test_a_wall_clock_that_jumps_back(stage: Stage) -> None:
    """A year back: a token is not held longer than its lifetime by any one process, and a 401 heals."""
    grant = await stage.connected()
    stage.clock.jump = -366 * 86400.0
    token = await lent(stage, grant)
    assert stage.one.access.cached(grant.connection_id, 60.0) is not None
    await stage.clock.sleep(HOUR)
    assert stage.one.access.cached(grant.connection_id, 60.0) is None
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    assert (await lent(stage, grant, rejected=token)).reveal() == "A-2"


@pytest.mark.row("F49")
async def test_a_machine_that_stood_still_for_ten_minutes(stage: Stage) -> None:
    """What it remembers is not lent, by a clock that ran on: the row is read, and has the token that another process
    brought meanwhile. Nothing is sent.
    """
    grant, two = await stage.connected(), await stage.process()
    assert (await lent(stage, grant)).reveal() == "A-1"
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.now += 600.0
    await two.commit(grant, "theirs")
    assert stage.one.access.cached(grant.connection_id, 60.0) is None
    assert (await lent(stage, grant)).reveal() == "A-theirs"
    assert stage.endpoint.sent == []


@pytest.mark.row("F49")
async def test_a_snapshot_whose_clock_does_not_show_it(stage: Stage) -> None:
    """It lends what it remembered for at most a minute; the 401 of that token heals by the row. Nothing is sent."""
    grant, two = await stage.connected(), await stage.process()
    await lent(stage, grant)
    await two.commit(grant, "theirs")
    old = await lent(stage, grant)
    assert old.reveal() == "A-1"
    stage.vendor.thinks("A-1", DeadToken())
    assert (await lent(stage, grant, rejected=old)).reveal() == "A-theirs"
    assert stage.endpoint.sent == []


# --- an operator asks


async def test_an_operator_refreshes_now(stage: Stage) -> None:
    """Also a fresh token; the new one is lent from then on. Where there was no refresh, it is told."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2))
    await stage.one.access.refresh_now(grant.connection_id)
    assert (await lent(stage, grant)).reveal() == "A-2"
    await stage.one.idle()
    stage.endpoint.will(Ambiguous("lost"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.refresh_now(grant.connection_id)
    with pytest.raises(UnknownConnection):
        await stage.one.access.refresh_now("con_nobody")


async def test_an_operator_refreshes_after_a_lost_answer(stage: Stage) -> None:
    """The stored token works and the lost request may still arrive: the operator is told that none was sent beside it,
    and when one will be."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("lost"), issued(2))
    with pytest.raises(RefreshInDoubt, match="lost"):
        await stage.one.access.refresh_now(grant.connection_id)
    with pytest.raises(RefreshInDoubt) as told:
        await stage.one.access.refresh_now(grant.connection_id)
    assert (told.value.connection_id, told.value.detail) == (
        grant.connection_id,
        "the token works, and an earlier attempt to renew it is still open: nothing was sent",
    )
    assert (stage.endpoint.sent, stage.vendor.asked) == (["R-1"], ["A-1"])
    assert told.value.retry_after is not None
    assert 500.0 < told.value.retry_after < 600.0
    await stage.clock.sleep(told.value.retry_after)
    await stage.one.access.refresh_now(grant.connection_id)
    assert stage.endpoint.sent == ["R-1", "R-1"]
    assert (await stage.row(grant.id)).generation == 2


@pytest.mark.parametrize("proven_after", [1, None])
async def test_an_operator_refreshes_while_a_newer_grant_waits(stage: Stage, proven_after: int | None) -> None:
    """The old one is refused: the newer one is looked at again, a bounded number of times; never an internal signal."""
    grant = await stage.connected()
    opinions: list[Verdict] = [Inconclusive("HTTP 503")] * (proven_after or 50)
    await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.script = list(opinions)
    stage.endpoint.will(Refused("dead"), *([] if proven_after is None else [issued("newer")]))
    if proven_after is None:
        with pytest.raises(TryAgain):
            await stage.one.access.refresh_now(grant.connection_id)
    else:
        await stage.one.access.refresh_now(grant.connection_id)
        assert (await lent(stage, grant)).reveal() == "A-newer"


# --- what is not there


async def test_nothing_under_this_id(stage: Stage) -> None:
    """404."""
    with pytest.raises(UnknownConnection):
        await stage.one.access.access_token("con_nobody")


async def test_a_disconnected_hotel(stage: Stage) -> None:
    """409, and nothing is sent."""
    grant = await stage.connected()
    await stage.one.store.write(disconnect(grant.connection_id))
    with pytest.raises(ConnectionDisconnected):
        await lent(stage, grant)
    with pytest.raises(ConnectionDisconnected) as told:
        await stage.one.refresher.refresh(Ask(grant.id, 1, connection_id=grant.connection_id))
    assert told.value.connection_id == grant.connection_id


async def test_a_grant_that_is_not_there(stage: Stage) -> None:
    """Asked about a grant without a row: disconnected, and which hotel that is."""
    with pytest.raises(ConnectionDisconnected) as told:
        await stage.one.refresher.refresh(Ask("gra_nobody", 1, connection_id="con_1"))
    assert told.value.connection_id == "con_1"


# --- the store is away


async def test_memory_serves_while_the_store_is_away(stage: Stage) -> None:
    """Unexpired and not rejected: served; expired, rejected or never seen: 503."""
    grant = await stage.connected()
    other = await stage.connected(pair("other"))
    token = await lent(stage, grant)
    stage.one.driver.dark = True
    await stage.clock.sleep(STALE)
    assert (await lent(stage, grant)).reveal() == "A-1"
    assert stage.notes.told[-1] == ("store_unavailable", {"connection_id": grant.connection_id})
    for rejected in (token, token.generation):
        with pytest.raises(StoreUnavailable) as raised:
            await lent(stage, grant, rejected=rejected)
        assert raised.value.retry_after
    with pytest.raises(StoreUnavailable):
        await lent(stage, other)
    await stage.clock.sleep(400.0)
    with pytest.raises(StoreUnavailable):
        await lent(stage, grant)


@pytest.mark.parametrize("valid", [True, False])
async def test_the_store_goes_away_between_two_looks(stage: Stage, valid: bool) -> None:
    """The row was read and the refresh finds the store gone: what was read is lent while it lasts, else 503."""
    grant = await stage.connected()
    await stage.clock.sleep(3570.0 if valid else HOUR)
    original = stage.one.refresher.refresh

    async def dark(ask: Ask) -> object:
        stage.one.driver.dark = True
        return await original(ask)

    stage.one.refresher.refresh = dark  # type: ignore[method-assign,assignment]
    if valid:
        assert (await lent(stage, grant)).reveal() == "A-1"
    else:
        with pytest.raises(StoreUnavailable):
            await lent(stage, grant)


async def test_the_store_goes_away_during_a_refresh_behind(stage: Stage) -> None:
    """It fails in peace; the next one works."""
    grant = await stage.connected()
    await lent(stage, grant)
    await stage.clock.sleep(STALE)
    stage.one.driver.writes_fail = True
    assert (await lent(stage, grant)).reveal() == "A-1"
    await stage.one.world.tasks.drain()
    stage.one.driver.writes_fail = False
    stage.endpoint.will(issued(2))
    await stage.clock.sleep(31.0)
    await lent(stage, grant)
    await stage.one.world.tasks.drain()
    assert (await lent(stage, grant)).reveal() == "A-2"


# --- flights


@pytest.mark.row("F44")
async def test_a_thousand_callers_at_expiry(stage: Stage) -> None:
    """One refresh, and all thousand are answered within their deadline."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(19.0, issued(2)))
    began = stage.clock.steady()
    tokens = await asyncio.gather(*(lent(stage, grant) for _ in range(1000)))
    assert {token.reveal() for token in tokens} == {"A-2"}
    assert stage.clock.steady() - began <= stage.timing.wait
    assert stage.endpoint.sent == ["R-1"]


@pytest.mark.row("F46")
async def test_the_leader_hangs_up(stage: Stage) -> None:
    """Who asked first is cancelled during the exchange: the refresh completes, commits and serves the rest."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(5.0, issued(2)))
    leader = asyncio.create_task(lent(stage, grant))
    await settle()
    follower = asyncio.create_task(lent(stage, grant))
    await stage.clock.sleep(1.0)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert (await follower).reveal() == "A-2"
    await stage.one.idle()
    assert (await stage.row(grant.id)).proven


async def test_everybody_hangs_up(stage: Stage) -> None:
    """No passenger is left: the flight lands all the same, its pair is stored."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(5.0, issued(2)))
    callers = [asyncio.create_task(lent(stage, grant)) for _ in range(3)]
    await settle()
    for caller in callers:
        caller.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*callers, return_exceptions=True)
    )
    await stage.one.idle()
    assert (await stage.row(grant.id)).access.reveal() == "A-2"


@pytest.mark.row("F47")
async def test_a_waiter_whose_deadline_comes_first(stage: Stage) -> None:
    """503 with the time to come back; the refresh goes on and its pair is stored."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(60.0, issued(2)))
    began = stage.clock.steady()
    with pytest.raises(RefreshPending) as raised:
        await lent(stage, grant)
    assert stage.clock.steady() - began == pytest.approx(stage.timing.wait)
    assert (raised.value.status, raised.value.retry_after) == (503, stage.timing.backoff_first)
    assert raised.value.connection_id == grant.connection_id
    await stage.one.idle()
    assert (await stage.row(grant.id)).access.reveal() == "A-2"


async def test_a_waiter_of_a_flight_that_lands_too_late(stage: Stage) -> None:
    """It needs another flight than the one that runs, and that one does not land in time."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(1.0, issued(2)))
    stage.vendor.thinks("A-2", stage.later(100.0, Inconclusive("slow")))
    await lent(stage, grant)
    await stage.clock.sleep(2.0)
    with pytest.raises(RefreshPending) as told:
        await lent(stage, grant, rejected=2)
    assert told.value.connection_id == grant.connection_id
    await stage.one.idle()


async def test_a_patient_caller_outlasts_an_impatient_flight(stage: Stage) -> None:
    """The refresh behind gives up at the first obstacle; the caller who joined it goes on and gets a token."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    two = await stage.process()
    taken = await two.store.write(take_lease(grant.id, "somebody", 3.0))
    assert isinstance(taken, Leased)
    behind = asyncio.create_task(stage.one.refresh(grant.id, 1, patient=False))
    await asyncio.sleep(0)
    stage.endpoint.will(issued(2))
    caller = asyncio.create_task(stage.one.refresh(grant.id, 1))
    with pytest.raises(RefreshPending):
        await behind
    assert (await caller).grant.access.reveal() == "A-2"


async def test_an_impatient_caller_gives_up_with_its_flight(stage: Stage) -> None:
    """Two from the background: both are told, nobody starts over."""
    grant = await stage.connected()
    await stage.one.store.write(take_lease(grant.id, "somebody", 3.0))
    first, second = (asyncio.create_task(stage.one.refresh(grant.id, 1, patient=False)) for _ in range(2))
    for one in (first, second):
        with pytest.raises(RefreshPending):
            await one
    assert stage.endpoint.sent == []


async def test_a_lease_held_by_somebody_is_waited_for(stage: Stage) -> None:
    """Its holder dies: the lease runs out, and this process sends; nothing before."""
    grant = await stage.expired()
    await stage.one.store.write(take_lease(grant.id, "somebody", 12.0))
    stage.endpoint.will(issued(2))
    began = stage.clock.steady()
    assert (await lent(stage, grant)).reveal() == "A-2"
    assert stage.clock.steady() - began == pytest.approx(12.0, abs=1.0)


async def test_a_token_that_ends_while_its_refresh_gets_no_answer(stage: Stage) -> None:
    """It was good when its row was read, and is lent neither for the answer that does not come nor after it."""
    grant = await stage.connected()
    await stage.clock.sleep(3590.0)
    stage.endpoint.will(stage.later(20.0, Ambiguous("HTTP 504")))
    with pytest.raises(RefreshInDoubt):
        await lent(stage, grant, min_valid=300.0)


async def test_a_token_that_ends_while_its_lease_is_waited_for(stage: Stage) -> None:
    """And the database is away when the wait is over."""
    grant = await stage.connected()
    await stage.clock.sleep(3590.0)
    await stage.one.store.write(take_lease(grant.id, "somebody", 20.0))
    asking = asyncio.create_task(lent(stage, grant, min_valid=300.0))
    await stage.clock.sleep(15.0)
    stage.one.driver.refuse("take_lease", times=100)
    with pytest.raises(StoreUnavailable):
        await asking


async def test_a_token_that_ends_soon_after_its_proof(stage: Stage) -> None:
    """Memory keeps it until it ends, counted from when its row was read: the proof has taken its time."""
    grant = await stage.connected()
    await stage.clock.sleep(3585.0)
    stage.vendor.script = [stage.later(10.0, Proof())]
    assert (await lent(stage, grant, rejected=1)).generation == 1
    stage.one.driver.dark = True
    assert (await lent(stage, grant, min_valid=0.0)).generation == 1
    await stage.clock.sleep(6.0)
    with pytest.raises(StoreUnavailable):
        await lent(stage, grant, min_valid=0.0)


async def test_a_token_that_ends_while_another_callers_refresh_is_under_way(stage: Stage) -> None:
    """Whoever waits because the refresh kills it is not given it once it has ended."""
    grant = await stage.connected()
    await stage.clock.sleep(3590.0)
    stage.endpoint.will(stage.later(20.0, Ambiguous("HTTP 504")))
    first = asyncio.create_task(lent(stage, grant, min_valid=300.0))
    await stage.clock.sleep(2.0)
    with pytest.raises(RefreshInDoubt):
        await lent(stage, grant, min_valid=0.0)
    with pytest.raises(RefreshInDoubt):
        await first


async def test_a_holder_that_is_killed_is_noticed(stage: Stage) -> None:
    """Its process is known dead: nobody waits for its lease to end."""
    grant = await stage.expired()
    await stage.one.store.write(take_lease(grant.id, "somebody", 1000.0))
    stage.endpoint.will(issued(2))
    asking = asyncio.create_task(lent(stage, grant))
    await stage.clock.sleep(5.0)
    stage.dead.add("somebody")
    assert (await asking).reveal() == "A-2"


async def test_a_holder_that_never_lets_go(stage: Stage) -> None:
    """The caller's 25 seconds are over: 503, nothing was sent."""
    grant = await stage.expired()
    await stage.one.store.write(take_lease(grant.id, "somebody", 1000.0))
    with pytest.raises(RefreshPending) as told:
        await lent(stage, grant)
    assert told.value.connection_id == grant.connection_id
    await stage.one.idle()
    assert stage.endpoint.sent == []


@pytest.mark.parametrize("held_back", [True, False])
async def test_what_somebody_else_brings_ends_the_wait(stage: Stage, held_back: bool) -> None:
    """Waiting for a lease or for the hold to end, another process commits: its pair is the answer at once."""
    grant = await stage.expired()
    two = await stage.process()
    if held_back:
        stage.dice.roll = 0.0
        stage.endpoint.will(Ambiguous("lost"))
        with pytest.raises(RefreshInDoubt):
            await two.refresh(grant.id, 1)
    stage.endpoint.will(stage.later(4.0, issued(2)))
    stage.sql("UPDATE grants SET not_before = NULL")
    ahead = asyncio.create_task(two.refresh(grant.id, 1))
    await stage.clock.sleep(0.1)
    began = stage.clock.steady()
    assert (await lent(stage, grant)).reveal() == "A-2"
    assert stage.clock.steady() - began < 5.0
    await ahead
    await two.idle()


async def test_a_newer_approval_ends_the_wait(stage: Stage) -> None:
    """While another process refreshes the former grant: its late pair is lent to nobody (rule-13)."""
    grant = await stage.expired()
    two = await stage.process()
    stage.endpoint.will(stage.later(9.0, issued(2)))
    ahead = asyncio.create_task(two.refresh(grant.id, 1))
    await stage.clock.sleep(1.0)
    asking = asyncio.create_task(lent(stage, grant))
    await stage.clock.sleep(1.0)
    new = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    assert await stage.one.store.write(promote(grant.connection_id, new.id, new.generation, None, ()))
    with suppress(GrantSuperseded):
        await ahead
    assert (await stage.row(grant.id)).generation > 1
    assert (await asking).reveal() == "A-new"


@pytest.mark.parametrize("held_back", [True, False])
async def test_a_hotel_that_leaves_ends_the_wait(stage: Stage, held_back: bool) -> None:
    """The row disappears while somebody waits for it."""
    grant = await stage.expired()
    if held_back:
        stage.dice.roll = 0.0
        stage.endpoint.will(Ambiguous("lost"))
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1)
    else:
        await stage.one.store.write(take_lease(grant.id, "somebody", 1000.0))
    asking = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await stage.clock.sleep(1.0)
    stage.sql("DELETE FROM tokens")
    stage.sql("DELETE FROM properties")
    stage.sql("DELETE FROM grants")
    with pytest.raises(ConnectionDisconnected):
        await asking


async def test_the_row_disappears_before_the_lease(stage: Stage) -> None:
    """Gone between reading and leasing."""
    assert await stage.one.store.write(take_lease("gra_nobody", "me", 5.0)) is None
    leases = stage.one.refresher._leases
    for wait in (
        leases.take(Ask("gra_nobody", 1, connection_id="con_1"), stage.clock.steady() + 5.0),
        leases.wait(Ask("gra_nobody", 1, connection_id="con_1"), 1.0, held_back=False),
    ):
        with pytest.raises(ConnectionDisconnected) as told:
            await wait
        assert told.value.connection_id == "con_1"


async def test_a_stopping_process_tells_its_callers(stage: Stage) -> None:
    """The flight itself is cancelled, as when the loop shuts down: 503, not a cancellation of the caller."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(5.0, issued(2)))
    caller = asyncio.create_task(lent(stage, grant))
    await settle()
    flight = stage.one.refresher.flights.running(grant.id)
    assert flight is not None
    flight.task.cancel()
    with pytest.raises(RefreshPending, match="stopping") as told:
        await caller
    assert told.value.connection_id == grant.connection_id


async def test_a_flight_that_is_cancelled_before_it_began(stage: Stage) -> None:
    """Everything is cancelled while it was only planned: its callers are told, and the next call flies again."""
    grant = await stage.expired()
    caller = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await asyncio.sleep(0)
    flight = stage.one.refresher.flights.running(grant.id)
    assert flight is not None
    flight.task.cancel()
    await settle()
    try:
        assert stage.one.refresher.flights.running(grant.id) is None
    finally:
        stage.one.refresher.flights._flights.clear()  # or draining would never end
    with pytest.raises(RefreshPending):
        await caller


async def test_a_bug_on_the_way_is_told_to_the_caller_and_the_observer(stage: Stage) -> None:
    """Whatever a port raises, the lease is given back and the next call flies again."""
    grant = await stage.expired()

    async def broken() -> Answer:
        raise ZeroDivisionError

    stage.endpoint.will(broken)
    with pytest.raises(ZeroDivisionError):
        await lent(stage, grant)
    assert stage.notes.told[-1] == (
        "refresh_failed",
        {"connection_id": grant.connection_id, "error": "ZeroDivisionError"},
    )
    assert (await stage.row(grant.id)).lease_left == 0.0


@pytest.mark.row("F78")
async def test_a_look_that_outlives_the_drain(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller hung up, and what it reads comes while the last calls are written: no refresh is sent for it any more,
    whose pair nobody could store once the database is closed.
    """
    grant = await stage.expired()
    read, begun, answered = stage.one.driver.read, asyncio.Event(), asyncio.Event()

    async def slow(body: Any) -> Any:
        found = await read(body)
        begun.set()
        await answered.wait()
        return found

    async def while_they_are_written() -> None:
        answered.set()
        await settle()

    with monkeypatch.context() as patched:
        patched.setattr(stage.one.driver, "read", slow)
        caller = asyncio.create_task(lent(stage, grant))
        await begun.wait()
        caller.cancel()
        await settle()
    stage.one.calls.note(grant.token(), "GET", "/x", 200)
    stage.one.driver.after("add_calls", while_they_are_written)
    stage.endpoint.will(stage.later(5.0, issued(2)))
    await stage.one.drain()
    await settle()
    assert answered.is_set()
    assert stage.endpoint.sent == []
    assert (await stage.row(grant.id)).generation == 1


async def test_draining_waits_for_what_runs(stage: Stage) -> None:
    """SIGTERM during a refresh: it commits and proves before the vault closes."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(stage.later(5.0, issued(2)))
    await lent(stage, grant)
    await stage.one.idle()
    assert (await stage.row(grant.id)).proven


async def test_a_fence_that_moves_all_the_time(stage: Stage) -> None:
    """Somebody takes the lease again and again under us: bounded by the caller's deadline, then 503."""
    grant = await stage.expired()
    stage.dead.add("somebody")

    async def again_and_again() -> Answer:
        stage.dead.add(stage.one.world.owner)
        await stage.one.store.write(take_lease(grant.id, "somebody", 30.0))
        stage.dead.discard(stage.one.world.owner)
        await stage.clock.sleep(6.0)
        return Refused("dead")

    stage.endpoint.will(*[again_and_again] * 50)
    with pytest.raises(RefreshPending):
        await lent(stage, grant)
    await stage.one.idle()
    assert 2 <= len(stage.endpoint.sent) <= 6
    assert (await stage.row(grant.id)).refusals == 0


async def test_the_grant_is_replaced_again_and_again(stage: Stage) -> None:
    """Every look finds another grant: bounded, then 503."""
    grant = await stage.expired()
    looks = 0

    async def replaced() -> Answer:
        nonlocal looks
        looks += 1
        await stage.candidate(grant.connection_id, pair(f"new-{looks}", property_ids=("1000",), lifetime=60.0))
        assert await (await stage.process()).candidates.resume(grant.connection_id)
        await stage.clock.sleep(61.0)
        return Refused("dead")

    stage.endpoint.will(*[replaced] * 20)
    stage.timing = Timing()
    with pytest.raises(RefreshPending):
        await lent(stage, grant)
    await stage.one.idle()


async def test_a_token_known_to_be_dead_is_not_asked_about_again(stage: Stage) -> None:
    """The first pass found A dead and lost its answer; the next one spends its turn on the refresh, not on a proof."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(Ambiguous("lost"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    assert stage.vendor.asked == ["A-1"]
    await stage.clock.sleep(30.0)
    stage.endpoint.will(issued(2))
    assert (await stage.one.refresh(grant.id, 1, rejected=1)).grant.access.reveal() == "A-2"
    assert stage.vendor.asked.count("A-1") == 1
