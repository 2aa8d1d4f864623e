"""An approval that is expected of certain properties, in the store: settled once, and never while something is open."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import RefreshPending
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, Role
from cloudbeds_auth.transactions.authorizations import read_authorization
from cloudbeds_auth.transactions.candidates import drop_candidate, promote
from cloudbeds_auth.transactions.expectations import Settlement, Spare, set_aside, settle_approval
from cloudbeds_auth.transactions.grants import release_lease, take_lease
from cloudbeds_auth.transactions.marketplace import claim
from cloudbeds_auth.transactions.refusals import count_refusal

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


async def test_a_claim_after_a_reboot(bench: Bench, clock: HandClock) -> None:
    """The machine was switched off between an intent and its answer: no process of before has a pair in hand."""
    grant = await expected(bench)
    await settled(bench, grant, "2000")
    await bench.intent(grant)
    with pytest.raises(RefreshPending):
        await bench.store.write(claim(grant.connection_id, None, "gra_new"))
    clock.reboot()
    assert await bench.store.write(claim(grant.connection_id, None, "gra_new")) == grant.connection_id


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


# --- approvals that are settled in another order than they came in


async def two_approvals(bench: Bench, clock: HandClock) -> tuple[Grant, Grant]:
    """The older and the newer of two approvals of one hotel, each by a link for property 1000; neither is settled."""
    older = await bench.approved(pair("old"), expected=("1000",))
    clock.pass_(60.0)
    return older, await bench.approved(pair("new"), expected=("1000",))


async def state_of(bench: Bench, grant: Grant) -> tuple[Role, list[str], str | None]:
    """Its role, its refresh tokens, and the problem that its connection shows."""
    return (
        (await bench.row(grant.id)).role,
        await bench.tokens(grant.id),
        (await bench.look(grant.connection_id)).problem,
    )


async def test_an_older_approval_is_settled_after_a_newer_one(bench: Bench, clock: HandClock) -> None:
    """The newer one waits on with its tokens; the older one ends, as it would have in the other order."""
    older, newer = await two_approvals(bench, clock)
    await settled(bench, newer, "2000")
    clock.pass_(60.0)
    placed = await settled(bench, older, "2000")
    assert placed is not None
    assert placed.turned_down is not None
    assert await state_of(bench, newer) == (Role.SET_ASIDE, ["R-new"], "property_mismatch")
    assert await state_of(bench, older) == (Role.PARKED, [], f"replaced by {newer.connection_id}")
    assert (await bench.kinds(older.connection_id))[-2:] == ["property_mismatch", "superseded"]


async def test_an_older_approval_is_settled_after_a_newer_one_that_is_refused(bench: Bench, clock: HandClock) -> None:
    """It was just seen to work, and the newer one may be dead: both wait."""
    older, newer = await two_approvals(bench, clock)
    await settled(bench, newer, "2000")
    for _ in range(2):
        fence = await bench.leased(newer)
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=60.0))
        await bench.store.write(release_lease(newer.id, fence.epoch))
        clock.pass_(61.0)
    await settled(bench, older, "2000")
    assert await state_of(bench, newer) == (Role.SET_ASIDE, ["R-new"], "revoked")
    assert await state_of(bench, older) == (Role.SET_ASIDE, ["R-old"], "property_mismatch")


async def test_an_older_approval_of_more_properties_is_settled_late(bench: Bench, clock: HandClock) -> None:
    """Nothing else may be left of the others: both wait."""
    older, newer = await two_approvals(bench, clock)
    await settled(bench, newer, "2000")
    await settled(bench, older, "2000", "2001")
    assert await state_of(bench, newer) == (Role.SET_ASIDE, ["R-new"], "property_mismatch")
    assert await state_of(bench, older) == (Role.SET_ASIDE, ["R-old"], "property_mismatch")


async def test_an_older_approval_leaves_a_connection_after_a_newer_one_was_set_aside(
    bench: Bench, clock: HandClock
) -> None:
    """It is as old as when it came in, not as the connection that its tokens move to."""
    known = await bench.connected(pair("known", property_ids=("1000",)))
    older = await bench.approved(pair("old"), connection_id=known.connection_id)
    clock.pass_(60.0)
    newer = await bench.approved(pair("new"), expected=("1000",))
    await settled(bench, newer, "2000")
    clock.pass_(60.0)
    assert await bench.store.write(set_aside(older.id, older.generation, ("2000",), SPARE, ("1000",)))
    assert await state_of(bench, newer) == (Role.SET_ASIDE, ["R-new"], "property_mismatch")
    moved = await bench.row("gra_spare")
    assert await state_of(bench, moved) == (Role.PARKED, [], f"replaced by {newer.connection_id}")


async def test_an_older_approval_is_promoted_after_a_newer_one_was_set_aside(bench: Bench, clock: HandClock) -> None:
    """The newer one waits on; one that came in before both ends."""
    oldest = await bench.approved(pair("oldest"), expected=("1000",))
    await settled(bench, oldest, "2000")
    clock.pass_(60.0)
    older = await bench.approved(pair("old"))
    clock.pass_(60.0)
    newer = await bench.approved(pair("new", property_ids=("2000", "2001")), expected=("1000",))
    await settled(bench, newer, "2001")
    assert await bench.store.write(promote(older.connection_id, older.id, older.generation, None, ("2000", "2001")))
    assert await bench.tokens(older.id) == ["R-old"]
    assert await state_of(bench, oldest) == (Role.PARKED, [], f"replaced by {older.connection_id}")
    assert await state_of(bench, newer) == (Role.SET_ASIDE, ["R-new"], "property_mismatch")


async def test_the_clock_was_set_back_between_two_approvals(bench: Bench, clock: HandClock) -> None:
    """Which one is newer is not known: neither ends."""
    older = await bench.approved(pair("old"), expected=("1000",))
    await settled(bench, older, "2000")
    clock.wall -= 3600.0
    newer = await bench.approved(pair("new"), expected=("1000",))
    await settled(bench, newer, "2000")
    for grant, token in ((older, "R-old"), (newer, "R-new")):
        assert await state_of(bench, grant) == (Role.SET_ASIDE, [token], "property_mismatch")
