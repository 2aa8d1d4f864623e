"""A hotel that comes back by a bare Connect, with an answer that names no property: it keeps the connection it had."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.fakes import issued, key, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import (
    AmbiguousProperty,
    ConnectionDisconnected,
    PropertyMismatch,
    RefreshInDoubt,
    StoreUnavailable,
)
from cloudbeds_auth.ports import Unlisted
from cloudbeds_auth.rules.api_errors import OUTAGE, DeadToken, Inconclusive, Proof
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Finished, Grant, Role
from cloudbeds_auth.rules.token_response import Answer
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import disconnect, list_connections, read_connection
from cloudbeds_auth.transactions.grants import take_lease
from cloudbeds_auth.transactions.history import forget

KNOWN = pair(1, property_ids=("1000",))


async def comes_back(stage: Stage, answer: Answer | None = None, **parts: Any) -> Finished:
    """Approves again; the answer names no property, the list does."""
    stage.vendor.listed = ("1000", "1001")
    return await approves(stage, answer or issued("new"), **parts)


async def approves(stage: Stage, answer: Answer, **parts: Any) -> Finished:
    """The whole way in."""
    return await stage.approve(answer, **parts)


async def own_of(stage: Stage) -> str:
    """The connection that was made for the newest approval."""
    return (await stage.one.store.read(list_connections(limit=1))).connections[0].id


async def living(stage: Stage) -> list[str]:
    """The connections that are neither replaced nor disconnected."""
    found = (await stage.one.store.read(list_connections())).connections
    return [one.id for one in found if one.state not in {State.SUPERSEDED, State.DISCONNECTED}]


@pytest.mark.row("F87")
@pytest.mark.parametrize("left", [False, True])
async def test_it_keeps_its_connection(stage: Stage, left: bool) -> None:
    """Also one that left: the id that the approval leads to, the token, the property, the reference given with it."""
    old = await stage.connected(KNOWN)
    if left:
        await stage.one.store.write(disconnect(old.connection_id))
    finished = await comes_back(stage, reference="tenant-8", return_to="/done")
    found = finished.connection
    assert (found.id, found.state, finished.return_to) == (old.connection_id, State.FRESH, "/done")
    assert (found.property_ids, found.reference) == (("1000", "1001"), "tenant-8")
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-new"
    for one in ("1000", "1001"):
        assert await stage.one.ids.resolve(one) == old.connection_id
    assert await living(stage) == [old.connection_id]
    assert (stage.notes.times("came_back"), stage.endpoint.sent) == (1, [])
    if not left:
        assert (await stage.row(old.id)).role is Role.SUPERSEDED


async def test_through_a_link_for_no_connection(stage: Stage) -> None:
    """The link, and a second click in any process, lead to the connection that it had."""
    old = await stage.connected(KNOWN)
    stage.vendor.listed = ("1000",)
    link = await stage.one.authorizer.create_link(
        app=None, reference=None, return_to=None, connection_id=None, expires_in=600.0
    )
    begun = await stage.one.authorizer.begin_from_link(link.token, "browser")
    stage.endpoint.will(issued("new"))
    for process in (stage.one, stage.one, await stage.process()):
        finished = await process.authorizer.finish(code="code", state=begun.state, browser="browser")
        assert finished.connection.id == old.connection_id
    assert await stage.one.authorizer.link_outcome(link.token) == old.connection_id


async def test_what_it_left_is_gone_after_a_day(stage: Stage) -> None:
    """So long somebody who saw its id, in a list or by a click that came too soon, is told where it is."""
    old = await stage.connected(KNOWN)
    await comes_back(stage)
    own = await own_of(stage)
    shown = await stage.one.views.connection(own)
    assert (shown.state, shown.problem) == (State.SUPERSEDED, f"moved to {old.connection_id}")
    with pytest.raises(ConnectionDisconnected):
        await stage.one.access.access_token(own)
    behind = stage.one.upkeep
    await stage.clock.sleep(86400.0)
    stage.endpoint.will(issued("newer"))
    for _ in range(3):
        await behind.tick()
    assert await stage.one.store.read(read_connection(own)) is None


async def test_its_property_is_named_later(stage: Stage) -> None:
    """Until then the connection that it had goes on; whoever comes with the other id goes on with the move."""
    old = await stage.connected(KNOWN)
    stage.vendor.listed = Unlisted(OUTAGE)
    waiting = (await approves(stage, issued("new"))).connection
    assert waiting.id != old.connection_id
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    stage.vendor.listed = ("1000",)
    await stage.clock.sleep(stage.timing.lease)
    assert (await stage.one.access.access_token(waiting.id)).reveal() == "A-new"
    stage.one.access.forget(old.connection_id)
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-new"
    assert await living(stage) == [old.connection_id]


async def test_its_token_died_before_it_was_proven(stage: Stage) -> None:
    """It is refreshed where it came in; when that refresh is done, the pair that it brought moves."""
    old = await stage.connected(KNOWN)
    stage.vendor.thinks("A-new", DeadToken())
    stage.vendor.listed = ("1000",)
    found = (await stage.approve(issued("new"), issued("newer"))).connection
    assert found.id == old.connection_id
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-newer"
    assert stage.endpoint.sent == ["R-new"]


async def waits(stage: Stage) -> Grant:
    """An approval that came in while Cloudbeds could not name its property, and that can now."""
    stage.vendor.listed = Unlisted(OUTAGE)
    waiting = (await approves(stage, issued("new"))).connection
    stage.vendor.listed = ("1000",)
    found = await stage.one.store.read(read_candidate(waiting.id))
    assert found is not None
    return found


async def test_a_refresh_of_it_is_under_way(stage: Stage) -> None:
    """Another process has its lease: it waits where it is, for whoever comes when that is over."""
    old = await stage.connected(KNOWN)
    waiting = await waits(stage)
    await stage.one.store.write(take_lease(waiting.id, "another", 30.0))
    assert await stage.one.candidates.resume(waiting.connection_id) is None
    assert (await stage.row(waiting.id)).role is Role.CANDIDATE
    assert await stage.one.ids.resolve("1000") == old.connection_id
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(waiting.connection_id)
    await stage.clock.sleep(61.0)
    await stage.one.upkeep.tick()
    assert (await stage.row(waiting.id)).role is Role.PARKED
    assert (await stage.row(old.id)).role is Role.SUPERSEDED


async def test_it_is_refreshed_right_after_the_move(stage: Stage) -> None:
    """Nobody has seen the newer pair work: what was in use stays so until that is proven."""
    old = await stage.connected(KNOWN)
    waiting, two = await waits(stage), await stage.process()
    stage.vendor.thinks("A-newer", Inconclusive("HTTP 503"))

    async def refreshed() -> None:
        moved = await stage.one.store.read(read_candidate(old.connection_id))
        assert moved is not None
        stage.endpoint.will(issued("newer"))
        await two.refresh(moved.id, moved.generation, operator=True)

    stage.one.driver.after("move_outcomes", refreshed)
    assert await stage.one.candidates.resume(waiting.connection_id) is None
    assert (await stage.row(old.id)).role is Role.ACTIVE
    stage.vendor.thinks("A-newer", Proof())
    assert (await stage.one.candidates.resume(old.connection_id)) is not None
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-newer"


async def test_it_is_proven_and_refreshed_elsewhere_right_after_the_move(stage: Stage) -> None:
    """It is in use by then: whoever moved it goes on with it, although its own proof is of a former pair."""
    old = await stage.connected(KNOWN)
    waiting, two = await waits(stage), await stage.process()

    async def refreshed() -> None:
        moved = await two.candidates.resume(old.connection_id)
        assert moved is not None
        stage.endpoint.will(issued("newer"))
        await two.refresh(moved.id, moved.generation, operator=True)

    stage.one.driver.after("move_outcomes", refreshed)
    found = await stage.one.candidates.resume(waiting.connection_id)
    assert found is not None
    assert (found.access.reveal(), found.role) == ("A-newer", Role.ACTIVE)


@pytest.mark.parametrize("how", ["refuse", "forget"])
async def test_a_process_dies_over_the_move(stage: Stage, how: str) -> None:
    """Where it was, or moved, never between: whoever is behind goes on, and the same click shows where it is."""
    old = await stage.connected(KNOWN)
    stage.vendor.listed = ("1000",)
    getattr(stage.one.driver, how)("move_outcomes")
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued("new"))
    with pytest.raises(StoreUnavailable):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    own = await own_of(stage)
    moved = await stage.one.store.read(read_candidate(old.connection_id))
    assert (moved is None) == (how == "refuse")
    assert (await stage.one.store.read(read_candidate(own)) is None) == (how == "forget")
    two = await stage.process()
    await stage.clock.sleep(61.0)
    await two.upkeep.tick()
    assert await living(stage) == [old.connection_id]
    assert (await two.access.access_token(old.connection_id)).reveal() == "A-new"
    again = await two.authorizer.finish(code="code", state=begun.state)
    assert again.connection.id == old.connection_id


async def test_an_arrival_of_a_hotel_that_is_connected(stage: Stage) -> None:
    """From the Marketplace, claimed before anybody knew its property: the claim leads where the hotel is."""
    old = await stage.connected(KNOWN)
    stage.endpoint.will(issued("new"))
    parked = (await stage.one.authorizer.arrive(code="code")).connection
    stage.vendor.listed = ("1000",)
    assert await stage.one.authorizer.claim(parked.id, "tenant-8") == old.connection_id
    shown = await stage.one.views.connection(old.connection_id)
    assert (shown.reference, shown.generation) == ("tenant-8", 2)
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-new"


async def test_a_key_whose_property_was_not_known_when_it_came(stage: Stage) -> None:
    """It moves as well."""
    old = await stage.connected(KNOWN)
    stage.vendor.listed = Unlisted(OUTAGE)
    waiting = (await approves(stage, key("new"))).connection
    stage.vendor.listed = ("1000",)
    await stage.one.candidates.resume(waiting.id)
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "cbat_new"


@pytest.mark.row("F87")
async def test_a_group_of_two_connected_hotels(stage: Stage) -> None:
    """Both are named: nothing is taken from either, and an id that several cover is refused, never guessed."""
    first, second = await stage.connected(KNOWN), await stage.connected(pair(2, property_ids=("1001",)))
    found = (await comes_back(stage)).connection
    assert found.id not in {first.connection_id, second.connection_id}
    for grant, token in ((first, "A-1"), (second, "A-2")):
        assert (await stage.row(grant.id)).role is Role.ACTIVE
        assert (await stage.one.access.access_token(grant.connection_id)).reveal() == token
    for one in ("1000", "1001"):
        with pytest.raises(AmbiguousProperty):
            await stage.one.ids.resolve(one)


# --- through a connection's own link


@pytest.mark.row("F87")
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("forgotten", [False, True])
async def test_another_hotel_approves_for_one_that_left(stage: Stage, named: bool, forgotten: bool) -> None:
    """Its connection does not become that hotel's: its programs would write to the wrong one."""
    old = await stage.connected(KNOWN)
    await stage.one.store.write(disconnect(old.connection_id))
    if forgotten:  # who approved is; which property it was is shown all the same
        await stage.one.store.write(forget(old.connection_id))
    stage.vendor.listed = () if named else ("2000",)
    answer = issued("new", property_ids=("2000",) if named else ())
    with pytest.raises(PropertyMismatch, match="2000"):
        await approves(stage, answer, connection_id=old.connection_id)
    shown = await stage.one.views.connection(old.connection_id)
    assert (shown.state, shown.property_ids) == (State.DISCONNECTED, ("1000",))
    assert await resolve(stage.one.store, "2000") == []


@pytest.mark.row("F87")
async def test_the_same_hotel_approves_for_one_that_left(stage: Stage) -> None:
    """With what has joined its group meanwhile."""
    old = await stage.connected(KNOWN)
    await stage.one.store.write(disconnect(old.connection_id))
    found = (await comes_back(stage, connection_id=old.connection_id)).connection
    assert (found.id, found.state, found.property_ids) == (old.connection_id, State.FRESH, ("1000", "1001"))
