"""The contract of ports.store over SQLite: what people see, history, calls, leaving."""

from __future__ import annotations

import pytest
from tests.support.database import Database
from tests.support.fakes import pair

from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Connection, Grant, Role, moment
from cloudbeds_auth.ports.store import Attempt, Calls

INTERVAL = 60.0


async def look(db: Database, connection_id: str) -> Connection:
    """The connection as it is seen."""
    found = await db.store.connection(connection_id)
    assert found is not None
    return found


async def many(db: Database) -> dict[str, Grant]:
    """One connection in each stored state that a list may ask for, by state; the oldest first."""
    made = {"fresh": await db.connected(pair("f", lifetime=1e6, property_ids=("1000",)), reference="tenant-1")}
    made["stale"] = await db.connected(pair("s", lifetime=100.0, property_ids=("1001",)), reference="tenant-2")
    db.clock.pass_(95.0)
    made["refreshing"] = await db.connected(pair("r", lifetime=1e6), app="other")
    await db.intent(made["refreshing"])
    made["in_doubt"] = await db.connected(pair("d", lifetime=1e6))
    await db.store.settle(await db.intent(made["in_doubt"]), Attempt.LOST, hold=20.0)
    made["backing_off"] = await db.connected(pair("b", lifetime=1e6))
    await db.store.settle(await db.intent(made["backing_off"]), Attempt.UNSENT, hold=20.0)
    made["reauthorization_required"] = await db.connected(pair("m", lifetime=1e6))
    fence = await db.leased(made["reauthorization_required"], seconds=1e4)
    await db.store.count_refusal(fence, "revoked", interval=0.0)
    await db.store.count_refusal(fence, "revoked", interval=0.0)
    made["disconnected"] = await db.connected(pair("g", lifetime=1e6, property_ids=("1002",)), reference="tenant-2")
    await db.store.disconnect(made["disconnected"].connection_id, actor="operator")
    return made


# --- one connection


async def test_a_connection(db: Database) -> None:
    """Every field as people read it."""
    grant = await db.connected(pair(1, property_ids=("1000",)), reference="tenant-7")
    found = await look(db, grant.connection_id)
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
        connected_at=moment(db.clock.wall),
        expires_at=moment(db.clock.wall + 3600.0),
        refreshed_at=None,
        used_at=None,
    )
    assert await db.store.connection("con_nobody") is None
    assert await db.store.current_grant("con_nobody") is None


async def test_stale_by_the_clock(db: Database) -> None:
    """Never stored: it is how a fresh row looks after nine tenths."""
    grant = await db.connected()
    db.clock.pass_(3240.0)
    assert (await look(db, grant.connection_id)).state is State.STALE
    assert (await db.row(grant.id)).state is State.FRESH


async def test_a_first_grant_not_proven_yet(db: Database) -> None:
    """It speaks for the connection while there is nothing else; not once an active one is there."""
    grant = await db.approved()
    assert (await look(db, grant.connection_id)).state is State.IN_DOUBT
    assert (await look(db, grant.connection_id)).connected_at is None
    assert await db.store.current_grant(grant.connection_id) == grant
    await db.store.promote(grant.connection_id, grant.id, None, ())
    await db.approved(pair("new"), connection_id=grant.connection_id)
    current = await db.store.current_grant(grant.connection_id)
    assert current is not None
    assert current.id == grant.id


async def test_a_connection_whose_only_candidate_was_dropped(db: Database) -> None:
    """There, without a grant: never connected."""
    grant = await db.approved()
    await db.store.drop_candidate(grant.id, "refused twice")
    found = await look(db, grant.connection_id)
    assert (found.state, found.problem, found.generation) == (State.DISCONNECTED, "never_connected", None)
    assert await db.store.current_grant(grant.connection_id) is None


# --- resolving


async def test_resolving(db: Database) -> None:
    """A connection id is itself; a property id every connection that covers it now."""
    first = await db.connected(pair(1, property_ids=("1000", "1001")))
    other = await db.connected(pair(2, property_ids=("1001",)), app="other")
    waiting = await db.approved(pair(3, property_ids=("1002",)))
    resolve = db.store.resolve
    assert await resolve(first.connection_id) == [first.connection_id]
    assert await resolve("con_nobody") == []
    assert await resolve("1000") == [first.connection_id]
    assert sorted(await resolve("1001")) == sorted([first.connection_id, other.connection_id])
    assert await resolve("1002") == [waiting.connection_id]
    assert await resolve("9999") == []
    await db.store.disconnect(other.connection_id, actor="operator")
    assert await resolve("1001") == [first.connection_id]


async def test_a_property_that_the_new_approval_left_out(db: Database) -> None:
    """Only what the current grant covers is found."""
    first = await db.connected(pair(1, property_ids=("1000", "1001")))
    await db.connected(pair(2, property_ids=("1001",)), connection_id=first.connection_id)
    assert await db.store.resolve("1000") == []
    assert await db.store.resolve("1001") == [first.connection_id]


# --- lists


async def test_every_state(db: Database) -> None:
    """One filter each, and several at once."""
    made = await many(db)
    for name, grant in made.items():
        page = await db.store.connections(states=[State(name)])
        assert [(one.id, one.state) for one in page.connections] == [(grant.connection_id, name)], name
    both = await db.store.connections(states=[State.FRESH, State.DISCONNECTED])
    assert {one.state for one in both.connections} == {State.FRESH, State.DISCONNECTED}
    assert (await db.store.connections(states=[State.PARKED])).connections == ()


async def test_the_other_filters(db: Database) -> None:
    """Reference, property and app, alone and together; newest first."""
    made = await many(db)
    listed = db.store.connections

    async def ids(**filters: str) -> list[str]:
        return [one.id for one in (await listed(**filters)).connections]  # type: ignore[arg-type]

    assert await ids() == [grant.connection_id for grant in reversed(made.values())]
    assert await ids(reference="tenant-1") == [made["fresh"].connection_id]
    assert await ids(reference="tenant-2") == [made[one].connection_id for one in ("disconnected", "stale")]
    assert await ids(property_id="1000") == [made["fresh"].connection_id]
    assert await ids(app="other") == [made["refreshing"].connection_id]
    assert await ids(app="other", reference="tenant-1") == []
    page = await listed(reference="tenant-2", states=[State.STALE])
    assert [one.id for one in page.connections] == [made["stale"].connection_id]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
async def test_paging(db: Database, limit: int) -> None:
    """Page by page, each connection once, and no page behind the last."""
    made = await many(db)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await db.store.connections(cursor=cursor, limit=limit)
        assert 1 <= len(page.connections) <= limit
        seen += [one.id for one in page.connections]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [grant.connection_id for grant in reversed(made.values())]


async def test_an_empty_database(db: Database) -> None:
    """No connections, no history."""
    page = await db.store.connections()
    assert (page.connections, page.next) == ((), None)
    assert list(await db.store.events("con_nobody")) == []


# --- history and calls


async def test_history(db: Database) -> None:
    """Newest first, numbered from 1 per connection, cut by cursor and limit; moments by the wall clock."""
    grant = await db.connected()
    await db.connected()
    events = await db.store.events(grant.connection_id)
    assert [event.kind for event in events] == ["proved", "promoted", "candidate_received"]
    assert [event.sequence for event in events] == [3, 2, 1]
    assert {event.at for event in events} == {moment(db.clock.wall)}
    assert [event.sequence for event in await db.store.events(grant.connection_id, limit=2)] == [3, 2]
    assert [event.sequence for event in await db.store.events(grant.connection_id, cursor=3)] == [2, 1]


async def test_calls(db: Database) -> None:
    """Aggregates are lines of history and the time of last use; calls of nobody are dropped."""
    grant = await db.connected()
    calls = Calls(grant.id, 1, 10.0, 20.0, 3, 1, {"GET /a": 3})
    older = Calls(grant.id, 1, 1.0, 5.0, 1, 0, {"GET /b": 1})
    await db.store.record_calls([Calls("gra_nobody", 1, 1.0, 2.0, 1, 0, {}), calls, older])
    (second, first, *_) = await db.store.events(grant.connection_id)
    assert (first.kind, first.actor, first.generation) == ("calls", "caller", 1)
    assert first.data == {"first": 10.0, "last": 20.0, "count": 3, "refused": 1, "methods": {"GET /a": 3}}
    assert second.data["count"] == 1
    assert (await look(db, grant.connection_id)).used_at == moment(20.0)


# --- leaving


async def test_disconnecting(db: Database) -> None:
    """Every token of every grant is forgotten, candidates' too; who did it is history; the lease is void."""
    old = await db.connected(pair(1, property_ids=("1000",)))
    new = await db.connected(pair(2, property_ids=("1000",)))
    waiting = await db.approved(pair(3, property_ids=("1000",)))
    fence = await db.intent(new)
    assert await db.store.disconnect(new.connection_id, actor="operator", detail="the vendor was told")
    for grant in (old, new, waiting):
        row = await db.row(grant.id)
        assert (row.role, row.state, row.tokens, row.access.reveal()) == (
            Role.DISCONNECTED, State.DISCONNECTED, (), ""
        )  # fmt: skip
        assert (row.valid_for, row.intent) == (0.0, None)
    assert db.sql("SELECT COUNT(*) FROM tokens") == [(0,)]
    assert not await db.store.write_intent(fence, 1, lease=30.0, hold=20.0)
    assert not await db.store.renew_lease(new.id, fence.epoch, 30.0)
    (event,) = await db.store.events(new.connection_id, limit=1)
    assert (event.kind, event.actor, event.data) == ("disconnected", "operator", {"detail": "the vendor was told"})
    found = await look(db, new.connection_id)
    assert (found.state, found.expires_at, found.property_ids) == (State.DISCONNECTED, None, ("1000",))
    assert await db.store.candidate(new.connection_id) is None


async def test_disconnecting_again_and_nobody(db: Database) -> None:
    """Nothing more is written; an unknown connection is told."""
    grant = await db.connected()
    await db.store.disconnect(grant.connection_id, actor="operator")
    before = await db.store.events(grant.connection_id)
    assert await db.store.disconnect(grant.connection_id, actor="operator")
    assert await db.store.events(grant.connection_id) == before
    assert not await db.store.disconnect("con_nobody", actor="operator")


async def test_a_marked_hotel_leaves(db: Database) -> None:
    """The mark and the problem go with it."""
    made = await many(db)
    grant = made["reauthorization_required"]
    await db.store.disconnect(grant.connection_id, actor="hotel")
    found = await look(db, grant.connection_id)
    assert (found.state, found.problem) == (State.DISCONNECTED, None)


async def test_forgotten_tokens_are_not_in_the_file(db: Database) -> None:
    """Sealed bytes of a hotel that left are overwritten (secure_delete), in the log too once it is folded in."""
    grant = await db.connected()
    (sealed,) = db.sql("SELECT sealed FROM tokens WHERE grant_id = ?", grant.id)[0]
    await db.store.disconnect(grant.connection_id, actor="operator")
    await db.close()
    assert sealed not in db.path.read_bytes()
