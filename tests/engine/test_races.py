"""Between two transactions: what somebody else does after we have looked and before we act."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.fakes import HOUR, issued, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.intercept import Write, intercept
from tests.support.stage import Stage

from cloudbeds_auth.engine.jobs import AFTER_FAILURE
from cloudbeds_auth.engine.single_flight import Flight, Flights, ServedToken
from cloudbeds_auth.errors import ConnectionDisconnected, RefreshPending
from cloudbeds_auth.rules.api_errors import DeadToken, Proof
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, Role
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.rules.token_response import Answer, NotSent, Refused
from cloudbeds_auth.transactions.candidates import drop_candidate
from cloudbeds_auth.transactions.grants import Leased, Written, take_lease
from cloudbeds_auth.transactions.statements import Call

# --- whoever was rejected after the proof was asked for


async def test_a_proof_says_nothing_about_a_token_that_died_while_it_was_under_way(stage: Stage) -> None:
    """The first is told that its token was good; whoever was rejected meanwhile has it asked about again."""
    grant = await stage.connected()
    stage.vendor.script = [stage.later(1.0, Proof()), DeadToken()]
    stage.endpoint.will(issued(2))
    first = asyncio.create_task(stage.one.refresh(grant.id, 1, rejected=1))
    await stage.clock.sleep(0.5)
    second = await stage.one.refresh(grant.id, 1, rejected=1)
    assert ((await first).proven, (await first).grant.generation) == (True, 1)
    assert second.grant.access.reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_a_herd_that_was_rejected_together_is_proven_by_one_question(stage: Stage) -> None:
    """Fifty callers of an endpoint that refuses: `/userinfo` is asked once, nothing is spent."""
    grant = await stage.connected()
    served = await asyncio.gather(*(stage.one.refresh(grant.id, 1, rejected=1) for _ in range(50)))
    assert {(one.proven, one.grant.generation) for one in served} == {(True, 1)}
    assert stage.vendor.asked == ["A-1"]
    assert stage.endpoint.sent == []


# --- whoever read the row a moment too early


async def test_a_row_read_before_the_refresh_does_not_replace_the_newer_token(stage: Stage) -> None:
    """Read, then refreshed by another caller of this process: what is remembered stays the newer one."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))

    async def another_caller() -> None:
        token = await stage.one.access.access_token(grant.connection_id, rejected=1)
        assert token.reveal() == "A-2"

    stage.one.driver.after("current", another_caller)
    await stage.one.access.access_token(grant.connection_id)
    known = stage.one.access.cached(grant.connection_id, 0.0)
    assert known is not None
    assert known.reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_another_process_commits_while_we_hold_back(stage: Stage) -> None:
    """Our attempt failed and we wait for the next: what somebody else brings ends the wait, nothing more is sent."""
    grant = await stage.connected()
    two = await stage.process()
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(NotSent("no route"))
    with pytest.raises(Exception, match="no route"):
        await stage.one.refresh(grant.id, 1)
    began = stage.clock.steady()
    waiting = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await stage.clock.sleep(3.0)
    assert not waiting.done()
    await two.commit(grant, "theirs")
    assert (await waiting).grant.access.reveal() == "A-theirs"
    assert stage.clock.steady() - began < 3.0 + 2 * stage.timing.poll
    assert stage.endpoint.sent == ["R-1"]


@pytest.mark.row("F33")
async def test_both_are_refused_and_somebody_committed_meanwhile(stage: Stage) -> None:
    """Child and kept one refused because another process's refresh was taken: read again, its pair is used."""
    grant = await stage.connected()
    two = await stage.process()
    stage.vendor.thinks("A-2", DeadToken())
    await two.commit(grant, "2")
    await stage.clock.sleep(HOUR)
    assert await stage.tokens(grant.id) == ["R-1", "R-2"]

    async def overtaken() -> Answer:
        stage.dead.add(stage.one.world.owner)  # our lease ran out while the process stood still
        await two.commit(grant, "theirs")
        return Refused("superseded by theirs")

    stage.endpoint.will(Refused("superseded by theirs"), overtaken)
    served = await stage.one.refresh(grant.id, 2)
    assert served.grant.access.reveal() == "A-theirs"
    assert stage.endpoint.sent == ["R-2", "R-1"]
    row = await stage.row(grant.id)
    assert (row.refusals, row.reauth, row.state) == (0, None, State.FRESH)
    assert "pass_refused" not in await stage.kinds(grant.connection_id)
    assert (await stage.tokens(grant.id))[-1] == "R-theirs"


@pytest.mark.row("F33")
async def test_both_were_refused_before_somebody_committed(stage: Stage) -> None:
    """The whole pass is over, nothing is counted yet: the count finds the fence moved, and the pair there is used."""
    grant = await stage.connected()
    two = await stage.process()
    await two.commit(grant, "2")
    await stage.clock.sleep(HOUR)

    async def meanwhile() -> None:
        stage.dead.add(stage.one.world.owner)
        await two.commit(grant, "theirs")

    async def last() -> Answer:
        stage.one.driver.after("settle", meanwhile)
        return Refused("dead")

    stage.endpoint.will(Refused("dead"), last)
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-theirs"
    assert "pass_refused" not in await stage.kinds(grant.connection_id)


# --- the row goes away under us


async def test_the_row_disappears_with_a_pair_in_hand(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease was lost, and before it is taken again the row is deleted: the pair is dropped, the caller told."""
    grant = await stage.connected()
    two = await stage.process()

    async def overtaken() -> Answer:
        stage.dead.add(stage.one.world.owner)
        assert isinstance(await two.store.write(take_lease(grant.id, two.world.owner, 30.0)), Leased)
        return issued(2)

    async def then_deleted(write: Write, call: Call[Written]) -> Written:
        written: Written = await write(call)
        await stage.delete(grant)
        return written

    intercept(monkeypatch, stage.one.store, "commit_pair", then_deleted)

    stage.endpoint.will(overtaken)
    with pytest.raises(ConnectionDisconnected) as raised:
        await stage.one.refresh(grant.id, 1)
    assert raised.value.connection_id == grant.connection_id
    assert stage.vendor.asked == []


async def test_the_row_disappears_as_it_is_promoted(stage: Stage) -> None:
    """Nothing is there to be confirmed or lent; whoever asked is told that it is gone."""
    grant = await stage.connected(proven=False)
    stage.one.driver.after("move_pointer", lambda: stage.delete(grant))
    assert await stage.one.candidates.resume(grant.connection_id) is None


async def test_work_that_is_gone_when_its_turn_comes(stage: Stage) -> None:
    """Claimed, then deleted: upkeep goes on with the rest at once, and nothing is told as a failure."""
    vendor = BusyVendor()
    process = await limited(stage, vendor)
    grant = await stage.connected(proven=False)
    await stage.clock.sleep(61.0)
    process.driver.after("claim_due", lambda: stage.delete(grant))
    assert await process.upkeep.tick() > AFTER_FAILURE
    assert (vendor.moments, stage.notes.times("upkeep_failed")) == ([], 0)


async def test_work_whose_grant_was_superseded(stage: Stage) -> None:
    """Refused because a newer approval took over while upkeep refreshed it: no failure; the newer one is due itself."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    two = await stage.process()
    await stage.clock.sleep(HOUR)
    stage.sql("UPDATE grants SET due_at = ?", stage.clock.wall())

    async def replaced() -> Answer:
        await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
        promoted = await two.candidates.resume(grant.connection_id)
        assert promoted is not None
        assert promoted.role is Role.ACTIVE
        return Refused("superseded")

    stage.endpoint.will(replaced)
    assert await stage.one.upkeep.tick() > AFTER_FAILURE
    assert stage.notes.times("upkeep_failed") == 0
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-new"


# --- leaving


@pytest.mark.parametrize("forget", [False, True])
async def test_it_leaves_when_nothing_is_left_to_forget(stage: Stage, forget: bool) -> None:
    """Its only candidate was dropped: no token is asked for. What comes a moment later stays."""
    grant = await stage.connected(proven=False)
    await stage.one.store.write(drop_candidate(grant.id, "refused twice"))
    new: list[Grant] = []

    async def approves() -> None:
        new.append(await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",))))

    stage.one.driver.after("current", approves)
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=forget)
    assert (await stage.tokens(new[0].id), stage.vendor.disabled) == (["R-new"], [])


# --- replaced again and again


async def replacing(stage: Stage, grant: Grant) -> None:
    """From now on every refused refresh finds that the hotel approved once more, for a token of half a second."""
    two = await stage.process()

    async def replaced() -> Answer:
        number = f"new-{len(stage.endpoint.sent)}"
        await stage.candidate(grant.connection_id, pair(number, property_ids=("1000",), lifetime=0.5))
        assert await two.candidates.resume(grant.connection_id)
        await stage.clock.sleep(0.6)
        return Refused("superseded")

    stage.endpoint.will(*[replaced] * 9)


async def test_a_caller_looks_again_a_bounded_number_of_times(stage: Stage) -> None:
    """Every look finds another grant: five, then 503 with the time to come back; the hotel is not marked."""
    grant = await stage.expired(pair(1, property_ids=("1000",)))
    await replacing(stage, grant)
    with pytest.raises(RefreshPending) as raised:
        await stage.one.access.access_token(grant.connection_id)
    assert len(stage.endpoint.sent) == 5
    assert (raised.value.connection_id, raised.value.retry_after) == (grant.connection_id, 1.0)


async def test_an_operator_looks_again_a_bounded_number_of_times(stage: Stage) -> None:
    """As a caller does."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    await replacing(stage, grant)
    with pytest.raises(RefreshPending) as raised:
        await stage.one.access.refresh_now(grant.connection_id)
    assert len(stage.endpoint.sent) == 5
    assert (raised.value.connection_id, raised.value.retry_after) == (grant.connection_id, 1.0)


# --- in the same instant


async def test_an_answer_in_the_instant_of_the_deadline(stage: Stage) -> None:
    """The waiter's time is over while the flight publishes: the answer counts, not the clock."""
    grant = await stage.connected()

    async def as_late_as_can_be(flight: Flight) -> ServedToken:
        await stage.clock.sleep(stage.timing.wait - 5e-7)  # the loop takes both timers in one turn
        return ServedToken(grant)

    flights = Flights(stage.one.world, as_late_as_can_be)
    assert (await flights.ask(Ask(grant.id, seen=0))).grant is grant
