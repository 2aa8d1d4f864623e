"""Transactions over both databases: a hotel that comes back, and one whose property was not known at its approval."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.bench import Bench, HandClock, about, link
from tests.support.fakes import pair

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role
from cloudbeds_auth.transactions.authorizations import Authorization, add_link, read_authorization, read_link_outcome
from cloudbeds_auth.transactions.candidates import drop_candidate, promote
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.grants import (
    AttemptEnd,
    Written,
    commit_pair,
    read_grant,
    release_lease,
    settle,
    write_intent,
)
from cloudbeds_auth.transactions.marketplace import discard_parked
from cloudbeds_auth.transactions.reconnect import bring_home, read_covered
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.upkeep import claim_due

DAY = 86400.0
ONE = pair(1, property_ids=("1000",))


async def unnamed(bench: Bench, number: int | str = 2, **more: str) -> Grant:
    """An approval that names no property."""
    return await bench.approved(pair(number), **more)


async def home_of(bench: Bench, grant: Grant, *named: str) -> str | None:
    """What these properties of it make of it; it becomes `gra_new`."""
    return await bench.store.write(bring_home(grant.id, grant.generation, named or ("1000",), "gra_new"))


async def outcome(bench: Bench) -> str | None:
    """Where the authorization `aut_back` leads to."""
    found = await bench.store.read(read_authorization("aut_back"))
    assert found is not None
    return found.earlier


@pytest.mark.row("F87")
async def test_it_goes_where_its_hotel_is(bench: Bench, clock: HandClock) -> None:
    """Its newest tokens are a candidate there, with the life that they have left; where it was, a sign for a day."""
    known = await bench.connected(ONE, reference="tenant-7")
    grant = await unnamed(bench)
    clock.pass_(600.0)
    assert await home_of(bench, grant, "1000", "1001") == known.connection_id
    new, left = await bench.row("gra_new"), await bench.row(grant.id)
    assert (new.connection_id, new.role, new.generation) == (known.connection_id, Role.CANDIDATE, 2)
    assert (new.access.reveal(), await bench.tokens(new.id)) == ("A-2", ["R-2"])
    assert (new.valid_for, new.lifetime, new.property_ids) == (grant.valid_for - 600.0, 3600.0, ("1000", "1001"))
    assert (left.tokens, left.access.reveal()) == ((), "")
    seen = await bench.look(grant.connection_id)
    assert (seen.state, seen.problem) == (State.SUPERSEDED, f"moved to {known.connection_id}")
    assert await bench.kinds(grant.connection_id) == ["candidate_received", "superseded"]
    assert (await bench.kinds(known.connection_id))[-1] == "candidate_received"
    assert (await bench.look(known.connection_id)).reference == "tenant-7"
    assert await resolve(bench.store, "1000") == [known.connection_id]
    assert await bench.store.write(promote(known.connection_id, new.id, new.generation, None, ()))
    clock.pass_(DAY)
    assert await bench.store.write(claim_due(9, 60.0)) == [left.id]
    assert await bench.store.write(discard_parked(left.id))
    assert await bench.store.read(read_connection(grant.connection_id)) is None


async def test_whatever_led_to_its_own_connection_leads_there(bench: Bench) -> None:
    """The authorization, the link that it was begun with, and the second click; and its reference goes there too."""
    known = await bench.connected(ONE, reference="tenant-7")
    await bench.store.write(add_link(link("l1")))
    grant = await unnamed(bench, state_hash="back", id="aut_back", link_hash="l1", reference="tenant-8")
    assert await outcome(bench) == grant.connection_id
    assert await home_of(bench, grant) == known.connection_id
    assert await outcome(bench) == known.connection_id
    assert await bench.store.read(read_link_outcome("l1")) == known.connection_id
    again = await spend(bench.store, "back", None, "code")
    assert isinstance(again, Authorization)
    assert again.earlier == known.connection_id
    assert (await bench.look(known.connection_id)).reference == "tenant-8"
    assert await bench.store.read(read_authorization("aut_nobody")) is None


@pytest.mark.parametrize("left", [False, True])
async def test_a_hotel_that_left_comes_back_too(bench: Bench, left: bool) -> None:
    """As one whose answer names its property: it keeps its connection, which knows what it covered."""
    known = await bench.connected(ONE)
    if left:
        await bench.store.write(disconnect(known.connection_id))
    assert await bench.store.read(read_covered(known.connection_id)) == ("1000",)
    assert await home_of(bench, await unnamed(bench)) == known.connection_id
    assert await bench.store.read(read_covered(known.connection_id)) == ("1000",)


async def test_what_a_connection_that_was_never_in_use_covered(bench: Bench) -> None:
    """Nothing; nor one that nobody knows."""
    assert await bench.store.read(read_covered((await bench.approved(ONE)).connection_id)) == ()
    assert await bench.store.read(read_covered("con_nobody")) == ()


async def test_a_new_hotel_stays_and_is_found_by_the_next_approval(bench: Bench) -> None:
    """Before it is promoted: of two approvals that both named nothing the second goes where the first is."""
    first, second = await unnamed(bench, 1), await unnamed(bench, 2)
    assert await home_of(bench, first) == first.connection_id
    assert (await bench.row(first.id)).property_ids == ("1000",)
    assert await home_of(bench, first) == first.connection_id, "asking again is harmless"
    assert await home_of(bench, second) == first.connection_id
    assert await bench.promoted("gra_new", ("1000",))
    assert (await bench.row(first.id)).role is Role.SUPERSEDED
    assert await resolve(bench.store, "1000") == [first.connection_id]


async def test_two_at_once(bench: Bench) -> None:
    """Two processes name two approvals of one hotel at the same moment: one of them stays, the other goes there."""
    one, two, other = await unnamed(bench, 1), await unnamed(bench, 2), await bench.another()
    homes = await asyncio.gather(
        bench.store.write(bring_home(one.id, 1, ("1000",), "gra_one")),
        other.write(bring_home(two.id, 1, ("1000",), "gra_two")),
    )
    assert homes[0] == homes[1]
    assert homes[0] in {one.connection_id, two.connection_id}


@pytest.mark.row("F87")
async def test_properties_of_two_connections(bench: Bench) -> None:
    """Nothing is taken from either: as an approval that names them when it comes in, it is a connection of its own."""
    for number in (1, 2):
        await bench.connected(pair(number, property_ids=(str(999 + number),)))
    said = await bench.approved(pair(3, property_ids=("1000", "1001")))
    learnt = await unnamed(bench, 4)
    assert await home_of(bench, learnt, "1000", "1001") == learnt.connection_id
    assert len({said.connection_id, learnt.connection_id}) == 2
    assert await bench.store.read(read_grant("gra_new")) is None


async def test_another_apps_connection_is_none_of_its_business_either(bench: Bench) -> None:
    """It stays where it is."""
    await bench.connected(ONE, app="other")
    grant = await unnamed(bench)
    assert await home_of(bench, grant) == grant.connection_id


async def test_of_a_connection_that_was_in_use_nothing_moves(bench: Bench) -> None:
    """The hotel approved through its own link: whose it is, is said elsewhere, and nothing is written down here."""
    await bench.connected(ONE)
    other = await bench.connected(pair(2, property_ids=("2000",)))
    grant = await unnamed(bench, 3, connection_id=other.connection_id)
    assert await home_of(bench, grant) == other.connection_id
    assert (await bench.row(grant.id)).property_ids == ()


@pytest.mark.parametrize("why", ["leased", "intent", "generation", "dropped", "unknown", "newer"])
async def test_it_does_not_move_now(bench: Bench, why: str) -> None:
    """A refresh is under way, or its end is not known; or it is not what was asked about. Nothing changes."""
    await bench.connected(ONE)
    grant = await unnamed(bench)
    generation, name = grant.generation, grant.id
    if why == "leased":
        await bench.leased(grant)
    elif why == "intent":
        fence = await bench.intent(grant)
        await bench.store.write(release_lease(grant.id, fence.epoch))
    elif why == "generation":
        generation += 1
    elif why == "dropped":
        await bench.store.write(drop_candidate(grant.id, "of no use"))
    elif why == "unknown":
        name = "gra_nobody"
    else:
        await unnamed(bench, 3, connection_id=grant.connection_id)
    before = await bench.row(grant.id)
    assert await bench.store.write(bring_home(name, generation, ("1000",), "gra_new")) is None
    after = await bench.row(grant.id)
    assert (after.role, after.access, after.tokens, after.property_ids) == (
        before.role, before.access, before.tokens, before.property_ids
    )  # fmt: skip
    assert await bench.store.read(read_grant("gra_new")) is None


async def test_it_moves_when_the_lease_is_over(bench: Bench, clock: HandClock) -> None:
    """Its holder is gone: nobody waits for ever."""
    known = await bench.connected(ONE)
    grant = await unnamed(bench)
    await bench.leased(grant)
    clock.pass_(31.0)
    assert await home_of(bench, grant) == known.connection_id


@pytest.mark.parametrize("lost", [True, False])
async def test_it_moves_although_an_answer_was_lost(bench: Bench, clock: HandClock, lost: bool) -> None:
    """Nobody has a pair in hand: the process said that the answer was lost, or it said nothing for ten minutes."""
    known = await bench.connected(ONE)
    grant = await unnamed(bench)
    fence = await bench.intent(grant)
    if lost:
        await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
        await bench.store.write(release_lease(grant.id, fence.epoch))
    else:
        clock.pass_(599.0)
        assert await bench.store.write(bring_home(grant.id, grant.generation, ("1000",), "gra_new")) is None
        clock.pass_(2.0)
    assert await home_of(bench, grant) == known.connection_id


async def test_what_was_sent_moves_with_the_tokens(bench: Bench, clock: HandClock) -> None:
    """A second after an answer was lost: the request may still arrive, and nothing is sent before it must have."""
    await bench.connected(ONE)
    grant = await unnamed(bench)
    fence = await bench.intent(grant)
    await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
    await bench.store.write(release_lease(grant.id, fence.epoch))
    clock.pass_(1.0)
    await home_of(bench, grant)
    row = await bench.row("gra_new")
    assert (row.unresolved_age, row.held_back) == (about(1.0), about(19.0))


async def test_a_process_that_ended_is_waited_for_no_longer(bench: Bench, clock: HandClock) -> None:
    """What it sent ten minutes ago and more is not forgotten."""
    await bench.connected(ONE)
    grant = await unnamed(bench)
    await bench.intent(grant)
    clock.pass_(601.0)
    await home_of(bench, grant)
    assert (await bench.row("gra_new")).unresolved_age == about(601.0)


async def test_what_is_over_does_not_begin_anew(bench: Bench, clock: HandClock) -> None:
    """A proof has dropped the token that was sent without an answer, before the tokens move."""
    await bench.connected(ONE)
    grant = await unnamed(bench)
    fence = await bench.intent(grant)
    await bench.store.write(settle(fence, AttemptEnd.LOST))
    await bench.store.write(release_lease(grant.id, fence.epoch))
    grant = await bench.committed(grant, 3)
    await bench.store.write(confirm(grant.id, grant.generation))
    assert await home_of(bench, grant) is not None
    assert (await bench.row("gra_new")).unresolved_age is None


async def test_every_token_moves(bench: Bench) -> None:
    """What was refreshed while it waited, with what is kept until the proof is written down; nothing stays behind."""
    known = await bench.connected(ONE)
    grant = await bench.committed(await unnamed(bench), 3)
    assert await bench.tokens(grant.id) == ["R-2", "R-3"]
    assert await home_of(bench, grant) == known.connection_id
    assert ((await bench.row("gra_new")).access.reveal(), await bench.tokens("gra_new")) == ("A-3", ["R-2", "R-3"])
    assert await bench.tokens(grant.id) == []


async def test_a_late_pair_finds_nothing_to_change(bench: Bench) -> None:
    """Whoever still has the old fence, or takes a new one of what was left, is told that the grant is gone."""
    await bench.connected(ONE)
    grant = await unnamed(bench)
    fence = await bench.leased(grant)
    await bench.store.write(release_lease(grant.id, fence.epoch))
    await home_of(bench, grant)
    sent, again = grant.tokens[-1], await bench.leased(grant)
    for late in (fence, again):
        assert not await bench.store.write(write_intent(late, 1, lease=30.0, hold=20.0))
        assert await bench.store.write(commit_pair(late, sent, pair("late"), stale_after=9.0)) is Written.GONE
    assert again.epoch > fence.epoch + 1, "its fence has moved"
    assert ((await bench.row(grant.id)).tokens, await bench.tokens("gra_new")) == ((), ["R-2"])


async def test_an_older_approval_of_the_same_connection(bench: Bench, clock: HandClock) -> None:
    """It is superseded where it is, as by a promotion, and goes with the sign; until then a late pair finds its row."""
    known = await bench.connected(ONE)
    older = await unnamed(bench)
    fence = await bench.intent(older)
    newer = await unnamed(bench, 3, connection_id=older.connection_id)
    assert await home_of(bench, newer) == known.connection_id
    assert (await bench.row(older.id)).role is Role.SUPERSEDED
    assert await bench.store.write(commit_pair(fence, older.tokens[0], pair("late"), stale_after=9.0)) is Written.DONE
    clock.pass_(DAY)
    assert await bench.store.write(discard_parked(newer.id))
    assert await bench.store.read(read_grant(older.id)) is None
    assert await bench.store.read(read_connection(older.connection_id)) is None


async def test_an_older_approval_that_was_dropped(bench: Bench) -> None:
    """Nothing more happens to it, and it holds nothing back."""
    known = await bench.connected(ONE)
    older = await unnamed(bench)
    newer = await unnamed(bench, 3, connection_id=older.connection_id)
    await bench.store.write(drop_candidate(older.id, "of no use"))
    before = await bench.kinds(older.connection_id)
    assert await home_of(bench, newer) == known.connection_id
    assert await bench.kinds(older.connection_id) == [*before, "superseded"], "the newer one's departure alone"


async def test_one_with_a_newer_one_that_was_dropped_stays(bench: Bench) -> None:
    """Its connection has a later history: it goes on there."""
    await bench.connected(ONE)
    grant = await unnamed(bench)
    newer = await bench.approved(pair(3, property_ids=("2000",)), connection_id=grant.connection_id)
    await bench.store.write(drop_candidate(newer.id, "of no use"))
    assert await home_of(bench, grant) == grant.connection_id
    assert (await bench.row(grant.id)).property_ids == ("1000",)


async def test_nobody_comes_back_to_the_sign(bench: Bench) -> None:
    """A link for the connection that it had for a moment leads to the hotel's own."""
    known = await bench.connected(ONE)
    grant = await unnamed(bench)
    await home_of(bench, grant)
    again = await bench.approved(pair(3, property_ids=("1000",)), connection_id=grant.connection_id)
    assert again.connection_id == known.connection_id


async def test_an_api_key_goes_home_too(bench: Bench) -> None:
    """It has no refresh token: none is made."""
    known = await bench.connected(ONE)
    grant = await bench.approved(pair(2, refresh=None, kind=CredentialKind.API_KEY))
    assert await home_of(bench, grant) == known.connection_id
    new = await bench.row("gra_new")
    assert (new.kind, new.tokens, new.access.reveal()) == (CredentialKind.API_KEY, (), "A-2")
