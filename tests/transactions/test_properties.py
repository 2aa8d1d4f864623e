"""The transactions of groups: whose properties are asked for, and what the answer changes."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.rules.model import Event, Grant
from cloudbeds_auth.rules.properties import EVERY, FIRST, HOLD, PropertyChanges
from cloudbeds_auth.rules.schedule import DAY, SLACK
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import (
    claim_listings,
    disconnect,
    list_connections,
    read_connection,
    relist,
)
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import count_refusal


async def group(bench: Bench, *property_ids: str) -> Grant:
    """A connection of these properties."""
    return await bench.connected(pair(property_ids[0], property_ids=property_ids))


async def lines(bench: Bench, grant: Grant, *kinds: str) -> list[Event]:
    """Of the history, oldest first."""
    found = await bench.store.read(read_history(grant.connection_id))
    return [one for one in reversed(found) if one.kind in (kinds or ("properties_changed", "property_elsewhere"))]


async def covered(bench: Bench, grant: Grant) -> tuple[str, ...]:
    """What the connection covers, as it is shown."""
    shown = await bench.store.read(read_connection(grant.connection_id))
    assert shown is not None
    return shown.property_ids


# --- whose turn it is


async def test_each_is_asked_about_soon_and_then_daily(bench: Bench, clock: HandClock) -> None:
    """A minute after it connected, by one process at a time; in an hour again unless there was an answer; then a day
    later, less a part of its own.
    """
    one, two = await bench.connected(), await bench.connected()
    other = await bench.another()
    assert list(await bench.store.write(claim_listings(9, HOLD))) == []
    clock.pass_(FIRST)
    mine, theirs = await bench.store.write(claim_listings(1, HOLD)), await other.write(claim_listings(9, HOLD))
    assert (len(mine), sorted([*mine, *theirs])) == (1, [one.connection_id, two.connection_id])
    assert await bench.store.write(relist(one.id, one.property_ids)) == PropertyChanges(one.property_ids)
    clock.pass_(HOLD - 1)
    assert list(await other.write(claim_listings(9, HOLD))) == []
    clock.pass_(1)
    assert list(await other.write(claim_listings(9, HOLD))) == [two.connection_id]
    assert await bench.store.write(relist(two.id, ())) == PropertyChanges(two.property_ids)
    clock.pass_(0.9 * EVERY - HOLD - 1)
    assert list(await bench.store.write(claim_listings(9, HOLD))) == []
    moments: dict[str, float] = {}
    for _ in range(120):
        moments |= dict.fromkeys(await bench.store.write(claim_listings(9, DAY)), clock.wall)
        clock.pass_(100.0)
    assert moments.keys() == {one.connection_id, two.connection_id}
    assert moments[one.connection_id] != moments[two.connection_id] - HOLD, "each has a part of its own"


async def test_those_that_wait_longest_come_first(bench: Bench, clock: HandClock) -> None:
    """However their names sort."""
    grants = []
    for _ in range(3):
        grants.append(await bench.connected())
        clock.pass_(1.0)
    clock.pass_(FIRST)
    for grant in grants:
        assert list(await bench.store.write(claim_listings(1, HOLD))) == [grant.connection_id]


async def test_one_whose_properties_were_just_listed_waits_a_day(bench: Bench, clock: HandClock) -> None:
    """What was learnt when it was promoted is new enough."""
    new = await bench.approved(pair(1))
    await bench.store.write(promote(new.connection_id, new.id, new.generation, None, ("1000",)))
    clock.pass_(0.9 * EVERY - 1)
    assert list(await bench.store.write(claim_listings(9, HOLD))) == []
    clock.pass_(0.1 * EVERY + 1)
    assert list(await bench.store.write(claim_listings(9, HOLD))) == [new.connection_id]


async def test_nobody_is_asked_about_who_is_not_in_use(bench: Bench, clock: HandClock) -> None:
    """Marked, superseded, disconnected, or not proven yet."""
    old = await bench.hotel()
    current = await bench.connected(pair("new", property_ids=("1000",)))
    gone = await bench.connected()
    await bench.store.write(disconnect(gone.connection_id))
    waiting = await bench.approved()
    clock.pass_(EVERY)
    assert list(await bench.store.write(claim_listings(9, 0.0))) == [old.connection_id]
    for grant in (old, gone, waiting):
        assert await bench.store.write(relist(grant.id, ("7",))) is None
    assert await bench.store.write(relist("gra_nobody", ("7",))) is None
    assert await resolve(bench.store, "7") == []
    fence = await bench.leased(current)
    for _ in range(2):
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert list(await bench.store.write(claim_listings(9, 0.0))) == []


async def test_a_moment_further_ahead_than_is_ever_written(bench: Bench, clock: HandClock) -> None:
    """The wall clock was set back since: it is due now."""
    grant = await bench.hotel()
    clock.pass_(FIRST)
    clock.wall -= EVERY
    assert list(await bench.store.write(claim_listings(9, HOLD))) == []
    clock.wall -= SLACK + 1
    assert list(await bench.store.write(claim_listings(9, HOLD))) == [grant.connection_id]


# --- what an answer changes


@pytest.mark.parametrize("ended", [False, True])
async def test_an_approval_for_a_part_of_a_group(bench: Bench, ended: bool) -> None:
    """In the transaction that takes it into use: one line of what went and what came, also where the hotel left before.
    The first approval of a hotel, and one for the same properties, have none.
    """
    grant = await group(bench, "1000", "1001")
    if ended:
        await bench.store.write(disconnect(grant.connection_id))
    again = await bench.approved(pair("again", property_ids=("1001",)), connection_id=grant.connection_id)
    change = await bench.store.write(promote(grant.connection_id, again.id, again.generation, None, ("1002",)))
    assert change == PropertyChanges(("1001", "1002"), added=("1002",), dropped=("1000",))
    change = await bench.store.write(promote(grant.connection_id, again.id, again.generation, None, ("1002",)))
    assert change == PropertyChanges(("1001", "1002")), "it is in use already"
    same = await bench.approved(pair("same", property_ids=("1002", "1001")), connection_id=grant.connection_id)
    change = await bench.store.write(promote(grant.connection_id, same.id, same.generation, None, ()))
    assert change == PropertyChanges(("1002", "1001"))
    (line,) = await lines(bench, grant)
    assert (line.kind, line.actor, line.grant_id) == ("properties_changed", "vault", again.id)
    assert line.data == {"added": ["1002"], "dropped": ["1000"]}


async def test_a_group_grows_and_shrinks(bench: Bench) -> None:
    """One transaction: what is shown, what leads here, and a line of history."""
    grant = await group(bench, "1000", "1001")
    assert await bench.store.write(relist(grant.id, ("1002", "1000", "1002"))) == PropertyChanges(
        ("1000", "1002"), added=("1002",), dropped=("1001",)
    )
    assert await covered(bench, grant) == ("1000", "1002")
    assert (await bench.row(grant.id)).property_ids == ("1000", "1002")
    assert await resolve(bench.store, "1002") == [grant.connection_id]
    assert await resolve(bench.store, "1001") == []
    (line,) = await lines(bench, grant)
    assert (line.kind, line.actor, line.grant_id, line.generation) == ("properties_changed", "vault", grant.id, 1)
    assert line.data == {"added": ["1002"], "dropped": ["1001"]}
    page = await bench.store.read(list_connections(property_id="1002"))
    assert [one.id for one in page.connections] == [grant.connection_id]
    assert (await bench.store.read(list_connections(property_id="1001"))).connections == ()


async def test_an_answer_that_changes_nothing(bench: Bench) -> None:
    """The same again, or an empty one: no line."""
    grant = await group(bench, "1000", "1001")
    for named in (("1001", "1000"), ()):
        assert await bench.store.write(relist(grant.id, named)) == PropertyChanges(("1000", "1001"))
    assert await lines(bench, grant) == []
    assert await resolve(bench.store, "1001") == [grant.connection_id]


async def test_nothing_is_taken_from_another_connection(bench: Bench) -> None:
    """It keeps its property; that it was named is told once, and again after it was not named in between."""
    ours, theirs = await group(bench, "1000"), await group(bench, "2000")
    for told in (("2000",), ()):
        change = await bench.store.write(relist(ours.id, ("1000", "2000")))
        assert change == PropertyChanges(("1000",), elsewhere=told)
    (line,) = await lines(bench, ours)
    assert (line.kind, line.data) == ("property_elsewhere", {"properties": {"2000": theirs.connection_id}})
    assert await resolve(bench.store, "2000") == [theirs.connection_id]
    assert await covered(bench, theirs) == ("2000",)
    assert await lines(bench, theirs) == []
    await bench.store.write(relist(ours.id, ("1000",)))
    await bench.store.write(relist(ours.id, ("1000", "2000")))
    assert [one.kind for one in await lines(bench, ours)] == ["property_elsewhere"] * 2


async def test_another_apps_connection_counts_as_well(bench: Bench) -> None:
    """Two connections of one property make its id ambiguous to the programs that call by it."""
    ours = await bench.hotel()
    theirs = await bench.connected(pair(2, property_ids=("2000",)), app="other")
    assert await bench.store.write(relist(ours.id, ("1000", "2000"))) == PropertyChanges(("1000",), elsewhere=("2000",))
    assert await resolve(bench.store, "2000") == [theirs.connection_id]


async def test_a_property_that_two_others_cover(bench: Bench) -> None:
    """One of them is named, always the same."""
    ours = await bench.hotel()
    first = await bench.connected(pair(2, property_ids=("2000",)))
    second = await bench.approved(pair(3, property_ids=()))
    assert await bench.store.write(promote(second.connection_id, second.id, second.generation, None, ("2000",)))
    assert await bench.store.write(relist(ours.id, ("1000", "2000"))) == PropertyChanges(("1000",), elsewhere=("2000",))
    (line,) = await lines(bench, ours)
    assert line.data == {"properties": {"2000": min(first.connection_id, second.connection_id)}}


async def test_a_property_that_was_set_free(bench: Bench) -> None:
    """When the other connection left, the next answer brings its property here."""
    ours, theirs = await group(bench, "1000"), await group(bench, "2000")
    await bench.store.write(relist(ours.id, ("1000", "2000")))
    await bench.store.write(disconnect(theirs.connection_id))
    assert await bench.store.write(relist(ours.id, ("1000", "2000"))) == PropertyChanges(
        ("1000", "2000"), added=("2000",)
    )
    assert await resolve(bench.store, "2000") == [ours.connection_id]


async def test_an_approval_that_waits_to_be_proven_keeps_its_property(bench: Bench) -> None:
    """A new hotel's first: its look-up finds it already."""
    ours, theirs = await group(bench, "1000"), await bench.approved(pair(2, property_ids=("2000",)))
    assert await bench.store.write(relist(ours.id, ("1000", "2000"))) == PropertyChanges(("1000",), elsewhere=("2000",))
    assert await resolve(bench.store, "2000") == [theirs.connection_id]


async def test_a_list_of_nothing_but_others(bench: Bench) -> None:
    """It is believed to be a mistake: the connection keeps what it has."""
    ours, theirs = await group(bench, "1000"), await group(bench, "2000")
    assert await bench.store.write(relist(ours.id, ("2000",))) == PropertyChanges(("1000",), elsewhere=("2000",))
    assert await resolve(bench.store, "1000") == [ours.connection_id]
    assert await resolve(bench.store, "2000") == [theirs.connection_id]


async def test_an_approval_after_the_group_grew(bench: Bench) -> None:
    """A hotel that the group brought in and that approves by itself is at home in the group's connection."""
    ours = await group(bench, "1000")
    await bench.store.write(relist(ours.id, ("1000", "2000")))
    new = await bench.approved(pair(2, property_ids=("2000",)))
    assert new.connection_id == ours.connection_id
