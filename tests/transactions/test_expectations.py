"""An approval that is expected of certain properties, in the store: settled once, and never while something is open."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, Role
from cloudbeds_auth.transactions.authorizations import read_authorization
from cloudbeds_auth.transactions.candidates import drop_candidate
from cloudbeds_auth.transactions.expectations import Settlement, Spare, set_aside, settle_approval
from cloudbeds_auth.transactions.grants import take_lease

SPARE = Spare("gra_spare", "con_spare")


async def expected(bench: Bench) -> Grant:
    """An approval that is to cover property 1000, and of which nothing is named."""
    return await bench.approved(pair(1), id="aut_1", expected=("1000",), reference="tenant-7")


async def settled(bench: Bench, grant: Grant, *named: str, older: int = 0) -> Settlement | None:
    """What these properties of it make of it."""
    return await bench.store.write(settle_approval(grant.id, grant.generation - older, named, SPARE))


async def test_until_then_it_is_nobodys(bench: Bench) -> None:
    """No reference, no property that leads to it; then both, once."""
    grant = await expected(bench)
    assert (grant.authorization, (await bench.look(grant.connection_id)).reference) == ("aut_1", None)
    for _ in range(2):
        assert await settled(bench, grant, "1000") == Settlement(grant.id, grant.connection_id)
    assert (await bench.look(grant.connection_id)).reference == "tenant-7"
    assert await resolve(bench.store, "1000") == [grant.connection_id]
    assert (await bench.row(grant.id)).authorization is None
    begun = await bench.store.read(read_authorization("aut_1"))
    assert begun is not None
    assert (begun.found, begun.earlier) == (("1000",), grant.connection_id)


async def test_another_hotels(bench: Bench) -> None:
    """It waits to be claimed where it is, for as long as it takes, and what it was begun with leads nowhere."""
    grant = await expected(bench)
    placed = await settled(bench, grant, "2000")
    assert placed is not None
    assert placed.turned_down is not None
    assert (placed.turned_down.found, placed.turned_down.earlier) == (("2000",), None)
    row = await bench.row(grant.id)
    assert (row.role, row.state, await bench.tokens(grant.id)) == (Role.SET_ASIDE, State.PARKED, ["R-1"])
    assert await resolve(bench.store, "2000") == []


@pytest.mark.parametrize("why", ["unknown", "another generation", "dropped", "a lease"])
async def test_what_cannot_be_settled(bench: Bench, why: str) -> None:
    """Nothing changes."""
    grant = await expected(bench)
    if why == "dropped":
        await bench.store.write(drop_candidate(grant.id, "of no use"))
    if why == "a lease":
        await bench.store.write(take_lease(grant.id, "another", 30.0))
    if why == "unknown":
        assert await bench.store.write(settle_approval("gra_nobody", 1, ("1000",), SPARE)) is None
        assert await bench.store.write(set_aside("gra_nobody", 1, ("1000",), SPARE, ("2000",))) is None
    else:
        assert await settled(bench, grant, "1000", older=int(why == "another generation")) is None
    assert (await bench.row(grant.id)).authorization == "aut_1"


async def test_it_leaves_a_connection_that_has_more(bench: Bench, clock: HandClock) -> None:
    """Set aside from a hotel's connection, in a new one; that hotel's stays as it was, with a line about it."""
    known = await bench.connected(pair("old", property_ids=("1000",)))
    newer = await bench.approved(pair(2), connection_id=known.connection_id)
    placed = await bench.store.write(set_aside(newer.id, newer.generation, ("2000",), SPARE, ("1000",)))
    assert placed == Settlement("gra_spare", "con_spare")
    assert ((await bench.row(newer.id)).role, (await bench.row("gra_spare")).role) == (Role.SUPERSEDED, Role.SET_ASIDE)
    assert (await bench.look(known.connection_id)).state is State.FRESH
    assert (await bench.kinds("con_spare"))[-1] == "property_mismatch"
