"""Transactions over both databases: links, states, candidates."""

from __future__ import annotations

import pytest
from tests.database.bench import Bench, HandClock, link
from tests.support.fakes import pair

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.errors import StateMismatch
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Role, User
from cloudbeds_auth.transactions.authorizations import (
    Authorization,
    Spending,
    add_authorization,
    add_link,
    read_link,
    read_link_outcome,
)
from cloudbeds_auth.transactions.candidates import add_candidate, drop_candidate, read_candidate
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.grants import commit_pair, read_grant, release_lease
from cloudbeds_auth.transactions.history import read_history

DAY = 86400.0
ADA = User("9001", "Ada Lindqvist", "ada@hotel.example")

# --- states


async def test_a_state_is_spent_once(bench: Bench) -> None:
    """What was begun with it comes back, once; another code finds it spent."""
    new = bench.state(reference="tenant-7", return_to="/done", connection_id=None)
    await bench.store.write(add_authorization(new))
    spent = await spend(bench.store, new.state_hash, None, "code")
    assert spent == Authorization(new.id, "default", "tenant-7", "/done", None, None)
    assert await spend(bench.store, new.state_hash, None, "other") is Spending.SPENT


async def test_the_same_code_again_before_and_after_its_outcome(bench: Bench) -> None:
    """While the exchange runs, or where nothing came of it: unfinished. Once it led to a connection: that one."""
    new = bench.state()
    await bench.store.write(add_authorization(new))
    await spend(bench.store, new.state_hash, None, "code")
    assert await spend(bench.store, new.state_hash, None, "code") is Spending.UNFINISHED
    home = await bench.store.write(add_candidate(new.id, "con_1", "gra_1", pair(1), stale_after=9.0))
    again = await spend(bench.store, new.state_hash, None, "code")
    assert isinstance(again, Authorization)
    assert again.earlier == home == "con_1"
    assert await spend(bench.store, new.state_hash, None, "other") is Spending.SPENT


@pytest.mark.parametrize(("issued", "back"), [("b1", "b2"), ("b1", None), (None, "b1")])
async def test_a_state_is_bound_to_its_browser(bench: Bench, issued: str | None, back: str | None) -> None:
    """Another browser's is unknown, before it is spent, after it, and when it is expired."""
    new = bench.state(browser_hash=issued)
    await bench.store.write(add_authorization(new))
    assert await spend(bench.store, new.state_hash, back, "code") is Spending.UNKNOWN
    assert isinstance(await spend(bench.store, new.state_hash, issued, "code"), Authorization)
    assert await spend(bench.store, new.state_hash, back, "code") is Spending.UNKNOWN


async def test_a_state_that_was_never_issued(bench: Bench) -> None:
    """Unknown."""
    assert await spend(bench.store, "forged", None, "code") is Spending.UNKNOWN


async def test_a_state_expires(bench: Bench, clock: HandClock) -> None:
    """After its lifetime, told as expired for a day, then unknown; a spent one is shown its outcome still."""
    new = bench.state()
    await bench.store.write(add_authorization(new))
    clock.pass_(599.0)
    other = bench.state()
    await bench.store.write(add_authorization(other))
    clock.pass_(1.0)
    assert await spend(bench.store, new.state_hash, None, "code") is Spending.EXPIRED
    assert isinstance(await spend(bench.store, other.state_hash, None, "code"), Authorization)
    clock.pass_(DAY + 1.0)
    await bench.store.write(add_authorization(bench.state()))
    assert await spend(bench.store, new.state_hash, None, "code") is Spending.UNKNOWN
    assert await spend(bench.store, other.state_hash, None, "other") is Spending.SPENT


async def test_only_hashes_rest(bench: Bench) -> None:
    """Two rows cannot have the same state."""
    new = bench.state(state_hash="twice")
    await bench.store.write(add_authorization(new))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await bench.store.write(add_authorization(bench.state(state_hash="twice")))


# --- links


async def test_a_link(bench: Bench, clock: HandClock) -> None:
    """Known until it expires; what it was made for comes back, with the time it has left."""
    await bench.store.write(add_link(link("l1", reference="tenant-7", return_to="/x", connection_id="con_1")))
    clock.pass_(20.0)
    found = await bench.store.read(read_link("l1"))
    assert found is not None
    assert (found.reference, found.return_to, found.connection_id) == ("tenant-7", "/x", "con_1")
    assert found.lifetime == pytest.approx(40.0)
    assert await bench.store.read(read_link("l2")) is None
    clock.pass_(40.0)
    assert await bench.store.read(read_link("l1")) is None


async def test_a_link_is_used_up_by_a_connection(bench: Bench) -> None:
    """Not by opening it."""
    await bench.store.write(add_link(link("l1")))
    await bench.store.write(add_authorization(bench.state(link_hash="l1")))
    assert await bench.store.read(read_link("l1")) is not None
    await bench.approved(link_hash="l1")
    assert await bench.store.read(read_link("l1")) is None


async def test_a_link_opened_in_two_browsers_connects_once(bench: Bench) -> None:
    """Both got a state; the one that comes back second finds the link used, before its exchange and after it."""
    await bench.store.write(add_link(link("l1")))
    late, later = bench.state(link_hash="l1"), bench.state(link_hash="l1")
    await bench.store.write(add_authorization(late))
    await bench.store.write(add_authorization(later))
    assert isinstance(await spend(bench.store, late.state_hash, None, "code"), Authorization)
    assert await bench.store.read(read_link_outcome("l1")) is None
    first = await bench.approved(link_hash="l1")
    assert await bench.store.read(read_link_outcome("l1")) == first.connection_id
    assert await spend(bench.store, later.state_hash, None, "code") is Spending.SPENT
    with pytest.raises(StateMismatch):
        await bench.store.write(add_candidate(late.id, "con_late", "gra_late", pair(9), stale_after=9.0))
    assert await bench.store.read(read_grant("gra_late")) is None


async def test_a_state_whose_link_was_swept(bench: Bench) -> None:
    """The link is long gone: the state decides alone."""
    new = bench.state(link_hash="gone")
    await bench.store.write(add_authorization(new))
    assert isinstance(await spend(bench.store, new.state_hash, None, "code"), Authorization)


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
    """A reconnect; its own reference is kept unless a new one is given."""
    first = await bench.connected(pair(1, property_ids=("1000",)), reference="tenant-7")
    second = await bench.approved(pair(2, property_ids=("1000",)), connection_id=first.connection_id)
    assert second.connection_id == first.connection_id
    found = await bench.store.read(read_connection(first.connection_id))
    assert found is not None
    assert found.reference == "tenant-7"
    await bench.approved(pair(3), connection_id=first.connection_id, reference="tenant-8")
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
    await bench.store.write(disconnect(first.connection_id, actor="operator"))
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
