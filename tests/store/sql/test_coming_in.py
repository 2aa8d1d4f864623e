"""The contract of ports.store over SQLite: links, states, candidates, the pointer."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.database import Database, link
from tests.support.fakes import pair

from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import CredentialKind, Role, User
from cloudbeds_auth.errors import StateMismatch
from cloudbeds_auth.ports.store import Authorization, Spending

DAY = 86400.0
ADA = User("9001", "Ada Lindqvist", "ada@hotel.example")

# --- states


async def test_a_state_is_spent_once(db: Database) -> None:
    """What was begun with it comes back, once; another code finds it spent."""
    new = db.state(reference="tenant-7", return_to="/done", connection_id=None)
    await db.store.add_authorization(new)
    spent = await db.store.spend_state(new.state_hash, None, "code")
    assert spent == Authorization(new.id, "default", "tenant-7", "/done", None, None)
    assert await db.store.spend_state(new.state_hash, None, "other") is Spending.SPENT


async def test_the_same_code_again_before_and_after_its_outcome(db: Database) -> None:
    """While the exchange runs or failed: spent. Once it led to a connection: that one."""
    new = db.state()
    await db.store.add_authorization(new)
    await db.store.spend_state(new.state_hash, None, "code")
    assert await db.store.spend_state(new.state_hash, None, "code") is Spending.SPENT
    home = await db.store.add_candidate(new.id, "con_1", "gra_1", pair(1), stale_after=9.0)
    again = await db.store.spend_state(new.state_hash, None, "code")
    assert isinstance(again, Authorization)
    assert again.earlier == home == "con_1"
    assert await db.store.spend_state(new.state_hash, None, "other") is Spending.SPENT


@pytest.mark.parametrize(("issued", "back"), [("b1", "b2"), ("b1", None), (None, "b1")])
async def test_a_state_is_bound_to_its_browser(db: Database, issued: str | None, back: str | None) -> None:
    """Another browser's is unknown, before it is spent, after it, and when it is expired."""
    new = db.state(browser_hash=issued)
    await db.store.add_authorization(new)
    assert await db.store.spend_state(new.state_hash, back, "code") is Spending.UNKNOWN
    assert isinstance(await db.store.spend_state(new.state_hash, issued, "code"), Authorization)
    assert await db.store.spend_state(new.state_hash, back, "code") is Spending.UNKNOWN


async def test_a_state_that_was_never_issued(db: Database) -> None:
    """Unknown."""
    assert await db.store.spend_state("forged", None, "code") is Spending.UNKNOWN


async def test_a_state_expires(db: Database) -> None:
    """After its lifetime, told as expired for a day, then unknown; a spent one is shown its outcome still."""
    new = db.state()
    await db.store.add_authorization(new)
    db.clock.pass_(599.0)
    other = db.state()
    await db.store.add_authorization(other)
    db.clock.pass_(1.0)
    assert await db.store.spend_state(new.state_hash, None, "code") is Spending.EXPIRED
    assert isinstance(await db.store.spend_state(other.state_hash, None, "code"), Authorization)
    db.clock.pass_(DAY + 1.0)
    await db.store.add_authorization(db.state())
    assert await db.store.spend_state(new.state_hash, None, "code") is Spending.UNKNOWN
    assert await db.store.spend_state(other.state_hash, None, "other") is Spending.SPENT


async def test_only_hashes_rest(db: Database) -> None:
    """Two rows cannot have the same state."""
    new = db.state(state_hash="twice")
    await db.store.add_authorization(new)
    with pytest.raises(Exception, match="UNIQUE"):
        await db.store.add_authorization(db.state(state_hash="twice"))


# --- links


async def test_a_link(db: Database) -> None:
    """Known until it expires; what it was made for comes back, with the time it has left."""
    await db.store.add_link(link("l1", reference="tenant-7", return_to="/x", connection_id="con_1"))
    db.clock.pass_(20.0)
    found = await db.store.link("l1")
    assert found is not None
    assert (found.reference, found.return_to, found.connection_id) == ("tenant-7", "/x", "con_1")
    assert found.lifetime == pytest.approx(40.0)
    assert await db.store.link("l2") is None
    db.clock.pass_(40.0)
    assert await db.store.link("l1") is None


async def test_a_link_is_used_up_by_a_connection(db: Database) -> None:
    """Not by opening it."""
    await db.store.add_link(link("l1"))
    await db.store.add_authorization(db.state(link_hash="l1"))
    assert await db.store.link("l1") is not None
    await db.approved(link_hash="l1")
    assert await db.store.link("l1") is None


async def test_a_link_opened_in_two_browsers_connects_once(db: Database) -> None:
    """Both got a state; the one that comes back second finds the link used, before its exchange and after it."""
    await db.store.add_link(link("l1"))
    late, later = db.state(link_hash="l1"), db.state(link_hash="l1")
    await db.store.add_authorization(late)
    await db.store.add_authorization(later)
    assert isinstance(await db.store.spend_state(late.state_hash, None, "code"), Authorization)
    assert await db.store.link_outcome("l1") is None
    first = await db.approved(link_hash="l1")
    assert await db.store.link_outcome("l1") == first.connection_id
    assert await db.store.spend_state(later.state_hash, None, "code") is Spending.SPENT
    with pytest.raises(StateMismatch):
        await db.store.add_candidate(late.id, "con_late", "gra_late", pair(9), stale_after=9.0)
    assert db.sql("SELECT COUNT(*) FROM grants") == [(1,)]


async def test_a_state_whose_link_was_swept(db: Database) -> None:
    """The link is long gone: the state decides alone."""
    new = db.state(link_hash="gone")
    await db.store.add_authorization(new)
    assert isinstance(await db.store.spend_state(new.state_hash, None, "code"), Authorization)


async def test_old_links_are_swept(db: Database) -> None:
    """A day after they expired."""
    await db.store.add_link(link("l1"))
    db.clock.pass_(60.0 + DAY + 1.0)
    await db.store.add_link(link("l2"))
    assert db.sql("SELECT hash FROM links") == [("l2",)]


# --- candidates


async def test_a_candidate(db: Database) -> None:
    """A row of its own, in doubt until it was seen to work; its tokens sealed, its properties found."""
    grant = await db.approved(pair(1, property_ids=("1000", "1001")), reference="tenant-7")
    assert (grant.role, grant.state, grant.generation) == (Role.CANDIDATE, State.IN_DOUBT, 1)
    assert (grant.access.reveal(), await db.tokens(grant.id)) == ("A-1", ["R-1"])
    assert grant.property_ids == ("1000", "1001")
    assert await db.store.candidate(grant.connection_id) == grant
    assert await db.store.candidate("con_nobody") is None
    (event,) = await db.store.events(grant.connection_id)
    assert (event.kind, event.actor) == ("candidate_received", "hotel")
    assert not any(b"A-1" in value or b"R-1" in value for (value,) in db.sql("SELECT sealed FROM tokens"))


async def test_an_api_key_as_candidate(db: Database) -> None:
    """No refresh token: none is stored."""
    grant = await db.approved(pair(1, refresh=None, kind=CredentialKind.API_KEY))
    assert (grant.kind, grant.tokens, grant.kept) == (CredentialKind.API_KEY, (), ())


async def test_storing_a_candidate_again_is_harmless(db: Database) -> None:
    """The answer of the first was lost: the same home, one row."""
    new = db.state()
    await db.store.add_authorization(new)
    await db.store.spend_state(new.state_hash, None, "code")
    homes = {await db.store.add_candidate(new.id, "con_1", "gra_1", pair(1), stale_after=9.0) for _ in range(3)}
    assert homes == {"con_1"}
    assert db.sql("SELECT COUNT(*) FROM grants") == [(1,)]


async def test_its_home_is_the_connection_asked_for(db: Database) -> None:
    """A reconnect; its own reference is kept unless a new one is given."""
    first = await db.connected(pair(1, property_ids=("1000",)), reference="tenant-7")
    second = await db.approved(pair(2, property_ids=("1000",)), connection_id=first.connection_id)
    assert second.connection_id == first.connection_id
    found = await db.store.connection(first.connection_id)
    assert found is not None
    assert found.reference == "tenant-7"
    await db.approved(pair(3), connection_id=first.connection_id, reference="tenant-8")
    found = await db.store.connection(first.connection_id)
    assert found is not None
    assert found.reference == "tenant-8"


async def test_its_home_when_the_one_asked_for_is_not_there(db: Database) -> None:
    """A connection of its own, never a grant without a home."""
    grant = await db.approved(connection_id="con_nobody")
    assert grant.connection_id != "con_nobody"


async def test_its_home_is_the_one_connection_that_covers_it(db: Database) -> None:
    """Of the same app; also one that was disconnected. Two that cover it, or another app's: a new one."""
    first = await db.connected(pair(1, property_ids=("1000",)))
    assert (await db.approved(pair(2, property_ids=("1000", "1001")))).connection_id == first.connection_id
    assert (await db.approved(pair(3, property_ids=("1000",)), app="other")).connection_id != first.connection_id
    await db.store.disconnect(first.connection_id, actor="operator")
    assert (await db.approved(pair(4, property_ids=("1000",)))).connection_id == first.connection_id
    second = await db.connected(pair(5, property_ids=("2000",)))
    both = await db.approved(pair(6, property_ids=("1000", "2000")))
    assert both.connection_id not in {first.connection_id, second.connection_id}
    assert (await db.approved(pair(7))).connection_id not in {first.connection_id, second.connection_id}


async def test_generations_grow_over_the_whole_connection(db: Database) -> None:
    """A rejected generation never means another grant's."""
    first = await db.connected(pair(1, property_ids=("1000",)))
    fence = await db.leased(first)
    await db.store.commit_pair(fence, first.tokens[0], pair(2), stale_after=9.0)
    second = await db.approved(pair(3, property_ids=("1000",)))
    assert second.generation == 3


async def test_generations_are_unique_over_the_connection(db: Database) -> None:
    """The old grant goes on while the new one waits: no two pairs of a connection ever have the same number."""
    old = await db.connected(pair(1, property_ids=("1000",)))
    new = await db.approved(pair(2, property_ids=("1000",)))
    seen = [old.generation, new.generation]
    for number, grant in enumerate((old, new, old, old, new), 3):
        row = await db.row(grant.id)
        fence = await db.leased(grant)
        await db.store.commit_pair(fence, row.tokens[-1], pair(number), stale_after=9.0)
        await db.store.release_lease(grant.id, fence.epoch)
        seen.append((await db.row(grant.id)).generation)
    assert seen == sorted(set(seen))


# --- the pointer


async def test_promoting(db: Database) -> None:
    """The candidate is the connection's grant, with who approved; the former is superseded, its tokens stay."""
    old = await db.connected(pair(1, property_ids=("1000",)))
    connected_at = db.clock.wall
    db.clock.pass_(1000.0)
    new = await db.approved(pair(2, property_ids=("1000",)))
    assert await db.store.promote(old.connection_id, new.id, ADA, ("1001", "1000"))
    rows = [await db.row(old.id), await db.row(new.id)]
    assert [(row.role, row.state) for row in rows] == [
        (Role.SUPERSEDED, State.SUPERSEDED), (Role.ACTIVE, State.FRESH)
    ]  # fmt: skip
    assert await db.tokens(old.id) == ["R-1"]
    found = await db.store.connection(old.connection_id)
    assert found is not None
    assert (found.authorizing_user, found.property_ids) == (ADA, ("1000", "1001"))
    assert found.connected_at is not None
    assert found.connected_at.timestamp() == connected_at, "a reconnect keeps the day it was first connected"
    assert await db.store.resolve("1001") == [old.connection_id]
    assert await db.store.promote(old.connection_id, new.id, ADA, ()), "promoting it again is harmless"


async def test_promoting_too_late(db: Database) -> None:
    """A newer candidate was promoted first: the older one is superseded and stays so."""
    first = await db.connected(pair(1, property_ids=("1000",)))
    older = await db.approved(pair(2, property_ids=("1000",)))
    newer = await db.approved(pair(3, property_ids=("1000",)))
    assert await db.store.promote(first.connection_id, newer.id, None, ())
    assert not await db.store.promote(first.connection_id, older.id, ADA, ())
    assert (await db.row(older.id)).role is Role.SUPERSEDED
    assert not await db.store.promote("con_nobody", newer.id, None, ())
    assert not await db.store.promote(first.connection_id, "gra_nobody", None, ())


async def test_promoting_the_older_leaves_the_newer_waiting(db: Database) -> None:
    """Whichever works first is used; the newer one may follow."""
    first = await db.connected(pair(1, property_ids=("1000",)))
    older = await db.approved(pair(2, property_ids=("1000",)))
    newer = await db.approved(pair(3, property_ids=("1000",)))
    assert await db.store.promote(first.connection_id, older.id, None, ())
    waiting = await db.store.candidate(first.connection_id)
    assert waiting is not None
    assert waiting.id == newer.id
    assert await db.store.promote(first.connection_id, newer.id, None, ())
    assert (await db.row(older.id)).role is Role.SUPERSEDED


async def test_promoting_one_whose_refresh_runs(db: Database) -> None:
    """The attempt goes on running."""
    grant = await db.approved()
    await db.intent(grant)
    assert await db.store.promote(grant.connection_id, grant.id, None, ())
    assert (await db.row(grant.id)).state is State.REFRESHING


async def test_dropping(db: Database) -> None:
    """A candidate is superseded, its tokens stay; an active grant and nobody are not touched."""
    old = await db.connected(pair(1, property_ids=("1000",)))
    new = await db.approved(pair(2, property_ids=("1000",)))
    for grant_id in (new.id, new.id, old.id, "gra_nobody"):
        await db.store.drop_candidate(grant_id, "refused twice")
    assert [(await db.row(one.id)).role for one in (old, new)] == [Role.ACTIVE, Role.SUPERSEDED]
    assert await db.tokens(new.id) == ["R-2"]
    (event,) = await db.store.events(old.connection_id, limit=1)
    assert (event.kind, event.data) == ("superseded", {"reason": "refused twice"})


async def test_two_writers_promote_at_once(db: Database) -> None:
    """Two processes, one file, two candidates: one pointer, the newer one wins in any order."""
    other = await db.open()
    first = await db.connected(pair(1, property_ids=("1000",)))
    older = await db.approved(pair(2, property_ids=("1000",)))
    newer = await db.approved(pair(3, property_ids=("1000",)))
    await asyncio.gather(
        db.store.promote(first.connection_id, older.id, None, ()),
        other.promote(first.connection_id, newer.id, None, ()),
    )
    current = await db.store.current_grant(first.connection_id)
    assert current is not None
    assert current.id == newer.id
    assert db.sql("SELECT COUNT(*) FROM grants WHERE role = 'active'") == [(1,)]
