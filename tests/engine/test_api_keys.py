"""A hotel moves from OAuth to an API key: latched, exchanged, proven; and what may go wrong on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.support.fakes import APP, HOUR, issued, key, pair
from tests.support.hotels import BusyVendor, keep_up, limited
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine.sending import may_still_come
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.errors import (
    ClientRefused,
    ConnectionDisconnected,
    Error,
    InvalidRequest,
    MigrationRefused,
    NotRefreshable,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    StoreReadOnly,
    StoreUnavailable,
    TokenEndpointUnavailable,
    Unclaimed,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import Act, DeadToken, Inconclusive, Proof, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Fence, Grant, Migration, Pair, Role
from cloudbeds_auth.rules.presentation import Badge, Responsible, presentation
from cloudbeds_auth.rules.schedule import RETRY_FIRST
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import (
    Ambiguous,
    Issued,
    KeyAnswer,
    NotOffered,
    NotSent,
    Refused,
    RefusedClient,
)
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import Leased, Written, commit_pair, release_lease, take_lease, write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.rate_limit import pause_turns
from cloudbeds_auth.transactions.runner import Database


async def migrate(process: Process, grant: Grant, **how: str) -> None:
    """As an operator asks for it."""
    await process.migrator.migrate(grant.connection_id, **how)


async def in_doubt(stage: Stage) -> Grant:
    """A connected hotel whose move was begun, and the answer of the exchange was lost."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("reset"))
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    return grant


async def moved(stage: Stage, grant: Grant, value: str = "cbat_1") -> None:
    """The hotel is served by this key, and its refresh token was never refreshed."""
    token = await stage.processes[-1].access.access_token(grant.connection_id)
    assert (token.reveal(), token.expires_at) == (value, None)
    old = await stage.row(grant.id)
    assert (old.role, old.latched, stage.endpoint.sent) == (Role.SUPERSEDED, True, [])
    assert (await stage.one.views.connection(grant.connection_id)).credential == "api_key"


@pytest.mark.row("F90")
async def test_a_hotel_is_moved(stage: Stage) -> None:
    """One exchange; the key is proven before it takes the place of the tokens, and the connection keeps its id."""
    grant = await stage.connected()
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    stage.endpoint.will(stage.later(1.5, key(1)))
    await migrate(stage.one, grant)
    await moved(stage, grant)
    assert (stage.endpoint.exchanged, stage.vendor.asked) == (["R-1"], ["cbat_1"])
    assert stage.notes.facts("token_answer") == [{
        "connection_id": grant.connection_id, "grant_type": "refresh_token_exchange", "answer": type(key(1)).__name__,
        "seconds": pytest.approx(1.5),
    }]  # fmt: skip
    kinds = await stage.kinds(grant.connection_id)
    assert kinds[-7:] == [
        "migration_begun", "intent_written", "key_received", "candidate_received", "superseded", "promoted", "proved"
    ]  # fmt: skip
    assert stage.notes.times("migrated") == 1


async def test_moving_it_again_changes_nothing(stage: Stage) -> None:
    """A hotel with a key is left as it is."""
    grant = await stage.connected()
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-1"]


async def test_a_refresh_under_way_when_the_move_begins(stage: Stage) -> None:
    """The move waits for its lease, and exchanges what the refresh brought."""
    grant = await stage.connected()
    other = await stage.process()
    stage.endpoint.will(stage.later(3.0, issued(2)), key(1))
    refresh = asyncio.create_task(other.refresh(grant.id, 1, operator=True))
    await stage.clock.sleep(1.0)
    await migrate(stage.one, grant)
    assert (await refresh).grant.access.reveal() == "A-2"
    assert (stage.endpoint.sent, stage.endpoint.exchanged, stage.endpoint.most_running) == (["R-1"], ["R-2"], 1)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_1"


async def test_a_refresh_of_this_process_that_outlived_its_lease(stage: Stage) -> None:
    """As after a long standstill: nothing is exchanged beside it, and a later call moves the hotel."""
    grant = await stage.connected()
    stage.endpoint.will(stage.later(700.0, issued(2)), key(1))
    with pytest.raises(RefreshPending):  # nobody waits so long
        await stage.one.refresh(grant.id, 1, operator=True)
    stage.sql("UPDATE grants SET lease_owner = NULL, lease_until = NULL")
    await stage.clock.sleep(650.0)
    with pytest.raises(RefreshPending):
        await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == []
    await stage.clock.sleep(60.0)
    await migrate(stage.one, grant)
    assert (stage.endpoint.sent, stage.endpoint.exchanged, stage.endpoint.most_running) == (["R-1"], ["R-2"], 1)


async def test_a_refresh_that_begins_during_the_move(stage: Stage) -> None:
    """It waits for the lease, and then finds the grant superseded: the caller gets the key. No token is refreshed."""
    grant = await stage.connected()
    other = await stage.process()
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(stage.later(3.0, key(1)))
    move = asyncio.create_task(migrate(stage.one, grant))
    await stage.clock.sleep(1.0)
    assert (await other.access.access_token(grant.connection_id)).reveal() == "cbat_1"
    await move
    await moved(stage, grant)


async def test_two_processes_move_the_same_hotel(stage: Stage) -> None:
    """One exchange; both are told that it is done."""
    grant = await stage.connected()
    other = await stage.process()
    stage.endpoint.will(stage.later(3.0, key(1)))
    await asyncio.gather(migrate(stage.one, grant), migrate(other, grant), migrate(stage.one, grant))
    await moved(stage, grant)
    assert stage.endpoint.exchanged == ["R-1"]


async def test_the_caller_of_a_move_hangs_up(stage: Stage) -> None:
    """The exchange goes on: its answer is stored, and it is waited for before the process ends."""
    grant = await stage.connected()
    stage.endpoint.will(stage.later(3.0, key(1)))
    caller = asyncio.create_task(migrate(stage.one, grant))
    await stage.clock.sleep(1.0)
    caller.cancel()
    await stage.one.idle()
    await moved(stage, grant)


@pytest.mark.row("F78")
async def test_a_move_begins_while_the_process_waits_for_its_last_refresh(stage: Stage) -> None:
    """A stop that waits for one hotel's refresh waits for another hotel's exchange too, begun since."""
    one, other = await stage.connected(pair(5, property_ids=("2000",))), await stage.connected()

    async def slowly(answer: Issued | KeyAnswer) -> Issued | KeyAnswer:
        await stage.clock.sleep(3.0)
        return answer

    stage.endpoint.will(lambda: slowly(issued(6)))
    refresh = asyncio.create_task(stage.one.refresh(one.id, seen=1, operator=True))
    await stage.clock.sleep(1.0)
    stopping = asyncio.create_task(stage.one.idle())
    await stage.clock.sleep(1.0)
    stage.endpoint.will(lambda: slowly(key(1)))
    move = asyncio.create_task(migrate(stage.one, other))
    await stopping
    assert refresh.done()
    assert move.done()
    assert (await stage.one.views.connection(other.connection_id)).credential == "api_key"


# --- killed, at each point

STATEMENTS = ("take_lease", "begin_migration", "write_intent", "key_received", "move_pointer", "confirm")


@pytest.mark.parametrize("resumed_by", ["operator", "upkeep"])
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_killed_after_this_was_written(stage: Stage, statement: str, resumed_by: str) -> None:
    """The next process goes on from there, asked to or by itself, and never refreshes."""
    grant = await stage.connected()
    victim = await stage.process()
    victim.driver.after(statement, lambda: stage.kill(victim))
    stage.endpoint.will(key(1), key(1))
    with pytest.raises((asyncio.CancelledError, Error)):
        await migrate(victim, grant)
    resting = await stage.row(grant.id)
    assert resting.latched is (statement != "take_lease")
    await stage.process()
    await stage.clock.sleep(61.0)
    if resumed_by == "operator" or statement == "take_lease":
        await migrate(stage.processes[-1], grant)
    else:
        while await stage.processes[-1].upkeep.tick() == 0.0:
            pass
    await moved(stage, grant)
    assert len(stage.endpoint.exchanged) == 1, "not before its intent, and not again once the key was stored"


@pytest.mark.parametrize("received", [False, True])
async def test_killed_while_the_exchange_is_under_way(stage: Stage, received: bool) -> None:
    """Whether the vendor had answered or not: the exchange is made again, and never a refresh."""
    grant = await stage.connected()
    victim = await stage.process()

    async def killed() -> KeyAnswer:
        await stage.kill(victim)
        if not received:
            await stage.clock.sleep(HOUR)
        return key(1)

    stage.endpoint.will(killed, key(1))
    with pytest.raises(asyncio.CancelledError):
        await migrate(victim, grant)
    row = await stage.row(grant.id)
    assert (row.latched, row.migration, row.intent) == (True, Migration.BEGUN, 1)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1", "served meanwhile"
    await stage.process()
    await migrate(stage.processes[-1], grant)
    await moved(stage, grant)
    assert stage.endpoint.exchanged == ["R-1", "R-1"]


async def test_an_earlier_refresh_may_still_arrive(stage: Stage) -> None:
    """Its answer was lost; that a later one was not sent changes nothing: for ten minutes no key is asked for."""
    grant = await stage.expired()
    stage.endpoint.will(Ambiguous("reset by peer"), NotSent("no route"))
    began = stage.clock.steady()
    for _ in range(2):
        with pytest.raises((RefreshInDoubt, TokenEndpointUnavailable)):
            await stage.one.refresh(grant.id, 1, patient=False)
        await stage.clock.sleep((await stage.row(grant.id)).held_back)
    with pytest.raises(RefreshInDoubt, match="would kill the key") as told:
        await migrate(stage.one, grant)
    assert told.value.retry_after == pytest.approx(began + stage.timing.unresolved - stage.clock.steady(), abs=1.0)
    await stage.clock.sleep(told.value.retry_after)
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    assert (stage.endpoint.sent, stage.endpoint.exchanged) == (["R-1", "R-1"], ["R-1"])


@pytest.mark.parametrize("second", ["R-2", "R-1"])
async def test_an_earlier_refresh_may_still_arrive_behind_a_pair(stage: Stage, second: str) -> None:
    """The next refresh brought a pair that is not proven, or the same refresh token (V6): the one that was sent without
    an answer may live, so no key is asked for. A proof ends that doubt for refreshes; a move waits for ten minutes.
    """
    grant = await stage.expired()
    stage.endpoint.will(Ambiguous("reset by peer"), issued(2, refresh=second), key(1))
    stage.vendor.thinks("A-2", Inconclusive("HTTP 502"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, patient=False)
    await stage.clock.sleep((await stage.row(grant.id)).held_back)
    await stage.one.refresh(grant.id, 1)
    assert (await stage.tokens(grant.id))[-1] == second
    assert (await stage.row(grant.id)).unresolved_age is not None
    stage.vendor.thinks("A-2", Proof())
    await stage.one.refresh(grant.id, 2, rejected=2)
    assert (await stage.row(grant.id)).unresolved_age is None
    with pytest.raises(RefreshInDoubt, match="would kill the key") as raised:
        await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == []
    await stage.clock.sleep(raised.value.retry_after or 0.0)
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == [second]


async def test_not_offered_after_a_late_pair(stage: Stage) -> None:
    """A process that stood still stored its pair, whose proof ended the token that another one's exchange was of. When
    that was sent is known all the same, and the latch is lifted in the end.
    """
    grant, store = await stage.connected(), stage.one.store
    assert await store.write(take_lease(grant.id, "stands still", 30.0)) == Leased(1)
    assert await store.write(write_intent(Fence(grant.id, 1, 1), 1, lease=30.0, hold=20.0))
    await stage.clock.sleep(700.0)
    stage.endpoint.will(Ambiguous("reset"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.migrator.migrate(grant.connection_id)
    await stage.clock.sleep(25.0)
    taken = await store.write(take_lease(grant.id, "stands still", 30.0))
    assert isinstance(taken, Leased)
    late = commit_pair(Fence(grant.id, 1, taken.epoch), grant.tokens[-1], pair(2), stale_after=HOUR, sent_under=1)
    assert await store.write(late) is Written.DONE
    await store.write(release_lease(grant.id, taken.epoch))
    stage.endpoint.script = [NotOffered("not arranged")] * 60
    await keep_up(stage.one, HOUR)
    assert not (await stage.row(grant.id)).latched


async def test_not_offered_a_minute_after_a_key_was_issued(stage: Stage) -> None:
    """One process exchanged a kept token, and stands still with the key. Another one's proof drops that token, and its
    own exchange is not offered: the key is stored next, so the latch holds.
    """
    grant, store = await stage.connected(), stage.one.store
    await stage.one.commit(grant, 2)
    taken = await store.write(take_lease(grant.id, "stands still", 30.0))
    assert isinstance(taken, Leased)
    fence = Fence(grant.id, 2, taken.epoch)
    assert await store.write(begin_migration(fence, "client-1"))
    assert await store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    await stage.clock.sleep(31.0)
    stage.endpoint.script = [NotSent("no route"), NotOffered("not arranged")]
    for error in (TokenEndpointUnavailable, MigrationRefused):
        with pytest.raises(error):
            await migrate(stage.one, grant)
        await stage.clock.sleep(21.0)
    assert await store.write(add_key(fence, "gra_key", "default", key(1).pair))
    assert (await stage.tokens(grant.id), (await stage.row(grant.id)).latched) == (["R-2"], True)


async def test_a_late_pair_ends_no_doubt_about_an_exchange(stage: Stage) -> None:
    """A process that stood still stores the pair of its refresh while another one's exchange is open: the latch holds,
    also where the next exchange is not sent, because a refresh would end the key that may have been issued.
    """
    grant, store = await stage.connected(), stage.one.store
    assert await store.write(take_lease(grant.id, "stands still", 30.0)) == Leased(1)
    assert await store.write(write_intent(Fence(grant.id, 1, 1), 1, lease=30.0, hold=20.0))
    await stage.clock.sleep(700.0)
    assert await store.write(take_lease(grant.id, "exchanges", 30.0)) == Leased(2, 700.0)
    fence = Fence(grant.id, 1, 2)
    assert await store.write(begin_migration(fence, "client-1"))
    assert await store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    await stage.clock.sleep(31.0)
    assert await store.write(take_lease(grant.id, "stands still", 30.0)) == Leased(3, 31.0)
    late = commit_pair(Fence(grant.id, 1, 3), grant.tokens[-1], pair(2), stale_after=HOUR, sent_under=1)
    assert await store.write(late) is Written.DONE
    await store.write(release_lease(grant.id, 3))
    stage.endpoint.will(NotSent("no route"))
    with pytest.raises(TokenEndpointUnavailable):
        await migrate(stage.one, grant)
    row = await stage.row(grant.id)
    assert (row.latched, row.migration) == (True, Migration.IN_DOUBT)


async def test_the_exchange_of_a_dead_process_is_waited_out(stage: Stage) -> None:
    """Its request may still be on its way: the next one is not sent before its deadline."""
    grant = await stage.connected()
    victim = await stage.process()

    async def killed() -> KeyAnswer:
        await stage.kill(victim)
        return key(1)

    stage.endpoint.will(killed, key(1))
    with pytest.raises(asyncio.CancelledError):
        await migrate(victim, grant)
    began = stage.clock.steady()
    await migrate(stage.one, grant)
    assert stage.clock.steady() - began >= stage.timing.deadline - 1.0


async def test_the_disk_fills_while_the_key_is_in_hand(stage: Stage) -> None:
    """It is stored once there is room; until then nobody uses it."""
    grant = await stage.connected()
    stage.endpoint.will(key(1))
    stage.one.driver.refuse("key_received", 3)
    await migrate(stage.one, grant)
    await moved(stage, grant)
    assert (stage.notes.times("commit_waits"), stage.endpoint.exchanged) == (3, ["R-1"])


async def test_the_key_is_stored_late(stage: Stage) -> None:
    """Longer than a caller waits it was in hand: the move is finished all the same."""
    grant = await stage.connected()
    stage.endpoint.will(stage.later(19.0, key(1)))
    stage.one.driver.refuse("key_received", 12)
    await migrate(stage.one, grant)
    await moved(stage, grant)


async def test_the_answer_of_the_store_is_lost(stage: Stage) -> None:
    """The key was stored, and nobody said so: once, and not twice."""
    grant = await stage.connected()
    stage.endpoint.will(key(1))
    stage.one.driver.forget("key_received")
    await migrate(stage.one, grant)
    await moved(stage, grant)
    assert stage.sql("SELECT COUNT(*) FROM grants") == [(2,)]


# --- lost answers


@pytest.mark.row("F90")
async def test_a_lost_answer(stage: Stage) -> None:
    """The exchange is made again, by the next call; until then the hotel is served, and never refreshed."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("reset", retry_after=40.0))
    with pytest.raises(RefreshInDoubt) as raised:
        await migrate(stage.one, grant)
    assert raised.value.retry_after == 40.0
    assert (await stage.one.views.connection(grant.connection_id)).state is State.IN_DOUBT
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    with pytest.raises(RefreshInDoubt):  # too soon, and longer than a caller waits
        await migrate(stage.one, grant)
    await stage.clock.sleep(20.0)
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    await moved(stage, grant)


async def test_an_expired_token_while_the_answer_is_missing(stage: Stage) -> None:
    """The caller is told what is in the way; nothing is sent."""
    grant = await in_doubt(stage)
    await stage.clock.sleep(HOUR)
    with pytest.raises(NotRefreshable) as told:
        await stage.one.access.access_token(grant.connection_id)
    shown = await stage.one.views.connection(grant.connection_id)
    assert (told.value.connection_id, told.value.detail) == (
        grant.connection_id,
        "this hotel is being moved to an API key, and its last access token is not good any more",
    )
    assert "migrate-to-api-key" in told.value.next_step
    assert shown.next_step
    assert stage.endpoint.sent == []


async def test_a_newer_approval_waits_while_the_answer_is_missing(stage: Stage) -> None:
    """Whoever is refused with the old token goes on with the newer approval, and does not wait for upkeep."""
    grant = await in_doubt(stage)
    token = await stage.one.access.access_token(grant.connection_id)
    await stage.candidate(grant.connection_id, pair("anew", property_ids=("1000",)))
    stage.vendor.thinks("A-anew", Inconclusive("HTTP 502"))
    assert (await stage.one.access.access_token(grant.connection_id)).is_same(token), "nobody refused it"
    with pytest.raises(RefreshInDoubt, match="approved again"):
        await stage.one.access.access_token(grant.connection_id, rejected=token)
    with pytest.raises(RefreshInDoubt, match="approved again"):  # an operator is told the same
        await stage.one.access.refresh_now(grant.connection_id)
    stage.vendor.thinks("A-anew", Proof())
    assert (await stage.one.access.access_token(grant.connection_id, rejected=token)).reveal() == "A-anew"
    assert stage.endpoint.sent == []


async def test_a_hotel_whose_move_is_in_doubt_is_said_to_be_dead(stage: Stage) -> None:
    """It approved again: a body that names a dead grant makes the vault go on with that approval at once."""
    grant = await in_doubt(stage)
    token = await stage.one.access.access_token(grant.connection_id)
    await stage.candidate(grant.connection_id, pair("anew", property_ids=("1000",)))
    stage.one.refused_calls.note_refusal(token, Refusal("user_inactive", Act.SUSPECT), "GET", "/x")
    await stage.one.world.tasks.drain()
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-anew"
    assert stage.endpoint.sent == []


async def test_a_lost_answer_and_then_a_refusal(stage: Stage) -> None:
    """The first exchange may have been accepted: the latch holds, and people are told."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("reset"), NotOffered("not arranged"), Refused("dead"), Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    stage.vendor.thinks("A-1", DeadToken())
    for wait, error in ((61.0, MigrationRefused), (601.0, RefreshInDoubt), (61.0, ReauthorizationRequired)):
        await stage.clock.sleep(wait)
        with pytest.raises(error):
            await migrate(stage.one, grant)
        assert (await stage.row(grant.id)).latched
    assert stage.endpoint.sent == []


@pytest.mark.parametrize("lost", ["the answer", "the process"])
async def test_the_exchange_is_not_offered_any_more(stage: Stage, lost: str) -> None:
    """For ten minutes the key may still come to whoever asked for it first. Then nobody has it, a refresh can kill
    nothing, and the hotel goes on with its tokens: it would be out for good.
    """
    grant, two = await stage.connected(), await stage.process()
    offered: list[KeyAnswer] = [NotOffered("not arranged")] * 9

    async def never() -> KeyAnswer:
        await stage.clock.sleep(1e9)
        raise AssertionError

    stage.endpoint.will(Ambiguous("reset") if lost == "the answer" else never, *offered)
    first = asyncio.create_task(migrate(stage.one, grant))
    await stage.clock.sleep(1.0)
    if lost == "the process":
        await stage.kill(stage.one)
    await asyncio.gather(first, return_exceptions=True)
    stage.one = two
    await keep_up(two, 500.0)
    assert stage.endpoint.exchanged == ["R-1", "R-1"]
    assert (await stage.row(grant.id)).latched
    await keep_up(two, 300.0)
    assert (await stage.kinds(grant.connection_id))[-1] == "migration_ended"
    await stage.clock.sleep(HOUR)
    stage.endpoint.script = [issued(2)]
    assert (await two.access.access_token(grant.connection_id)).reveal() == "A-2"
    assert (stage.endpoint.exchanged, stage.endpoint.sent) == (["R-1"] * 3, ["R-1"])


# --- two exchanges at once: a process stands still with its key in hand, past its lease


async def exchanged_twice(
    stage: Stage, grant: Grant, second: Callable[[], Awaitable[KeyAnswer]]
) -> tuple[BaseException | None, BaseException | None]:
    """The first process has `cbat_1` in hand when its lease is over; another one's exchange is then on its way, and is
    answered by `second` three seconds later, when the first key is stored. What the two moves raised.
    """
    one, two = stage.one, await stage.process()

    async def first() -> KeyAnswer:
        one.driver.refuse("renew_lease", 1000)
        await stage.clock.sleep(31.5)
        return key(1)

    async def later() -> KeyAnswer:
        await stage.clock.sleep(3.0)
        return await second()

    stage.endpoint.will(first, later)
    moving = asyncio.create_task(migrate(one, grant))
    await stage.clock.sleep(31.0)
    ended = await asyncio.gather(moving, migrate(two, grant), return_exceptions=True)
    assert stage.endpoint.exchanged == ["R-1", "R-1"]
    return ended


@pytest.mark.row("F90")
@pytest.mark.parametrize("living", [1, 2])
async def test_both_exchanges_bring_a_key(stage: Stage, living: int) -> None:
    """The second may have ended the first, which is in use by then, or be dead itself: the hotel has the one that
    works.
    """
    grant = await stage.connected()

    async def second() -> KeyAnswer:
        stage.vendor.thinks(f"cbat_{3 - living}", DeadToken(documented=True))
        return key(2)

    first, last = await exchanged_twice(stage, grant, second)
    assert first is None
    assert (last is None) is (living == 2), "a key that is refused once may work yet"
    await moved(stage, grant, f"cbat_{living}")
    await keep_up(stage.one, HOUR)
    await moved(stage, grant, f"cbat_{living}")


@pytest.mark.parametrize(
    "answer",
    [Refused("exchanged before"), Ambiguous("reset"), NotSent("no route"), RefusedClient("no"), NotOffered("no")],
)
async def test_the_second_exchange_brings_no_key(stage: Stage, answer: KeyAnswer) -> None:
    """How it ended is recorded although the first key was stored meanwhile, and that one is proven when it can be."""
    grant = await stage.connected()
    stage.vendor.thinks("cbat_1", Inconclusive("HTTP 503"))

    async def second() -> KeyAnswer:
        return answer

    ended = await exchanged_twice(stage, grant, second)
    assert all(isinstance(one, Error) for one in ended), ended
    stage.vendor.thinks("cbat_1", Proof())
    await migrate(stage.one, grant)
    await moved(stage, grant)
    kinds = await stage.kinds(grant.connection_id)
    how = {"token_refused", "answer_lost", "nothing_sent", "client_refused"} & set(kinds[kinds.index("key_received") :])
    assert len(how) == 1


async def test_a_key_that_waits_for_its_proof_is_not_ended_by_a_refresh(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored while the second process waits for its turn, whose exchange is then not sent: the latch holds."""
    grant, one, two = await stage.connected(), stage.one, await stage.process()

    async def first() -> KeyAnswer:
        one.driver.refuse("renew_lease", 1000)
        await stage.clock.sleep(31.5)
        return key(1)

    async def waits_for_its_turn(*_: object) -> None:
        await stage.clock.sleep(5.0)

    monkeypatch.setattr(two.migrator._sender, "_no_turn", waits_for_its_turn)
    stage.endpoint.will(first, NotSent("no route"))
    stage.vendor.thinks("cbat_1", Inconclusive("HTTP 502"))
    moving = asyncio.create_task(migrate(one, grant))
    await stage.clock.sleep(31.0)
    ended = await asyncio.gather(moving, migrate(two, grant), return_exceptions=True)
    assert all(isinstance(each, Error) for each in ended), ended
    await stage.clock.sleep(HOUR)
    with pytest.raises(RefreshInDoubt, match="the key was stored"):
        await two.access.access_token(grant.connection_id)
    assert stage.endpoint.sent == []
    stage.vendor.thinks("cbat_1", Proof())
    await migrate(two, grant)
    await moved(stage, grant)


@pytest.mark.parametrize(
    ("migration", "sent_ago", "may"),
    [
        (None, None, False),
        (None, 1.0, False),  # a refresh's
        (Migration.BEGUN, None, False),
        (Migration.BEGUN, 599.9, True),
        (Migration.BEGUN, 600.0, False),
        (Migration.IN_DOUBT, 600.0, False),
        (Migration.IN_DOUBT, None, False),  # an earlier version did not note when
    ],
)
async def test_when_an_earlier_exchange_may_still_be_answered(
    stage: Stage, migration: Migration | None, sent_ago: float | None, may: bool
) -> None:
    """One is pending or in doubt, and was not made ten minutes ago."""
    row = replace(
        await stage.connected(),
        migration=migration,
        sent_ago=sent_ago,
        intent=None if sent_ago is None else 1,
    )
    assert may_still_come(row, stage.timing) is may


async def test_unknown_refusals_of_an_exchange(stage: Stage) -> None:
    """For more than a day, in words that are in no table: they are not the refresh token's, and no problem of it."""
    grant = await stage.connected()
    stage.endpoint.will(*[Ambiguous("HTTP 403", unrecognized="HTTP 403, access_denied")] * 30)
    for _ in range(30):
        with pytest.raises(RefreshInDoubt):
            await migrate(stage.one, grant)
        await stage.clock.sleep(3600.0)
    assert stage.notes.times("unrecognized_refusal") == 0


async def test_not_offered_after_the_client_was_refused(stage: Stage) -> None:
    """The latch holds for as long as the first exchange may be answered, ten minutes, whatever came of later ones."""
    grant = await in_doubt(stage)
    stage.endpoint.will(RefusedClient("reset"), NotOffered("not arranged"), NotOffered("not arranged"))
    for wait, error, latched in (
        (61.0, ClientRefused, True), (61.0, MigrationRefused, True), (601.0, MigrationRefused, False),
    ):  # fmt: skip
        await stage.clock.sleep(wait)
        with pytest.raises(error):
            await migrate(stage.one, grant)
        assert (await stage.row(grant.id)).latched is latched


async def test_not_offered_to_a_marked_hotel(stage: Stage) -> None:
    """Every exchange was refused before: it is tried as any marked hotel is, and heals."""
    grant = await in_doubt(stage)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    for error in (RefreshInDoubt, ReauthorizationRequired):
        await stage.clock.sleep(61.0)
        with pytest.raises(error):
            await migrate(stage.one, grant)
    stage.endpoint.script = [NotOffered("not arranged"), NotOffered("not arranged"), issued(2)]
    await keep_up(stage.one, HOUR)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


# --- refused


async def test_the_exchange_is_refused(stage: Stage) -> None:
    """Twice, an interval apart: while its access token works it serves; then the hotel is to approve again, and the
    exchange is tried again now and then. No token is refreshed.
    """
    grant = await stage.connected()
    stage.endpoint.will(*[Refused("dead")] * 4)
    for _ in range(2):
        with pytest.raises(RefreshInDoubt):
            await migrate(stage.one, grant)
        await stage.clock.sleep(61.0)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    assert stage.notes.times("reprieved") == 1
    await stage.clock.sleep(HOUR)
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    await stage.clock.sleep(61.0)
    with pytest.raises(ReauthorizationRequired):
        await migrate(stage.one, grant)
    shown = await stage.one.views.connection(grant.connection_id)
    assert (shown.state, shown.problem) == (State.REAUTHORIZATION_REQUIRED, "migration_refused")
    assert shown.next_step
    assert stage.notes.times("reauthorization_required") == 1
    with pytest.raises(ReauthorizationRequired) as told:  # an operator's refresh, too
        await stage.one.refresh(grant.id, 1, operator=True)
    assert (told.value.connection_id, told.value.detail) == (
        grant.connection_id,
        f"Cloudbeds refuses every stored token ({(await stage.row(grant.id)).reauth})",
    )
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id)
    await stage.clock.sleep(RETRY_FIRST)
    stage.endpoint.will(Refused("dead"))
    await stage.one.upkeep.tick()
    assert (stage.endpoint.sent, stage.endpoint.exchanged) == ([], ["R-1"] * 5)
    stage.endpoint.will(key("anew", "1000"))  # and that is how it is mended
    begun = await stage.one.authorizer.begin(connection_id=grant.connection_id)
    await stage.one.authorizer.finish(code="code", state=begun.state)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_anew"


async def test_a_newer_approval_waits_when_every_token_is_refused(stage: Stage) -> None:
    """The hotel came back in the meantime: that one is gone on with, and nobody is asked to reconnect."""
    grant = await stage.connected()

    async def meanwhile() -> Refused:
        await stage.candidate(grant.connection_id, pair("anew", property_ids=("1000",)))
        return Refused("dead")

    stage.endpoint.will(Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    await stage.clock.sleep(61.0)
    stage.endpoint.will(meanwhile, key(1))
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-1", "R-1", "R-anew"]
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_1"


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (NotOffered("not arranged"), MigrationRefused, "not arranged"),
        (NotSent("no route"), TokenEndpointUnavailable, "Cloudbeds could not be reached (no route)"),
        (RefusedClient("wrong secret"), ClientRefused,
         "Cloudbeds refuses this app's client id or secret (wrong secret)"),
    ],
)  # fmt: skip
async def test_nothing_was_exchanged_for_certain(
    stage: Stage, answer: NotOffered | NotSent | RefusedClient, error: type[Error], said: str
) -> None:
    """Caller and history have the reason. The latch is lifted: the hotel goes on with its tokens, and may be moved
    another day.
    """
    grant = await stage.connected()
    stage.endpoint.will(answer)
    with pytest.raises(error) as raised:
        await migrate(stage.one, grant)
    assert (raised.value.detail, raised.value.connection_id) == (said, grant.connection_id)
    row = await stage.row(grant.id)
    assert (row.latched, row.migration) == (False, None)
    ended, settled = await stage.one.store.read(read_history(grant.connection_id, limit=2))
    assert (ended.kind, settled.data["detail"]) == ("migration_ended", answer.reason)
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(issued(2), key(1))
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-1", "R-2"]
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_1"


async def test_an_exchange_that_is_not_offered_holds_no_refresh_back(stage: Stage) -> None:
    """Nothing is on the way, so the pair may be exchanged, or refreshed, at once."""
    grant, begun = await stage.connected(), stage.clock.steady()
    stage.endpoint.will(NotOffered("not arranged"), NotOffered("not arranged"), issued(2))
    for _ in range(2):
        with pytest.raises(MigrationRefused):
            await migrate(stage.one, grant)
    await stage.one.access.refresh_now(grant.connection_id)
    assert (stage.endpoint.exchanged, stage.endpoint.sent) == (["R-1", "R-1"], ["R-1"])
    assert stage.clock.steady() == begun


async def test_the_other_secret_is_tried(stage: Stage) -> None:
    """During a reset of the client secret: refused with one, the exchange is made with the other."""
    grant = await stage.connected()
    stage.apps["default"] = replace(APP, secrets=(Secret("new"), Secret("old")))
    stage.endpoint.will(RefusedClient("wrong secret"), key(1))
    await migrate(stage.one, grant)
    await moved(stage, grant)
    assert stage.endpoint.secrets == ["new", "old"]


# --- which token


async def test_older_tokens_are_exchanged_after_the_child(stage: Stage) -> None:
    """An expired pair that was never proven: child first, then its parent, and only a refusal moves on."""
    grant = await stage.expired()
    stage.vendor.thinks("A-2", Inconclusive("HTTP 502"))
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-1", "R-2"]
    stage.endpoint.will(Refused("dead"), key(1))
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-2", "R-1"]
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_1"


@pytest.mark.parametrize("lives", [True, False])
async def test_a_pair_is_proven_before_its_tokens_are_exchanged(stage: Stage, lives: bool) -> None:
    """It works: only the child is exchanged, and no token that its use has killed is shown."""
    grant = await stage.expired()
    stage.vendor.script = [Inconclusive("HTTP 502"), Proof() if lives else DeadToken()]
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    stage.endpoint.will(Refused("dead"), *([] if lives else [Refused("dead")]))
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == (["R-2"] if lives else ["R-2", "R-1"])


async def test_a_marked_hotel_whose_token_is_proven_before_the_exchange(stage: Stage) -> None:
    """Cloudbeds was wrong about it: that ends the mark like any other proof, and the other marks of its app are due."""
    grant = await stage.expired()
    stage.vendor.script = [Inconclusive("HTTP 502")]
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    stage.vendor.thinks("A-2", DeadToken())
    stage.endpoint.will(*[Refused("dead")] * 4)
    for error in (RefreshInDoubt, ReauthorizationRequired):
        with pytest.raises(error):
            await migrate(stage.one, grant)
        await stage.clock.sleep(61.0)
    other = await stage.connected(pair("other", property_ids=("1001",)))
    stage.sql("UPDATE grants SET marked_at = 0, retry_at = 1e12, reauth = 'revoked' WHERE id = ?", other.id)
    stage.vendor.thinks("A-2", Proof())
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    assert stage.notes.times("recovered") == 1
    assert stage.sql("SELECT retry_at <= ? FROM grants WHERE id = ?", stage.clock.wall(), other.id)[0][0]


async def test_there_is_no_turn_to_prove_a_pair(stage: Stage) -> None:
    """The rate limit leaves no room for the question: all tokens of the pair may be the living one."""
    grant = await stage.expired()
    stage.vendor.thinks("A-2", Inconclusive("HTTP 502"))
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    process = await limited(stage, BusyVendor(), limit=1)
    await process.store.write(pause_turns("client-1", 900.0))
    with pytest.raises(RateLimited):
        await migrate(process, grant)
    begun, ended = (await stage.kinds(grant.connection_id))[-2:]
    assert (begun, ended) == ("migration_begun", "migration_ended"), "it went on without the proof, up to the exchange"
    assert await stage.tokens(grant.id) == ["R-1", "R-2"]


async def test_an_expired_unproven_pair(stage: Stage) -> None:
    """There is nothing to ask with: all of its tokens may be the living one."""
    grant = await stage.expired()
    stage.vendor.thinks("A-2", Inconclusive("HTTP 502"))
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    asked = len(stage.vendor.asked)
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    assert (stage.endpoint.exchanged, len(stage.vendor.asked)) == (["R-2", "R-1"], asked)


# --- before it begins


async def test_a_refresh_whose_answer_was_lost(stage: Stage) -> None:
    """It could arrive after the exchange and kill the key: the move does not begin until it is too old to."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("reset"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, operator=True)
    await stage.clock.sleep(100.0)
    with pytest.raises(RefreshInDoubt, match="late") as raised:
        await migrate(stage.one, grant)
    assert raised.value.retry_after == pytest.approx(500.0, abs=5.0)
    assert not (await stage.row(grant.id)).latched
    await stage.clock.sleep(raised.value.retry_after or 0.0)
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_1"


async def test_hotels_that_cannot_be_moved(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown, disconnected, not approved any more, or of a copied database: said so, and nothing is sent."""
    with pytest.raises(UnknownConnection):
        await stage.one.migrator.migrate("con_nobody")
    gone = await stage.connected(pair(1, property_ids=("1",)))
    await stage.one.store.write(disconnect(gone.connection_id))
    with pytest.raises(ConnectionDisconnected):
        await migrate(stage.one, gone)
    parked = await stage.connected(pair(4, property_ids=("4",)), proven=False)
    stage.sql("UPDATE grants SET role = 'parked', state = 'parked' WHERE id = ?", parked.id)
    with pytest.raises(Unclaimed):
        await migrate(stage.one, parked)
    stage.sql("UPDATE grants SET role = 'superseded', state = 'superseded', shown = '' WHERE id = ?", parked.id)
    with pytest.raises(ConnectionDisconnected):
        await migrate(stage.one, parked)
    marked = await stage.connected(pair(2, property_ids=("2",)))
    stage.sql("UPDATE grants SET reauth = 'revoked' WHERE id = ?", marked.id)
    with pytest.raises(ReauthorizationRequired):
        await migrate(stage.one, marked)
    with pytest.raises(InvalidRequest):
        await migrate(stage.one, await stage.connected(pair(3, property_ids=("3",))), app="nobody")
    monkeypatch.setattr(Database, "read_only", property(lambda _: True))
    with pytest.raises(StoreReadOnly) as told:
        await migrate(stage.one, marked)
    assert told.value.connection_id == marked.connection_id
    assert stage.endpoint.exchanged == []


async def test_an_unproven_approval_is_proven_first(stage: Stage) -> None:
    """Which of two approvals is moved is not guessed."""
    grant = await stage.connected()
    await stage.candidate(grant.connection_id, pair("anew", property_ids=("1000",)))
    stage.vendor.thinks("A-anew", Inconclusive("HTTP 502"))
    with pytest.raises(RefreshInDoubt, match="approved again"):
        await migrate(stage.one, grant)
    stage.vendor.thinks("A-anew", Proof())
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-anew"]


async def test_a_key_that_cannot_be_asked_about_yet(stage: Stage) -> None:
    """It waits as a candidate and the hotel is served as before; the next call proves it, without another exchange."""
    grant = await stage.connected()
    stage.vendor.thinks("cbat_1", Inconclusive("HTTP 502"))
    stage.endpoint.will(key(1))
    with pytest.raises(RefreshInDoubt, match="key was stored"):
        await migrate(stage.one, grant)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    stage.vendor.thinks("cbat_1", Proof())
    await migrate(stage.one, grant)
    await moved(stage, grant)


async def test_the_old_token_ends_before_the_key_was_asked_about(stage: Stage) -> None:
    """The next caller proves the key; until Cloudbeds can be asked it is told to wait."""
    grant = await stage.connected()
    stage.vendor.thinks("cbat_1", Inconclusive("HTTP 502"))
    stage.endpoint.will(key(1))
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    await stage.clock.sleep(HOUR)
    with pytest.raises(RefreshInDoubt, match="key was stored"):
        await stage.one.access.access_token(grant.connection_id)
    stage.vendor.thinks("cbat_1", Proof())
    await moved(stage, grant)


async def test_a_key_that_never_works(stage: Stage) -> None:
    """Refused twice it is dropped, and the exchange is made again; the latch holds."""
    grant = await stage.connected()
    stage.vendor.thinks("cbat_1", DeadToken())
    stage.endpoint.will(key(1), key(2))
    with pytest.raises(RefreshInDoubt):
        await migrate(stage.one, grant)
    await stage.clock.sleep(61.0)
    await migrate(stage.one, grant)
    await moved(stage, grant, "cbat_2")


async def test_a_database_that_is_being_copied_elsewhere(stage: Stage) -> None:
    """Its grants are latched for that: no move begins."""
    grant = await stage.connected()
    stage.sql("UPDATE grants SET latched = 2 WHERE id = ?", grant.id)
    with pytest.raises(RefreshPending):
        await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == []


# --- whose lease, whose turn, whose client


async def test_the_lease_is_taken_while_the_token_is_proven(stage: Stage) -> None:
    """The fence moved before anything was sent: look again, under a lease of one's own."""
    grant = await stage.connected()

    async def taken() -> None:
        stage.sql("UPDATE grants SET lease_epoch = lease_epoch + 1, lease_owner = NULL WHERE id = ?", grant.id)

    stage.one.driver.after("begin_migration", taken)
    stage.endpoint.will(key(1))
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-1"]
    await moved(stage, grant)


async def test_a_newer_approval_comes_while_the_lease_is_waited_for(stage: Stage) -> None:
    """Of the two it is the newer one that is moved."""
    grant = await stage.connected()
    await stage.one.store.write(take_lease(grant.id, "somebody", 9.0))
    moving = asyncio.create_task(migrate(stage.one, grant))
    await stage.clock.sleep(1.0)
    new = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    assert await stage.one.store.write(promote(grant.connection_id, new.id, new.generation, None, ()))
    stage.endpoint.will(key(1))
    await moving
    assert stage.endpoint.exchanged == ["R-new"]


async def test_the_turn_does_not_come(stage: Stage) -> None:
    """The rate limit leaves no room: nothing is sent, and the hotel stays with its tokens."""
    grant = await stage.connected()
    process = await limited(stage, BusyVendor(), limit=1)
    await process.store.write(pause_turns("client-1", 900.0))
    with pytest.raises(RateLimited) as raised:
        await migrate(process, grant)
    assert raised.value.connection_id == grant.connection_id
    row = await stage.row(grant.id)
    assert (row.latched, row.intent, row.migration) == (False, None, None)
    assert await stage.shown(grant) == (State.FRESH, None)


async def test_the_turn_does_not_come_after_a_lost_answer(stage: Stage) -> None:
    """A key may have been given out: the latch holds, and the exchange is made again later."""
    grant = await in_doubt(stage)
    process = await limited(stage, BusyVendor(), limit=1)
    await stage.clock.sleep(100.0)
    await process.store.write(pause_turns("client-1", 900.0))
    with pytest.raises(RateLimited):
        await migrate(process, grant)
    row = await stage.row(grant.id)
    assert (row.latched, row.migration) == (True, Migration.IN_DOUBT)


async def test_the_store_takes_no_intent(stage: Stage) -> None:
    """Nothing was sent, so nothing holds the latch."""
    grant = await stage.connected()
    stage.one.driver.refuse("write_intent")
    with pytest.raises(StoreUnavailable):
        await migrate(stage.one, grant)
    row = await stage.row(grant.id)
    assert (row.latched, row.migration, stage.endpoint.exchanged) == (False, None, [])


async def test_another_client_may_make_the_exchange(stage: Stage) -> None:
    """`app` names it; upkeep goes on with the move where that client is known, and nowhere else."""
    second = replace(APP, id="keys", client_id="client-2", secrets=(Secret("secret-2"),))
    grant = await stage.connected()
    mover = await stage.process(apps={"default": APP, "keys": second})
    stage.endpoint.will(Ambiguous("reset"), key(1))
    with pytest.raises(RefreshInDoubt):
        await migrate(mover, grant, app="keys")
    await stage.clock.sleep(100.0)
    await stage.one.upkeep.tick()
    assert len(stage.endpoint.exchanged) == 1, "the first client's process leaves it alone"
    shown = presentation(await stage.one.views.connection(grant.connection_id))
    assert (shown.badge, shown.by) == (Badge.ATTENTION, Responsible.OPERATOR)
    assert "with the client id and secret that it was begun with" in (shown.next_step or "")
    theirs = await mover.views.connection(grant.connection_id)
    assert (theirs.state, presentation(theirs).by) == (State.IN_DOUBT, Responsible.NOBODY)
    await stage.clock.sleep(100.0)
    while await mover.upkeep.tick() == 0.0:
        pass
    await moved(stage, grant)
    assert (stage.endpoint.apps, stage.endpoint.secrets) == (["keys"] * 2, ["secret-2"] * 2)


async def test_a_hotel_that_leaves_while_its_key_is_on_the_way(stage: Stage) -> None:
    """Disconnected meanwhile: the key is not kept."""
    grant = await stage.connected()

    async def meanwhile() -> KeyAnswer:
        await stage.one.store.write(disconnect(grant.connection_id))
        return key(1)

    stage.endpoint.will(meanwhile)
    with pytest.raises(ConnectionDisconnected):
        await migrate(stage.one, grant)
    assert stage.sql("SELECT COUNT(*) FROM grants") == [(1,)]


async def test_a_hotel_that_approves_again_while_its_key_is_on_the_way(stage: Stage) -> None:
    """The key is used at once, and no longer than until that approval is proven, which is moved in its turn."""
    grant = await stage.connected()

    async def meanwhile() -> KeyAnswer:
        await stage.candidate(grant.connection_id, pair("new", property_ids=("1000", "1001")))
        return key(1)

    stage.endpoint.will(meanwhile, key(2))
    await migrate(stage.one, grant)
    assert stage.endpoint.exchanged == ["R-1", "R-new"]
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_2"
    assert (await stage.one.views.connection(grant.connection_id)).property_ids == ("1000", "1001")
    assert stage.sql("SELECT role FROM grants ORDER BY ordinal") == [*[("superseded",)] * 3, ("active",)]


async def approved_meanwhile(stage: Stage) -> tuple[Grant, Grant]:
    """A hotel that approved again while its key was on the way, and Cloudbeds names no property of that approval."""
    grant, made = await stage.connected(), list[Grant]()
    stage.vendor.listed = ()

    async def meanwhile() -> KeyAnswer:
        made.append(await stage.candidate(grant.connection_id, pair("new", lifetime=1e6)))
        return key(1)

    stage.endpoint.will(meanwhile)
    with pytest.raises(RefreshInDoubt, match=r"for which property|key was stored"):
        await migrate(stage.one, grant)
    return grant, made[0]


async def test_a_hotel_that_approves_again_and_is_not_named(stage: Stage) -> None:
    """Cloudbeds names no property of the newer approval: the key serves, also when the last access token has ended."""
    grant, _ = await approved_meanwhile(stage)
    await keep_up(stage.one, 3 * HOUR)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "cbat_1"


async def test_a_key_dies_while_a_newer_approval_waits(stage: Stage) -> None:
    """The key was stored behind that approval and is the older credential: the hotel is not asked for a third one."""
    await approved_meanwhile(stage)
    ((key_id, used),) = stage.sql("SELECT id, generation FROM grants WHERE role = 'active'")
    stage.vendor.thinks("cbat_1", DeadToken())
    for _ in range(3):
        with suppress(RefreshInDoubt, GrantSuperseded):
            await stage.one.refresh(key_id, used, rejected=used)
        await stage.clock.sleep(61.0)
    assert (await stage.row(key_id)).reauth is None


async def test_a_newer_approval_dies_while_a_key_waits(stage: Stage) -> None:
    """The key is of the older approval, so that one's death is known although the key is not proven yet."""
    stage.vendor.thinks("cbat_1", DeadToken(documented=False))
    _, newer = await approved_meanwhile(stage)
    stage.vendor.thinks("A-new", DeadToken())
    stage.endpoint.will(*[Refused("dead")] * 4)
    for _ in range(2):
        with suppress(GrantSuperseded, ReauthorizationRequired):  # behind it, the key is asked about
            await stage.one.refresh(newer.id, newer.generation, rejected=newer.generation)
        await stage.clock.sleep(61.0)
    assert (await stage.row(newer.id)).reauth is not None


async def test_the_row_goes_while_the_lease_is_taken(stage: Stage) -> None:
    """An operator deletes it by hand."""
    grant = await stage.connected()
    stage.one.driver.after("take_lease", lambda: stage.delete(grant))
    with pytest.raises(ConnectionDisconnected):
        await migrate(stage.one, grant)


async def test_the_store_is_gone_before_anything_is_sent(stage: Stage) -> None:
    """Nothing was exchanged, and nothing was changed."""
    grant = await stage.connected()
    stage.one.driver.refuse("begin_migration")
    with pytest.raises(StoreUnavailable):
        await migrate(stage.one, grant)
    assert not (await stage.row(grant.id)).latched


async def test_a_key_beside_which_other_things_come(stage: Stage) -> None:
    """Properties that the answer names are added to those that the hotel had."""
    grant = await stage.connected()
    stage.endpoint.will(Issued(Pair(Secret("cbat_1"), None, 1.0, ("1001",), ("x",), CredentialKind.API_KEY)))
    await migrate(stage.one, grant)
    assert (await stage.one.views.connection(grant.connection_id)).property_ids == ("1000", "1001")
