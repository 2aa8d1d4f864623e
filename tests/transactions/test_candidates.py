"""The transactions of candidates: an approval that waits to be proven, and the pointer of a connection (rule 13)."""

from __future__ import annotations

import asyncio

from tests.support.bench import Bench, HandClock
from tests.support.fakes import ADA, pair

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.transactions.authorizations import (
    add_authorization,
)
from cloudbeds_auth.transactions.candidates import add_candidate, drop_candidate, note_unnamed, promote, read_candidate
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.grants import commit_pair, release_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.upkeep import next_due

DAY = 86400.0


# --- candidates


async def test_a_candidate(bench: Bench) -> None:
    """A row of its own, in doubt until it was seen to work; its properties found."""
    grant = await bench.approved(pair(1, property_ids=("1000", "1001")), reference="tenant-7")
    assert (grant.role, grant.state, grant.generation) == (Role.CANDIDATE, State.IN_DOUBT, 1)
    assert (grant.access.reveal(), await bench.tokens(grant.id)) == ("A-1", ["R-1"])
    assert grant.property_ids == ("1000", "1001")
    assert await bench.store.read(read_candidate(grant.connection_id)) == grant
    assert await bench.store.read(read_candidate("con_nobody")) is None
    (event,) = await bench.store.read(read_history(grant.connection_id))
    assert (event.kind, event.actor) == ("candidate_received", "hotel")


async def test_an_api_key_as_candidate(bench: Bench) -> None:
    """No refresh token: none is stored."""
    grant = await bench.approved(pair(1, refresh=None, kind=CredentialKind.API_KEY))
    assert (grant.kind, grant.tokens, grant.kept) == (CredentialKind.API_KEY, (), ())


async def test_storing_a_candidate_again_is_harmless(bench: Bench) -> None:
    """The answer of the first was lost: the same home, one row."""
    new = bench.state()
    await bench.store.write(add_authorization(new))
    await spend(bench.store, new.state_hash, None, "code")
    homes = {
        await bench.store.write(add_candidate(new.id, "con_1", "gra_1", pair(1), stale_after=9.0)) for _ in range(3)
    }
    assert homes == {"con_1"}
    assert await bench.kinds("con_1") == ["candidate_received"]


async def test_its_home_is_the_connection_asked_for(bench: Bench) -> None:
    """A reconnect; its own reference is kept unless a new one is given, and until it is known whose approval it is."""
    first = await bench.connected(pair(1, property_ids=("1000",)), reference="tenant-7")
    second = await bench.approved(pair(2, property_ids=("1000",)), connection_id=first.connection_id)
    assert second.connection_id == first.connection_id
    found = await bench.store.read(read_connection(first.connection_id))
    assert found is not None
    assert found.reference == "tenant-7"
    again = {"connection_id": first.connection_id, "reference": "tenant-8"}
    assert (await bench.approved(pair(3), **again)).connection_id == first.connection_id
    assert await bench.store.read(read_connection(first.connection_id)) == found
    await bench.approved(pair(4, property_ids=("1000",)), **again)
    found = await bench.store.read(read_connection(first.connection_id))
    assert found is not None
    assert found.reference == "tenant-8"


async def test_its_home_when_the_one_asked_for_is_not_there(bench: Bench) -> None:
    """A connection of its own, never a grant without a home."""
    grant = await bench.approved(connection_id="con_nobody")
    assert grant.connection_id != "con_nobody"


async def test_its_home_is_the_one_connection_that_covers_it(bench: Bench) -> None:
    """Of the same app; also one that was disconnected. Two that cover it, or another app's: a new one."""
    first = await bench.connected(pair(1, property_ids=("1000",)))
    assert (await bench.approved(pair(2, property_ids=("1000", "1001")))).connection_id == first.connection_id
    assert (await bench.approved(pair(3, property_ids=("1000",)), app="other")).connection_id != first.connection_id
    await bench.store.write(disconnect(first.connection_id))
    assert (await bench.approved(pair(4, property_ids=("1000",)))).connection_id == first.connection_id
    second = await bench.connected(pair(5, property_ids=("2000",)))
    both = await bench.approved(pair(6, property_ids=("1000", "2000")))
    assert both.connection_id not in {first.connection_id, second.connection_id}
    assert (await bench.approved(pair(7))).connection_id not in {first.connection_id, second.connection_id}


async def test_a_hotel_that_approves_twice_before_the_first_is_proven(bench: Bench) -> None:
    """One connection: as nothing was ever proven, the newest candidate says which property it is, also when dropped."""
    first = await bench.approved(pair(1, property_ids=("1000",)))
    second = await bench.approved(pair(2, property_ids=("1000",)))
    assert second.connection_id == first.connection_id
    await bench.store.write(drop_candidate(second.id, "refused twice"))
    assert (await bench.approved(pair(5, property_ids=("1000",)))).connection_id == first.connection_id
    assert (await bench.approved(pair(3, property_ids=("1000",)), app="other")).connection_id != first.connection_id
    assert (await bench.approved(pair(4, property_ids=("1001",)))).connection_id != first.connection_id


async def test_a_candidate_says_nothing_where_something_was_proven(bench: Bench) -> None:
    """Another hotel approved by this one's link: that hotel's own approval does not follow it there."""
    first = await bench.connected(pair(1, property_ids=("1000",)))
    await bench.approved(pair(2, property_ids=("1001",)), connection_id=first.connection_id)
    assert (await bench.approved(pair(3, property_ids=("1001",)))).connection_id != first.connection_id


async def test_generations_grow_over_the_whole_connection(bench: Bench) -> None:
    """A rejected generation never means another grant's."""
    first = await bench.connected(pair(1, property_ids=("1000",)))
    fence = await bench.leased(first)
    await bench.store.write(commit_pair(fence, first.tokens[0], pair(2), stale_after=9.0))
    second = await bench.approved(pair(3, property_ids=("1000",)))
    assert second.generation == 3


async def test_generations_are_unique_over_the_connection(bench: Bench) -> None:
    """The old grant goes on while the new one waits: no two pairs of a connection ever have the same number."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    new = await bench.approved(pair(2, property_ids=("1000",)))
    seen = [old.generation, new.generation]
    for number, grant in enumerate((old, new, old, old, new), 3):
        row = await bench.row(grant.id)
        fence = await bench.leased(grant)
        await bench.store.write(commit_pair(fence, row.tokens[-1], pair(number), stale_after=9.0))
        await bench.store.write(release_lease(grant.id, fence.epoch))
        seen.append((await bench.row(grant.id)).generation)
    assert seen == sorted(set(seen))


async def test_promoting(bench: Bench, clock: HandClock) -> None:
    """The candidate is the connection's grant, with who approved; the former is superseded, its tokens stay."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    connected_at = clock.wall
    clock.pass_(1000.0)
    new = await bench.approved(pair(2, property_ids=("1000",)))
    assert await bench.store.write(promote(old.connection_id, new.id, new.generation, ADA, ("1001", "1000")))
    rows = [await bench.row(old.id), await bench.row(new.id)]
    assert [(row.role, row.state) for row in rows] == [
        (Role.SUPERSEDED, State.SUPERSEDED), (Role.ACTIVE, State.FRESH)
    ]  # fmt: skip
    assert await bench.tokens(old.id) == ["R-1"]
    found = await bench.store.read(read_connection(old.connection_id))
    assert found is not None
    assert (found.authorizing_user, found.property_ids) == (ADA, ("1000", "1001"))
    assert found.connected_at is not None
    assert found.connected_at.timestamp() == connected_at, "a reconnect keeps the day it was first connected"
    assert await resolve(bench.store, "1001") == [old.connection_id]
    assert await bench.store.write(promote(old.connection_id, new.id, new.generation, ADA, ())), (
        "promoting it again is harmless"
    )


async def test_promoting_too_late(bench: Bench) -> None:
    """A newer candidate was promoted first: the older one is superseded and stays so."""
    first = await bench.connected(pair(1, property_ids=("1000",)))
    older = await bench.approved(pair(2, property_ids=("1000",)))
    newer = await bench.approved(pair(3, property_ids=("1000",)))
    assert await bench.store.write(promote(first.connection_id, newer.id, newer.generation, None, ()))
    assert not await bench.store.write(promote(first.connection_id, older.id, older.generation, ADA, ()))
    assert (await bench.row(older.id)).role is Role.SUPERSEDED
    assert not await bench.store.write(promote("con_nobody", newer.id, newer.generation, None, ()))
    assert not await bench.store.write(promote(first.connection_id, "gra_nobody", 1, None, ()))


async def test_promoting_the_older_leaves_the_newer_waiting(bench: Bench) -> None:
    """Whichever works first is used; the newer one may follow."""
    first = await bench.connected(pair(1, property_ids=("1000",)))
    older = await bench.approved(pair(2, property_ids=("1000",)))
    newer = await bench.approved(pair(3, property_ids=("1000",)))
    assert await bench.store.write(promote(first.connection_id, older.id, older.generation, None, ()))
    waiting = await bench.store.read(read_candidate(first.connection_id))
    assert waiting is not None
    assert waiting.id == newer.id
    assert await bench.store.write(promote(first.connection_id, newer.id, newer.generation, None, ()))
    assert (await bench.row(older.id)).role is Role.SUPERSEDED


async def test_promoting_for_a_proof_of_a_former_pair(bench: Bench) -> None:
    """The newer pair has to work itself: the grant in use stays so."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    new = await bench.approved(pair(2, property_ids=("1000",)))
    fence = await bench.intent(new)
    await bench.store.write(commit_pair(fence, new.tokens[-1], pair(3), stale_after=9.0))
    assert await bench.store.write(promote(old.connection_id, new.id, new.generation, ADA, ())) is None
    assert [(await bench.row(one.id)).role for one in (old, new)] == [Role.ACTIVE, Role.CANDIDATE]
    assert await bench.promoted(new.id)


async def test_promoting_one_whose_refresh_runs(bench: Bench) -> None:
    """The attempt goes on running."""
    grant = await bench.approved()
    await bench.intent(grant)
    assert await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, None, ()))
    assert (await bench.row(grant.id)).state is State.REFRESHING


async def test_dropping(bench: Bench) -> None:
    """A candidate is superseded, its tokens stay; an active grant and nobody are not touched."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    new = await bench.approved(pair(2, property_ids=("1000",)))
    for grant_id in (new.id, new.id, old.id, "gra_nobody"):
        await bench.store.write(drop_candidate(grant_id, "refused twice"))
    assert [(await bench.row(one.id)).role for one in (old, new)] == [Role.ACTIVE, Role.SUPERSEDED]
    assert await bench.tokens(new.id) == ["R-2"]
    (event,) = await bench.store.read(read_history(old.connection_id, limit=1))
    assert (event.kind, event.data) == ("superseded", {"reason": "refused twice"})


async def test_two_writers_promote_at_once(bench: Bench) -> None:
    """Two processes, two candidates: one pointer, the newer one wins in any order."""
    other = await bench.another()
    first = await bench.connected(pair(1, property_ids=("1000",)))
    older = await bench.approved(pair(2, property_ids=("1000",)))
    newer = await bench.approved(pair(3, property_ids=("1000",)))
    await asyncio.gather(
        bench.store.write(promote(first.connection_id, older.id, older.generation, None, ())),
        other.write(promote(first.connection_id, newer.id, newer.generation, None, ())),
    )
    current = await current_grant(bench.store, first.connection_id)
    assert current is not None
    assert current.id == newer.id
    rows = [await bench.row(grant.id) for grant in (first, older, newer)]
    assert [row.role for row in rows] == [Role.SUPERSEDED, Role.SUPERSEDED, Role.ACTIVE]


async def test_a_candidate_that_waits_for_its_property(bench: Bench, clock: HandClock) -> None:
    """What is in the way is shown, and told once; another reason is told again; it is due when it was said."""
    new = await bench.approved(pair(1))
    store, said = bench.store, {"reason": "outage", "said": "<html>"}
    due = await store.read(next_due())
    assert await store.write(note_unnamed(new.id, 1, "property_unknown", said, again_in=None))
    assert await store.read(next_due()) == due
    assert not await store.write(note_unnamed(new.id, 1, "property_unknown", {}, again_in=3600.0))
    assert await store.read(next_due()) == 3600.0
    assert not await store.write(note_unnamed(new.id, 2, "hotel_scope_missing", {}, again_in=0.0))
    assert not await store.write(note_unnamed("gra_nobody", 1, "hotel_scope_missing", {}, again_in=0.0))
    shown = await store.read(read_connection(new.connection_id))
    assert shown is not None
    assert shown.problem == "property_unknown"
    assert await store.write(note_unnamed(new.id, 1, "hotel_scope_missing", {"reason": "b", "said": ""}, again_in=None))
    lines = [one for one in await store.read(read_history(new.connection_id)) if one.kind == "property_unknown"]
    assert [(one.grant_id, one.generation, one.actor, one.data) for one in lines] == [
        (new.id, 1, "vault", {"reason": "b", "said": ""}),
        (new.id, 1, "vault", said),
    ]


async def test_only_a_candidate_waits_for_its_property(bench: Bench) -> None:
    """One in use is not told of, and what was in the way before is over when it is promoted."""
    new = await bench.approved(pair(1))
    assert await bench.store.write(note_unnamed(new.id, 1, "property_unknown", {}, again_in=None))
    assert await bench.store.write(promote(new.connection_id, new.id, new.generation, None, ("1000",)))
    shown = await bench.store.read(read_connection(new.connection_id))
    assert shown is not None
    assert shown.problem is None
    assert not await bench.store.write(note_unnamed(new.id, 1, "property_unknown", {}, again_in=0.0))
