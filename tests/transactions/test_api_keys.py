"""Transactions over both databases: the move of a hotel to an API key, and keys as grants."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.bench import Bench, HandClock, about
from tests.support.fakes import pair

from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Fence, Grant, Migration, Role
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration, end_migration
from cloudbeds_auth.transactions.candidates import promote, read_candidate
from cloudbeds_auth.transactions.connections import count_states, disconnect
from cloudbeds_auth.transactions.grants import AttemptEnd, Settled, read_grant, release_lease, settle, write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.newest import newest_ordinal
from cloudbeds_auth.transactions.pasted_keys import PastedKey, add_pasted_key
from cloudbeds_auth.transactions.refusals import Counted, count_refusal
from cloudbeds_auth.transactions.upkeep import claim_due, next_due

DAY = 86400.0
KEY = pair("key", refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER)


async def begun(bench: Bench) -> tuple[Grant, Fence]:
    """A hotel whose move has begun, and the fence of whoever makes it."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    assert await bench.store.write(begin_migration(fence, "client-1"))
    return grant, fence


async def exchanging(bench: Bench) -> tuple[Grant, Fence]:
    """… and an exchange is under way."""
    grant, fence = await begun(bench)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    return grant, fence


async def test_a_key_never_ends(bench: Bench, clock: HandClock) -> None:
    """Years later it is as valid as on the first day, it has no end that anybody sees, and looks healthy."""
    grant = await bench.connected(replace(KEY, property_ids=("1000",)))
    clock.pass_(10 * 365 * DAY)
    row, shown = await bench.row(grant.id), await bench.look(grant.connection_id)
    assert (row.valid_for, row.stale_in, row.token().expires_at) == (FOREVER, FOREVER, None)
    assert (shown.credential, shown.expires_at, shown.state) == ("api_key", None, State.FRESH)
    (line,) = [
        one for one in await bench.store.read(read_history(grant.connection_id)) if one.kind == "candidate_received"
    ]
    assert line.data["expires_at"] is None
    assert (await bench.store.read(count_states())).connections[State.FRESH] == 1


@pytest.mark.row("F90")
async def test_a_move_begins_with_the_latch(bench: Bench) -> None:
    """No refresh token is refreshed from then on; one may be exchanged. The hotel is as healthy as before."""
    grant, fence = await begun(bench)
    row = await bench.row(grant.id)
    assert (row.latched, row.migration, row.migration_client) == (True, Migration.BEGUN, "client-1")
    shown = await bench.look(grant.connection_id)
    assert (shown.state, shown.problem) == (State.FRESH, "migration_under_way")
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    assert (await bench.kinds(grant.connection_id))[-2:] == ["migration_begun", "intent_written"]


async def test_no_exchange_without_the_latch(bench: Bench) -> None:
    """An exchange behind which a refresh could still be sent would lose its key."""
    fence = await bench.leased(await bench.hotel())
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))


async def test_a_move_begins_once(bench: Bench) -> None:
    """Going on with it writes nothing; under another client that one is remembered."""
    grant, fence = await begun(bench)
    assert await bench.store.write(begin_migration(fence, "client-1"))
    assert await bench.store.write(begin_migration(fence, "client-2"))
    assert (await bench.row(grant.id)).migration_client == "client-2"
    assert (await bench.kinds(grant.connection_id)).count("migration_begun") == 2


async def test_only_the_grant_in_use_is_moved(bench: Bench) -> None:
    """A candidate is proven first."""
    fence = await bench.leased(await bench.approved(pair(1, property_ids=("1000",))))
    assert not await bench.store.write(begin_migration(fence, "client-1"))


async def test_a_pending_refresh_that_is_too_old_to_arrive(bench: Bench) -> None:
    """It is forgotten, so that it does not look like an exchange."""
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    assert await bench.store.write(begin_migration(fence, "client-1"))
    assert (await bench.row(grant.id)).intent is None
    assert await bench.store.write(end_migration(fence))


async def test_giving_it_up(bench: Bench) -> None:
    """Nothing was exchanged: the latch is lifted, and a refresh goes on as before."""
    grant, fence = await exchanging(bench)
    assert not await bench.store.write(end_migration(fence)), "an exchange is under way"
    assert await bench.store.write(settle(fence, AttemptEnd.UNSENT, hold=20.0)) is Settled.DONE
    assert await bench.store.write(end_migration(fence))
    row = await bench.row(grant.id)
    assert (row.latched, row.migration, row.migration_client) == (False, None, None)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    assert not await bench.store.write(end_migration(fence))


async def test_a_lost_answer_holds_the_latch(bench: Bench) -> None:
    """A key may have been issued, also when a later exchange was refused; only the caller knows when it is too late."""
    grant, fence = await exchanging(bench)
    assert await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0)) is Settled.DONE
    assert (await bench.row(grant.id)).migration is Migration.IN_DOUBT
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    assert await bench.store.write(settle(fence, AttemptEnd.CLIENT_REFUSED)) is Settled.DONE
    assert not await bench.store.write(end_migration(fence))
    assert (await bench.row(grant.id)).latched
    assert await bench.store.write(end_migration(fence, in_doubt=True))
    assert not (await bench.row(grant.id)).latched
    assert not await bench.store.write(end_migration(fence, in_doubt=True))


async def test_a_killed_exchange_holds_the_latch(bench: Bench) -> None:
    """Its intent is pending when the next one begins."""
    grant, fence = await exchanging(bench)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    assert (await bench.row(grant.id)).migration is Migration.IN_DOUBT
    assert await bench.store.write(settle(fence, AttemptEnd.UNSENT, hold=20.0)) is Settled.DONE
    assert not await bench.store.write(end_migration(fence))


async def test_a_key_comes(bench: Bench) -> None:
    """It is a candidate of the same connection, for the same properties and scopes; the old grant serves on."""
    grant, fence = await exchanging(bench)
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY)), "storing it again is harmless"
    key, old = await bench.row("gra_key"), await bench.row(grant.id)
    assert (key.kind, key.role, key.property_ids, key.tokens) == (
        CredentialKind.API_KEY, Role.CANDIDATE, ("1000",), ()
    )  # fmt: skip
    assert (old.role, old.state, old.intent, old.held_back) == (Role.ACTIVE, State.FRESH, None, 0.0)
    assert key.generation > old.generation
    assert (await bench.kinds(grant.connection_id))[-2:] == ["key_received", "candidate_received"]
    assert await bench.store.write(promote(grant.connection_id, key.id, key.generation, None, ()))
    old, shown = await bench.row(grant.id), await bench.look(grant.connection_id)
    assert (old.role, old.latched) == (Role.SUPERSEDED, True)
    assert (shown.credential, shown.scopes, shown.property_ids) == ("api_key", ("read:hotel",), ("1000",))
    (line,) = [one for one in await bench.store.read(read_history(grant.connection_id)) if one.kind == "superseded"]
    assert line.data["reason"] == "moved to an API key"
    assert shown.problem is None
    assert await bench.tokens(grant.id) == ["R-1"], "sealed, and never sent again"


async def test_a_key_needs_no_fence(bench: Bench) -> None:
    """A paused process with the key in hand stores it, whoever took the lease or committed since."""
    grant, fence = await exchanging(bench)
    bench.dead.add("us")
    await bench.leased(grant, owner="them")
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    assert (await bench.row("gra_key")).role is Role.CANDIDATE


@pytest.mark.parametrize("end", AttemptEnd)
async def test_a_key_comes_while_another_process_exchanges(bench: Bench, end: AttemptEnd) -> None:
    """It is stored, and the exchange that the other process has begun since stays pending until it ends by itself."""
    grant, fence = await exchanging(bench)
    bench.dead.add("us")
    theirs = await bench.leased(grant, owner="them")
    assert await bench.store.write(write_intent(theirs, 1, lease=30.0, hold=20.0, exchange=True))
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    row = await bench.row(grant.id)
    assert (row.state, row.intent, row.held_back) == (State.REFRESHING, 1, about(20.0))
    assert (await bench.row("gra_key")).role is Role.CANDIDATE
    assert await bench.store.write(settle(theirs, end, hold=20.0)) is Settled.DONE


async def moved(bench: Bench) -> tuple[Grant, Fence, Fence]:
    """A hotel that moved to `gra_key` while another process's exchange was under way; both fences."""
    grant, fence = await exchanging(bench)
    bench.dead.add("us")
    theirs = await bench.leased(grant, owner="them")
    assert await bench.store.write(write_intent(theirs, 1, lease=30.0, hold=20.0, exchange=True))
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    assert await bench.promoted("gra_key")
    return grant, fence, theirs


async def test_the_key_of_a_second_exchange(bench: Bench) -> None:
    """The first key came into use meanwhile, and the second may have ended it: a candidate, and the proof decides."""
    grant, _, theirs = await moved(bench)
    assert await bench.store.write(add_key(theirs, "gra_second", "default", KEY))
    first, second = await bench.row("gra_key"), await bench.row("gra_second")
    assert (first.role, second.role, second.property_ids) == (Role.ACTIVE, Role.CANDIDATE, ("1000",))
    assert second.generation > first.generation
    old = await bench.row(grant.id)
    assert (old.role, old.state, old.latched, old.intent) == (Role.SUPERSEDED, State.SUPERSEDED, True, None)
    assert await bench.promoted("gra_second")
    assert await bench.store.write(add_key(theirs, "gra_third", "default", KEY)), "the second came from it, too"
    assert await bench.promoted("gra_third")
    lines = await bench.store.read(read_history(grant.connection_id))
    assert [(one.grant_id, one.data["reason"]) for one in reversed(lines) if one.kind == "superseded"] == [
        (grant.id, "moved to an API key"), ("gra_key", "a newer API key"), ("gra_second", "a newer API key")
    ]  # fmt: skip


@pytest.mark.parametrize("since", ["disconnected", "approved", "approved a key", "pasted a key", "moved again"])
async def test_the_key_of_a_second_exchange_for_a_hotel_that_went_on(
    bench: Bench, clock: HandClock, since: str
) -> None:
    """It was moved, and then it left or brought a newer credential: nothing is stored, and nothing is replaced."""
    grant, _, theirs = await moved(bench)
    clock.pass_(31.0)  # a key is pasted when no lease is held any more
    key = replace(KEY, property_ids=("1000",))
    match since:
        case "disconnected":
            assert await bench.store.write(disconnect(grant.connection_id))
        case "pasted a key":
            await bench.store.write(add_pasted_key(PastedKey("hash", "default", key, None), "con_9", "gra_9"))
        case "approved a key":
            await bench.connected(key)
        case _:
            anew = await bench.connected(pair("anew", property_ids=("1000",)))
            if since == "moved again":
                fence = await bench.leased(anew, owner="them")
                assert await bench.store.write(begin_migration(fence, "client-1"))
                assert await bench.store.write(add_key(fence, "gra_anew", "default", KEY))
                assert await bench.promoted("gra_anew")
    before = await bench.look(grant.connection_id)
    assert not await bench.store.write(add_key(theirs, "gra_second", "default", KEY))
    assert await bench.store.read(read_grant("gra_second")) is None
    assert await bench.look(grant.connection_id) == before


async def test_a_key_for_a_hotel_that_left(bench: Bench) -> None:
    """Disconnected, or approved anew: nothing is stored."""
    for leave in ("disconnect", "approve"):
        grant = await bench.connected(pair(leave, property_ids=(leave,)))
        fence = await bench.leased(grant)
        assert await bench.store.write(begin_migration(fence, "client-1"))
        if leave == "disconnect":
            await bench.store.write(disconnect(grant.connection_id))
        else:
            await bench.connected(pair("anew", property_ids=(leave,)))
        assert not await bench.store.write(add_key(fence, f"gra_{leave}", "default", KEY))
        assert await bench.store.read(read_grant(f"gra_{leave}")) is None
    assert not await bench.store.write(add_key(Fence("gra_nobody", 1, 1), "gra_key", "default", KEY))


async def refused_twice(bench: Bench, clock: HandClock, grant: Grant) -> None:
    """Cloudbeds refuses it: it is marked."""
    for _ in range(2):
        fence = await bench.leased(grant)
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=60.0))
        await bench.store.write(release_lease(grant.id, fence.epoch))
        clock.pass_(61.0)
    assert (await bench.row(grant.id)).reauth == "revoked"


NEWER = pair("new", property_ids=("1000", "1001"))


@pytest.mark.parametrize("first", ["approval", "key"])
@pytest.mark.parametrize("first_is_in_use", [False, True], ids=["the first key", "a second key"])
async def test_a_key_ends_no_newer_approval(bench: Bench, first_is_in_use: bool, first: str) -> None:
    """The hotel approves while the exchange is on its way. The key is stored, because it may be all that works; once
    the approval is proven, it is in use, whichever of the two was proven first.
    """
    grant, fence = (await moved(bench))[::2] if first_is_in_use else await exchanging(bench)
    home = grant.connection_id
    new = await bench.approved(NEWER, connection_id=home)
    assert await bench.store.write(add_key(fence, "gra_late", "default", KEY))
    if first == "key":
        assert await bench.promoted("gra_late")
    assert await bench.store.write(promote(home, new.id, new.generation, None, ()))
    assert first == "key" or await bench.promoted("gra_late") is None
    assert [(await bench.row(one)).role for one in (new.id, "gra_late")] == [Role.ACTIVE, Role.SUPERSEDED]
    assert (await bench.look(home)).property_ids == ("1000", "1001")


@pytest.mark.parametrize("sent", [True, False], ids=["not sent", "no turn"])
async def test_the_latch_holds_while_a_key_waits_for_its_proof(bench: Bench, clock: HandClock, sent: bool) -> None:
    """It came while a second process waited for its turn, whose exchange is not sent: a refresh would end the key."""
    grant, fence = await exchanging(bench)
    bench.dead.add("us")
    theirs = await bench.leased(grant, owner="them")
    assert await bench.store.read(read_candidate(grant.connection_id)) is None, "as the second process looked"
    assert await bench.store.write(begin_migration(theirs, "client-1"))
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    if sent:
        assert await bench.store.write(write_intent(theirs, 1, lease=30.0, hold=20.0, exchange=True))
        await bench.store.write(settle(theirs, AttemptEnd.UNSENT, hold=20.0))
    for in_doubt in (False, True):
        assert not await bench.store.write(end_migration(theirs, in_doubt=in_doubt))
    assert (await bench.row(grant.id)).latched
    assert not await bench.store.write(write_intent(theirs, 1, lease=30.0, hold=20.0)), "a refresh"
    bench.dead.clear()
    await refused_twice(bench, clock, await bench.row("gra_key"))
    assert await bench.store.write(end_migration(theirs)), "the key is dead"


async def test_a_move_elsewhere_waits_for_no_key_of_this_one(bench: Bench) -> None:
    """Each grant's latch is its own."""
    await exchanging(bench)
    other = await bench.connected(pair("other", property_ids=("2000",)))
    fence = await bench.leased(other)
    assert await bench.store.write(begin_migration(fence, "client-1"))
    assert await bench.store.write(end_migration(fence))


async def test_history_that_was_altered_keeps_no_key_in_memory(bench: Bench) -> None:
    """A key in hand is stored whatever a line about another one says."""
    _, _, theirs = await moved(bench)
    bench.attack("UPDATE events SET data = 'x' WHERE grant_id = 'gra_key' AND kind = 'candidate_received'")
    assert await bench.store.write(add_key(theirs, "gra_second", "default", KEY))


@pytest.mark.parametrize("in_use", [False, True], ids=["waits", "in use"])
async def test_an_exchanged_key_is_no_newer_approval(bench: Bench, in_use: bool) -> None:
    """A disconnect that began before it came ends it, too: it is not taken into use, and no other one is stored."""
    grant, fence = await exchanging(bench)
    home, newest = grant.connection_id, await bench.store.read(newest_ordinal(grant.connection_id))
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    if in_use:
        assert await bench.promoted("gra_key")
    assert await bench.store.write(disconnect(home, newest=newest))
    key = await bench.row("gra_key")
    assert (key.role, bool(key.access)) == (Role.DISCONNECTED, False)
    assert not await bench.store.write(add_key(fence, "gra_late", "default", KEY))
    if not in_use:
        assert await bench.promoted("gra_key") is None
    assert (await bench.look(home)).state is State.DISCONNECTED


async def test_a_refused_move_is_marked_and_tried_again(bench: Bench, clock: HandClock) -> None:
    """Every token refused, twice: the hotel has to approve; the exchange is tried again in five minutes."""
    grant, fence = await begun(bench)
    assert (
        await bench.store.write(count_refusal(fence, "migration_refused", may_mark=False, interval=60.0))
        is Counted.FIRST
    )
    clock.pass_(61.0)
    assert (
        await bench.store.write(count_refusal(fence, "migration_refused", may_mark=True, interval=60.0))
        is Counted.MARKED
    )
    shown = await bench.look(grant.connection_id)
    assert (shown.state, shown.problem) == (State.REAUTHORIZATION_REQUIRED, "migration_refused")
    assert await bench.store.read(next_due()) == about(300.0)


async def test_a_move_that_was_cut_off_is_due_in_a_minute(bench: Bench, clock: HandClock) -> None:
    """Whoever was killed leaves it to the background, at every step."""
    grant, fence = await begun(bench)
    assert await bench.store.read(next_due()) == about(60.0)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    assert await bench.store.read(next_due()) == about(20.0)
    assert await bench.store.write(add_key(fence, "gra_key", "default", KEY))
    clock.pass_(61.0)
    assert await bench.store.write(claim_due(4, 60.0)) == [grant.id, "gra_key"]
