"""What people see, and what each token carried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.support.fakes import APP, ISSUER, pair
from tests.support.intercept import Write, intercept
from tests.support.stage import Stage

from cloudbeds_auth.engine import refused_cohorts, views
from cloudbeds_auth.engine.client_secrets import fingerprint
from cloudbeds_auth.engine.views import GOOD_FOR, MADE_AGAIN, Views
from cloudbeds_auth.errors import InvalidRequest, ReauthorizationRequired, StoreUnavailable, UnknownConnection
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.history import MOST_PATHS
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, App, Connection, CredentialKind, Fence, Page, StateCounts, moment
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.presentation import UNSETTLED
from cloudbeds_auth.rules.risks import NOT_RENEWABLE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import add_app, open_circuit
from cloudbeds_auth.transactions.connections import Trouble, count_states, disconnect
from cloudbeds_auth.transactions.grants import AttemptEnd, Leased, settle, take_lease, write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.homes import set_reference
from cloudbeds_auth.transactions.refusals import note_problem
from cloudbeds_auth.transactions.risks import note_risks
from cloudbeds_auth.transactions.statements import Call, Transaction, Tx, query_one, transaction


@transaction
def set_references(tx: Tx, references: Mapping[str, str]) -> Transaction[None]:
    """What your own program calls these hotels."""
    for connection_id, reference in references.items():
        connection = yield from query_one("connection_row", connection_id=connection_id)
        assert connection is not None
        yield from set_reference(tx, connection, reference, 1)


FURTHER = App("further", "client-2", (Secret("further-1"),), "http://localhost:7000/further")


def further(number: int) -> App:
    """The app of a hotel that registered one of its own."""
    name = f"hotel-{number}"
    return App(name, f"client-{name}", (Secret(name),), f"http://localhost:7000/{name}", level="property")


def token(stage: Stage, grant_id: str, generation: int = 1) -> AccessToken:
    """A lent token."""
    return AccessToken(Secret("A"), moment(stage.clock.wall()), generation, grant_id=grant_id)


# --- looking


async def test_a_connection_and_its_next_step(stage: Stage) -> None:
    """Healthy: nothing to do; otherwise the one thing."""
    grant = await stage.connected()
    look = stage.one.views
    found = await look.connection(grant.connection_id)
    assert (found.state, found.next_step) == (State.FRESH, None)
    with pytest.raises(UnknownConnection):
        await look.connection("con_nobody")
    lease = await stage.one.store.write(take_lease(grant.id, "us", 30.0))
    assert isinstance(lease, Leased)
    fence = Fence(grant.id, 1, lease.epoch)
    await stage.one.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    await stage.one.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
    assert (await look.connection(grant.connection_id)).next_step == UNSETTLED


async def test_a_timeline(stage: Stage) -> None:
    """The pairs of the newest events, with what each carried, up to now; of older events, up to the newest of those."""
    grant = await stage.connected()
    began = stage.clock.wall()
    stage.one.calls.note(token(stage, grant.id), "GET", "/a", 200)
    await stage.one.calls.flush(everything=True)
    await stage.clock.sleep(100.0)
    await stage.one.commit(grant, 2)
    await stage.clock.sleep(50.0)
    found = await stage.one.views.timeline(grant.connection_id)
    assert [(one.generation, one.calls) for one in found.lines] == [(1, 1), (2, 0)]
    assert found.now == moment(began + 150)
    assert found.planned is not None
    assert found.planned > found.now
    assert found.newest
    newest = (await stage.one.views.events(grant.connection_id, limit=1))[0]
    older = await stage.one.views.timeline(grant.connection_id, cursor=newest.cursor)
    assert [one.generation for one in older.lines] == [1]
    assert (older.now, older.planned, older.newest) == (moment(began), None, False)
    nothing = await stage.one.views.timeline(grant.connection_id, cursor="1_0_0")
    assert (list(nothing.lines), nothing.now) == ([], moment(began + 150))
    with pytest.raises(UnknownConnection):
        await stage.one.views.timeline("con_nobody")
    with pytest.raises(InvalidRequest):
        await stage.one.views.timeline(grant.connection_id, cursor="x")


async def test_a_timeline_of_what_has_ended(stage: Stage) -> None:
    """It is not looked after again."""
    grant = await stage.connected()
    await stage.one.store.write(disconnect(grant.connection_id))
    assert (await stage.one.views.timeline(grant.connection_id)).planned is None


async def test_an_open_circuit_shows(stage: Stage) -> None:
    """Our secret is refused: every living hotel of that app says so, those of others and those that left do not."""
    stage.apps["other"] = replace(APP, id="other")
    ours = await stage.connected(pair(1))
    left = await stage.connected(pair(2))
    await stage.one.store.write(disconnect(left.connection_id))
    stranger = await stage.connected(pair(3), app="other")
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=60.0))
    look = stage.one.views
    assert (await look.connection(ours.connection_id)).state is State.CLIENT_REFUSED
    assert (await look.connection(left.connection_id)).state is State.DISCONNECTED
    assert (await look.connection(stranger.connection_id)).state is State.FRESH
    page = await look.connections(Search(state="client_refused"))
    assert [one.id for one in page.connections] == [ours.connection_id]
    assert [one.id for one in (await look.connections(Search(state="fresh"))).connections] == [stranger.connection_id]
    assert len((await look.connections(Search())).connections) == 3


async def test_pages_of_what_is_refused(stage: Stage) -> None:
    """However many healthy hotels there are, a page has refused ones until there are no more, and the other way."""
    stage.apps["other"] = replace(APP, id="other")
    ours = [await stage.connected(pair(at, property_ids=(str(at),))) for at in range(2)]
    others = [await stage.connected(pair(at, property_ids=(str(at),)), app="other") for at in range(2, 5)]
    look = stage.one.views
    assert (await look.connections(Search(state="client_refused"))) == Page((), None)
    assert (await look.connections(Search(state="read_only"))) == Page((), None)
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=60.0))
    page = await look.connections(Search(state="client_refused", limit=1))
    assert ([one.id for one in page], page.next) == ([ours[1].connection_id], ours[1].connection_id)
    page = await look.connections(Search(state="client_refused", limit=1, cursor=page.next))
    assert ([one.id for one in page], page.next) == ([ours[0].connection_id], None)
    assert await look.connections(Search(state="client_refused", app="other")) == Page((), None)
    assert len(await look.connections(Search(state="client_refused", property_id="1"))) == 1
    assert await look.connections(Search(state="client_refused", property_id="3")) == Page((), None)
    page = await look.connections(Search(state="fresh", limit=2))
    assert ([one.id for one in page], page.next) == (
        [others[2].connection_id, others[1].connection_id], others[1].connection_id
    )  # fmt: skip
    await stage.one.store.write(
        open_circuit("other", fingerprint(stage.apps["other"], APP.secrets[0]), trial_after=60.0)
    )
    assert await look.connections(Search(state="fresh", limit=1)) == Page((), None)


async def test_a_secret_that_does_not_open(stage: Stage) -> None:
    """Its hotels are refused, in the list as one by one; a key of that app needs no secret."""
    await stage.one.store.write(add_app(FURTHER))
    grant = await stage.connected(pair(1, property_ids=("1",)), app="further")
    key = pair("key", refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER, property_ids=("2",))
    serves = await stage.connected(key, app="further")
    look, refused = stage.one.views, Search(state="client_refused")
    assert await look.connections(refused) == Page((), None)
    stage.sql("UPDATE apps SET generation = 2 WHERE name = 'further'")
    assert (await look.connection(grant.connection_id)).state is State.CLIENT_REFUSED
    assert [one.id for one in await look.connections(refused)] == [grant.connection_id]
    assert [one.id for one in await look.connections(Search(state="fresh"))] == [serves.connection_id]
    stage.sql("DELETE FROM apps")
    assert [one.id for one in await look.connections(refused)] == [grant.connection_id]


async def test_what_came_from_elsewhere_is_not_refused_by_a_secret(stage: Stage) -> None:
    """However many of those are newer: an operator mends them by the settings, all at once."""
    ours = await stage.connected(pair(0, property_ids=("0",)))
    elsewhere = Source("https://elsewhere.example", None)
    for at in range(1, 4):
        await stage.connected(pair(at, property_ids=(str(at),)), source=elsewhere)
    look = stage.one.views
    assert await look.refused_by_secret(2) == Page((), None)
    assert len(await look.connections(Search(state="client_refused"))) == 3
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=60.0))
    assert [one.id for one in await look.refused_by_secret(2)] == [ours.connection_id]
    assert len(await look.connections(Search(state="client_refused"))) == 4
    assert await look.connections(Search(state="fresh")) == Page((), None)


async def test_a_key_that_came_by_another_app(stage: Stage) -> None:
    """After a move under the client that the tokens are of, where the settings name another one by now: it serves."""
    stage.apps["former"] = replace(APP, id="former", client_id="client-0")
    grant = await stage.connected(source=Source(ISSUER, "client-0"))
    look, refused, fresh = stage.one.views, Search(state="client_refused"), Search(state="fresh", app="default")
    assert (await look.connection(grant.connection_id)).foreign
    assert [one.id for one in await look.connections(refused)] == [grant.connection_id]
    assert await look.connections(fresh) == Page((), None)
    stage.sql("UPDATE grants SET kind = 'api_key', app = 'former', shown = 'default'")
    assert (await look.connection(grant.connection_id)).state is State.FRESH
    assert await look.connections(refused) == Page((), None)
    assert [one.id for one in await look.connections(fresh)] == [grant.connection_id]
    assert await look.connections(Search(state="fresh", app="former")) == Page((), None)


async def test_a_page_of_very_many_apps(stage: Stage) -> None:
    """As many statements as a page of one app: each hotel registered an app of its own."""
    for at in range(60):
        await stage.one.store.write(add_app(further(at)))
        await stage.connected(pair(at, property_ids=(str(at),)), app=f"hotel-{at}")
    refused = further(7)
    await stage.one.store.write(open_circuit("hotel-7", fingerprint(refused, refused.secrets[0]), trial_after=60.0))
    stage.one.driver.seen.clear()
    assert len(await stage.one.views.connections(Search(state="client_refused"))) == 1
    assert len(await stage.one.views.connections(Search(state="fresh", limit=200))) == 59
    assert sum(stage.one.driver.seen.values()) < 30


async def test_cohorts_are_judged_part_by_part(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many what was found is remembered for some seconds; of few they are judged for each page."""
    monkeypatch.setattr(refused_cohorts, "COHORTS_AT_ONCE", 1)
    stage.apps["other"] = replace(APP, id="other")
    for at, app in enumerate(("default", "other")):
        await stage.connected(pair(at, property_ids=(str(at),)), app=app)
    look, asked = stage.one.views, Search(state="client_refused")
    assert await look.connections(asked) == Page((), None)
    await stage.one.store.write(open_circuit("other", fingerprint(APP, APP.secrets[0]), trial_after=600.0))
    assert await look.connections(asked) == Page((), None)
    await stage.clock.sleep(refused_cohorts.REMEMBERED)
    assert [one.app for one in await look.connections(asked)] == ["other"]


async def test_pages_where_there_are_too_many_cohorts(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are looked through then, so many pages at once; what was found has a next page."""
    monkeypatch.setattr(refused_cohorts, "MOST_COHORTS", 0)
    stage.apps["other"] = replace(APP, id="other")
    ours = [await stage.connected(pair(at, property_ids=(str(at),))) for at in range(3)]
    await stage.connected(pair(3, property_ids=("3",)), app="other")
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=60.0))
    look = stage.one.views
    page = await look.connections(Search(state="client_refused", limit=2))
    assert ([one.id for one in page], page.next) == (
        [ours[2].connection_id, ours[1].connection_id],
        ours[1].connection_id,
    )
    assert len(await look.connections(Search(state="client_refused", limit=2, cursor=page.next))) == 1
    monkeypatch.setattr(views, "MOST_PAGES", 1)
    page = await look.connections(Search(state="fresh", limit=2))
    assert (len(page), page.next) == (1, ours[2].connection_id)


async def test_those_that_are_troubled(stage: Stage) -> None:
    """Calls that are refused, and risks: each alone, as it looks now, however many healthy hotels there are."""
    made = [await stage.connected(pair(number, property_ids=(str(number),))) for number in range(5)]
    for grant in made[:2]:
        await stage.one.store.write(note_problem(grant.id, 1, "forbidden", {"path": "/a"}))
    await stage.one.store.write(note_risks(made[3].id, {NOT_RENEWABLE: "none came"}))
    look = stage.one.views
    page = await look.troubled(Trouble.PROBLEM)
    assert [(one.id, one.problem) for one in page] == [(one.connection_id, "forbidden") for one in made[1::-1]]
    assert page.next is None
    assert [one.id for one in await look.troubled(Trouble.PROBLEM, made[1].connection_id)] == [made[0].connection_id]
    assert [(one.id, [*one.risks]) for one in await look.troubled(Trouble.RISK)] == [
        (made[3].connection_id, [NOT_RENEWABLE])
    ]


async def test_a_list_with_every_filter(stage: Stage) -> None:
    """Passed on to the store; the next page's cursor comes back."""
    await stage.connected(pair(1, property_ids=("1000",)))
    second = await stage.connected(pair(2, property_ids=("1001",)))
    page = await stage.one.views.connections(Search(limit=1))
    assert [one.id for one in page.connections] == [second.connection_id]
    assert page.next == second.connection_id
    page = await stage.one.views.connections(
        Search(state="fresh", property_id="1000", app="default", cursor=page.next, limit=200)
    )
    assert (len(page.connections), page.next) == (1, None)


@pytest.mark.parametrize("limit", [0, 201, -1])
async def test_a_limit_out_of_range(stage: Stage, limit: int) -> None:
    """1 to 200, of lists and of histories."""
    grant = await stage.connected()
    with pytest.raises(InvalidRequest):
        await stage.one.views.connections(Search(limit=limit))
    with pytest.raises(InvalidRequest):
        await stage.one.views.events(grant.connection_id, limit=limit)


async def test_a_state_that_there_is_not(stage: Stage) -> None:
    """400, and the states that there are."""
    with pytest.raises(InvalidRequest, match="fresh, stale"):
        await stage.one.views.connections(Search(state="rotten"))


async def test_counting_states(stage: Stage) -> None:
    """For a gauge: how many look how."""
    await stage.connected(pair(1))
    left = await stage.connected(pair(2))
    await stage.one.store.write(disconnect(left.connection_id))
    counted = await stage.one.views.count_states()
    assert counted == StateCounts({State.FRESH: 1, State.STALE: 0, State.DISCONNECTED: 1}, age=0.0)


async def test_counting_very_many(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start on and at most once a minute, behind the caller, who is given the last whole count and its age."""
    monkeypatch.setattr(views, "count_states", partial(count_states, limit=1))
    for number in range(3):
        await stage.connected(pair(number, property_ids=(str(number),)))
    look = stage.one.views
    look.begin_counting()
    await stage.one.drain()
    await stage.connected(pair(3, property_ids=("3",)))
    await stage.clock.sleep(59.0)
    assert await look.count_states() == StateCounts({State.FRESH: 3, State.STALE: 0}, age=59.0)
    await stage.one.drain()
    await stage.clock.sleep(1.0)
    assert await look.count_states() == StateCounts({State.FRESH: 3, State.STALE: 0}, age=60.0)
    await stage.one.drain()
    assert await look.count_states() == StateCounts({State.FRESH: 4, State.STALE: 0}, age=0.0)


async def test_a_count_that_is_none(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first, where one failed, and of a count that is older than ten minutes."""
    monkeypatch.setattr(views, "count_states", partial(count_states, limit=1))
    await stage.connected()
    look = stage.one.views
    assert await look.count_states() is None
    await stage.one.drain()
    assert await look.count_states() is not None
    await stage.clock.sleep(601.0)
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await look.count_states()
    look.begin_counting()
    await stage.one.drain()
    stage.one.driver.dark = False
    assert await look.count_states() is None
    await stage.one.drain()
    counted = await look.count_states()
    assert counted is not None
    monkeypatch.setattr(views, "COUNTED_AGAIN", math.inf)
    await stage.clock.sleep(601.0)
    assert await look.count_states() is None


async def test_counting_as_people_read_it(stage: Stage) -> None:
    """Those for which our credentials are refused are no healthy ones."""
    stage.apps["other"] = replace(APP, id="other")
    for at, app in enumerate(("default", "default", "other")):
        await stage.connected(pair(at, property_ids=(str(at),)), app=app)
    look = stage.one.views
    assert await look.count_looks() == StateCounts({State.FRESH: 3, State.STALE: 0}, age=0.0)
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=1e6))
    await stage.clock.sleep(3500.0)
    refused_and_well = {State.FRESH: 1, State.CLIENT_REFUSED: 2}
    assert await look.count_looks() == StateCounts(refused_and_well, age=0.0)


async def test_counting_very_many_that_are_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than matter; and nothing where none are counted."""
    for at in range(3):
        await stage.connected(pair(at, property_ids=(str(at),)))
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=60.0))
    monkeypatch.setattr(views, "COUNTED_AT_ONCE", 2)
    look = stage.one.views
    capped = StateCounts({State.FRESH: 1, State.CLIENT_REFUSED: 2}, age=0.0, capped=True)
    assert await look.count_looks() == capped
    monkeypatch.setattr(views, "count_states", partial(count_states, limit=1))
    assert await look.count_looks() is None
    await stage.one.drain()


async def test_a_list_by_words(stage: Stage) -> None:
    """As people read states, and newest or oldest first, page by page."""
    made = [(await stage.connected(pair(at, property_ids=(str(at),)))).connection_id for at in range(3)]
    await stage.one.store.write(disconnect(made[1]))
    look = stage.one.views

    async def ids(**search: Any) -> list[str]:
        return [one.id for one in await look.connections(Search(**search))]

    assert await ids(words="healthy") == [made[2], made[0]]
    assert await ids(words="healthy", oldest=True) == [made[0], made[2]]
    assert await ids(words="disconnected", oldest=True) == [made[1]]
    assert await ids(words="our credentials are refused") == []
    assert await ids(oldest=True, limit=2) == made[:2]
    assert await ids(oldest=True, cursor=made[1]) == made[2:]
    with pytest.raises(InvalidRequest, match="there are: healthy; "):
        await look.connections(Search(words="rotten"))
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=60.0))
    assert await ids(words="our credentials are refused", oldest=True) == [made[0], made[2]]


async def test_a_list_by_whichever_matches(stage: Stage) -> None:
    """The id of a connection or of a property, or a reference, whatever order is asked for."""
    made = [(await stage.connected(pair(at, property_ids=(str(at),)))).connection_id for at in range(3)]
    await stage.one.store.write(set_references({made[0]: "tenant 7", made[1]: "2"}))
    look = stage.one.views

    async def ids(either: str, **search: Any) -> list[str]:
        return [one.id for one in await look.connections(Search(either=either, **search))]

    assert await ids(made[1]) == [made[1]]
    assert await ids("tenant 7") == [made[0]]
    assert await ids("2", oldest=True) == [made[2], made[1]]
    assert await ids("2", words="disconnected") == []
    assert await ids(made[1], cursor=made[1]) == []
    assert await ids("nobody's") == []
    assert await ids(made[1], app="other") == []


async def test_registrations(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings' own first, then the others by name, a page at a time; each with its hotels and what is wrong."""
    for at in range(3):
        await stage.one.store.write(add_app(further(at)))
    await stage.connected(app="hotel-1")
    refused_one = further(1)
    hash_of_secret = fingerprint(refused_one, refused_one.secrets[0])
    await stage.one.store.write(open_circuit("hotel-1", hash_of_secret, trial_after=60.0))
    look = stage.one.views
    first, following = await look.app_looks(None, 2)
    assert [one.app.id for one in first] == ["default", "hotel-0", "hotel-1"]
    assert [(one.connections, one.more, one.seen.words) for one in first] == [
        (0, False, "in order"), (0, False, "in order"), (1, False, "Cloudbeds refuses its secret"),
    ]  # fmt: skip
    assert following == "hotel-1"
    monkeypatch.setattr(views, "MOST_OF_APP", 0)
    rest, following = await look.app_looks(following, 2)
    assert ([(one.app.id, one.more) for one in rest], following) == ([("hotel-2", True)], None)
    with pytest.raises(InvalidRequest):
        await look.app_looks("\x00", 2)


async def test_history(stage: Stage) -> None:
    """Of a connection that is there."""
    grant = await stage.connected()
    assert [one.kind for one in await stage.one.views.events(grant.connection_id, limit=1)] == ["proved"]
    with pytest.raises(UnknownConnection):
        await stage.one.views.events("con_nobody")


# --- the way back


async def refused(stage: Stage) -> Connection:
    """A hotel that has to approve again."""
    grant = await stage.connected()
    stage.sql("UPDATE grants SET state = 'reauthorization_required', reauth = 'revoked', problem = 'revoked'")
    return await stage.one.views.connection(grant.connection_id)


async def test_a_connect_link_is_shown_again_until_it_is_about_to_end(stage: Stage) -> None:
    """Whoever asks is shown one link, in the connection and in the error; a day before its end, a new one."""
    found = await refused(stage)
    views = stage.one.views
    first = (await views.linked(found)).connect_url
    assert first is not None
    error = ReauthorizationRequired(connection_id=found.id)
    await views.explain(error)
    assert (error.connect_url, (await views.linked(found)).connect_url) == (first, first)
    await stage.clock.sleep(GOOD_FOR - MADE_AGAIN + 1.0)
    assert (await views.linked(found)).connect_url != first
    assert len(stage.sql("SELECT hash FROM links")) == 2


async def test_a_link_that_cannot_be_made_hides_nothing(stage: Stage) -> None:
    """The database takes no link: the connection is shown and the error told without one."""
    found = await refused(stage)
    stage.one.driver.writes_fail = True
    assert await stage.one.views.linked(found) == found
    error = ReauthorizationRequired(connection_id=found.id)
    await stage.one.views.explain(error)
    assert error.connect_url is None


async def test_an_error_that_names_no_connection_gets_no_link(stage: Stage) -> None:
    """There is nothing that a link could be made for."""
    error = ReauthorizationRequired()
    await stage.one.views.explain(error)
    assert error.connect_url is None
    assert stage.sql("SELECT hash FROM links") == []


# --- calls


async def calls(stage: Stage, connection_id: str) -> list[dict[str, object]]:
    """The lines about calls, oldest first."""
    events = await stage.one.store.read(read_history(connection_id))
    return [dict(event.data) for event in reversed(events) if event.kind == "calls"]


async def test_a_generations_first_calls_are_seen_within_a_second(stage: Stage) -> None:
    """After that one line a minute; counts, times, refusals and methods add up."""
    grant = await stage.connected()
    record = stage.one.calls
    record.note(token(stage, grant.id), "GET", "/a", 200)
    await record.flush()
    assert await calls(stage, grant.connection_id) == []
    await stage.clock.sleep(0.5)
    record.note(token(stage, grant.id), "GET", "/a", 401)
    record.note(token(stage, grant.id), "POST", "/b", 200)
    await stage.clock.sleep(0.5)
    await record.flush()
    (line,) = await calls(stage, grant.connection_id)
    assert (line["count"], line["refused"], line["methods"]) == (3, 1, {"GET /a": 2, "POST /b": 1})
    assert line["last"] == pytest.approx(float(str(line["first"])) + 0.5)
    record.note(token(stage, grant.id), "GET", "/a", 200)
    await stage.clock.sleep(59.0)
    await record.flush()
    assert len(await calls(stage, grant.connection_id)) == 1
    await stage.clock.sleep(1.0)
    await record.flush()
    assert len(await calls(stage, grant.connection_id)) == 2
    record.note(token(stage, grant.id, 2), "GET", "/a", 200)
    await stage.clock.sleep(1.0)
    await record.flush()
    assert len(await calls(stage, grant.connection_id)) == 3, "another generation is seen soon again"


async def test_everything_is_written_at_the_end(stage: Stage) -> None:
    """Closing writes what is not due yet."""
    grant = await stage.connected()
    stage.one.calls.note(token(stage, grant.id), "GET", "/a", 200)
    await stage.one.calls.flush(everything=True)
    await stage.one.calls.flush(everything=True)
    assert len(await calls(stage, grant.connection_id)) == 1


async def test_many_paths(stage: Stage) -> None:
    """So many are told apart, the rest is one line: a history does not grow with a caller's fantasy."""
    grant = await stage.connected()
    for number in range(MOST_PATHS + 20):
        stage.one.calls.note(token(stage, grant.id), "GET", f"/{number}", 200)
    await stage.one.calls.flush(everything=True)
    (line,) = await calls(stage, grant.connection_id)
    methods = line["methods"]
    assert isinstance(methods, dict)
    assert (len(methods), methods["other"], line["count"]) == (MOST_PATHS + 1, 20, MOST_PATHS + 20)


async def test_a_path_among_many_is_still_counted_as_itself(stage: Stage) -> None:
    """Once told apart, a path stays told apart."""
    grant = await stage.connected()
    for number in range(MOST_PATHS):
        stage.one.calls.note(token(stage, grant.id), "GET", f"/{number}", 200)
    stage.one.calls.note(token(stage, grant.id), "GET", "/0", 200)
    await stage.one.calls.flush(everything=True)
    (line,) = await calls(stage, grant.connection_id)
    methods = line["methods"]
    assert isinstance(methods, dict)
    assert methods["GET /0"] == 2


async def test_calls_that_the_store_does_not_take_now(stage: Stage) -> None:
    """They stay for the next time, also when further calls come in while it is being tried."""
    grant = await stage.connected()
    record = stage.one.calls
    record.note(token(stage, grant.id), "GET", "/a", 200)
    stage.one.driver.writes_fail = True
    await record.flush(everything=True)
    stage.one.driver.writes_fail = False
    await record.flush(everything=True)
    assert [line["count"] for line in await calls(stage, grant.connection_id)] == [1]


async def test_calls_of_a_copy_are_dropped(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of another installation's database keeps no history of its own, and does not pile it up in memory."""
    grant = await stage.connected()
    record = stage.one.calls
    record.note(token(stage, grant.id), "GET", "/a", 200)
    with monkeypatch.context() as copy:
        copy.setattr(stage.one.store, "_read_only", True)
        await record.flush(everything=True)
    await record.flush(everything=True)
    assert await calls(stage, grant.connection_id) == []


async def test_calls_during_a_flush_that_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noted while the store was refusing the earlier ones: none of them is lost."""
    grant = await stage.connected()
    record = stage.one.calls
    record.note(token(stage, grant.id), "GET", "/a", 200)

    async def meanwhile(write: Write, call: Call[Any]) -> Any:
        record.note(token(stage, grant.id), "GET", "/b", 401)
        stage.one.driver.writes_fail = True
        return await write(call)

    intercept(monkeypatch, stage.one.store, "add_calls", meanwhile)
    await record.flush(everything=True)
    stage.one.driver.writes_fail = False
    monkeypatch.undo()
    await record.flush(everything=True)
    lines = await calls(stage, grant.connection_id)
    assert sum(int(str(line["count"])) for line in lines) == 2
    assert sum(int(str(line["refused"])) for line in lines) == 1


async def test_an_app_that_is_not_there(stage: Stage) -> None:
    """A typing error is told."""
    with pytest.raises(InvalidRequest, match="nobody"):
        await stage.one.world.app("nobody")


# --- scopes that an approval lacks


def wanting(stage: Stage, *wanted: str) -> Views:
    """The app asks for these now; every hotel granted `read:hotel`."""
    stage.apps["default"] = replace(APP, scopes=wanted)
    return stage.one.views


async def test_those_that_lack_one(stage: Stage) -> None:
    """With what they lack, and a link that leads back to the same connection."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    (one,) = (await wanting(stage, "read:hotel", "write:reservation").lacking_scopes(Search())).connections
    assert one.id == grant.connection_id
    assert one.next_step == "send the hotel its connect link: its approval lacks write:reservation"
    assert one.connect_url is not None
    link = await stage.one.authorizer.begin_from_link(one.connect_url.rpartition("/")[2], None)
    assert link.state
    assert await wanting(stage, "read:hotel", "write:reservation").missing_scopes(one.id) == ("write:reservation",)
    assert (await wanting(stage, "read:hotel").lacking_scopes(Search())).connections == ()


@pytest.mark.parametrize("why", ["disconnected", "never proven", "an API key", "of an unknown app"])
async def test_those_that_lack_nothing(stage: Stage, why: str) -> None:
    """What is not in use lacks nothing, nor does what was not granted by scopes."""
    kind = CredentialKind.API_KEY if why == "an API key" else CredentialKind.OAUTH
    grant = await stage.connected(pair(1, kind=kind), proven=why != "never proven")
    if why == "disconnected":
        await stage.one.store.write(disconnect(grant.connection_id))
    asked = wanting(stage, "write:reservation")
    if why == "of an unknown app":
        del stage.apps["default"]
    assert (await asked.lacking_scopes(Search())).connections == ()


async def test_page_by_page(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of them once, however the pages fall; one question reads so many and no more."""
    monkeypatch.setattr(views, "MOST_LISTED", 2)
    monkeypatch.setattr(views, "MOST_PAGES", 2)
    for number in range(9):
        await stage.connected(pair(number, property_ids=(str(number),)))
    lacking = [0, 1, 3]  # the newest do not: one question ends among them
    for number in {*range(9)} - {*lacking}:
        stage.sql(
            "UPDATE grants SET scopes = ? WHERE property_ids = ?", '["read:hotel","write:reservation"]', f'["{number}"]'
        )
    asked, found, cursor = wanting(stage, "read:hotel", "write:reservation"), [], None
    while True:
        page = await asked.lacking_scopes(Search(cursor=cursor, limit=1))
        found += [int(one.property_ids[0]) for one in page.connections]
        cursor = page.next
        if cursor is None:
            break
    assert found == lacking[::-1]


@pytest.mark.parametrize("limit", [0, views.MOST_LISTED + 1])
async def test_a_page_of_no_size(stage: Stage, limit: int) -> None:
    """As for every list."""
    with pytest.raises(InvalidRequest):
        await wanting(stage).lacking_scopes(Search(limit=limit))
