"""The transactions of connections: what people see of them, what their calls run into, leaving."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from typing import Any

import pytest
from tests.support.bench import Bench, HandClock
from tests.support.fakes import pair
from tests.support.keys import KEY
from tests.support.shown import show_all, show_no_more, shown

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.rules.authentic import MacKey
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, CredentialKind, Grant, Page, Role, moment
from cloudbeds_auth.rules.origins import Cohort, Source
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration
from cloudbeds_auth.transactions.candidates import drop_candidate, promote, read_candidate
from cloudbeds_auth.transactions.connections import (
    count_cohorts,
    count_of_apps,
    count_states,
    disconnect,
    list_connections,
    read_cohorts,
    read_connection,
    relist,
)
from cloudbeds_auth.transactions.grants import AttemptEnd, commit_pair, renew_lease, settle, write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.homes import set_reference
from cloudbeds_auth.transactions.refusals import confirm, count_refusal, note_problem
from cloudbeds_auth.transactions.statements import Call, Transaction, Tx, drive, query_one, transaction

INTERVAL = 60.0


async def many(bench: Bench, clock: HandClock) -> dict[str, Grant]:
    """One connection in each stored state that a list may ask for, by state; the oldest first."""
    made = {"fresh": await bench.connected(pair("f", lifetime=1e6, property_ids=("1000",)), reference="tenant-1")}
    made["stale"] = await bench.connected(pair("s", lifetime=100.0, property_ids=("1001",)), reference="tenant-2")
    clock.pass_(95.0)
    made["refreshing"] = await bench.connected(pair("r", lifetime=1e6), app="other")
    await bench.intent(made["refreshing"])
    made["in_doubt"] = await bench.connected(pair("d", lifetime=1e6))
    await bench.store.write(settle(await bench.intent(made["in_doubt"]), AttemptEnd.LOST, hold=20.0))
    made["backing_off"] = await bench.connected(pair("b", lifetime=1e6))
    await bench.store.write(settle(await bench.intent(made["backing_off"]), AttemptEnd.UNSENT, hold=20.0))
    made["reauthorization_required"] = await bench.connected(pair("m", lifetime=1e6))
    fence = await bench.leased(made["reauthorization_required"], seconds=1e4)
    await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    made["disconnected"] = await bench.connected(pair("g", lifetime=1e6, property_ids=("1002",)), reference="tenant-2")
    await bench.store.write(disconnect(made["disconnected"].connection_id))
    return made


# --- one connection


async def test_a_connection(bench: Bench, clock: HandClock) -> None:
    """Every field as people read it."""
    grant = await bench.connected(pair(1, property_ids=("1000",)), reference="tenant-7")
    found = await bench.look(grant.connection_id)
    assert found == Connection(
        id=grant.connection_id,
        app="default",
        reference="tenant-7",
        state=State.FRESH,
        credential="oauth",
        property_ids=("1000",),
        authorizing_user=None,
        scopes=("read:hotel",),
        generation=1,
        connected_at=moment(clock.wall),
        expires_at=moment(clock.wall + 3600.0),
        refreshed_at=None,
        used_at=None,
        registration="default",
        reference_trusted=True,
    )
    assert await bench.store.read(read_connection("con_nobody")) is None
    assert await current_grant(bench.store, "con_nobody") is None


async def test_stale_by_the_clock(bench: Bench, clock: HandClock) -> None:
    """Never stored: it is how a fresh row looks after nine tenths."""
    grant = await bench.connected()
    clock.pass_(3240.0)
    assert (await bench.look(grant.connection_id)).state is State.STALE
    assert (await bench.row(grant.id)).state is State.FRESH


async def test_a_first_grant_not_proven_yet(bench: Bench) -> None:
    """It speaks for the connection while there is nothing else; not once an active one is there."""
    grant = await bench.approved()
    assert (await bench.look(grant.connection_id)).state is State.IN_DOUBT
    assert (await bench.look(grant.connection_id)).connected_at is None
    assert await current_grant(bench.store, grant.connection_id) == grant
    await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, None, ()))
    await bench.approved(pair("new"), connection_id=grant.connection_id)
    current = await current_grant(bench.store, grant.connection_id)
    assert current is not None
    assert current.id == grant.id


async def test_a_connection_whose_only_candidate_was_dropped(bench: Bench) -> None:
    """There, without a grant: never connected."""
    grant = await bench.approved()
    await bench.store.write(drop_candidate(grant.id, "refused twice"))
    found = await bench.look(grant.connection_id)
    assert (found.state, found.problem, found.generation) == (State.DISCONNECTED, "never_connected", None)
    assert await current_grant(bench.store, grant.connection_id) is None


async def test_a_hotel_that_left_and_approved_again(bench: Bench) -> None:
    """The new approval speaks for it before it is proven; once that is dropped, it is disconnected as before."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    await bench.store.write(disconnect(old.connection_id))
    assert await resolve(bench.store, "1000") == []
    newer = await bench.approved(pair("new", property_ids=("1000",)), connection_id=old.connection_id)
    assert (await bench.look(old.connection_id)).state is State.IN_DOUBT
    assert await current_grant(bench.store, old.connection_id) == newer
    assert await resolve(bench.store, "1000") == [old.connection_id]
    in_doubt = await bench.store.read(list_connections(states=[State.IN_DOUBT]))
    assert [one.id for one in in_doubt.connections] == [old.connection_id]
    await bench.store.write(drop_candidate(newer.id, "refused twice"))
    assert (await bench.look(old.connection_id)).state is State.DISCONNECTED
    assert await resolve(bench.store, "1000") == []


# --- resolving


async def test_resolving(bench: Bench) -> None:
    """A connection id is itself; a property id every connection that covers it now."""
    first = await bench.connected(pair(1, property_ids=("1000", "1001")))
    other = await bench.connected(pair(2, property_ids=("1001",)), app="other")
    waiting = await bench.approved(pair(3, property_ids=("1002",)))
    found = partial(resolve, bench.store)
    assert await found(first.connection_id) == [first.connection_id]
    assert await found("con_nobody") == []
    assert await found("1000") == [first.connection_id]
    assert sorted(await found("1001")) == sorted([first.connection_id, other.connection_id])
    assert await found("1002") == [waiting.connection_id]
    assert await found("9999") == []
    await bench.store.write(disconnect(other.connection_id))
    assert await found("1001") == [first.connection_id]


async def test_a_property_that_the_new_approval_left_out(bench: Bench) -> None:
    """Only what the current grant covers is found."""
    first = await bench.connected(pair(1, property_ids=("1000", "1001")))
    await bench.connected(pair(2, property_ids=("1001",)), connection_id=first.connection_id)
    assert await resolve(bench.store, "1000") == []
    assert await resolve(bench.store, "1001") == [first.connection_id]


# --- lists


async def test_every_state(bench: Bench, clock: HandClock) -> None:
    """One filter each, and several at once."""
    made = await many(bench, clock)
    for name, grant in made.items():
        page = await bench.store.read(list_connections(states=[State(name)]))
        assert [(one.id, one.state) for one in page.connections] == [(grant.connection_id, name)], name
    both = await bench.store.read(list_connections(states=[State.FRESH, State.DISCONNECTED]))
    assert {one.state for one in both.connections} == {State.FRESH, State.DISCONNECTED}
    assert (await bench.store.read(list_connections(states=[State.PARKED]))).connections == ()


async def test_the_other_filters(bench: Bench, clock: HandClock) -> None:
    """Reference, property and app, alone and together; newest first."""
    made = await many(bench, clock)

    async def ids(**filters: str) -> list[str]:
        return [one.id for one in (await bench.store.read(list_connections(**filters))).connections]  # type: ignore[arg-type]

    assert await ids() == [grant.connection_id for grant in reversed(made.values())]
    assert await ids(reference="tenant-1") == [made["fresh"].connection_id]
    assert await ids(reference="tenant-2") == [made[one].connection_id for one in ("disconnected", "stale")]
    assert await ids(property_id="1000") == [made["fresh"].connection_id]
    assert await ids(app="other") == [made["refreshing"].connection_id]
    assert await ids(app="other", reference="tenant-1") == []
    page = await bench.store.read(list_connections(reference="tenant-2", states=[State.STALE]))
    assert [one.id for one in page.connections] == [made["stale"].connection_id]


async def listed(bench: Bench, **filters: Any) -> list[str]:
    """The ids of all pages, two connections on each."""
    ids: list[str] = []
    page = Page((), None)
    while True:
        page = await bench.store.read(list_connections(**filters, cursor=page.next, limit=2))
        assert len(page) == 2 or page.next is None
        ids += [one.id for one in page]
        if page.next is None:
            return ids


async def test_every_combination(bench: Bench, clock: HandClock) -> None:
    """Whichever index a page is read from, it has what the list of all has, filtered here."""
    made = await many(bench, clock)
    home = made["disconnected"].connection_id
    await bench.approved(pair("again", property_ids=("1002",)), connection_id=home)
    await bench.store.write(drop_candidate((await bench.approved(reference="tenant-1")).id, "refused twice"))
    await bench.store.write(drop_candidate((await bench.approved(app="other")).id, "refused twice"))
    left = await bench.connected(app="other", reference="tenant-1")
    await bench.store.write(disconnect(left.connection_id))
    await bench.approved(parked=True, browser_hash=None)
    every = (await bench.store.read(list_connections(limit=200))).connections
    assert len(every) == len(made) + 4
    wanted = [(), *((state,) for state in State), (State.FRESH, State.STALE, State.DISCONNECTED)]
    for states, app, reference, property_id in product(
        wanted, (None, "default", "other"), (None, "tenant-1", "tenant-2"), (None, "1000", "1002")
    ):
        filters = {"states": states, "app": app, "reference": reference, "property_id": property_id}
        found = await listed(bench, **filters)
        assert found == [
            one.id for one in every
            if (not states or one.state in states)
            and app in {None, one.app}
            and reference in {None, one.reference}
            and (property_id is None or property_id in one.property_ids)
        ], filters  # fmt: skip


async def test_oldest_first(bench: Bench, clock: HandClock) -> None:
    """The other way round, page by page, of all states and of each."""
    await many(bench, clock)
    await bench.store.write(drop_candidate((await bench.approved()).id, "refused twice"))
    cohorts = await bench.store.read(read_cohorts())
    for states in ((), *((state,) for state in State), (State.FRESH, State.STALE, State.DISCONNECTED)):
        newest = await listed(bench, states=states)
        assert await listed(bench, states=states, oldest=True) == newest[::-1], states
    living = (State.FRESH, State.STALE)
    newest = await listed(bench, states=living, cohorts=cohorts)
    assert len(newest) == 2
    assert await listed(bench, states=living, cohorts=cohorts, oldest=True) == newest[::-1]


async def test_whichever_matches(bench: Bench, clock: HandClock) -> None:
    """An id, a property, a reference: each connection once."""
    made = await many(bench, clock)
    found = partial(listed, bench)
    assert await found(either="1000") == [made["fresh"].connection_id]
    assert await found(either="tenant-2") == [made[one].connection_id for one in ("disconnected", "stale")]
    assert await found(either="tenant-2", states=[State.STALE]) == [made["stale"].connection_id]
    assert await found(either=made["stale"].connection_id) == [made["stale"].connection_id]
    assert await found(either=made["stale"].connection_id, app="other") == []
    assert await found(either="nobody") == []


async def test_counting_cohorts_and_apps(bench: Bench, clock: HandClock) -> None:
    """By stored state those that live, and of an app all that there are; no more than are asked for."""
    await many(bench, clock)
    cohorts = await bench.store.read(read_cohorts())
    assert await bench.store.read(count_cohorts([], 9)) == {}
    counted = await bench.store.read(count_cohorts(cohorts, 9))
    assert counted == {State.FRESH: 2, State.REFRESHING: 1, State.IN_DOUBT: 1, State.BACKING_OFF: 1}
    assert sum((await bench.store.read(count_cohorts(cohorts, 3))).values()) == 3
    apps = await bench.store.read(count_of_apps(["default", "other", "nobody"], 3))
    assert apps == {"default": 3, "other": 1, "nobody": 0}


@transaction
def brought_by_a_browser(tx: Tx, connection_id: str, reference: str) -> Transaction[None]:
    """A reference as an approval without a credential of ours gives it."""
    connection = yield from query_one("connection_row", connection_id=connection_id)
    assert connection is not None
    yield from set_reference(tx, connection, reference, 0)


async def test_a_reference_that_a_browser_brought(bench: Bench) -> None:
    """Is read as that."""
    grant = await bench.connected(pair(1), reference="tenant-7")
    await bench.store.write(brought_by_a_browser(grant.connection_id, "tenant-7"))
    found = await bench.look(grant.connection_id)
    assert (found.reference, found.reference_trusted) == ("tenant-7", False)


def test_the_order_of_ids_is_the_database_s() -> None:
    """Danish has AA behind Z: where Python put ids in order, each page would begin again with what it sorts first."""
    danish = ["con_AA", "con_Z", "con_A"]
    lacking = ("id", "app", "issuer", "reference_trusted", "active_grant", "c_mac")
    unproven = {"c_app": "default", "reference": None} | dict.fromkeys(lacking)
    answers: dict[str, Callable[[Any], list[Any]]] = {
        "page_of_state": lambda asked: [{"id": "con_Z"}, {"id": "con_A"}] if asked["state"] == "fresh" else [],
        "page_of_unproven": lambda asked: [{"id": "con_AA"}],
        "newest": lambda asked: [{"id": one} for one in danish if one in json.loads(asked["connection_ids"])][:2],
        "current": lambda asked: [{**unproven, "c_id": one} for one in json.loads(asked["connection_ids"])],
        "issuers_of": lambda asked: [],
    }
    call = list_connections(states=[State.FRESH, State.DISCONNECTED], limit=1)
    tx = Tx(**asdict(HandClock().instant()), sealer=AesGcmSealer([KEY]), mac_key=MacKey(bytes(32)), is_dead=_never)
    page = drive(call(tx), lambda statement: answers[statement.name](statement.parameters))
    assert ([one.id for one in page], page.next) == (["con_AA"], "con_AA")


def _never(owner: str, clock_id: str) -> bool:
    return False


@pytest.mark.parametrize("mark", [show_no_more, show_all])
async def test_a_process_of_the_schema_before(bench: Bench, mark: Callable[[str], Call[None]]) -> None:
    """It writes no mark: which tokens are lent, what people see and what a property leads to go by the facts all the
    same. Lists by state have the connection no more, or in the state that it has; from the next day on they are right.
    """
    old = await bench.connected(pair(1, property_ids=("1000",)), reference="tenant-1")
    home = old.connection_id
    new = await bench.connected(pair(2, property_ids=("1000",)), connection_id=home)
    await bench.store.write(mark(home))
    assert (await current_grant(bench.store, home)) == await bench.row(new.id)
    assert (await bench.look(home)).generation == new.generation
    assert await resolve(bench.store, "1000") == [home]
    for filters in ({}, {"property_id": "1000"}, {"reference": "tenant-1"}, {"app": "default"}):
        assert await listed(bench, **filters) == [home], filters
    for state in State:
        page = await bench.store.read(list_connections(states=[state]))
        assert {one.state for one in page} <= {State.FRESH}
    await bench.store.write(relist(new.id, ("1000",)))
    assert await listed(bench, states=[State.FRESH]) == [home]
    assert await listed(bench, states=[State.SUPERSEDED]) == []


@pytest.mark.parametrize("cohorts", [False, True])
async def test_a_page_of_one_connection_that_is_marked_often(bench: Bench, cohorts: bool) -> None:
    """It takes one place of the page, and hides none behind it."""
    older = await bench.connected(pair(0, property_ids=("1000",)))
    again = await bench.connected(pair(1, property_ids=("1001",)))
    home = again.connection_id
    for number in range(2, 6):
        await bench.connected(pair(number, property_ids=("1001",)), connection_id=home)
    for hotel in (home, older.connection_id):
        await bench.store.write(disconnect(hotel))
        await bench.store.write(show_all(hotel))
    more: Any = {"cohorts": await bench.store.read(read_cohorts())} if cohorts else {}
    for app in (None, "default"):
        page = await bench.store.read(list_connections(states=[State.DISCONNECTED], app=app, limit=1, **more))
        assert ([one.id for one in page], page.next) == ([home], home)
        page = await bench.store.read(
            list_connections(states=[State.DISCONNECTED], app=app, limit=1, cursor=home, **more)
        )
        assert ([one.id for one in page], page.next) == ([older.connection_id], None)
    for hotel in (home, older.connection_id):
        await bench.store.write(shown(hotel))


async def moved(bench: Bench, app: str) -> Grant:
    """A hotel of the default app that was moved to a key under another one."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    assert await bench.store.write(begin_migration(fence, "client-2"))
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    key = pair("key", refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER, property_ids=("1000",))
    assert await bench.store.write(add_key(fence, "gra_key", app, key))
    assert await bench.promoted("gra_key")
    await bench.store.write(confirm("gra_key", (await bench.row("gra_key")).generation))
    return await bench.row("gra_key")


@pytest.mark.parametrize("states", [(), (State.FRESH,), (State.FRESH, State.DISCONNECTED)])
async def test_a_key_under_another_app(bench: Bench, states: tuple[State, ...]) -> None:
    """Each list has the connection under its own app, and none under the app that its credential came by; its cohort
    has both.
    """
    key = await moved(bench, "other")
    (cohort,) = await bench.store.read(read_cohorts())
    assert (cohort.app, cohort.registration, cohort.kind) == ("default", "other", "api_key")
    assert (await bench.look(key.connection_id)).registration == "other"
    for more in ({}, {"reference": None}, {"property_id": "1000"}, *([{"cohorts": [cohort]}] if states else ())):
        assert await listed(bench, app="default", states=states, **more) == [key.connection_id], more
        assert await listed(bench, app="other", states=states, **more) == [], more


async def test_cohorts(bench: Bench) -> None:
    """One of each app, kind of credential and source; their pages have no other's."""
    one, other = Source("https://a.example", "one"), Source(None, "t w o")
    hotels = [await bench.connected(replace(pair(at), source=source)) for at, source in enumerate([one, one, other])]
    await bench.connected(replace(pair(8), source=Source("https://b.example")), app="other")
    cohorts = await bench.store.read(read_cohorts())
    of_default = [Cohort("default", "default", "oauth", source) for source in (other, one)]
    assert {*cohorts} == {*of_default, Cohort("other", "other", "oauth", Source("https://b.example"))}
    first = await bench.store.read(read_cohorts(limit=2))
    assert [*first, *await bench.store.read(read_cohorts(first[-1].key))] == cohorts
    ids, fresh = [hotel.connection_id for hotel in reversed(hotels)], (State.FRESH,)
    assert await listed(bench, states=fresh, cohorts=of_default[1:]) == ids[1:]
    assert await listed(bench, states=fresh, cohorts=of_default) == ids
    assert await listed(bench, states=fresh, cohorts=[]) == []
    assert await listed(bench, states=(State.STALE,), cohorts=of_default) == []
    assert await listed(bench, states=fresh, cohorts=cohorts, app="default") == ids


async def test_counting(bench: Bench, clock: HandClock) -> None:
    """Part by part, however large, each connection once, as the lists show it."""
    made = await many(bench, clock)
    for limit in (1, 2, 3, 100):
        part = await bench.store.read(count_states(limit=limit))
        while not part.whole:
            part = await bench.store.read(count_states(part, limit))
        assert part.connections == {State(name): 1 for name in made}, limit


async def test_paging(bench: Bench, clock: HandClock) -> None:
    """Page by page, however long, each connection once, and no page behind the last."""
    made = await many(bench, clock)
    for limit in (1, 2, 3, 7, 8):
        seen: list[str] = []
        cursor: str | None = None
        while cursor is not None or not seen:
            page = await bench.store.read(list_connections(cursor=cursor, limit=limit))
            assert 1 <= len(page.connections) <= limit
            seen += [one.id for one in page.connections]
            cursor = page.next
        assert seen == [grant.connection_id for grant in reversed(made.values())], limit


async def test_an_empty_database(bench: Bench) -> None:
    """No connections, no history."""
    page = await bench.store.read(list_connections())
    assert (page.connections, page.next) == ((), None)
    assert list(await bench.store.read(read_history("con_nobody"))) == []


# --- what a healthy hotel's calls run into

SAID = {"method": "GET", "path": "/x", "said": "No."}


async def test_a_problem_of_its_calls(bench: Bench) -> None:
    """Shown with the connection, whose state stays; one line of history, and none more while it is shown."""
    grant = await bench.connected()
    for told in (grant.connection_id, None):
        assert await bench.store.write(note_problem(grant.id, 1, "wrong_property", SAID)) == told
    found = await bench.look(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, "wrong_property")
    (event, before) = await bench.store.read(read_history(grant.connection_id, limit=2))
    assert (event.kind, event.actor, event.generation) == ("call_refused", "cloudbeds", 1)
    assert event.data == {"reason": "wrong_property", "said": SAID}
    assert before.kind == "proved"


async def test_another_problem_of_its_calls(bench: Bench) -> None:
    """The last one is shown."""
    grant = await bench.connected()
    for problem in ("missing_scope", "wrong_property", "missing_scope"):
        assert await bench.store.write(note_problem(grant.id, 1, problem, SAID))
        assert (await bench.look(grant.connection_id)).problem == problem


async def test_how_long_a_problem_of_its_calls_stays(bench: Bench) -> None:
    """A proof leaves it, the next pair clears it, and so does a new approval."""
    grant = await bench.connected()
    await bench.store.write(note_problem(grant.id, 1, "wrong_property", SAID))
    await bench.store.write(confirm(grant.id, 1))
    assert (await bench.look(grant.connection_id)).problem == "wrong_property"
    fence = await bench.intent(grant)
    await bench.store.write(commit_pair(fence, grant.tokens[-1], pair(2), stale_after=3000.0))
    assert (await bench.look(grant.connection_id)).problem is None
    await bench.store.write(note_problem(grant.id, 2, "wrong_property", SAID))
    await bench.connected(pair("new"), connection_id=grant.connection_id)
    assert (await bench.look(grant.connection_id)).problem is None


async def test_where_no_problem_of_its_calls_is_kept(bench: Bench, clock: HandClock) -> None:
    """Not of an older token, of a grant that is not in use, or over the problem of a state that is worse."""
    made = await many(bench, clock)
    waiting = await bench.approved(pair("w", property_ids=("9999",)))
    for name, grant in {**made, "waiting": waiting}.items():
        expected = name in {"fresh", "stale"}
        before = await bench.look(grant.connection_id)
        assert not await bench.store.write(note_problem(grant.id, 7, "forbidden", SAID))
        noted = await bench.store.write(note_problem(grant.id, 1, "forbidden", SAID))
        assert noted == (grant.connection_id if expected else None), name
        after = await bench.look(grant.connection_id)
        assert (after.state, after.problem) == (before.state, "forbidden" if expected else before.problem), name
    assert not await bench.store.write(note_problem("gra_nobody", 1, "forbidden", SAID))


async def test_an_approval_that_works_has_no_problem(bench: Bench, clock: HandClock) -> None:
    """What stood in its way while it waited is over when it is seen to work."""
    waiting = await bench.approved()
    await bench.store.write(settle(await bench.intent(waiting), AttemptEnd.UNSENT, hold=20.0))
    assert (await bench.look(waiting.connection_id)).problem == "nothing_sent"
    assert await bench.store.write(promote(waiting.connection_id, waiting.id, waiting.generation, None, ()))
    await bench.store.write(confirm(waiting.id, 1))
    found = await bench.look(waiting.connection_id)
    assert (found.state, found.problem) == (State.FRESH, None)


# --- leaving


async def test_disconnecting(bench: Bench) -> None:
    """Every token of every grant is forgotten, candidates' too; who did it is history; the lease is void."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    new = await bench.connected(pair(2, property_ids=("1000",)))
    waiting = await bench.approved(pair(3, property_ids=("1000",)))
    fence = await bench.intent(new)
    assert await bench.store.write(disconnect(new.connection_id, detail="the vendor was told"))
    for grant in (old, new, waiting):
        row = await bench.row(grant.id)
        assert (row.role, row.state, row.tokens, row.access.reveal()) == (
            Role.DISCONNECTED, State.DISCONNECTED, (), ""
        )  # fmt: skip
        assert (row.valid_for, row.intent) == (0.0, None)
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    assert not await bench.store.write(renew_lease(new.id, fence.epoch, 30.0))
    (event,) = await bench.store.read(read_history(new.connection_id, limit=1))
    assert (event.kind, event.actor, event.data) == ("disconnected", "program", {"detail": "the vendor was told"})
    found = await bench.look(new.connection_id)
    assert (found.state, found.expires_at, found.property_ids) == (State.DISCONNECTED, None, ("1000",))
    assert await bench.store.read(read_candidate(new.connection_id)) is None


async def test_disconnecting_again_and_nobody(bench: Bench) -> None:
    """Nothing more is written; an unknown connection is told."""
    grant = await bench.connected()
    await bench.store.write(disconnect(grant.connection_id))
    before = await bench.store.read(read_history(grant.connection_id))
    assert await bench.store.write(disconnect(grant.connection_id))
    assert await bench.store.read(read_history(grant.connection_id)) == before
    assert not await bench.store.write(disconnect("con_nobody"))


async def test_a_marked_hotel_leaves(bench: Bench, clock: HandClock) -> None:
    """The mark and the problem go with it."""
    made = await many(bench, clock)
    grant = made["reauthorization_required"]
    await bench.store.write(disconnect(grant.connection_id))
    found = await bench.look(grant.connection_id)
    assert (found.state, found.problem) == (State.DISCONNECTED, None)
