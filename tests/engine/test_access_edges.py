"""Edges of lending and of proving: what mutants of the code showed, and tokens in memory that another process ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.fakes import APP, HOUR, STALE, issued, key, pair
from tests.support.stage import Process, Stage, another
from tests.support.virtual import settle

from cloudbeds_auth.engine.access import LOOK_AGAIN
from cloudbeds_auth.engine.rate_limiter import CALL
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    Error,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreUnavailable,
)
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof
from cloudbeds_auth.rules.model import AccessToken, Grant, moment
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Refused
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import Leased, take_lease


async def kept(stage: Stage, generations: int) -> Grant:
    """A hotel whose last pairs were never seen to work; the newest access token is unexpired."""
    grant = await stage.connected()
    stage.vendor.thinks([f"A-{number}" for number in range(2, 9)], Inconclusive("HTTP 503"))
    for number in range(2, generations + 2):
        await stage.clock.sleep(HOUR)
        stage.endpoint.will(issued(number))
        await stage.one.refresh(grant.id, number - 1)
        await stage.one.idle()
    stage.endpoint.sent.clear()
    return await stage.row(grant.id)


async def test_a_token_made_by_hand_is_named_by_its_generation(stage: Stage) -> None:
    """A program that kept the number only: the stored token of that generation is not handed back to it."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    by_hand = AccessToken(Secret("A-1"), moment(0.0), 1)
    assert (await stage.one.access.access_token(grant.connection_id, rejected=by_hand)).reveal() == "A-2"


async def test_memory_asks_for_half_the_lifetime_at_most(stage: Stage) -> None:
    """Whoever wants a token for ever is lent what is in memory during its first half, and no longer."""
    grant = await stage.connected()
    await stage.clock.sleep(1750.0)
    await stage.one.access.access_token(grant.connection_id)
    await stage.clock.sleep(49.0)
    assert stage.one.access.cached(grant.connection_id, 1e9) is not None
    await stage.clock.sleep(2.0)
    assert stage.one.access.cached(grant.connection_id, 1e9) is None
    assert stage.one.access.cached(grant.connection_id, 60.0) is not None


async def test_behind_the_callers_nobody_waits_for_a_lease(stage: Stage) -> None:
    """Another process refreshes already: the one behind gives up at once, and is not in the way of a caller."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    two = await stage.process()
    assert isinstance(await two.store.write(take_lease(grant.id, two.world.owner, 30.0)), Leased)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    await settle()
    assert stage.one.refresher.flights.running(grant.id) is None


async def test_a_pair_that_cannot_be_committed_keeps_nobody_for_ever(stage: Stage) -> None:
    """Stale, and the refresh behind has a pair that the store does not take: callers wait their time, then get A."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(issued(2))
    stage.one.driver.refuse("commit_pair", times=5)
    await stage.one.access.access_token(grant.connection_id)
    await settle()
    began = stage.clock.steady()
    waiting = asyncio.create_task(stage.one.access.access_token(grant.connection_id))
    assert (await waiting).reveal() == "A-1"
    assert stage.clock.steady() - began == pytest.approx(stage.timing.wait)
    await stage.one.idle()
    assert (await stage.row(grant.id)).generation == 2


async def test_a_dead_grants_token_is_not_served(stage: Stage) -> None:
    """Asked before spending, `/userinfo` names a dead grant: counted, nothing sent, and A is lent to nobody."""
    grant = await kept(stage, 1)
    stage.vendor.thinks("A-2", DeadGrant("user_inactive"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 2)
    assert stage.endpoint.sent == []
    assert (await stage.row(grant.id)).refusals == 1


async def test_a_proof_leaves_only_the_child_to_be_sent(stage: Stage) -> None:
    """Three rest, A-3 is seen to work: the older two are forgotten, and not sent when the child is refused."""
    grant = await kept(stage, 2)
    assert await stage.tokens(grant.id) == ["R-1", "R-2", "R-3"]
    stage.vendor.thinks("A-3", Proof())
    stage.endpoint.will(Refused("dead"))
    served = await stage.one.refresh(grant.id, 3)
    assert served.grant.access.reveal() == "A-3"
    assert stage.endpoint.sent == ["R-3"]


async def test_a_flight_that_lost_its_answer_leaves_the_next_caller_its_token(stage: Stage) -> None:
    """Stale, the answer was lost: the unexpired A is lent on, from the store, while the next attempt is held back."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(Ambiguous("lost"))
    for _ in range(3):
        assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
        await settle()
    assert stage.endpoint.sent == ["R-1"]


async def test_fresh_never_yields(stage: Stage) -> None:
    """A fresh look-up is a dictionary and a clock: the coroutine ends at its first step."""
    grant = await stage.connected()
    await stage.one.access.access_token(grant.connection_id)
    asking = stage.one.access.access_token(grant.connection_id)
    with pytest.raises(StopIteration) as ended:
        asking.send(None)
    assert ended.value.value.reveal() == "A-1"


async def test_what_differs_from_the_rejected_one_is_taken_with_its_last_seconds(stage: Stage) -> None:
    """Whoever brings a 401 needs a token now: the stored one, half a minute before its end, and nothing is sent."""
    grant = await stage.connected()
    two = await stage.process()
    stage.endpoint.will(issued(2))
    await two.refresh(grant.id, 1)
    await two.idle()
    await stage.clock.sleep(3570.0)
    stage.sql("UPDATE grants SET stale_at = expires_at")
    assert (await stage.one.access.access_token(grant.connection_id, rejected=1)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_a_hotel_that_comes_back_is_lent_its_new_token(stage: Stage) -> None:
    """Disconnected, approved again, and its browser was closed before the proof: the first call goes on with it."""
    grant = await stage.connected()
    await stage.one.store.write(disconnect(grant.connection_id))
    await stage.candidate(grant.connection_id, pair(9, property_ids=("1000",)))
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-9"


async def test_who_rejects_a_token_shares_no_look_with_others(stage: Stage) -> None:
    """Asked at the same moment, it is lent the next token, and not what the others found."""
    grant = await stage.connected()
    token = await stage.one.access.access_token(grant.connection_id)
    stage.one.access.forget(grant.connection_id)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    look = stage.one.access.access_token
    _, heals = await asyncio.gather(look(grant.connection_id), look(grant.connection_id, rejected=token))
    assert heals.reveal() == "A-2"


async def test_two_hotels_are_looked_up_at_one_moment(stage: Stage) -> None:
    """Each has its own token, also when one in memory could be lent if the store did not answer."""
    hotels = [await stage.connected(pair(at, property_ids=(f"100{at}",))) for at in (1, 2)]
    for _ in range(2):
        lent = await asyncio.gather(*(stage.one.access.access_token(one.connection_id) for one in hotels))
        assert [token.reveal() for token in lent] == ["A-1", "A-2"]
        await stage.clock.sleep(LOOK_AGAIN)


@pytest.mark.parametrize("marked_by", ["this call", "another process"])
async def test_a_marked_hotels_token_leaves_memory(stage: Stage, marked_by: str) -> None:
    """Reconnect needed is said once found, and from then on to every caller: nothing is lent from memory any more."""
    grant = await stage.connected()
    await stage.one.access.access_token(grant.connection_id)
    process = stage.one if marked_by == "this call" else await stage.process()
    stage.vendor.thinks("A-1", DeadGrant("revoked"))
    with pytest.raises(RefreshInDoubt):
        await process.access.access_token(grant.connection_id, rejected=1)
    await stage.clock.sleep(60.0)
    await stage.one.access.access_token(grant.connection_id)  # in memory for another minute
    for asked in [process] if process is stage.one else [process, stage.one]:
        with pytest.raises(ReauthorizationRequired):
            await asked.access.access_token(grant.connection_id, rejected=1)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id)


async def test_a_token_about_to_die_leaves_memory(stage: Stage) -> None:
    """An operator refreshes a fresh token: from when R is sent, A is lent to nobody, and callers wait for the next."""
    grant = await stage.connected()
    await stage.one.access.access_token(grant.connection_id)

    async def while_it_is_sent() -> Answer:
        assert stage.one.access.cached(grant.connection_id, 0.0) is None
        return issued(2)

    stage.endpoint.will(while_it_is_sent)
    await stage.one.access.refresh_now(grant.connection_id)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"


async def test_whoever_is_held_back_leaves_the_lease_alone(stage: Stage) -> None:
    """Twenty seconds to the next attempt: waited through with one lease before and one after, not one every look."""
    grant = await stage.expired()
    stage.endpoint.will(Ambiguous("lost"), issued(2))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert stage.sql("SELECT lease_epoch FROM grants WHERE id = ?", grant.id)[0][0] <= 4


async def test_an_expired_token_and_no_lease(stage: Stage) -> None:
    """The lease cannot be written and there is nothing to serve: 503, and nothing is sent."""
    grant = await stage.expired()
    stage.one.driver.refuse("take_lease")
    with pytest.raises(StoreUnavailable):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == []


async def test_a_token_known_to_be_dead_is_served_to_nobody(stage: Stage) -> None:
    """A was answered 401, and two answers in a row are lost: also whoever never named it waits for the next token."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(Ambiguous("lost"), Ambiguous("lost"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    await stage.clock.sleep(50.0)
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    assert (stage.endpoint.sent, stage.vendor.asked) == (["R-1", "R-1"], ["A-1"])


async def test_who_rejects_a_token_waits_for_its_turn_to_be_asked_about(stage: Stage) -> None:
    """Ten seconds without a turn are within a caller's patience."""
    grant, one = await stage.connected(), another(stage.one, limit=Limit(rate_within(10)))
    await one.world.limiter(APP).pause(10.0)
    assert (await one.refresh(grant.id, 1, rejected=1)).proven
    await one.drain()


async def test_an_operator_does_not_wait_for_a_proof_for_ever(stage: Stage) -> None:
    """The new pair of a marked hotel is stored, and whether it works is not said: as long as any caller waits."""
    grant = await stage.expired()
    stage.sql("UPDATE grants SET reauth = 'revoked'")
    stage.vendor.thinks("A-2", stage.later(1000.0, Proof()))
    stage.endpoint.will(issued(2))
    began = stage.clock.steady()
    await stage.one.access.refresh_now(grant.connection_id)
    assert stage.clock.steady() - began == stage.timing.wait


async def test_calls_count_for_the_client_id_of_today(stage: Stage) -> None:
    """The settings were read again and name another one: a 429 pauses that one."""
    grant, one = await stage.connected(), another(stage.one, limit=Limit(rate_within(10)))
    await one.access.turn(grant.connection_id)
    stage.apps["default"] = replace(APP, client_id="client-2")
    await one.access.note_pause(grant.connection_id, 60.0)
    with pytest.raises(RateLimited):
        await one.world.limiter(stage.apps["default"]).spend(CALL)
    await one.drain()


# --- what another process did: known within a minute


async def lending_twice(stage: Stage) -> tuple[Grant, Process]:
    """A hotel, and another process that lends its token too."""
    grant = await stage.connected()
    other = await stage.process()
    for process in (stage.one, other):
        assert (await process.access.access_token(grant.connection_id)).reveal() == "A-1"
    return grant, other


async def refused(process: Process, grant: Grant) -> type[Error] | None:
    """How this process refuses to lend; None: it lends."""
    try:
        await process.access.access_token(grant.connection_id)
    except Error as error:
        return type(error)
    return None


@pytest.mark.parametrize("forget", [False, True])
async def test_a_hotel_that_was_disconnected(stage: Stage, forget: bool) -> None:
    """At once in the process that did it, within a minute in others, for whom nothing ends the token at Cloudbeds."""
    grant, other = await lending_twice(stage)
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=forget)
    assert await refused(stage.one, grant) is ConnectionDisconnected
    await stage.clock.sleep(LOOK_AGAIN)
    assert await refused(other, grant) is ConnectionDisconnected
    assert stage.endpoint.sent == []


async def test_a_hotel_that_must_approve_again(stage: Stage) -> None:
    """Its token would be lent for hours, and every call with it refused."""
    grant, other = await lending_twice(stage)
    stage.sql("UPDATE grants SET reauth = 'user_inactive' WHERE id = ?", grant.id)
    assert await refused(other, grant) is None
    await stage.clock.sleep(LOOK_AGAIN)
    assert await refused(other, grant) is ReauthorizationRequired


@pytest.mark.row("F90")
async def test_a_hotel_that_was_moved_to_a_key(stage: Stage) -> None:
    """OAuth ends for it everywhere: its next calls go with the key."""
    grant, other = await lending_twice(stage)
    stage.endpoint.will(key(1))
    await stage.one.migrator.migrate(grant.connection_id)
    await stage.clock.sleep(LOOK_AGAIN)
    assert (await other.access.access_token(grant.connection_id)).reveal() == "cbat_1"


async def test_a_token_that_was_renewed(stage: Stage) -> None:
    """Lent without a 401 that would tell of it."""
    grant, other = await lending_twice(stage)
    stage.endpoint.will(issued(2))
    await stage.one.access.refresh_now(grant.connection_id)
    await stage.one.idle()
    await stage.clock.sleep(LOOK_AGAIN)
    assert (await other.access.access_token(grant.connection_id)).reveal() == "A-2"


async def test_a_token_in_use_costs_one_look_a_minute(stage: Stage) -> None:
    """However many calls there are."""
    grant, other = await lending_twice(stage)
    before = other.driver.seen["current"]
    for _ in range(100):
        await other.access.access_token(grant.connection_id)
        await stage.clock.sleep(LOOK_AGAIN / 25)
    assert other.driver.seen["current"] - before == 3
