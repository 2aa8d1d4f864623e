"""The way in: states, exchanges, links."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from tests.support.fakes import ADA, issued
from tests.support.stage import Stage, another, with_secrets
from tests.support.virtual import settle

from cloudbeds_auth.app.problems import describe
from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ClientRefused,
    Error,
    InvalidRequest,
    InvalidReturnTo,
    PropertyMismatch,
    RateLimited,
    RefreshPending,
    StateMismatch,
    TokenEndpointUnavailable,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, NotSent, Refused, RefusedClient
from cloudbeds_auth.transactions.connections import list_connections

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
    finished = await stage.approve(issued(1))
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


@pytest.mark.row("A12")
@pytest.mark.parametrize("return_to", ["https://evil.example/", "//evil.example", "elsewhere", ""])
async def test_a_return_to_that_is_not_allowed(stage: Stage, return_to: str) -> None:
    """Refused where it is given, with or without a service, and nothing is begun."""
    one = another(stage.one, return_origins=("https://app.example",))
    with pytest.raises(InvalidReturnTo):
        await one.authorizer.begin(return_to=return_to)
    wish = {"app": None, "reference": None, "connection_id": None, "expires_in": 60.0}
    with pytest.raises(InvalidReturnTo):
        await one.authorizer.create_link(return_to=return_to, **wish)  # type: ignore[arg-type]
    assert stage.sql("SELECT count(*) FROM authorizations") == stage.sql("SELECT count(*) FROM links") == [(0,)]


async def test_a_link_whose_origin_was_taken_off_the_list(stage: Stage) -> None:
    """It still connects its hotel; what is done with its `return_to` is decided when the browser comes back."""
    there = "https://app.example/done"
    one = another(stage.one, return_origins=("https://app.example",))
    assert (await one.authorizer.begin(return_to=there)).state
    link = await one.authorizer.create_link(
        app=None, reference=None, return_to=there, connection_id=None, expires_in=60.0
    )
    begun = await stage.one.authorizer.begin_from_link(link.token, "browser")
    stage.endpoint.will(issued(1))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state, browser="browser")
    assert finished.return_to == there


async def test_a_browser_without_a_value(stage: Stage) -> None:
    """An empty one would bind nothing: a session that lost its value is refused at the beginning."""
    with pytest.raises(InvalidRequest, match="empty"):
        await stage.one.authorizer.begin(browser="")


async def test_an_empty_code(stage: Stage) -> None:
    """It is refused before the state is spent: the browser may still come back with one. So is that of an arrival."""
    begun = await stage.one.authorizer.begin()
    with pytest.raises(InvalidRequest, match="the code is empty"):
        await stage.one.authorizer.finish(code="", state=begun.state)
    with pytest.raises(InvalidRequest, match="the code is empty"):
        await stage.one.authorizer.arrive(code="")
    stage.endpoint.will(issued(1))
    assert (await stage.one.authorizer.finish(code="C-1", state=begun.state)).connection.id


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
        await stage.approve(Refused("HTTP 401"), connection_id=good.connection_id)
    assert (await stage.row(good.id)).role is Role.ACTIVE
    assert (await stage.one.access.access_token(good.connection_id)).reveal() == "A-1"


async def test_an_ambiguous_exchange_is_not_repeated(stage: Stage) -> None:
    """A code is good for one try: lost answer, start again."""
    with pytest.raises(TokenEndpointUnavailable) as raised:
        await stage.approve(Ambiguous("HTTP 502"))
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
    with pytest.raises(AuthorizationExpired, match="has led to no connection") as told:
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
        await stage.approve(RefusedClient("HTTP 401"))
    with pytest.raises(ClientRefused):
        await stage.approve(issued(1))
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
    finished = await stage.approve(issued(1, property_ids=("1000",)))
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


async def test_a_link_leads_to_a_connection(stage: Stage) -> None:
    """Nothing while nobody approved; then the connection, proven or not, and for whoever holds the token."""
    authorizer = stage.one.authorizer
    link = await authorizer.create_link(
        app="default", reference="tenant-7", return_to=None, connection_id=None, expires_in=600.0
    )
    assert await authorizer.link_outcome(link.token) is None
    begun = await authorizer.begin_from_link(link.token, None)
    assert await authorizer.link_outcome(link.token) is None
    stage.vendor.thinks("A-1", Inconclusive("away"))
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await authorizer.finish(code="code", state=begun.state)
    assert await authorizer.link_outcome(link.token) == finished.connection.id
    other = await stage.process()
    assert await other.authorizer.link_outcome(link.token) == finished.connection.id
    assert await authorizer.link_outcome("made-up") is None


async def test_a_link_opened_in_two_browsers(stage: Stage) -> None:
    """The first one that came back counts: the other leads nowhere."""
    authorizer = stage.one.authorizer
    link = await authorizer.create_link(
        app="default", reference=None, return_to=None, connection_id=None, expires_in=600.0
    )
    first = await authorizer.begin_from_link(link.token, "one")
    second = await authorizer.begin_from_link(link.token, "two")
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    led_to = (await authorizer.finish(code="code-1", state=first.state, browser="one")).connection.id
    with pytest.raises(StateMismatch):
        await authorizer.finish(code="code-2", state=second.state, browser="two")
    assert await authorizer.link_outcome(link.token) == led_to


async def test_a_link_that_nobody_finished(stage: Stage) -> None:
    """A failed exchange leads nowhere, and the link stays good."""
    authorizer = stage.one.authorizer
    link = await authorizer.create_link(
        app="default", reference=None, return_to="/done", connection_id=None, expires_in=600.0
    )
    begun = await authorizer.begin_from_link(link.token, None)
    stage.endpoint.will(Refused("invalid_grant"))
    with pytest.raises(AuthorizationExpired):
        await authorizer.finish(code="code", state=begun.state)
    assert await authorizer.link_outcome(link.token) is None
    assert (await authorizer.begin_from_link(link.token, None)).state


async def test_a_connection_that_vanished_while_it_was_being_made(stage: Stage) -> None:
    """Its rows were deleted by hand in between: told as unknown, not as an internal error."""

    async def vanish() -> Verdict:
        for table in ("tokens", "properties", "grants", "connections"):
            stage.sql(f"DELETE FROM {table}")
        return Inconclusive("HTTP 503")

    stage.vendor.thinks("A-1", vanish)
    with pytest.raises(UnknownConnection):
        await stage.approve(issued(1))


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


# --- where the browser goes when it fails


async def failed(stage: Stage, answer: Answer, **parts: Any) -> Error:
    """How an approval ends whose exchange is answered so."""
    begun = await stage.one.authorizer.begin(**parts)
    stage.endpoint.will(answer)
    with pytest.raises(Error) as caught:
        await stage.one.authorizer.finish(code="code", state=begun.state)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Refused("invalid_grant"), AuthorizationExpired),
        (Ambiguous("HTTP 500"), TokenEndpointUnavailable),
        (RefusedClient("invalid_client"), ClientRefused),
    ],
)
async def test_a_failure_after_the_state_was_spent(stage: Stage, answer: Answer, kind: type[Error]) -> None:
    """It knows the `return_to` that the approval was begun with; a problem document never shows it."""
    stage.apps["default"] = with_secrets(Secret("only-one"))
    error = await failed(stage, answer, return_to="/done")
    assert (type(error), error.return_to) == (kind, "/done")
    assert "/done" not in str(describe(error))


async def test_no_return_to(stage: Stage) -> None:
    """Without one there is nowhere to go."""
    assert (await failed(stage, Refused("invalid_grant"))).return_to is None


async def test_another_property(stage: Stage) -> None:
    """Also when the new approval turns out to be another hotel's (F87)."""
    grant = await stage.connected()
    stage.vendor.thinks("A-2", Proof(None))
    parts = {"connection_id": grant.connection_id, "return_to": "/done"}
    error = await failed(stage, issued(2, property_ids=("2000",)), **parts)
    assert (type(error), error.return_to) == (PropertyMismatch, "/done")


async def test_a_state_that_was_not_spent(stage: Stage) -> None:
    """A forged state, or another browser's, learns nothing of where somebody wanted to go."""
    begun = await stage.one.authorizer.begin(return_to="/done", browser="mine")
    with pytest.raises(StateMismatch) as caught:
        await stage.one.authorizer.finish(code="code", state=begun.state, browser="yours")
    assert caught.value.return_to is None


async def test_both_of_two_clicks(stage: Stage) -> None:
    """Two callbacks that share one failing exchange are both sent there, and nothing of it is remembered."""
    begun = await stage.one.authorizer.begin(return_to="/done")
    stage.endpoint.will(Refused("invalid_grant"))
    finish = stage.one.authorizer.finish
    ends = await asyncio.gather(*(finish(code="code", state=begun.state) for _ in range(2)), return_exceptions=True)
    assert [one.return_to for one in ends if isinstance(one, Error)] == ["/done", "/done"]
    await asyncio.sleep(0)
    assert stage.one.authorizer._return_to == {}
