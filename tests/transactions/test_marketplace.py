"""Transactions over both databases: approvals that a hotel began in the Marketplace."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.bench import Bench, HandClock
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.errors import Forbidden, StateMismatch
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Grant, Pair, Role
from cloudbeds_auth.rules.permissions import ADMIN, Bounds, Caller, Scope
from cloudbeds_auth.transactions.authorizations import Authorization, Spending, add_authorization, spend_state
from cloudbeds_auth.transactions.candidates import add_candidate, promote, read_candidate
from cloudbeds_auth.transactions.connections import count_states, disconnect, list_connections, read_connection
from cloudbeds_auth.transactions.grants import read_grant, write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.marketplace import begin_arrival, claim, discard_parked
from cloudbeds_auth.transactions.upkeep import claim_due

DAY = 86400.0
ONE = pair(1, property_ids=("1000",))


async def arrived(bench: Bench, first: Pair = ONE, code: str = "code", app: str = "default") -> Grant:
    """A parked grant, as it comes in."""
    new = bench.state(state_hash=f"arrival {code}", parked=True, app=app)
    begun = await bench.store.write(begin_arrival(new, code, most=100))
    assert isinstance(begun, Authorization)
    assert begun.earlier is None
    home, grant = f"con_{code}", f"gra_{code}"
    assert await bench.store.write(add_candidate(new.id, home, grant, first, stale_after=0.9 * first.lifetime)) == home
    return await bench.row(grant)


async def test_it_is_parked(bench: Bench) -> None:
    """A connection of its own, seen as waiting, with what the hotel approved; its history begins with it."""
    grant = await arrived(bench)
    assert (grant.role, grant.state, grant.property_ids) == (Role.PARKED, State.PARKED, ("1000",))
    seen = await bench.look(grant.connection_id)
    assert (seen.state, seen.property_ids, seen.connected_at) == (State.PARKED, ("1000",), None)
    assert await bench.kinds(grant.connection_id) == ["parked"]
    assert (await current_grant(bench.store, grant.connection_id)) == grant
    (listed,) = (await bench.store.read(list_connections(states=[State.PARKED]))).connections
    assert listed == seen


async def test_nobody_finds_it_by_its_property(bench: Bench) -> None:
    """Neither a caller who names the property, nor the hotel's own approval, nor whoever would prove or promote it."""
    grant = await arrived(bench)
    assert await resolve(bench.store, "1000") == []
    assert await bench.store.read(read_candidate(grant.connection_id)) is None
    assert not await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, None, ()))
    assert (await bench.approved(pair(2, property_ids=("1000",)))).connection_id != grant.connection_id
    counted = (await bench.store.read(count_states())).connections
    assert (counted[State.PARKED], counted[State.IN_DOUBT]) == (1, 1)


async def test_no_refresh_token_of_it_is_sent(bench: Bench) -> None:
    """No intent can be written about it."""
    grant = await arrived(bench)
    assert not await bench.store.write(write_intent(await bench.leased(grant), 1, lease=30.0, hold=20.0))


async def test_a_hotel_that_is_connected_stays_so(bench: Bench) -> None:
    """What it began in the Marketplace waits beside its connection and changes nothing there."""
    known = await bench.connected(ONE)
    grant = await arrived(bench, pair(2, property_ids=("1000",)))
    assert grant.connection_id != known.connection_id
    assert await resolve(bench.store, "1000") == [known.connection_id]
    assert (await bench.row(known.id)) == known


async def test_one_code_once(bench: Bench) -> None:
    """While its exchange runs it is unfinished; once it led to something, it is shown that."""
    first = bench.state(state_hash="arrival", parked=True)
    assert isinstance(await bench.store.write(begin_arrival(first, "code", most=9)), Authorization)
    second = bench.state(state_hash="arrival", parked=True)
    assert await bench.store.write(begin_arrival(second, "code", most=9)) is Spending.UNFINISHED
    await bench.store.write(add_candidate(first.id, "con_1", "gra_1", ONE, stale_after=9.0))
    again = await bench.store.write(begin_arrival(second, "code", most=9))
    assert isinstance(again, Authorization)
    assert again.earlier == "con_1"


async def test_so_many_and_no_more(bench: Bench) -> None:
    """One that is claimed or disconnected makes room; who came in before is shown what it led to all the same."""
    one = await arrived(bench)
    late = bench.state(state_hash="late", parked=True)
    assert await bench.store.write(begin_arrival(late, "late", most=1)) is Spending.FULL
    again = await bench.store.write(begin_arrival(bench.state(state_hash="arrival code", parked=True), "code", most=1))
    assert isinstance(again, Authorization)
    assert await bench.store.write(claim(one.connection_id, None, "gra_new")) == one.connection_id
    two = await arrived(bench, code="two")
    assert await bench.store.write(begin_arrival(late, "late", most=1)) is Spending.FULL
    await bench.store.write(disconnect(two.connection_id))
    assert isinstance(await bench.store.write(begin_arrival(late, "late", most=1)), Authorization)


async def test_it_is_claimed(bench: Bench) -> None:
    """Where it is: a candidate like any that was just received, under the claimer's own name for the hotel."""
    grant = await arrived(bench)
    assert await bench.store.write(claim(grant.connection_id, "tenant-7", "gra_new")) == grant.connection_id
    found = await bench.store.read(read_candidate(grant.connection_id))
    assert found == replace(grant, role=Role.CANDIDATE, state=State.IN_DOUBT)
    assert (await bench.look(grant.connection_id)).reference == "tenant-7"
    assert await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, None, ()))
    assert await bench.kinds(grant.connection_id) == ["parked", "claimed", "promoted"]
    assert await resolve(bench.store, "1000") == [grant.connection_id]


async def test_it_is_claimed_once(bench: Bench) -> None:
    """Nothing waits there any more, nor in a connection that was never parked or that nobody knows."""
    grant = await arrived(bench)
    assert await bench.store.write(claim(grant.connection_id, None, "gra_new")) == grant.connection_id
    assert await bench.store.write(claim(grant.connection_id, "other", "gra_newer")) is None
    assert (await bench.look(grant.connection_id)).reference is None
    assert await bench.store.write(claim((await bench.connected()).connection_id, None, "gra_newest")) is None
    assert await bench.store.write(claim("con_nobody", None, "gra_newest")) is None


async def test_it_is_claimed_twice_at_once(bench: Bench) -> None:
    """By two processes: for one of them nothing waits any more, and the other one's name for the hotel is kept."""
    grant, stores = await arrived(bench), [bench.store, await bench.another()]
    claimed = await asyncio.gather(
        *(store.write(claim(grant.connection_id, f"tenant-{number}", "gra_new")) for number, store in enumerate(stores))
    )
    assert sorted(claimed, key=str) == [None, grant.connection_id]
    assert (await bench.look(grant.connection_id)).reference == f"tenant-{1 - claimed.index(None)}"
    assert (await bench.kinds(grant.connection_id)).count("claimed") == 1


async def test_it_is_claimed_for_a_hotel_that_is_connected(bench: Bench, clock: HandClock) -> None:
    """Its tokens become a candidate there, with the life that they have left; where they waited none rests."""
    known = await bench.connected(ONE, reference="tenant-7")
    grant = await arrived(bench, pair(2, property_ids=("1000", "1001")))
    clock.pass_(600.0)
    assert await bench.store.write(claim(grant.connection_id, None, "gra_new")) == known.connection_id
    new = await bench.row("gra_new")
    assert (new.connection_id, new.role, new.generation) == (known.connection_id, Role.CANDIDATE, 2)
    assert (new.access.reveal(), await bench.tokens(new.id)) == ("A-2", ["R-2"])
    assert (new.valid_for, new.lifetime, new.stale_in) == (grant.valid_for - 600.0, 3600.0, grant.stale_in - 600.0)
    assert new.property_ids == ("1000", "1001")
    assert (await bench.look(known.connection_id)).reference == "tenant-7"
    assert await bench.kinds(grant.connection_id) == ["parked", "superseded"]
    left, seen = await bench.row(grant.id), await bench.look(grant.connection_id)
    assert (left.tokens, left.access.reveal()) == ((), "")
    assert (seen.state, seen.problem) == (State.SUPERSEDED, f"claimed for {known.connection_id}")
    clock.pass_(DAY)
    assert await bench.store.write(discard_parked(grant.id))
    assert await bench.store.read(read_connection(grant.connection_id)) is None
    assert (await bench.kinds(known.connection_id))[-1] == "candidate_received"
    assert await bench.store.write(promote(known.connection_id, new.id, new.generation, None, ()))


async def test_an_api_key_is_claimed_for_a_hotel_that_is_connected(bench: Bench) -> None:
    """It has no refresh token: none is made."""
    known = await bench.connected(ONE)
    grant = await arrived(bench, pair(2, refresh=None, kind=CredentialKind.API_KEY, property_ids=("1000",)))
    assert await bench.store.write(claim(grant.connection_id, "tenant-8", "gra_new")) == known.connection_id
    new = await bench.row("gra_new")
    assert (new.kind, new.tokens, new.access.reveal()) == (CredentialKind.API_KEY, (), "A-2")
    assert (await bench.look(known.connection_id)).reference == "tenant-8"


async def test_another_apps_connection_is_none_of_its_business(bench: Bench) -> None:
    """The same property under another app: claimed where it is."""
    await bench.connected(ONE)
    grant = await arrived(bench, pair(2, property_ids=("1000",)), app="other")
    assert await bench.store.write(claim(grant.connection_id, None, "gra_new")) == grant.connection_id


async def test_after_a_day_it_is_due(bench: Bench, clock: HandClock) -> None:
    """Whoever looks after what is due finds it, and deletes everything of it, once."""
    grant = await arrived(bench)
    clock.pass_(DAY - 1.0)
    assert await bench.store.write(claim_due(9, 60.0)) == []
    clock.pass_(1.0)
    assert await bench.store.write(claim_due(9, 60.0)) == [grant.id]
    assert await bench.store.write(discard_parked(grant.id))
    assert await bench.store.read(read_grant(grant.id)) is None
    assert await bench.store.read(read_connection(grant.connection_id)) is None
    assert await bench.store.read(read_history(grant.connection_id)) == []
    assert not await bench.store.write(discard_parked(grant.id))


async def test_after_a_day_it_is_nobodys(bench: Bench, clock: HandClock) -> None:
    """Also where nobody looks after what is due: it cannot be claimed, and the next one that comes takes its room."""
    grant = await arrived(bench)
    clock.pass_(DAY)
    assert await bench.store.write(claim(grant.connection_id, None, "gra_new")) is None
    late = bench.state(state_hash="late", parked=True)
    assert isinstance(await bench.store.write(begin_arrival(late, "late", most=1)), Authorization)
    assert await bench.store.read(read_connection(grant.connection_id)) is None


async def test_what_was_claimed_is_not_deleted(bench: Bench) -> None:
    """Claimed a moment before: it stays."""
    grant = await arrived(bench)
    await bench.store.write(claim(grant.connection_id, None, "gra_new"))
    assert not await bench.store.write(discard_parked(grant.id))
    assert (await bench.row(grant.id)).role is Role.CANDIDATE


async def test_it_is_sent_away(bench: Bench) -> None:
    """An operator who does not know it disconnects it: its tokens are forgotten, and nobody can claim it."""
    grant = await arrived(bench)
    assert await bench.store.write(disconnect(grant.connection_id))
    assert (await bench.look(grant.connection_id)).state is State.DISCONNECTED
    assert await bench.store.write(claim(grant.connection_id, None, "gra_new")) is None
    assert (await bench.row(grant.id)).tokens == ()


def bound(**reach: str) -> Caller:
    """A caller who connects hotels, for these alone."""
    return Caller(
        "key_1", frozenset({Scope.CONNECT}), Bounds(**{kind: frozenset({one}) for kind, one in reach.items()})
    )


@pytest.mark.row("A27")
async def test_a_claimer_who_is_not_for_the_hotel_that_it_is(bench: Bench) -> None:
    """It is for what arrived, and not for the connection that this hotel has: nothing moves, and no reference changes.
    Whoever is for both takes it there.
    """
    known = await bench.connected(ONE, reference="tenant-A")
    waits = await arrived(bench, pair(2, property_ids=("1000",)))
    for reference in ("tenant-Z", None):
        thief = bound(connections=waits.connection_id, references="tenant-Z")
        with pytest.raises(Forbidden):
            await bench.store.write(claim(waits.connection_id, reference, "gra_new", caller=thief))
    assert (await bench.look(known.connection_id)).reference == "tenant-A"
    assert (await bench.row(waits.id)) == waits
    both = Caller("key_1", frozenset({Scope.CONNECT}), Bounds(frozenset({waits.connection_id, known.connection_id})))
    assert await bench.store.write(claim(waits.connection_id, None, "gra_new", caller=both)) == known.connection_id


@pytest.mark.row("A27")
async def test_a_claimer_for_some_hotels_while_it_is_unknown_which_one_it_is(bench: Bench) -> None:
    """It may be another tenant's: whoever is for all hotels claims it. One that is known, and new, is claimed."""
    unknown = await arrived(bench, pair(1))
    with pytest.raises(Forbidden):
        await bench.store.write(
            claim(unknown.connection_id, None, "gra_new", caller=bound(connections=unknown.connection_id))
        )
    assert await bench.store.write(claim(unknown.connection_id, None, "gra_new", caller=ADMIN)) == unknown.connection_id
    new = await arrived(bench, ONE, code="new")
    mine = bound(connections=new.connection_id)
    with pytest.raises(Forbidden):
        await bench.store.write(claim(new.connection_id, "tenant-7", "gra_newer", caller=mine))
    assert await bench.store.write(claim(new.connection_id, None, "gra_newer", caller=mine)) == new.connection_id


async def test_a_claimer_of_what_does_not_wait(bench: Bench) -> None:
    """Of another's connection, and of one that is not there, the same is said; of its own, that nothing waits."""
    known = await bench.connected(ONE)
    stranger = bound(references="tenant-Z")
    said = set()
    for named in (known.connection_id, "con_nobody"):
        with pytest.raises(Forbidden) as told:
            await bench.store.write(claim(named, None, "gra_new", caller=stranger))
        said.add(str(told.value))
    assert len(said) == 1
    mine = bound(connections=known.connection_id)
    assert await bench.store.write(claim(known.connection_id, None, "gra_new", caller=mine)) is None


async def waiting(bench: Bench, **begun: object) -> str:
    """The connection of an approval that waits for its secret, of which `hash` is known."""
    new = bench.state(challenge="hash", **begun)
    await bench.store.write(add_authorization(new))
    await bench.store.write(spend_state(new.state_hash, None, "code"))
    await bench.store.write(add_candidate(new.id, "con_waits", "gra_waits", ONE, stale_after=900.0, unproven=True))
    return "con_waits"


@pytest.mark.parametrize(
    ("begun", "mine", "others"),
    [
        ({"reference": "tenant-7"}, bound(references="tenant-7"), bound(references="tenant-8")),
        ({"expected": ("1000",)}, bound(properties="1000"), bound(properties="1001")),
        ({"expected": ("1000", "1001")}, bound(connections="con_waits"), bound(properties="1000")),
        ({"reference": "tenant-7", "trusted": False}, bound(connections="con_waits"), bound(references="tenant-7")),
    ],
)
async def test_who_began_claims_with_the_secret(
    bench: Bench, begun: dict[str, object], mine: Caller, others: Caller
) -> None:
    """Who is for the reference, or all the properties, that it was begun with by a trusted way, or for its place."""
    waits = await waiting(bench, **begun)
    for challenge in ("hash", None):
        with pytest.raises(Forbidden):
            await bench.store.write(claim(waits, None, "gra_new", challenge, caller=others))
    with pytest.raises(StateMismatch):
        await bench.store.write(claim(waits, None, "gra_new", "another", caller=mine))
    assert await bench.store.write(claim(waits, None, "gra_new", "hash", caller=mine)) == waits


async def test_nobody_claims_once_the_secret_is_forgotten(bench: Bench) -> None:
    """What it was begun with is swept at the end of the same day: no secret is the right one then, nor is none."""
    waits = await waiting(bench)
    bench.raw("DELETE FROM authorizations")
    for challenge in ("hash", None):
        assert await bench.store.write(claim(waits, None, "gra_new", challenge)) is None
