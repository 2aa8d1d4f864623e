"""F99: the database's clock is set back, as by a failover to a host that lags: nothing waits longer than it would have.

Each moment ahead was written by a clock that showed more than the one which reads it. None may count for longer than
from its writing; all hotels serve within a minute, and none is refreshed for it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from tests.engine.test_marked_grants import ask, held_in_a_storm
from tests.engine.test_webhooks import Receiver
from tests.engine.test_webhooks import run as deliver
from tests.support.fakes import APP, HOUR, issued, key, pair
from tests.support.hotels import BusyVendor, hotels, keep_up, limited
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine.webhooks import WebhookSender
from cloudbeds_auth.errors import Error, RefreshInDoubt
from cloudbeds_auth.ports import Delivery, Message
from cloudbeds_auth.rules.api_errors import DeadToken
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.properties import EVERY
from cloudbeds_auth.rules.rate_limit import LONGEST_PAUSE, rate_within
from cloudbeds_auth.rules.schedule import DELAYED, RETRY_FIRST
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, NotSent, Refused, RefusedClient
from cloudbeds_auth.rules.webhooks import POLL
from cloudbeds_auth.transactions.grants import Leased, take_lease
from cloudbeds_auth.transactions.outbox import claim_messages
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn

MINUTE = 60.0
LONG = 2 * HOUR  # after it a token of an hour is over by any of these clocks

pytestmark = pytest.mark.row("F99")
BACK = pytest.mark.parametrize("back", [600.0, 3600.0], ids=["ten minutes", "an hour"])


HOW = pytest.mark.parametrize("how", ["a failover", "the wall clock of one host"])


def set_back(stage: Stage, how: str, back: float) -> None:
    """The server's one clock, or of a host the wall clock alone: its steady one runs on."""
    if how == "a failover":
        stage.clock.behind += back
    else:
        stage.clock.jump -= back


async def served_within(stage: Stage, seconds: float, connection_id: str, process: Process | None = None) -> str:
    """The token that a caller has in the end, who asks again whenever it is told to; within so many seconds."""
    until = stage.clock.steady() + seconds
    access = (process or stage.one).access
    while stage.clock.steady() < until:
        with suppress(Error):
            return (await access.access_token(connection_id)).reveal()
        await stage.clock.sleep(1.0)
    return (await access.access_token(connection_id)).reveal()


# --- leases


@BACK
async def test_the_lease_of_a_process_that_died(stage: Stage, back: float) -> None:
    """Nobody knows that it is dead: its lease runs out when it would have, counted from when it is asked for."""
    grant = await stage.connected()
    await stage.clock.sleep(LONG)
    assert isinstance(await stage.one.store.write(take_lease(grant.id, "gone", stage.timing.lease)), Leased)
    stage.clock.behind = back
    stage.endpoint.will(issued(2))
    assert await served_within(stage, stage.timing.lease + 5, grant.connection_id) == "A-2"


@BACK
async def test_the_lease_of_a_process_that_lives(stage: Stage, back: float) -> None:
    """It is not robbed of it: while its request is under way, nobody else sends."""
    grant = await stage.connected()
    two = await stage.process()
    await stage.clock.sleep(LONG)

    async def set_back() -> Answer:
        stage.clock.behind = back
        await stage.clock.sleep(15.0)
        return issued(2)

    stage.endpoint.will(set_back)
    ours = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await stage.clock.sleep(1.0)
    assert (await two.access.access_token(grant.connection_id)).reveal() == "A-2"
    assert (await ours).grant.generation == 2
    assert stage.endpoint.sent == ["R-1"]


@BACK
async def test_back_and_ahead_again(stage: Stage, back: float) -> None:
    """Another failover, to a host that is right: a lease taken in between is nobody's any more."""
    grant = await stage.connected()
    await stage.clock.sleep(LONG)
    stage.clock.behind = back
    assert isinstance(await stage.one.store.write(take_lease(grant.id, "gone", stage.timing.lease)), Leased)
    stage.clock.behind = 0.0
    stage.endpoint.will(issued(2))
    assert await served_within(stage, 1.0, grant.connection_id) == "A-2"


# --- holds, intents, refusals


@BACK
@pytest.mark.parametrize("answer", [NotSent("no route"), Ambiguous("HTTP 502")])
async def test_an_attempt_that_failed_a_moment_ago(stage: Stage, back: float, answer: Answer) -> None:
    """The next one is held back for as long as it would have been; what is unresolved stays so."""
    grant = await stage.connected()
    await stage.clock.sleep(LONG)
    stage.endpoint.will(answer)
    with pytest.raises(Error):
        await stage.one.refresh(grant.id, 1, patient=False)
    before = await stage.row(grant.id)
    stage.clock.behind = back
    row = await stage.row(grant.id)
    assert 0 < row.held_back <= before.held_back
    assert row.intent == before.intent
    assert (row.unresolved_age is None) == (before.unresolved_age is None)
    stage.endpoint.will(issued(2))
    assert await served_within(stage, MINUTE, grant.connection_id) == "A-2"


@BACK
async def test_a_pass_that_was_refused_once(stage: Stage, back: float) -> None:
    """It counts still, and the interval to the second one is whole: neither forgotten nor shortened."""
    grant = await stage.connected()
    await stage.clock.sleep(LONG)
    stage.endpoint.will(Refused("revoked"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, patient=False)
    stage.clock.behind = back
    for _ in range(6):
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1, patient=False)
        await stage.clock.sleep(9.0)
    assert stage.endpoint.sent == ["R-1"]
    await stage.clock.sleep(10.0)
    stage.endpoint.will(issued(2))
    assert await served_within(stage, MINUTE, grant.connection_id) == "A-2"
    assert stage.endpoint.sent == ["R-1", "R-1"]


# --- turns


@BACK
async def test_turns_at_the_vendor(stage: Stage, back: float) -> None:
    """A queue is as long as it was, a pause that Cloudbeds asked for ends when it would have."""
    process = await limited(stage, BusyVendor())
    await process.store.write(pause_turns(APP.client_id, LONGEST_PAUSE))
    stage.clock.behind = back
    began = stage.clock.steady()
    await process.world.limiter(APP).spend(LONGEST_PAUSE + 1)
    assert LONGEST_PAUSE <= stage.clock.steady() - began <= LONGEST_PAUSE + 1
    for _ in range(5):
        await process.store.write(reserve_turn(APP.client_id, rate_within(10), 1e9))
    stage.clock.behind += back
    await process.world.limiter(APP).spend(5.0)


# --- client secrets


@BACK
async def test_a_refused_secret(stage: Stage, back: float) -> None:
    """It has its trial within a minute."""
    grant = await stage.connected()
    await stage.clock.sleep(LONG)
    stage.endpoint.will(RefusedClient("HTTP 401"))
    with pytest.raises(Error):
        await stage.one.refresh(grant.id, 1, patient=False)
    stage.clock.behind = back
    stage.endpoint.will(issued(2))
    assert await served_within(stage, MINUTE, grant.connection_id) == "A-2"


# --- what is due


@HOW
@BACK
async def test_a_grant_that_recovers(stage: Stage, how: str, back: float) -> None:
    """Nobody asks for it: upkeep tries again within a minute."""
    vendor, (grant,) = BusyVendor(), await hotels(stage, 1)
    process = await limited(stage, vendor)
    await stage.clock.sleep(LONG)
    vendor.down = True
    await process.upkeep.tick()
    vendor.down = False
    set_back(stage, how, back)
    await keep_up(process, MINUTE)
    assert vendor.renewed == ["R-0"]
    assert (await stage.row(grant.id)).state is State.FRESH


@HOW
@BACK
async def test_a_candidate_that_was_left_behind(stage: Stage, how: str, back: float) -> None:
    """Its process died before the proof: it is gone on with within a minute and a tick."""
    grant = await stage.connected(pair(1, property_ids=("1000",)), proven=False)
    set_back(stage, how, back)
    await keep_up(stage.one, 2 * MINUTE)
    assert (await stage.row(grant.id)).role is Role.ACTIVE


@HOW
@BACK
async def test_a_move_to_a_key(stage: Stage, how: str, back: float) -> None:
    """Its answer was lost: the exchange is made again within two minutes."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    stage.endpoint.will(Ambiguous("HTTP 502"), key("k", "1000"))
    with pytest.raises(Error):
        await stage.one.migrator.migrate(grant.connection_id)
    set_back(stage, how, back)
    await keep_up(stage.one, 2 * MINUTE)
    assert stage.endpoint.exchanged == ["R-1", "R-1"]


@HOW
@BACK
async def test_a_webhook(stage: Stage, how: str, back: float) -> None:
    """One that was never tried is delivered at once, one that failed when it would have been."""
    receiver = Receiver()
    await stage.connected()
    set_back(stage, how, back)
    outbound = WebhookSender(stage.one.world, receiver)
    await deliver(stage, outbound, 5.0)
    assert receiver.kinds == ["connected"]
    receiver.answer = lambda message: Delivery("HTTP 503")
    await stage.connected(pair(2, property_ids=("1001",)))
    await deliver(stage, outbound, 2.0)
    set_back(stage, how, back)
    tried = len(receiver.came)
    await deliver(stage, outbound, 10.0)
    assert len(receiver.came) == tried + 1


@HOW
@BACK
async def test_a_webhook_that_a_process_took_along_when_it_died(stage: Stage, how: str, back: float) -> None:
    """Claimed and never sent: somebody else has it a minute later."""
    await stage.connected()
    (message,) = await stage.one.store.write(claim_messages(8, MINUTE))
    set_back(stage, how, back)
    receiver = Receiver()
    await deliver(stage, WebhookSender(stage.one.world, receiver), MINUTE + 5.0)
    assert [one.id for one in receiver.came] == [message.id]


@BACK
async def test_app_states_and_properties(stage: Stage, back: float) -> None:
    """Within their own time, counted by the clock as it is."""
    await stage.connected(pair(1, property_ids=("1000",)))
    inbound, groups = stage.one.app_states, stage.one.property_lists
    await stage.clock.sleep(2 * MINUTE)
    await inbound.tick()
    await groups.tick()
    assert len(stage.vendor.asked_states) == 1
    stage.clock.behind = back
    for asked in (2, 2):  # what was asked about since the moment that the clock shows now is asked about once more
        await inbound.tick()
        await groups.tick()
        assert len(stage.vendor.asked_states) == asked
    now = stage.clock.wall() - back
    assert stage.sql("SELECT poll_at - ? FROM grants", now) == [(pytest.approx(POLL),)]
    assert stage.sql("SELECT list_at <= ? FROM grants", now + EVERY) == [(True,)]


@HOW
@BACK
@pytest.mark.row("F93")
async def test_a_mark_that_waits_in_a_storm(stage: Stage, how: str, back: float) -> None:
    """It still waits, and no longer than an hour from then: the storm is not over because the clock was set back."""
    last = await held_in_a_storm(stage, after=LONG)
    set_back(stage, how, back)
    began = stage.clock.steady()
    while await ask(stage, last) != "reauthorization_required":
        await stage.clock.sleep(RETRY_FIRST)
    assert DELAYED - 3 * MINUTE <= stage.clock.steady() - began <= DELAYED + 2 * RETRY_FIRST


# --- and nobody is refreshed for it


@HOW
@BACK
async def test_no_mass_refresh(stage: Stage, how: str, back: float) -> None:
    """Hotels that are well: served from what they have, nothing is due earlier, and nothing is sent."""
    vendor, known = BusyVendor(), await hotels(stage, 20)
    process = await limited(stage, vendor)
    await stage.clock.sleep(600.0)
    set_back(stage, how, back)
    await keep_up(process, 2 * MINUTE)
    for grant in known:
        assert await served_within(stage, 1.0, grant.connection_id, process)
    assert vendor.moments == []
    ((latest,),) = stage.sql("SELECT MAX(due_at) FROM grants")
    assert latest - (stage.clock.wall() - stage.clock.behind) <= 0.95 * 3600.0


@BACK
async def test_a_token_that_seems_to_last_longer(stage: Stage, back: float) -> None:
    """By the database's clock it lasts, at Cloudbeds it is over: the 401 heals with one refresh."""
    grant = await stage.connected()
    await stage.clock.sleep(3590.0)
    stage.clock.behind = back
    await stage.clock.sleep(MINUTE)
    assert await served_within(stage, 1.0, grant.connection_id) == "A-1"
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    assert (await stage.one.access.access_token(grant.connection_id, rejected=1)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_a_token_of_a_clock_that_ran_ahead(stage: Stage) -> None:
    """Stored while the clock showed two hours too much: with upkeep it lasts no longer than its life from then."""
    grant = await stage.connected()
    stage.clock.behind = -2 * 3600.0
    stage.endpoint.will(issued(2))
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"
    await stage.one.idle()
    stage.clock.behind = 0.0
    await stage.one.upkeep.tick()
    row = await stage.row(grant.id)
    assert row.valid_for == pytest.approx(3600.0)
    assert row.stale_in < 3600.0
    await stage.clock.sleep(3600.0)
    assert (await stage.row(grant.id)).valid_for <= 0.0


@HOW
@BACK
async def test_a_message_is_told_once(stage: Stage, how: str, back: float) -> None:
    """Delivered before the clock was set back: not delivered again."""
    receiver = Receiver()
    await stage.connected()
    outbound = WebhookSender(stage.one.world, receiver)
    await deliver(stage, outbound, 2.0)
    set_back(stage, how, back)
    await deliver(stage, outbound, 60.0)
    assert len(receiver.came) == 1
    assert isinstance(receiver.came[0], Message)
