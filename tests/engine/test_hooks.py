"""A hotel that leaves at Cloudbeds: a hint makes us ask, and only what Cloudbeds itself says ends a connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.support.fakes import APP, key, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.engine.disconnect import APART, AT_ONCE, LEFT_OUT, MOST_WAITING, AppStates
from cloudbeds_auth.errors import ConnectionDisconnected, RefreshInDoubt
from cloudbeds_auth.ports import AppState, Throttled
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.schedule import PAUSE, RETRY_FIRST
from cloudbeds_auth.rules.token_response import Refused
from cloudbeds_auth.rules.webhooks import POLL
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.outbox import claim_messages

DISABLED, REFUSED, NOTHING = AppState("disabled"), AppState(refused=True), AppState()


@pytest.fixture
async def app_states(stage: Stage) -> AsyncIterator[AppStates]:
    """Of the first process."""
    made = stage.one.app_states
    yield made
    await made.stop()


def payload(property_id: str = "1000", state: str = "disabled", **more: object) -> bytes:
    """As Cloudbeds posts it."""
    told = {"event": "integration/appstate_changed", "newState": state, "propertyID_str": property_id}
    return json.dumps(told | more).encode()


async def state_of(stage: Stage, grant: Grant) -> State:
    """How the connection looks."""
    found = await stage.one.store.read(read_connection(grant.connection_id))
    assert found is not None
    return found.state


async def hinted(stage: Stage, app_states: AppStates, body: bytes) -> None:
    """The payload came, and everything it led to is over."""
    app_states.hint(body)
    await asyncio.sleep(1)
    await stage.one.world.tasks.drain()


async def looked_at_twice(stage: Stage, app_states: AppStates, body: bytes) -> None:
    """The payload came, and a second look an interval later."""
    await hinted(stage, app_states, body)
    await asyncio.sleep(stage.timing.refusal_interval + 1)
    await stage.one.upkeep.tick()
    await stage.one.idle()


@pytest.mark.row("F95")
@pytest.mark.parametrize("dead", [DeadGrant("revoked"), DeadToken()])
async def test_cloudbeds_says_so_itself(stage: Stage, app_states: AppStates, dead: Verdict) -> None:
    """Disconnected by the hotel, and the grant is dead at a second look: `/userinfo` names it, or rejects the token and
    every refresh token is refused. The tokens stay sealed, and a message waits.
    """
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = DISABLED
    stage.vendor.thinks("A-1", dead)
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    await looked_at_twice(stage, app_states, payload(clientID=APP.client_id))
    assert await state_of(stage, grant) is State.DISCONNECTED
    with pytest.raises(ConnectionDisconnected) as raised:
        await stage.one.access.access_token(grant.connection_id)
    assert raised.value.connection_id == grant.connection_id
    said = "Cloudbeds says that the hotel disconnected the app, and refuses every stored token"
    assert raised.value.detail == said
    assert await stage.tokens(grant.id) == ["R-1"]
    assert stage.vendor.disabled == []
    assert (await stage.kinds(grant.connection_id))[-1] == "disabled_at_cloudbeds"
    kinds = [one.kind for one in await stage.one.store.write(claim_messages(9, 60.0))]
    assert kinds == ["connection.connected", "connection.disconnected"]


@pytest.mark.row("F95")
@pytest.mark.parametrize("face", ["a hook", "an answer"])
async def test_a_disabled_that_is_not_true(stage: Stage, app_states: AppStates, face: str) -> None:
    """Said once while `/userinfo` works: nothing is deleted, callers are served, and the history says so."""
    grant = await stage.connected(pair(1, lifetime=1e6, property_ids=("1000",)))
    stage.vendor.app_states["1000"] = DISABLED
    if face == "an answer":
        await asyncio.sleep(POLL)
        await app_states.tick()
        await stage.one.world.tasks.drain()
    else:
        await looked_at_twice(stage, app_states, payload())
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    assert await stage.tokens(grant.id) == ["R-1"]
    assert await state_of(stage, grant) is State.FRESH
    assert (await stage.kinds(grant.connection_id))[-2:] == ["disabled_said", "disabled_withdrawn"]
    assert stage.endpoint.sent == []


@pytest.mark.row("F95")
async def test_a_disabled_said_after_a_refused_pass(stage: Stage, app_states: AppStates) -> None:
    """Everything is refused by mistake, and between the two passes Cloudbeds says *disabled*: that was looked at once.
    It is the mark of any refused grant.
    """
    grant = await stage.connected()
    await stage.clock.sleep(3300.0)
    stage.endpoint.will(Refused("by mistake"), Refused("by mistake"))
    await stage.one.refresh(grant.id, 1)
    await stage.clock.sleep(stage.timing.refusal_interval + 1)
    stage.vendor.app_states["1000"] = DISABLED
    stage.vendor.thinks("A-1", DeadToken())
    await hinted(stage, app_states, payload())
    assert await state_of(stage, grant) is State.REAUTHORIZATION_REQUIRED
    assert (await stage.row(grant.id)).reauth == "revoked"
    assert (await stage.kinds(grant.connection_id))[-1] == "reauthorization_required"
    kinds = [one.kind for one in await stage.one.store.write(claim_messages(9, 60.0))]
    assert kinds == ["connection.connected", "connection.reauthorization_required"]


async def test_it_approves_again_and_that_is_in_doubt(stage: Stage, app_states: AppStates) -> None:
    """Nobody is told that it left: it has just come back, and Cloudbeds does not say yet whether that works."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = DISABLED
    stage.vendor.thinks("A-1", DeadGrant("revoked"))
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    await looked_at_twice(stage, app_states, payload())
    assert await state_of(stage, grant) is State.DISCONNECTED
    stage.vendor.thinks("A-new", Inconclusive("HTTP 503"))
    await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    with pytest.raises(RefreshInDoubt, match="the hotel approved again"):
        await stage.one.access.access_token(grant.connection_id)


@pytest.mark.row("F95")
async def test_a_disabled_hotel_that_lives(stage: Stage, app_states: AppStates) -> None:
    """Everything was refused by mistake, twice: it is tried again by itself, and a message says that it recovered."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = DISABLED
    stage.vendor.thinks("A-1", DeadGrant("revoked"))
    stage.endpoint.will(Refused("by mistake"))
    await looked_at_twice(stage, app_states, payload())
    assert await state_of(stage, grant) is State.DISCONNECTED
    stage.vendor.thinks("A-1", Proof())
    await stage.clock.sleep(RETRY_FIRST)
    await stage.one.upkeep.tick()
    assert await state_of(stage, grant) is State.FRESH
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    kinds = [one.kind for one in await stage.one.store.write(claim_messages(9, 60.0))]
    assert kinds == ["connection.connected", "connection.disconnected", "connection.recovered"]


@pytest.mark.row("F95")
async def test_an_operator_disconnects_what_left(stage: Stage, app_states: AppStates) -> None:
    """Then the tokens are deleted: an operator's word is the last."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = DISABLED
    stage.vendor.thinks("A-1", DeadGrant("revoked"))
    stage.endpoint.will(Refused("dead"))
    await looked_at_twice(stage, app_states, payload())
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=False)
    assert await stage.tokens(grant.id) == []
    assert await state_of(stage, grant) is State.DISCONNECTED
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=False)


async def test_a_hotel_with_a_key_of_the_second_credentials(stage: Stage, app_states: AppStates) -> None:
    """The move was made with them, so Cloudbeds names their client id; it is asked, and said to be disconnected."""
    grant = await stage.connected(key(1, "1000").pair)
    stage.vendor.app_states["1000"] = DISABLED
    stage.vendor.thinks("cbat_1", DeadToken())
    await hinted(stage, app_states, payload(clientID="the second one"))
    await asyncio.sleep(stage.timing.refusal_interval + 1)
    await hinted(stage, app_states, payload(clientID="the second one"))
    assert await state_of(stage, grant) is State.DISCONNECTED


@pytest.mark.parametrize("state", ["enabled", "pending", "installing"])
async def test_a_forged_hint(stage: Stage, app_states: AppStates, state: str) -> None:
    """Cloudbeds says otherwise: one question, and nothing changes."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = AppState(state)
    await hinted(stage, app_states, payload())
    assert stage.vendor.asked_states == ["1000"]
    assert await state_of(stage, grant) is State.FRESH


@pytest.mark.parametrize(
    "body",
    [
        payload(state="enabled"),
        payload("no such property"),
        payload(clientID="somebody else's"),
        b"not JSON",
    ],
)
async def test_a_hint_about_nothing_of_ours(stage: Stage, app_states: AppStates, body: bytes) -> None:
    """Cloudbeds is not even asked."""
    await stage.connected()
    await hinted(stage, app_states, body)
    assert stage.vendor.asked_states == []


async def test_asked_too_often(stage: Stage, app_states: AppStates) -> None:
    """A 429 is no disconnect either, and everybody's pause."""
    grant = await stage.connected()
    stage.vendor.throttled = Throttled(30.0)
    await hinted(stage, app_states, payload())
    assert stage.notes.times("vendor_rate_limited") == 1
    assert stage.notes.facts("app_state_failed") == [{"connection_id": grant.connection_id, "error": "rate_limited"}]
    assert await state_of(stage, grant) is State.FRESH


async def test_an_outage_is_no_disconnect(stage: Stage, app_states: AppStates) -> None:
    """No answer: nothing changes, and the token is not doubted."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = NOTHING
    await hinted(stage, app_states, payload())
    assert await state_of(stage, grant) is State.FRESH
    assert stage.notes.times("grant_suspected") == 0


@pytest.mark.row("F37")
async def test_a_session_that_is_gone_already(stage: Stage, app_states: AppStates) -> None:
    """Instead of a state Cloudbeds refuses: `/userinfo` is asked, and again later; then the hotel has to approve."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = REFUSED
    stage.vendor.thinks("A-1", DeadGrant("revoked"))
    await hinted(stage, app_states, payload())
    assert await state_of(stage, grant) is State.BACKING_OFF
    await asyncio.sleep(stage.timing.refusal_interval + 1)
    await hinted(stage, app_states, payload())
    assert await state_of(stage, grant) is State.REAUTHORIZATION_REQUIRED
    stage.vendor.asked_states.clear()
    await asyncio.sleep(APART)
    await hinted(stage, app_states, payload())
    assert stage.vendor.asked_states == [], "what is marked is not asked about"


async def test_a_refusal_while_the_token_works(stage: Stage, app_states: AppStates) -> None:
    """Of this method alone: nothing changes."""
    grant = await stage.connected()
    stage.vendor.app_states["1000"] = REFUSED
    await hinted(stage, app_states, payload())
    assert stage.notes.times("grant_suspected") == 1
    assert await state_of(stage, grant) is State.FRESH


async def test_a_property_level_client_has_no_app_state(stage: Stage) -> None:
    """`/userinfo` is asked instead."""
    grant = await stage.connected()
    process = await stage.process(apps={"default": replace(APP, level="property")})
    app_states = process.app_states
    asked = len(stage.vendor.asked)
    app_states.hint(payload())
    await asyncio.sleep(1)
    await process.world.tasks.drain()
    assert stage.vendor.asked_states == []
    assert stage.vendor.asked[asked:] == ["A-1"]
    assert await state_of(stage, grant) is State.FRESH


async def test_one_of_several_properties(stage: Stage, app_states: AppStates) -> None:
    """The connection lives on, and says what calls will run into; the hinted property is asked about first."""
    grant = await stage.connected(pair(1, property_ids=("1000", "1001", "1002")))
    stage.vendor.app_states["1001"] = DISABLED
    await hinted(stage, app_states, payload("1001"))
    assert stage.vendor.asked_states == ["1001", "1000"]
    found = await stage.one.views.connection(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, LEFT_OUT)
    assert found.next_step is not None
    assert "stop calling" in found.next_step


async def test_all_of_several_properties(stage: Stage, app_states: AppStates) -> None:
    """Then the connection is over, once its grant is dead."""
    grant = await stage.connected(pair(1, property_ids=("1000", "1001")))
    stage.vendor.app_states |= {"1000": DISABLED, "1001": DISABLED}
    stage.vendor.thinks("A-1", DeadGrant("revoked"))
    stage.endpoint.will(Refused("dead"))
    await looked_at_twice(stage, app_states, payload("1001"))
    assert await state_of(stage, grant) is State.DISCONNECTED


async def test_a_grant_whose_properties_are_unknown(stage: Stage, app_states: AppStates) -> None:
    """Asked about as a whole, when its turn comes."""
    grant = await stage.connected(pair(1))
    stage.vendor.app_states[None] = DISABLED
    await asyncio.sleep(POLL)
    stage.vendor.listed = ()
    stage.sql("UPDATE grants SET expires_at = expires_at + 1000000, stale_at = stale_at + 1000000, lifetime = 2000000")
    await app_states.tick()
    await stage.one.world.tasks.drain()
    assert stage.vendor.asked_states == [None]
    assert (await stage.kinds(grant.connection_id))[-2:] == ["disabled_said", "disabled_withdrawn"]


async def test_a_hotel_that_approved_again_meanwhile(stage: Stage, app_states: AppStates) -> None:
    """What Cloudbeds said was of the former approval: neither is deleted."""
    grant = await stage.connected()

    async def again(access: object, property_id: object) -> AppState:
        await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
        return DISABLED

    stage.vendor.app_state = again  # type: ignore[method-assign]
    await hinted(stage, app_states, payload())
    assert await stage.tokens(grant.id) == ["R-1"]
    assert await state_of(stage, grant) is State.FRESH
    assert (await stage.row(grant.id)).lease_left == 0.0
    assert stage.notes.times("disconnected") == 0


async def test_a_new_approval_is_promoted_while_the_old_token_is_read(stage: Stage, app_states: AppStates) -> None:
    """The token that was lent is the new one's: its state is not asked about for the old."""
    grant = await stage.connected()
    await stage.one.access.access_token(grant.connection_id)
    newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    await stage.one.store.write(promote(grant.connection_id, newer.id, newer.generation, None, ()))
    await hinted(stage, app_states, payload())
    assert stage.vendor.asked_states == []


async def test_a_flood_costs_one_question_a_rest(stage: Stage, app_states: AppStates) -> None:
    """However many come; the last of them is not lost."""
    await stage.connected()
    for _ in range(3):
        for _ in range(50):
            app_states.hint(payload())
        await asyncio.sleep(0.1)
    assert len(stage.vendor.asked_states) == 1
    await asyncio.sleep(APART)
    assert len(stage.vendor.asked_states) == 2
    await asyncio.sleep(3 * APART)
    assert len(stage.vendor.asked_states) == 2


async def test_more_hints_than_are_followed(
    stage: Stage, app_states: AppStates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are dropped and counted; memory does not grow, of neither the hints nor the connections."""
    monkeypatch.setattr("cloudbeds_auth.engine.disconnect.MOST_REMEMBERED", 1)
    for at in range(2):
        await stage.connected(pair(f"{at}", property_ids=(str(2000 + at),)))
        await hinted(stage, app_states, payload(str(2000 + at)))
    assert len(app_states._not_before) == 1
    for at in range(MOST_WAITING + 5):
        app_states.hint(payload(f"{at}"))
    assert stage.notes.times("hint_dropped") == 5


async def test_a_store_that_is_away(stage: Stage, app_states: AppStates) -> None:
    """The hint is lost, which asking makes up for; nothing breaks."""
    await stage.connected()
    stage.one.driver.dark = True
    await hinted(stage, app_states, payload())
    stage.one.driver.dark = False
    stage.one.access.forget(next(iter(await resolve(stage.one.store, "1000"))))
    stage.one.driver.refuse("current")
    await hinted(stage, app_states, payload())
    assert stage.notes.times("app_state_failed") + stage.notes.times("store_unavailable") > 0
    assert stage.vendor.asked_states == []


# --- asking


async def test_each_connection_is_asked_about_now_and_then(stage: Stage, app_states: AppStates) -> None:
    """A minute after it connected, and twice a day."""
    for at in range(3):
        await stage.connected(pair(f"{at}", lifetime=1e6, property_ids=(str(1000 + at),)))
    assert 0.0 < await app_states.tick() <= PAUSE
    assert stage.vendor.asked_states == []
    await asyncio.sleep(POLL)
    await app_states.tick()
    assert sorted(map(str, stage.vendor.asked_states)) == ["1000", "1001", "1002"]
    await app_states.tick()
    assert len(stage.vendor.asked_states) == 3


async def test_many_are_asked_about_a_few_at_a_time(stage: Stage, app_states: AppStates) -> None:
    """And the next tick comes at once."""
    for at in range(AT_ONCE + 1):
        await stage.connected(pair(f"{at}", lifetime=1e6, property_ids=(str(1000 + at),)))
    await asyncio.sleep(POLL)
    assert await app_states.tick() == 0.0
    assert await app_states.tick() > 0.0
    assert len(stage.vendor.asked_states) == AT_ONCE + 1
