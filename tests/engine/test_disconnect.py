"""Disconnecting: the vendor is told with a living token, under the lease, then the tokens are forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
from tests.support.fakes import APP, issued, key, pair
from tests.support.stage import Stage
from tests.support.virtual import settle

from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    InvalidRequest,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    StoreUnavailable,
    TokenEndpointUnavailable,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import DeadToken, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, KeyAnswer, Refused
from cloudbeds_auth.transactions.candidates import drop_candidate, promote
from cloudbeds_auth.transactions.grants import take_lease
from cloudbeds_auth.transactions.history import read_history


async def leave(stage: Stage, grant: Grant, *, forget: bool = False) -> None:
    """As an operator asks for it."""
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=forget)


async def gone(stage: Stage, grant: Grant) -> bool:
    """Whether the hotel is disconnected and its tokens are forgotten."""
    with pytest.raises(ConnectionDisconnected):
        await stage.one.access.access_token(grant.connection_id)
    return await stage.tokens(grant.id) == []


async def detail(stage: Stage, grant: Grant) -> object:
    """What history says about it."""
    return (await stage.one.store.read(read_history(grant.connection_id, limit=1)))[0].data["detail"]


async def test_the_vendor_is_told_first(stage: Stage) -> None:
    """`postAppState disabled` for every property with a living token, then everything is forgotten."""
    grant = await stage.connected(pair(1, property_ids=("1000", "1001")))
    await leave(stage, grant)
    assert stage.vendor.disabled == [("A-1", ("1000",)), ("A-1", ("1001",))]
    assert await gone(stage, grant)
    assert await detail(stage, grant) == "Cloudbeds was told"
    assert stage.notes.times("disconnected") == 1


async def test_leaving_twice(stage: Stage) -> None:
    """The second time changes nothing and tells nobody."""
    grant = await stage.connected()
    await leave(stage, grant)
    await leave(stage, grant)
    assert len(stage.vendor.disabled) == 1


async def test_nobody(stage: Stage) -> None:
    """404."""
    with pytest.raises(UnknownConnection):
        await stage.one.disconnecter.disconnect("con_nobody", forget=True)


async def test_an_expired_token_is_refreshed_to_say_goodbye(stage: Stage) -> None:
    """The vendor is told with a token that lives."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2))
    await leave(stage, grant)
    assert stage.vendor.disabled == [("A-2", ("1000",))]
    assert await gone(stage, grant)


async def test_a_vendor_that_takes_no_note(stage: Stage) -> None:
    """503, nothing forgotten; `forget` insists, and history says that it was not told."""
    grant = await stage.connected()
    stage.vendor.disables = False
    with pytest.raises(TokenEndpointUnavailable) as raised:
        await leave(stage, grant)
    assert raised.value.status == 503
    assert await stage.tokens(grant.id) == ["R-1"]
    await leave(stage, grant, forget=True)
    assert await gone(stage, grant)
    assert await detail(stage, grant) == "the vendor could not be told (token_endpoint_unavailable)"


async def test_a_token_that_died_early_is_renewed_to_say_goodbye(stage: Stage) -> None:
    """The vendor ended A-1 before its time and takes no note of it; named as rejected, it is replaced by A-2."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    stage.vendor.refuses = {"A-1"}
    stage.endpoint.will(issued(2))
    await leave(stage, grant)
    assert stage.vendor.disabled == [("A-1", ("1000",)), ("A-2", ("1000",))]
    assert await gone(stage, grant)


async def test_tokens_that_die_one_after_another_are_not_renewed_for_ever(stage: Stage) -> None:
    """One refresh; where the new token is dead as well, the next one waits, and nothing is forgotten."""
    grant = await stage.connected()
    stage.vendor.refuses = {"A-1", "A-2"}
    for name in stage.vendor.refuses:
        stage.vendor.thinks(name, DeadToken())
    stage.endpoint.will(issued(2))
    with pytest.raises(RefreshInDoubt):
        await leave(stage, grant)
    assert [token for token, _ in stage.vendor.disabled] == ["A-1", "A-2"]
    assert await stage.tokens(grant.id) != []


async def test_every_new_token_dies_with_the_next_call(stage: Stage) -> None:
    """Three sends, as for any call: then it is said that the vendor was not told, and nothing is forgotten."""
    grant = await stage.connected()
    stage.vendor.refuses = {"A-1", "A-2", "A-3", "A-4"}
    stage.vendor.thinks("A-1", DeadToken())
    alive = {"A-2", "A-3", "A-4"}

    def opinion(name: str) -> Callable[[], Awaitable[Verdict]]:
        async def proven_once() -> Verdict:
            proven = name in alive
            alive.discard(name)
            return Proof() if proven else DeadToken()

        return proven_once

    for name in tuple(alive):
        stage.vendor.thinks(name, opinion(name))
    stage.endpoint.will(issued(2), issued(3), issued(4))
    with pytest.raises(TokenEndpointUnavailable):
        await leave(stage, grant)
    assert [token for token, _ in stage.vendor.disabled] == ["A-1", "A-2", "A-3"]
    assert await stage.tokens(grant.id) != []


SEVERAL = ("1000", "1001", "1002")


async def left_after_the_first(stage: Stage) -> Grant:
    """A hotel of several properties, at a vendor that ends the whole session with the first one that is disabled."""
    grant = await stage.connected(pair(1, property_ids=SEVERAL))
    tell = stage.vendor.disable_app

    async def disable_app(access: Secret, property_ids: tuple[str, ...]) -> bool:
        noted = await tell(access, property_ids)
        stage.vendor.refuses.add(access.reveal())
        stage.vendor.thinks("A-1", DeadToken())
        return noted

    stage.vendor.disable_app = disable_app  # type: ignore[method-assign]
    return grant


async def test_the_first_property_ends_the_session_of_all(stage: Stage) -> None:
    """`disabled` removes every session: nothing is left to tell the others with, nor any need to."""
    grant = await left_after_the_first(stage)
    stage.endpoint.will(Refused("dead"))
    await leave(stage, grant)
    assert [part for _, part in stage.vendor.disabled] == [(one,) for one in SEVERAL]
    assert await gone(stage, grant)
    assert await detail(stage, grant) == "Cloudbeds was told"


async def test_a_token_that_died_on_the_way(stage: Stage) -> None:
    """Another process refreshed meanwhile: with the newer token those are told that were not told yet, and only those;
    the first of them ends the session of the last.
    """
    grant = await left_after_the_first(stage)
    proven = [Proof()]  # the session of A-2 ends with the next property

    async def opinion() -> Verdict:
        return proven.pop() if proven else DeadToken()

    stage.vendor.thinks("A-2", opinion)
    stage.endpoint.will(issued(2), Refused("dead"), Refused("dead"))
    await leave(stage, grant)
    told = [(token, part) for token, (part,) in stage.vendor.disabled]
    assert told == [*(("A-1", one) for one in SEVERAL), ("A-2", "1001"), ("A-2", "1002")]
    assert await gone(stage, grant)


async def test_a_vendor_that_takes_no_note_of_one_of_several(stage: Stage) -> None:
    """The token works all the while: the vendor was not told of that property, so nothing is forgotten."""
    grant = await stage.connected(pair(1, property_ids=SEVERAL))

    async def disable_app(access: Secret, property_ids: tuple[str, ...]) -> bool:
        return property_ids != ("1001",)

    stage.vendor.disable_app = disable_app  # type: ignore[method-assign]
    with pytest.raises(TokenEndpointUnavailable):
        await leave(stage, grant)
    assert await stage.tokens(grant.id) == ["R-1"]


async def test_an_answer_lost_after_the_first_property(stage: Stage) -> None:
    """Whether the session has ended is not known: nothing is forgotten, and a later call finishes it."""
    grant = await left_after_the_first(stage)
    stage.endpoint.will(Ambiguous("HTTP 502"))
    with pytest.raises(RefreshInDoubt):
        await leave(stage, grant)
    assert await stage.tokens(grant.id) == ["R-1"]
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await leave(stage, grant)
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Refused("dead"))
    await leave(stage, grant)
    assert await gone(stage, grant)
    assert await detail(stage, grant) == "Cloudbeds refuses every token already"


async def test_no_living_token_to_say_it_with(stage: Stage) -> None:
    """The refresh is in doubt: 503, nothing forgotten; `forget` insists."""
    grant = await stage.expired()
    stage.endpoint.will(Ambiguous("lost"))
    with pytest.raises(RefreshInDoubt):
        await leave(stage, grant)
    assert await stage.tokens(grant.id) == ["R-1"]
    stage.endpoint.will(Ambiguous("lost"))
    await leave(stage, grant, forget=True)
    assert await gone(stage, grant)


async def test_a_hotel_whose_tokens_are_all_refused(stage: Stage) -> None:
    """There is nothing to tell: forgotten at once."""
    grant = await stage.expired()
    for expected in (RefreshInDoubt, ReauthorizationRequired):
        stage.endpoint.will(Refused("dead"))
        with pytest.raises(expected):
            await stage.one.access.access_token(grant.connection_id)
        await stage.clock.sleep(60.0)
    await leave(stage, grant)
    assert await gone(stage, grant)
    assert await detail(stage, grant) == "Cloudbeds refuses every token already"


async def test_a_property_level_client(stage: Stage) -> None:
    """It has no app state: nothing is posted, the next step says what the hotel does."""
    stage.apps["default"] = replace(APP, level="property")
    grant = await stage.connected()
    await leave(stage, grant)
    assert stage.vendor.disabled == []
    found = await stage.one.views.connection(grant.connection_id)
    assert found.state is State.DISCONNECTED
    assert found.next_step is not None
    assert "in Cloudbeds" in found.next_step


async def test_a_connection_that_never_worked(stage: Stage) -> None:
    """Its only candidate was dropped: it is disconnected already, and leaving changes nothing."""
    grant = await stage.connected(proven=False)
    await stage.one.store.write(drop_candidate(grant.id, "refused twice"))
    assert (await stage.one.views.connection(grant.connection_id)).state is State.DISCONNECTED
    await leave(stage, grant)
    for ask in (stage.one.access.access_token, stage.one.access.refresh_now):
        with pytest.raises(ConnectionDisconnected):
            await ask(grant.connection_id)


async def test_it_waits_for_a_refresh_under_way(stage: Stage) -> None:
    """The lease is taken first (rule 15): a refresh of this process ends, then its pair is forgotten with the rest."""
    grant = await stage.connected()
    await stage.clock.sleep(3300.0)
    stage.endpoint.will(stage.later(5.0, issued(2)))
    await stage.one.access.access_token(grant.connection_id)
    await settle()
    await leave(stage, grant)
    await stage.one.idle()
    assert stage.vendor.disabled == [("A-2", ("1000",))]
    assert await gone(stage, grant)


async def test_it_waits_for_another_process(stage: Stage) -> None:
    """Held by somebody for a while: waited for; for ever: 503 within the caller's time, nothing forgotten."""
    grant = await stage.connected()
    two = await stage.process()
    stage.endpoint.will(stage.later(5.0, issued(2)))
    ahead = asyncio.create_task(two.refresh(grant.id, 1))
    await settle()
    await stage.one.access.access_token(grant.connection_id)
    await leave(stage, grant)
    await ahead
    assert await gone(stage, grant)
    other = await stage.connected(pair("b"))
    await stage.one.store.write(take_lease(other.id, "somebody", 600.0))
    with pytest.raises(RefreshPending):
        await leave(stage, other)
    assert await stage.tokens(other.id) == ["R-b"]


# --- the hotel approves again after the disconnect began


async def approved_again(stage: Stage, grant: Grant, *, proven: bool = True) -> Grant:
    """A newer approval of this hotel: in use, or still a candidate."""
    new = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    if proven:
        assert await stage.one.store.write(promote(grant.connection_id, new.id, new.generation, None, ()))
    return new


async def kept(stage: Stage, *grants: Grant) -> bool:
    """Whether each has its tokens, and the hotel is served by the newest."""
    await stage.one.candidates.resume(grants[0].connection_id)
    stage.one.access.forget(grants[0].connection_id)
    served = await stage.one.access.access_token(grants[0].connection_id)
    return served.grant_id == grants[-1].id and all([await stage.tokens(one.id) for one in grants])


@contextmanager
def given_up() -> Iterator[None]:
    """The disconnect ends with an error that says why."""
    with pytest.raises(InvalidRequest, match="approved again") as raised:
        yield
    assert "disconnect the hotel again" in raised.value.next_step


@pytest.mark.parametrize("proven", [True, False], ids=["in use", "not proven yet"])
async def test_a_newer_approval_comes_while_the_vendor_is_told(stage: Stage, proven: bool) -> None:
    """The person approved after the disconnect: nothing is deleted; disconnected again, the vendor is told about it."""
    grant, new = await stage.connected(), list[Grant]()
    tell = stage.vendor.disable_app

    async def disable_app(access: Secret, property_ids: tuple[str, ...]) -> bool:
        stage.vendor.disable_app = tell  # type: ignore[method-assign]
        new.append(await approved_again(stage, grant, proven=proven))
        return await tell(access, property_ids)

    stage.vendor.disable_app = disable_app  # type: ignore[method-assign]
    with given_up():
        await leave(stage, grant)
    assert await kept(stage, grant, new[0])
    await leave(stage, grant)
    assert [token for token, _ in stage.vendor.disabled] == ["A-1", "A-new"]
    assert await gone(stage, grant)
    assert await gone(stage, new[0])


async def test_a_newer_approval_comes_while_the_lease_is_waited_for(stage: Stage) -> None:
    """Its own lease is not taken, and nothing is deleted, even where the operator insists."""
    grant = await stage.connected()
    await stage.one.store.write(take_lease(grant.id, "somebody", 9.0))
    leaving = asyncio.create_task(leave(stage, grant, forget=True))
    await stage.clock.sleep(1.0)
    new = await approved_again(stage, grant)
    with given_up():
        await leaving
    assert (await stage.row(new.id)).lease_left == 0.0
    assert await kept(stage, grant, new)
    assert stage.notes.times("disconnected") == 0


async def test_a_newer_approval_comes_once_the_lease_is_taken(stage: Stage) -> None:
    """The transaction that would delete it is fenced; the lease is given back."""
    grant = await stage.connected()
    stage.one.driver.after("take_lease", partial(approved_again, stage, grant))
    with given_up():
        await leave(stage, grant)
    assert (await stage.row(grant.id)).lease_left == 0.0
    assert await stage.tokens(grant.id) == ["R-1"]


async def test_a_newer_approval_comes_while_a_living_token_is_awaited(stage: Stage) -> None:
    """The token that comes then is the newer approval's: the vendor is told nothing with it."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(5.0, Refused("dead")))
    leaving = asyncio.create_task(leave(stage, grant))
    await stage.clock.sleep(1.0)
    new = await approved_again(stage, grant)
    with given_up():
        await leaving
    assert stage.vendor.disabled == []
    assert await kept(stage, grant, new)


async def test_a_newer_approval_comes_between_two_properties(stage: Stage) -> None:
    """`disabled` for the second one would end the newer approval."""
    grant = await stage.connected(pair(1, property_ids=("1000", "1001")))
    tell = stage.vendor.disable_app

    async def disable_app(access: Secret, property_ids: tuple[str, ...]) -> bool:
        await approved_again(stage, grant)
        return await tell(access, property_ids)

    stage.vendor.disable_app = disable_app  # type: ignore[method-assign]
    with given_up():
        await leave(stage, grant)
    assert stage.vendor.disabled == [("A-1", ("1000",))]


# --- a move to an API key is under way


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("asked_after", [0.0, 1.0])
async def test_a_key_comes_while_the_hotel_is_disconnected(stage: Stage, forget: bool, asked_after: float) -> None:
    """It is no newer approval: it ends with the tokens that it came from, proven or not."""
    grant, two = await stage.connected(), await stage.process()
    stage.endpoint.will(stage.later(3.0, key(1)))
    moving = asyncio.create_task(two.migrator.migrate(grant.connection_id))
    await stage.clock.sleep(asked_after)
    await leave(stage, grant, forget=forget)
    await asyncio.gather(moving, return_exceptions=True)
    assert stage.vendor.disabled
    assert await gone(stage, grant)
    assert stage.sql("SELECT DISTINCT role, access_sealed FROM grants") == [("disconnected", None)]


async def test_a_key_comes_after_the_hotel_was_disconnected(stage: Stage) -> None:
    """A process stood still with it, past its lease: it is not stored."""
    grant, two = await stage.connected(), await stage.process()

    async def stands_still() -> KeyAnswer:
        two.driver.refuse("renew_lease", 1000)
        await stage.clock.sleep(60.0)
        return key(1)

    stage.endpoint.will(stands_still)
    moving = asyncio.create_task(two.migrator.migrate(grant.connection_id))
    await stage.clock.sleep(31.0)
    await leave(stage, grant)
    with pytest.raises(ConnectionDisconnected):
        await moving
    assert stage.sql("SELECT role FROM grants") == [("disconnected",)]


async def test_a_full_disk(stage: Stage) -> None:
    """Told, and then not written: 503; the next try forgets."""
    grant = await stage.connected()
    stage.one.driver.refuse("forget_access")
    with pytest.raises(StoreUnavailable):
        await leave(stage, grant)
    await stage.clock.sleep(31.0)
    await leave(stage, grant)
    assert await gone(stage, grant)
