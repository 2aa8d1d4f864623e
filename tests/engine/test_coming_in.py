"""Rule 13 and the way in: states, exchanges, candidates, the pointer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from tests.support.fakes import issued, pair
from tests.support.stage import Process, Stage, with_secrets
from tests.support.virtual import settle

from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ClientRefused,
    InvalidRequest,
    RateLimited,
    RefreshPending,
    StateMismatch,
    TokenEndpointUnavailable,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Finished, Grant, Role, User
from cloudbeds_auth.rules.schedule import RETRY_FIRST
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, NotSent, Refused, RefusedClient
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import disconnect, list_connections

ADA = User("9001", "Ada Lindqvist", "ada@hotel.example")
HOUR = 3700.0


async def approve(process: Process, answer: Answer, **parts: Any) -> Finished:
    """The whole way in; the exchange is answered so."""
    begun = await process.authorizer.begin(**parts)
    process.world.token_endpoint.will(answer)  # type: ignore[attr-defined]  # the stage's scripted one
    return await process.authorizer.finish(code="code", state=begun.state)


# --- beginning and finishing


async def test_a_hotel_connects(stage: Stage) -> None:
    """State, code, pair, proof, pointer: a fresh connection with who approved and what it covers."""
    stage.vendor.thinks("A-1", Proof(ADA))
    begun = await stage.one.authorizer.begin(reference="tenant-7", return_to="/done")
    assert begun.state in begun.url
    assert begun.expires_at.timestamp() == pytest.approx(stage.clock.wall() + 600.0)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code-1", state=begun.state)
    connection = finished.connection
    assert finished.return_to == "/done"
    assert (connection.state, connection.reference, connection.property_ids) == (State.FRESH, "tenant-7", ("1000",))
    assert (connection.authorizing_user, connection.generation) == (ADA, 1)
    assert stage.endpoint.codes == ["code-1"]
    assert (await stage.one.access.access_token(connection.id)).reveal() == "A-1"


async def test_property_ids_are_learnt_where_the_answer_names_none(stage: Stage) -> None:
    """No `resources`: the hotels are asked for (never the first of many picked)."""
    stage.vendor.listed = ("1000", "1001")
    finished = await approve(stage.one, issued(1))
    assert finished.connection.property_ids == ("1000", "1001")
    assert await resolve(stage.one.store, "1001") == [finished.connection.id]


async def test_scopes_that_the_answer_does_not_name(stage: Stage) -> None:
    """They are those that were asked for."""
    begun = await stage.one.authorizer.begin()
    answer = issued(1)
    object.__setattr__(answer.pair, "scopes", None)
    stage.endpoint.will(answer)
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.scopes == ("read:hotel",)


@pytest.mark.parametrize("browser", [None, "browser-1"])
async def test_a_state_of_nobody(stage: Stage, browser: str | None) -> None:
    """A state that was never issued: refused, nothing is exchanged."""
    with pytest.raises(StateMismatch):
        await stage.one.authorizer.finish(code="code", state="forged", browser=browser)
    assert stage.endpoint.codes == []


@pytest.mark.parametrize(("begun_in", "back_in"), [("one", "two"), ("one", None), (None, "two")])
async def test_a_state_of_another_browser(stage: Stage, begun_in: str | None, back_in: str | None) -> None:
    """A state comes back from where it was issued, or not at all; the right browser may still finish."""
    begun = await stage.one.authorizer.begin(browser=begun_in)
    with pytest.raises(StateMismatch):
        await stage.one.authorizer.finish(code="code", state=begun.state, browser=back_in)
    assert stage.endpoint.codes == []
    stage.endpoint.will(issued(1))
    await stage.one.authorizer.finish(code="code", state=begun.state, browser=begun_in)
    assert stage.endpoint.codes == ["code"]


@pytest.mark.row("F83")
async def test_a_state_older_than_ten_minutes(stage: Stage) -> None:
    """Expired: start again."""
    begun = await stage.one.authorizer.begin()
    await stage.clock.sleep(600.0)
    with pytest.raises(AuthorizationExpired):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    assert stage.endpoint.codes == []


@pytest.mark.row("F82")
async def test_the_second_click_sees_the_first_ones_result(stage: Stage) -> None:
    """Double click, reload, prefetch: one exchange, the same connection."""
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1))
    both = await asyncio.gather(
        *(stage.one.authorizer.finish(code="code", state=begun.state) for _ in range(3)),
    )
    later = await stage.one.authorizer.finish(code="code", state=begun.state)
    other_process = await (await stage.process()).authorizer.finish(code="code", state=begun.state)
    assert {one.connection.id for one in (*both, later, other_process)} == {later.connection.id}
    assert stage.endpoint.codes == ["code"]


async def test_a_state_with_another_code(stage: Stage) -> None:
    """Spent with one code, it exchanges no other."""
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1))
    await stage.one.authorizer.finish(code="code", state=begun.state)
    with pytest.raises(StateMismatch):
        await stage.one.authorizer.finish(code="other", state=begun.state)
    assert stage.endpoint.codes == ["code"]


@pytest.mark.row("F83")
async def test_a_spent_code(stage: Stage) -> None:
    """The vendor refuses the code: start again; the good connection of the same hotel is untouched."""
    good = await stage.connected()
    with pytest.raises(AuthorizationExpired):
        await approve(stage.one, Refused("HTTP 401"), connection_id=good.connection_id)
    assert (await stage.row(good.id)).role is Role.ACTIVE
    assert (await stage.one.access.access_token(good.connection_id)).reveal() == "A-1"


async def test_an_ambiguous_exchange_is_not_repeated(stage: Stage) -> None:
    """A code is good for one try: lost answer, start again."""
    with pytest.raises(TokenEndpointUnavailable) as raised:
        await approve(stage.one, Ambiguous("HTTP 502"))
    assert "start again" in raised.value.next_step
    assert stage.endpoint.codes == ["code"]


@pytest.mark.row("F84")
async def test_a_process_that_dies_between_the_exchange_and_its_storing(stage: Stage) -> None:
    """The new pair is nobody's: the old one of the same hotel goes on, and the spent code is not sent again."""
    good, other = await stage.connected(), await stage.process()
    begun = await stage.one.authorizer.begin(connection_id=good.connection_id)

    async def nothing_can_be_stored() -> Answer:
        stage.one.driver.dark = True
        return issued(2, property_ids=("1000",))

    stage.endpoint.will(nothing_can_be_stored)
    finishing = asyncio.create_task(stage.one.authorizer.finish(code="code", state=begun.state))
    await stage.clock.sleep(5.0)
    for task in (*stage.one.world.tasks._running.values(), finishing):
        task.cancel()
    await stage.kill(stage.one)
    with pytest.raises(AuthorizationExpired, match="no connection has come of it") as told:
        await other.authorizer.finish(code="code", state=begun.state)
    assert "start again" in told.value.next_step
    assert (await other.access.access_token(good.connection_id)).reveal() == "A-1"
    assert stage.endpoint.codes == ["code"]


@pytest.mark.row("F88")
async def test_a_process_that_dies_between_the_start_and_the_callback(stage: Stage) -> None:
    """The state rests in the store: whoever gets the callback finishes what another process began."""
    begun, other = await stage.one.authorizer.begin(reference="tenant-7"), await stage.process()
    await stage.kill(stage.one)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await other.authorizer.finish(code="code", state=begun.state)
    assert (finished.connection.state, finished.connection.reference) == (State.FRESH, "tenant-7")


async def test_an_unsent_exchange_is_tried_again(stage: Stage) -> None:
    """No connection came about: the code is whole, three tries in all."""
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(NotSent("no route"), NotSent("no route"), issued(1))
    await stage.one.authorizer.finish(code="code", state=begun.state)
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(*[NotSent("no route")] * 3)
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.authorizer.finish(code="code-2", state=begun.state)
    assert stage.endpoint.codes == ["code"] * 3 + ["code-2"] * 3


async def test_a_refused_client_at_the_exchange(stage: Stage) -> None:
    """Our secret is refused: the operator is told."""
    with pytest.raises(ClientRefused):
        await approve(stage.one, RefusedClient("HTTP 401"))
    with pytest.raises(ClientRefused):
        await approve(stage.one, issued(1))
    assert stage.endpoint.codes == ["code"]


async def test_the_previous_secret_at_the_exchange(stage: Stage) -> None:
    """One secret refused, the other taken: the hotel is connected all the same."""
    both = await stage.process(apps={"default": with_secrets(Secret("new"), Secret("old"))})
    begun = await both.authorizer.begin()
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(1))
    await both.authorizer.finish(code="code", state=begun.state)
    assert stage.endpoint.secrets == ["new", "old"]


@pytest.mark.row("F81")
async def test_a_closed_tab_loses_no_code(stage: Stage) -> None:
    """The browser hangs up, and vendor and database take 90 s and more: one exchange, and the connection is there."""
    begun = await stage.one.authorizer.begin(reference="tenant-7")

    async def slow() -> Answer:
        await stage.clock.sleep(15.0)
        stage.one.driver.writes_fail = True
        return issued(1, property_ids=("1000",))

    stage.endpoint.will(slow)
    tab = asyncio.create_task(stage.one.authorizer.finish(code="code", state=begun.state))
    await settle()
    tab.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tab
    await stage.clock.sleep(90.0)
    assert (await stage.one.store.read(list_connections(reference="tenant-7"))).connections == ()
    stage.one.driver.writes_fail = False
    await stage.one.world.tasks.drain()
    (connection,) = (await stage.one.store.read(list_connections(reference="tenant-7"))).connections
    assert connection.state is State.FRESH
    assert stage.endpoint.codes == ["code"]


async def test_a_grant_in_hand_waits_for_the_store(stage: Stage) -> None:
    """The disk is full after the exchange: the pair is kept, stored as soon as it can be; a caller is told to wait."""
    begun = await stage.one.authorizer.begin()

    async def full() -> Answer:
        stage.one.driver.writes_fail = True
        return issued(1, property_ids=("1000",))

    stage.endpoint.will(full)
    with pytest.raises(RefreshPending):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    assert stage.vendor.asked == []
    stage.one.driver.writes_fail = False
    await stage.one.world.tasks.drain()
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.state is State.FRESH
    assert stage.endpoint.codes == ["code"]


async def test_a_grant_whose_storing_was_lost_is_stored_once(stage: Stage) -> None:
    """Written, and the answer lost: the repeat finds it."""
    stage.one.driver.forget("add_grant")
    finished = await approve(stage.one, issued(1, property_ids=("1000",)))
    assert stage.sql("SELECT COUNT(*) FROM grants") == [(1,)]
    assert finished.connection.state is State.FRESH


async def test_an_approval_for_a_connection_that_is_not_there(stage: Stage) -> None:
    """Refused when it is begun: otherwise its grant would never find a home (and the exchange no end)."""
    with pytest.raises(UnknownConnection):
        await stage.one.authorizer.begin(connection_id="con_nobody")


async def test_an_app_that_is_not_there(stage: Stage) -> None:
    """A typing error is told."""
    with pytest.raises(InvalidRequest, match="nobody"):
        await stage.one.authorizer.begin(app="nobody")


async def test_a_denial(stage: Stage) -> None:
    """The hotel said no: the state is spent, and the browser goes where it wanted."""
    begun = await stage.one.authorizer.begin(return_to="/back")
    assert await stage.one.authorizer.deny(state=begun.state) == "/back"
    with pytest.raises(StateMismatch):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    with pytest.raises(StateMismatch):
        await stage.one.authorizer.deny(state="forged")


# --- links


async def test_one_link_approved_in_two_browsers_at_one_moment(stage: Stage) -> None:
    """Both exchanges are under way: the first to be stored is the connection's, the other is told so, and all ends."""
    link = await stage.one.authorizer.create_link(
        app=None, reference=None, return_to=None, connection_id=None, expires_in=86400.0
    )
    begun = [await stage.one.authorizer.begin_from_link(link.token, browser) for browser in ("b1", "b2")]

    async def slow(number: int) -> Answer:
        await stage.clock.sleep(1.0)
        return issued(number, property_ids=(f"{number}000",))

    stage.endpoint.will(partial(slow, 1), partial(slow, 2))
    finishing = [
        stage.one.authorizer.finish(code=browser, state=one.state, browser=browser)
        for one, browser in zip(begun, ("b1", "b2"), strict=True)
    ]
    first, second = await asyncio.gather(*finishing, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, StateMismatch)
    assert stage.notes.times("commit_waits") == 0
    await stage.one.idle()


@pytest.mark.row("F102")
async def test_an_approval_whose_state_was_swept_meanwhile(stage: Stage) -> None:
    """The database was away for longer than a state is remembered: that ends it, and nothing is tried for ever."""
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    stage.one.driver.after("spend_state", lambda: _forgotten(stage))
    with pytest.raises(StateMismatch):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    await stage.one.idle()


async def _forgotten(stage: Stage) -> None:
    stage.sql("DELETE FROM authorizations")


async def test_a_link_until_it_led_to_a_connection(stage: Stage) -> None:
    """It may be opened twice, and connects once."""
    link = await stage.one.authorizer.create_link(
        app="default", reference="tenant-7", return_to="/done", connection_id=None, expires_in=60.0
    )
    assert link.expires_at.timestamp() == pytest.approx(stage.clock.wall() + 60.0)
    first = await stage.one.authorizer.begin_from_link(link.token, "browser")
    second = await stage.one.authorizer.begin_from_link(link.token, "browser")
    stage.endpoint.will(issued(1))
    finished = await stage.one.authorizer.finish(code="code", state=second.state, browser="browser")
    assert (finished.connection.reference, finished.return_to) == ("tenant-7", "/done")
    with pytest.raises(AuthorizationExpired):
        await stage.one.authorizer.begin_from_link(link.token, "browser")
    assert first.state != second.state


async def test_a_link_that_expired_or_never_was(stage: Stage) -> None:
    """Both are told the same."""
    link = await stage.one.authorizer.create_link(
        app="default", reference=None, return_to=None, connection_id=None, expires_in=60.0
    )
    await stage.clock.sleep(60.0)
    for token in (link.token, "forged"):
        with pytest.raises(AuthorizationExpired):
            await stage.one.authorizer.begin_from_link(token, None)


async def test_a_link_for_a_connection(stage: Stage) -> None:
    """It names one that is there; the hotel that reconnects keeps its id."""
    old = await stage.connected()
    with pytest.raises(UnknownConnection):
        await stage.one.authorizer.create_link(
            app="default", reference=None, return_to=None, connection_id="con_nobody", expires_in=60.0
        )
    link = await stage.one.authorizer.create_link(
        app="default", reference=None, return_to=None, connection_id=old.connection_id, expires_in=60.0
    )
    begun = await stage.one.authorizer.begin_from_link(link.token, None)
    stage.endpoint.will(issued("new", property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.id == old.connection_id


async def test_what_a_link_led_to(stage: Stage) -> None:
    """Nothing yet, then its connection."""
    link = await stage.one.authorizer.create_link(
        app="default", reference=None, return_to="/x", connection_id=None, expires_in=60.0
    )
    assert await stage.one.authorizer.link_outcome(link.token) is None
    begun = await stage.one.authorizer.begin_from_link(link.token, "browser")
    stage.endpoint.will(issued(1))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state, browser="browser")
    assert await stage.one.authorizer.link_outcome(link.token) == finished.connection.id


async def test_an_error_knows_where_the_browser_wanted_to_go(stage: Stage) -> None:
    """Once the state is spent: a refused code says where to tell it."""
    begun = await stage.one.authorizer.begin(return_to="/back")
    stage.endpoint.will(Refused("HTTP 401"))
    with pytest.raises(AuthorizationExpired) as raised:
        await stage.one.authorizer.finish(code="code", state=begun.state)
    assert raised.value.return_to == "/back"


async def test_a_connection_that_vanished_while_it_was_being_made(stage: Stage) -> None:
    """Its rows were deleted by hand in between: told as unknown, not as an internal error."""

    async def vanish() -> Verdict:
        for table in ("tokens", "properties", "grants", "connections"):
            stage.sql(f"DELETE FROM {table}")
        return Inconclusive("HTTP 503")

    stage.vendor.thinks("A-1", vanish)
    with pytest.raises(UnknownConnection):
        await approve(stage.one, issued(1))


# --- candidates and the pointer


@pytest.mark.parametrize("verdict", [Inconclusive("HTTP 503"), DeadGrant("revoked")])
async def test_the_pointer_does_not_move_before_the_new_grant_worked(stage: Stage, verdict: Verdict) -> None:
    """A new approval of a connected hotel whose proof says nothing: the old pair stays in use, the new one waits."""
    old = await stage.connected()
    stage.vendor.thinks("A-new", verdict)
    await approve(stage.one, issued("new", property_ids=("1000",)), connection_id=old.connection_id)
    assert (await stage.row(old.id)).role is Role.ACTIVE
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    waiting = await stage.one.store.read(read_candidate(old.connection_id))
    assert waiting is not None
    stage.vendor.thinks("A-new", Proof())
    promoted = await stage.one.candidates.resume(old.connection_id)
    assert promoted is not None
    assert (promoted.id, promoted.role) == (waiting.id, Role.ACTIVE)
    assert (await stage.row(old.id)).role is Role.SUPERSEDED
    assert await stage.one.candidates.resume(old.connection_id) is None


async def test_anyone_may_resume(stage: Stage) -> None:
    """A first grant whose proof was cut short is gone on with by another process that wants its token."""
    stage.vendor.thinks("A-1", Inconclusive("HTTP 503"))
    connection = (await approve(stage.one, issued(1, property_ids=("1000",)))).connection
    assert connection.state is State.IN_DOUBT
    stage.vendor.thinks("A-1", Proof(ADA))
    two = await stage.process()
    assert (await two.access.access_token(connection.id)).reveal() == "A-1"
    found = await two.views.connection(connection.id)
    assert (found.state, found.authorizing_user) == (State.FRESH, ADA)


async def test_a_candidate_whose_token_died_is_refreshed_once(stage: Stage) -> None:
    """Its A is dead, its R works: one refresh by the same code, then the pointer moves."""
    stage.vendor.thinks("A-1", DeadToken())
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1), issued(2))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert (finished.connection.state, finished.connection.generation) == (State.FRESH, 2)
    assert stage.endpoint.sent == ["R-1"]


async def test_a_candidate_refused_twice(stage: Stage) -> None:
    """The old grant stays the connection's; the new one is marked, and in no other's way. It is tried again by itself,
    and the vendor that takes it then has it promoted.
    """
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-new", DeadToken())
    stage.endpoint.will(Refused("dead"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(newer.id)).role is Role.CANDIDATE
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Refused("dead"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert ((await stage.row(newer.id)).role, (await stage.row(newer.id)).reauth) == (Role.CANDIDATE, "revoked")
    assert (await stage.row(old.id)).role is Role.ACTIVE
    assert await stage.tokens(newer.id) == ["R-new"]
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    assert await stage.one.candidates.resume(old.connection_id) is None
    await stage.clock.sleep(RETRY_FIRST)
    stage.endpoint.will(issued("newer"))
    await stage.one.upkeep.tick()
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-newer"
    assert (await stage.row(newer.id)).role is Role.ACTIVE


async def test_a_candidate_that_was_revoked_before_it_was_proven(stage: Stage) -> None:
    """`/userinfo` names its grant as dead: that is counted as for any grant, and it stands in nobody's way for ever."""
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-new", DeadGrant("revoked"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(newer.id)).role is Role.CANDIDATE
    await stage.clock.sleep(60.0)
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(newer.id)).reauth == "revoked"
    assert stage.endpoint.sent == []
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"


async def test_a_candidate_superseded_while_it_is_refreshed(stage: Stage) -> None:
    """Its A is dead; while its R is under way an even newer approval is promoted: that one is the connection's."""
    old = await stage.connected()
    await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))
    stage.vendor.thinks("A-x", DeadToken())

    async def overtaken() -> Answer:
        await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
        assert await (await stage.process()).candidates.resume(old.connection_id)
        return issued("late")

    stage.endpoint.will(overtaken)
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-y"


async def test_two_candidates(stage: Stage) -> None:
    """The newest is proven; the older one is superseded with the old grant."""
    old = await stage.connected()
    first = await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))
    second = await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
    promoted = await stage.one.candidates.resume(old.connection_id)
    assert promoted is not None
    assert promoted.id == second.id
    assert [(await stage.row(one.id)).role for one in (old, first)] == [Role.SUPERSEDED] * 2


async def test_the_newer_of_two_candidates_is_dead(stage: Stage) -> None:
    """Refused twice it is in no way of the older one: that is proven then, and the hotel is served."""
    old = await stage.connected()
    older = await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))
    newer = await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
    stage.vendor.thinks("A-y", DeadToken())
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    await stage.clock.sleep(60.0)
    assert await stage.one.candidates.resume(old.connection_id) is None
    promoted = await stage.one.candidates.resume(old.connection_id)
    assert promoted is not None
    assert (promoted.id, (await stage.row(newer.id)).reauth) == (older.id, "revoked")


async def test_a_newer_candidate_arrives_during_the_proof(stage: Stage) -> None:
    """The one being proven came too late only when a newer one was promoted first: its own promotion is refused."""
    old = await stage.connected()
    slow = await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))

    async def overtaken() -> Verdict:
        await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
        two = await stage.process()
        assert await two.candidates.resume(old.connection_id)
        return Proof()

    stage.vendor.thinks("A-x", overtaken)
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(slow.id)).role is Role.SUPERSEDED
    current = await current_grant(stage.one.store, old.connection_id)
    assert current is not None
    assert current.access.reveal() == "A-y"


@pytest.mark.row("F86")
async def test_a_late_proof_of_a_candidate_says_nothing_of_a_pair_that_came_since(stage: Stage) -> None:
    """Another process proved it first, and refreshed it: that pair is not proven yet, and what it came from is kept."""
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    two = await stage.process()

    async def overtaken() -> Verdict:
        assert await two.candidates.resume(old.connection_id)
        stage.vendor.thinks("A-newer", Inconclusive("HTTP 503"))
        stage.endpoint.will(issued("newer"))
        await two.refresh(newer.id, newer.generation, operator=True)
        return Proof()

    stage.vendor.script = [overtaken]
    assert await stage.one.candidates.resume(old.connection_id)
    assert await stage.tokens(newer.id) == ["R-new", "R-newer"]


@pytest.mark.row("F87")
@pytest.mark.parametrize("named", [True, False])
async def test_another_property_was_approved(stage: Stage, named: bool) -> None:
    """Another hotel's approval never silently takes this one's place, whether the answer names it or it is learnt."""
    old = await stage.connected(pair(1, property_ids=("1000",)))
    stage.vendor.listed = () if named else ("2000",)
    answer = issued("new", property_ids=("2000",) if named else ())
    with pytest.raises(InvalidRequest, match="2000"):
        await approve(stage.one, answer, connection_id=old.connection_id)
    assert (await stage.row(old.id)).role is Role.ACTIVE
    assert await stage.one.store.read(read_candidate(old.connection_id)) is None
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    assert await resolve(stage.one.store, "2000") == []


@pytest.mark.row("F87")
@pytest.mark.parametrize("approved", [("1000", "1001"), ("1001", "1000"), ()])
async def test_the_same_hotel_with_more_properties_or_none_named(stage: Stage, approved: tuple[str, ...]) -> None:
    """A group grows, or only the list says what the answer does not: the pointer moves."""
    stage.vendor.listed = ("1000", "1001")
    old = await stage.connected(pair(1, property_ids=("1000",)))
    finished = await approve(stage.one, issued("new", property_ids=approved), connection_id=old.connection_id)
    assert finished.connection.id == old.connection_id
    assert (await stage.row(old.id)).role is Role.SUPERSEDED


async def test_a_hotel_that_comes_back_keeps_its_connection(stage: Stage) -> None:
    """A bare approval of a property that one connection of this app covers is that connection's, also after it left."""
    first = (await approve(stage.one, issued(1, property_ids=("1000",)))).connection
    again = (await approve(stage.one, issued(2, property_ids=("1000",)))).connection
    assert again.id == first.id
    await stage.one.store.write(disconnect(first.id, actor="operator"))
    back = (await approve(stage.one, issued(3, property_ids=("1000",)))).connection
    assert (back.id, back.state) == (first.id, State.FRESH)
    assert (await stage.one.access.access_token(first.id)).reveal() == "A-3"
    assert back.generation == 3, "generations grow over the whole connection"


async def test_a_hotel_that_left_and_approved_again_is_in_doubt_until_that_is_proven(stage: Stage) -> None:
    """Cloudbeds cannot be asked at the moment: nobody is told that the hotel is disconnected, it has just approved."""
    first = (await approve(stage.one, issued(1, property_ids=("1000",)))).connection
    await stage.one.store.write(disconnect(first.id, actor="operator"))
    stage.vendor.thinks("A-2", Inconclusive("HTTP 503"))
    back = (await approve(stage.one, issued(2, property_ids=("1000",)))).connection
    assert (back.id, back.state, back.generation) == (first.id, State.IN_DOUBT, 2)
    stage.vendor.thinks("A-2", Proof(ADA))
    assert (await stage.one.access.access_token(first.id)).reveal() == "A-2"
    assert (await stage.one.views.connection(first.id)).state is State.FRESH


# --- an old grant's late answer


async def reconnected_during_a_refresh(stage: Stage) -> tuple[Grant, Grant]:
    """The old grant's refresh was under way while the hotel approved again; both pairs are stored."""
    old = await stage.connected()
    await stage.clock.sleep(HOUR)

    async def meanwhile() -> Answer:
        newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
        two = await stage.process()
        promoted = await two.candidates.resume(old.connection_id)
        assert promoted is not None
        assert promoted.id == newer.id
        return issued("late")

    stage.endpoint.will(meanwhile)
    await asyncio.gather(stage.one.access.access_token(old.connection_id), return_exceptions=True)
    await stage.one.idle()
    current = await current_grant(stage.one.store, old.connection_id)
    assert current is not None
    return await stage.row(old.id), current


@pytest.mark.row("F86")
async def test_an_old_grants_late_pair_goes_to_its_own_row(stage: Stage) -> None:
    """The pair is kept where it belongs; the connection points at the new grant."""
    old, current = await reconnected_during_a_refresh(stage)
    assert (old.role, old.access.reveal(), old.state) == (Role.SUPERSEDED, "A-late", State.SUPERSEDED)
    assert (await stage.tokens(old.id))[-1] == "R-late"
    assert (current.role, current.access.reveal()) == (Role.ACTIVE, "A-new")


@pytest.mark.row("F86")
async def test_an_old_grants_late_pair_is_lent_to_nobody(stage: Stage) -> None:
    """Whoever waited, and whoever comes later, gets the new grant's token."""
    old = await stage.connected()
    await stage.clock.sleep(HOUR)

    async def meanwhile() -> Answer:
        await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
        assert await (await stage.process()).candidates.resume(old.connection_id)
        return issued("late")

    stage.endpoint.will(meanwhile)
    waited = await stage.one.access.access_token(old.connection_id)
    later = await stage.one.access.access_token(old.connection_id)
    assert (waited.reveal(), later.reveal()) == ("A-new", "A-new")


async def test_a_superseded_grant_is_never_refreshed(stage: Stage) -> None:
    """Asked about an old grant, the refresher sends nothing and says that it is superseded."""
    old, _ = await reconnected_during_a_refresh(stage)
    stage.endpoint.sent.clear()
    with pytest.raises(Exception) as raised:  # noqa: PT011 - an internal signal, not an error of the contract
        await stage.one.refresh(old.id, old.generation, rejected=old.generation)
    assert type(raised.value).__name__ == "GrantSuperseded"
    assert stage.endpoint.sent == []


async def test_a_rejected_token_of_a_former_grant(stage: Stage) -> None:
    """The caller's 401 came with the old grant's token: the new grant's is the answer, nothing is sent."""
    old = await stage.connected()
    token = await stage.one.access.access_token(old.connection_id)
    await approve(stage.one, issued("new", property_ids=("1000",)), connection_id=old.connection_id)
    stage.one.access.forget(old.connection_id)
    assert (await stage.one.access.access_token(old.connection_id, rejected=token)).reveal() == "A-new"
    assert stage.endpoint.sent == []


@pytest.mark.row("A74")
async def test_more_approvals_than_may_be_begun(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is told to come again later, and nothing is stored for it."""
    monkeypatch.setattr("cloudbeds_auth.transactions.authorizations.MOST_PENDING", 2)
    for _ in range(2):
        await stage.one.authorizer.begin()
    with pytest.raises(RateLimited) as raised:
        await stage.one.authorizer.begin()
    assert raised.value.retry_after
    assert stage.sql("SELECT COUNT(*) FROM authorizations") == [(2,)]
