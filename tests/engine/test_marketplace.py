"""A hotel that began in the Marketplace: exchanged once, used by nobody until it is claimed, gone after a day."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.fakes import issued
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ConnectionDisconnected,
    InvalidRequest,
    RateLimited,
    TokenEndpointUnavailable,
    Unclaimed,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import DeadToken
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Role
from cloudbeds_auth.rules.redirects import MOST_PARKED, STATE_PREFIX
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Refused
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.marketplace import claim

DAY = 86400.0


async def arrived(stage: Stage, number: int | str = 1, property_id: str = "1000") -> Connection:
    """It brought a code, and nobody knows it."""
    stage.endpoint.will(issued(number, property_ids=(property_id,)))
    return (await stage.one.authorizer.arrive(code=f"code-{number}")).connection


async def test_it_waits(stage: Stage) -> None:
    """Its code was exchanged; its token was shown to nobody, not even to Cloudbeds to see whether it works."""
    found = await arrived(stage)
    assert (found.state, found.property_ids, stage.endpoint.codes) == (State.PARKED, ("1000",), ["code-1"])
    seen = await stage.one.views.connection(found.id)
    assert seen.next_step is not None
    assert "claim" in seen.next_step
    assert stage.vendor.asked == []


@pytest.mark.parametrize("ask", ["access_token", "refresh_now"])
async def test_it_is_used_by_nobody(stage: Stage, ask: str) -> None:
    """Whoever asks for a token, or for a refresh, is told that it has to be claimed; nothing is sent."""
    found = await arrived(stage)
    with pytest.raises(Unclaimed) as told:
        await getattr(stage.one.access, ask)(found.id)
    assert told.value.connection_id == found.id
    assert (stage.endpoint.sent, stage.vendor.asked) == ([], [])


async def test_a_property_never_leads_to_it(stage: Stage) -> None:
    """A caller who names the property does not find it."""
    await arrived(stage)
    with pytest.raises(UnknownConnection):
        await stage.one.ids.resolve("1000")


async def test_it_is_claimed(stage: Stage) -> None:
    """From then on it is a connection like any other: proven, in use, under the claimer's own name."""
    found = await arrived(stage)
    assert await stage.one.authorizer.claim(found.id, "tenant-7") == found.id
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-1"
    seen = await stage.one.views.connection(found.id)
    assert (seen.state, seen.reference, stage.vendor.asked) == (State.FRESH, "tenant-7", ["A-1"])


async def test_it_is_claimed_after_its_token_ran_out(stage: Stage) -> None:
    """The refresh token was kept: one refresh, and it is in use."""
    found = await arrived(stage)
    await stage.clock.sleep(4 * 3600.0)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    await stage.one.authorizer.claim(found.id, None)
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


async def test_a_connected_hotel_comes_from_the_marketplace(stage: Stage) -> None:
    """Until it is claimed its connection goes on as it was; then the new grant takes over there, once it is proven."""
    known = await stage.connected()
    found = await arrived(stage, 2)
    assert (await stage.one.access.access_token(known.connection_id)).reveal() == "A-1"
    stage.one.access.forget(known.connection_id)
    assert await stage.one.authorizer.claim(found.id, None) == known.connection_id
    assert (await stage.one.access.access_token(known.connection_id)).reveal() == "A-2"
    assert (await stage.row(known.id)).role is Role.SUPERSEDED
    assert (await stage.one.views.connection(found.id)).state is State.SUPERSEDED
    with pytest.raises(ConnectionDisconnected):
        await stage.one.access.access_token(found.id)


async def test_one_that_does_not_work_takes_nobodys_place(stage: Stage) -> None:
    """Claimed for a connected hotel and refused by Cloudbeds: the connection keeps what it had."""
    known = await stage.connected()
    found = await arrived(stage, 2)
    stage.vendor.thinks("A-2", DeadToken())
    stage.endpoint.will(Refused("revoked"))
    await stage.one.authorizer.claim(found.id, None)
    assert (await stage.one.access.access_token(known.connection_id)).reveal() == "A-1"
    assert (await stage.row(known.id)).role is Role.ACTIVE


async def test_what_nobody_parked_is_not_claimed(stage: Stage) -> None:
    """A connection in use, and one that nobody knows: said, and nothing changes."""
    known = await stage.connected()
    with pytest.raises(InvalidRequest, match="nothing waits"):
        await stage.one.authorizer.claim(known.connection_id, "tenant-8")
    with pytest.raises(UnknownConnection):
        await stage.one.authorizer.claim("con_nobody", None)
    assert (await stage.one.views.connection(known.connection_id)).reference is None


async def test_a_double_click_and_a_reload(stage: Stage) -> None:
    """One code is exchanged once; both are shown what it led to, and so is whoever reloads the page."""

    async def slow() -> Answer:
        await asyncio.sleep(1.0)
        return issued(1, property_ids=("1000",))

    stage.endpoint.will(slow)
    both = await asyncio.gather(*(stage.one.authorizer.arrive(code="one") for _ in range(2)))
    again = await stage.one.authorizer.arrive(code="one")
    assert {one.connection.id for one in (*both, again)} == {again.connection.id}
    assert stage.endpoint.codes == ["one"]


async def test_a_code_that_is_exchanged_elsewhere(stage: Stage) -> None:
    """Another process has it in hand: this one exchanges nothing."""
    other = await stage.process()

    async def meanwhile() -> Answer:
        with pytest.raises(AuthorizationExpired, match="so far"):
            await other.authorizer.arrive(code="one")
        return issued(1, property_ids=("1000",))

    stage.endpoint.will(meanwhile)
    await stage.one.authorizer.arrive(code="one")
    assert stage.endpoint.codes == ["one"]


async def test_a_made_up_code(stage: Stage) -> None:
    """Cloudbeds refuses it: nothing is parked."""
    stage.endpoint.will(Refused("the authorization code is invalid"))
    with pytest.raises(AuthorizationExpired):
        await stage.one.authorizer.arrive(code="made up")
    assert stage.sql("SELECT COUNT(*) FROM grants") == [(0,)]


async def test_an_answer_that_was_lost(stage: Stage) -> None:
    """The code is spent, and what it bought is nobody's: said, and the hotel connects again with another."""
    stage.endpoint.will(Ambiguous("lost"))
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.authorizer.arrive(code="code-1")
    with pytest.raises(AuthorizationExpired, match="has led to no connection"):
        await stage.one.authorizer.arrive(code="code-1")
    assert (await arrived(stage, 2)).state is State.PARKED


async def test_no_more_than_so_many_wait(stage: Stage) -> None:
    """The next one's code is not exchanged; the hotel is told, and whose work it is."""
    await arrived(stage)
    columns = "connection_id, app, kind, role, state, generation, expires_at, lifetime, stale_at, clock_id, received_at"
    for number in range(MOST_PARKED - 1):
        stage.sql(f"INSERT INTO grants (id, ordinal, {columns}, shown) SELECT ?, ?, {columns}, '' FROM grants "
                  "WHERE ordinal = 1", f"g{number}", -number)  # fmt: skip
    with pytest.raises(RateLimited) as full:
        await stage.one.authorizer.arrive(code="one too many")
    assert "operator" in (full.value.next_step or "")
    assert stage.endpoint.codes == ["code-1"]


async def test_a_day_unclaimed(stage: Stage) -> None:
    """Everything of it is deleted, its history too; what was claimed before stays."""
    found, claimed = await arrived(stage), await arrived(stage, 2, "1001")
    await stage.one.authorizer.claim(claimed.id, None)
    await stage.clock.sleep(DAY - 60.0)
    await stage.one.upkeep.tick()
    assert (await stage.one.views.connection(found.id)).state is State.PARKED
    await stage.clock.sleep(61.0)
    await stage.one.upkeep.tick()
    with pytest.raises(UnknownConnection):
        await stage.one.views.connection(found.id)
    assert stage.sql("SELECT COUNT(*) FROM tokens") == [(1,)]
    assert stage.notes.times("arrival_discarded") == 1
    assert (await stage.one.views.connection(claimed.id)).property_ids == ("1001",)


async def test_it_is_claimed_while_it_is_about_to_be_deleted(stage: Stage) -> None:
    """Found due, then claimed by somebody else: it stays."""
    found = await arrived(stage)
    await stage.clock.sleep(DAY)
    stage.one.driver.after("grant", lambda: stage.one.store.write(claim(found.id, None, "gra_new")))
    await stage.one.upkeep.tick()
    assert (await stage.one.views.connection(found.id)).state is State.IN_DOUBT
    assert stage.notes.times("arrival_discarded") == 0


async def test_it_is_sent_away(stage: Stage) -> None:
    """An operator who does not know the hotel: Cloudbeds is told with its own token, and none is left to use."""
    found = await arrived(stage)
    await stage.one.disconnecter.disconnect(found.id, forget=False)
    assert stage.vendor.disabled == [("A-1", ("1000",))]
    with pytest.raises(ConnectionDisconnected):
        await stage.one.access.access_token(found.id)
    with pytest.raises(InvalidRequest):
        await stage.one.authorizer.claim(found.id, None)


async def test_it_is_sent_away_after_its_token_ran_out(stage: Stage) -> None:
    """Nobody refreshes what nobody claimed, not even to say goodbye: forgotten, and the history says so."""
    found = await arrived(stage)
    await stage.clock.sleep(4 * 3600.0)
    stage.vendor.disables = False
    await stage.one.disconnecter.disconnect(found.id, forget=False)
    assert stage.endpoint.sent == []
    (event,) = [one for one in await stage.one.store.read(read_history(found.id)) if one.kind == "disconnected"]
    assert "not refreshed" in str(event.data["detail"])


async def test_its_link_leads_to_where_it_is_claimed(stage: Stage) -> None:
    """Below the public URL; shown with the connection."""
    shown = await stage.one.views.linked(await arrived(stage))
    assert shown.connect_url == stage.one.world.claim_url(shown.id)
    assert shown.connect_url.endswith(f"/claim/{shown.id}")


async def test_states_of_ours_are_told_from_the_vendors(stage: Stage) -> None:
    """Each begins alike, so that one that was forgotten long ago is refused and not taken for an arrival's."""
    assert (await stage.one.authorizer.begin()).state.startswith(STATE_PREFIX)


async def test_a_refresh_is_never_sent_for_it(stage: Stage) -> None:
    """Stale, expired, used in a rejected call: only a claim changes that."""
    found = await arrived(stage)
    await stage.clock.sleep(2 * 3600.0)
    for ask in (stage.one.access.access_token, stage.one.access.refresh_now):
        with pytest.raises(Unclaimed):
            await ask(found.id)
    await stage.one.upkeep.tick()
    assert stage.endpoint.sent == []
    assert await stage.tokens((await current_grant(stage.one.store, found.id)).id) == ["R-1"]  # type: ignore[union-attr]
