"""The transactions of grants: leases, intents, how an attempt ends, commits and proofs."""

from __future__ import annotations

import math

import pytest
from tests.support.bench import Bench, HandClock, about
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Fence, Role, StoredToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.api_keys import begin_migration
from cloudbeds_auth.transactions.apps import close_circuit, open_circuit, open_circuits
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.grants import (
    AttemptEnd,
    Busy,
    Leased,
    Settled,
    Written,
    commit_pair,
    read_grant,
    release_lease,
    renew_lease,
    settle,
    take_lease,
    write_intent,
)
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm, count_refusal
from cloudbeds_auth.transactions.upkeep import next_due

# --- leases


@pytest.mark.usefixtures("clock")
async def test_a_free_lease_is_taken(bench: Bench) -> None:
    """The first taker gets epoch 1."""
    grant = await bench.connected()
    assert await bench.store.write(take_lease(grant.id, "us", 30.0)) == Leased(1)
    assert (await bench.row(grant.id)).lease_left == about(30.0)


async def test_no_such_grant(bench: Bench) -> None:
    """No lease, no row, nothing to give back, nothing to confirm."""
    assert await bench.store.write(take_lease("gra_nobody", "us", 30.0)) is None
    assert await bench.store.read(read_grant("gra_nobody")) is None
    assert not await bench.store.write(renew_lease("gra_nobody", 1, 30.0))
    assert not await bench.store.write(confirm("gra_nobody", 1))
    await bench.store.write(release_lease("gra_nobody", 1))


@pytest.mark.parametrize("owner", ["them", "us"])
async def test_a_held_lease_is_busy(bench: Bench, clock: HandClock, owner: str) -> None:
    """Whoever asks, also under the same name: it is held for so much longer."""
    grant = await bench.connected()
    await bench.store.write(take_lease(grant.id, "us", 30.0))
    clock.pass_(12.0)
    taken = await bench.store.write(take_lease(grant.id, owner, 30.0))
    assert isinstance(taken, Busy)
    assert taken.left == about(18.0)


async def test_a_lease_that_ended_is_taken_and_the_epoch_grows(bench: Bench, clock: HandClock) -> None:
    """At its end it is anybody's."""
    grant = await bench.connected()
    await bench.store.write(take_lease(grant.id, "us", 30.0))
    clock.pass_(30.0)
    assert await bench.store.write(take_lease(grant.id, "them", 30.0)) == Leased(2)


async def test_a_lease_of_another_boot_is_free(bench: Bench, clock: HandClock) -> None:
    """Its steady end means nothing here: whoever held it does not run any more."""
    grant = await bench.connected()
    await bench.store.write(take_lease(grant.id, "us", 1e9))
    clock.reboot()
    assert (await bench.row(grant.id)).lease_left == 0.0
    assert await bench.store.write(take_lease(grant.id, "them", 30.0)) == Leased(2)


async def test_a_lease_of_a_dead_process_is_free(bench: Bench) -> None:
    """Known dead by its name: nobody waits."""
    grant = await bench.connected()
    await bench.store.write(take_lease(grant.id, "them", 30.0))
    bench.dead.add("them")
    assert await bench.store.write(take_lease(grant.id, "us", 30.0)) == Leased(2)


async def test_a_released_lease_is_free(bench: Bench) -> None:
    """Given back by its owner; the epoch stays and the next taker's grows."""
    grant = await bench.connected()
    await bench.store.write(take_lease(grant.id, "us", 30.0))
    await bench.store.write(release_lease(grant.id, 1))
    assert await bench.store.write(take_lease(grant.id, "them", 30.0)) == Leased(2)


async def test_only_its_owner_releases_it(bench: Bench, clock: HandClock) -> None:
    """Releasing an old epoch changes nothing."""
    grant = await bench.connected()
    await bench.leased(grant)
    clock.pass_(30.0)
    await bench.store.write(take_lease(grant.id, "them", 30.0))
    await bench.store.write(release_lease(grant.id, 1))
    assert isinstance(await bench.store.write(take_lease(grant.id, "us", 30.0)), Busy)


async def test_renewing(bench: Bench, clock: HandClock) -> None:
    """Held for another while; not by an old epoch, not after it was given back."""
    grant = await bench.connected()
    await bench.leased(grant)
    clock.pass_(20.0)
    assert await bench.store.write(renew_lease(grant.id, 1, 30.0))
    assert (await bench.row(grant.id)).lease_left == about(30.0)
    assert not await bench.store.write(renew_lease(grant.id, 0, 30.0))
    await bench.store.write(release_lease(grant.id, 1))
    assert not await bench.store.write(renew_lease(grant.id, 1, 30.0))


async def test_a_wall_clock_set_back_moves_no_lease(bench: Bench, clock: HandClock) -> None:
    """Leases go by the steady clock."""
    grant = await bench.connected()
    await bench.leased(grant)
    clock.wall -= 1e6
    assert (await bench.row(grant.id)).lease_left == about(30.0)
    clock.wall += 2e6
    assert isinstance(await bench.store.write(take_lease(grant.id, "them", 30.0)), Busy)


# --- intents


async def test_an_intent(bench: Bench, clock: HandClock) -> None:
    """Which token, since when; lease and hold for the whole deadline; the state says that it runs."""
    grant = await bench.connected()
    fence = await bench.leased(grant, seconds=5.0)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    clock.pass_(3.0)
    row = await bench.row(grant.id)
    assert (row.intent, row.unresolved_age, row.state) == (1, about(3.0), State.REFRESHING)
    assert (row.lease_left, row.held_back) == (about(27.0), about(17.0))
    assert (await bench.kinds(grant.connection_id))[-1] == "intent_written"


async def test_an_intent_under_an_old_fence(bench: Bench) -> None:
    """Epoch moved, generation moved, no such grant: nothing is written."""
    grant = await bench.connected()
    fence = await bench.leased(grant)
    for wrong in (Fence(grant.id, 1, 9), Fence(grant.id, 9, fence.epoch), Fence("gra_nobody", 1, 1)):
        assert not await bench.store.write(write_intent(wrong, 1, lease=30.0, hold=20.0))
    assert (await bench.row(grant.id)).intent is None


async def test_an_intent_of_a_latched_grant(bench: Bench) -> None:
    """The latch is part of the fence (rule 15)."""
    grant = await bench.connected()
    fence = await bench.leased(grant)
    bench.latch(grant.id)
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    assert (await bench.row(grant.id)).latched


async def test_an_intent_of_a_superseded_grant(bench: Bench) -> None:
    """A former grant is never sent."""
    old = await bench.connected(pair(1, property_ids=("1000",)))
    fence = await bench.leased(old)
    await bench.connected(pair(2, property_ids=("1000",)))
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))


async def test_a_reboot_keeps_a_pending_intent(bench: Bench, clock: HandClock) -> None:
    """A machine that crashed in mid refresh: the attempt is still unresolved; lease and hold are gone."""
    grant = await bench.connected()
    await bench.intent(grant)
    clock.reboot()
    row = await bench.row(grant.id)
    assert (row.intent, row.unresolved_age, row.held_back, row.lease_left) == (1, 0.0, 0.0, 0.0)
    await bench.leased(grant)
    clock.pass_(7.0)
    row = await bench.row(grant.id)
    assert (row.intent, row.unresolved_age, row.held_back) == (1, about(7.0), 0.0)


async def test_a_reboot_without_an_intent(bench: Bench, clock: HandClock) -> None:
    """Nothing was pending, nothing is pending."""
    grant = await bench.connected()
    clock.reboot()
    await bench.leased(grant)
    assert (await bench.row(grant.id)).unresolved_age is None


# --- how a sending ends


@pytest.mark.parametrize(
    ("attempt", "hold", "state", "attempts", "problem"),
    [
        (AttemptEnd.REFUSED, 0.0, State.REFRESHING, 0, None),
        (AttemptEnd.CLIENT_REFUSED, 0.0, State.BACKING_OFF, 0, "client_refused"),
        (AttemptEnd.UNSENT, 25.0, State.BACKING_OFF, 1, "nothing_sent"),
        (AttemptEnd.LOST, 25.0, State.IN_DOUBT, 1, "answer_lost"),
    ],
)
@pytest.mark.usefixtures("clock")
async def test_each_way_an_attempt_ends(
    bench: Bench,
    attempt: AttemptEnd,
    hold: float,
    state: State,
    attempts: int,
    problem: str | None,
) -> None:
    """The intent is over; a lost sending is remembered; a refusal clears the hold; failures are counted."""
    grant = await bench.connected()
    fence = await bench.intent(grant)
    assert await bench.store.write(settle(fence, attempt, hold=hold, detail="HTTP 500")) is Settled.DONE
    row = await bench.row(grant.id)
    assert (row.state, row.intent, row.attempts) == (state, None, attempts)
    assert (row.unresolved_age is not None) is (attempt is AttemptEnd.LOST)
    assert row.held_back == about(hold)
    connection = await bench.store.read(read_connection(grant.connection_id))
    assert connection is not None
    assert connection.problem == problem
    (event,) = await bench.store.read(read_history(grant.connection_id, limit=1))
    assert event.data == {"position": 1, "detail": "HTTP 500"}
    assert await bench.tokens(grant.id) == [grant.tokens[0].value.reveal()]


async def test_an_attempt_under_an_old_fence(bench: Bench) -> None:
    """Somebody else has the lease or committed: nothing is recorded."""
    grant = await bench.connected()
    fence = await bench.intent(grant)
    for wrong in (Fence(grant.id, 1, fence.epoch + 1), Fence(grant.id, 2, fence.epoch), Fence("gra_nobody", 1, 1)):
        assert await bench.store.write(settle(wrong, AttemptEnd.LOST, hold=25.0)) is Settled.MOVED
    assert (await bench.row(grant.id)).attempts == 0


async def test_failures_in_a_row_add_up_until_a_pair(bench: Bench) -> None:
    """The count that backoff grows with."""
    grant = await bench.connected()
    for number in (1, 2, 3):
        fence = await bench.intent(grant)
        await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
        await bench.store.write(release_lease(grant.id, fence.epoch))
        assert (await bench.row(grant.id)).attempts == number
    fence = await bench.intent(grant)
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair("x"), stale_after=9.0)) is Written.DONE
    row = await bench.row(grant.id)
    assert (row.attempts, row.held_back, row.intent) == (0, 0.0, None)


# --- circuits


async def test_circuits(bench: Bench, clock: HandClock) -> None:
    """By app and fingerprint; a trial's time is by the steady clock, another boot's is long due; closing ends it."""
    assert await bench.store.read(open_circuits("default")) == {}
    await bench.store.write(open_circuit("default", "aaaa", trial_after=60.0))
    await bench.store.write(open_circuit("other", "aaaa", trial_after=60.0))
    clock.pass_(20.0)
    assert await bench.store.read(open_circuits("default")) == {"aaaa": about(40.0)}
    await bench.store.write(open_circuit("default", "aaaa", trial_after=60.0))
    assert await bench.store.read(open_circuits("default")) == {"aaaa": about(60.0)}
    clock.pass_(80.0)
    assert await bench.store.read(open_circuits("default")) == {"aaaa": about(-20.0)}
    clock.reboot()
    assert await bench.store.read(open_circuits("default")) == {"aaaa": -math.inf}
    await bench.store.write(close_circuit("default", "aaaa"))
    await bench.store.write(close_circuit("default", "aaaa"))
    assert await bench.store.read(open_circuits("default")) == {}
    assert await bench.store.read(open_circuits("other")) == {"aaaa": -math.inf}


INTERVAL = 60.0


# --- commits


async def test_a_commit_appends(bench: Bench, clock: HandClock) -> None:
    """The next generation: its A, its times, its R behind the one that was sent; every mark and hold is gone."""
    grant = await bench.committed(await bench.hotel(), 2)
    assert (grant.generation, grant.access.reveal(), grant.state) == (2, "A-2", State.FRESH)
    assert await bench.tokens(grant.id) == ["R-1", "R-2"]
    assert (grant.valid_for, grant.stale_in) == (about(3600.0), about(3000.0))
    assert (grant.proven, grant.intent, grant.held_back) == (False, None, 0.0)
    (event,) = await bench.store.read(read_history(grant.connection_id, limit=1))
    assert (event.kind, event.generation) == ("pair_committed", 2)
    assert event.data == {
        "expires_at": clock.wall + 3600.0, "kept": 1, "same_refresh_token": False, "refresh_token_named": True,
        "credential": "oauth",
    }  # fmt: skip


async def test_the_list_grows_with_every_unproven_generation(bench: Bench) -> None:
    """No slots: five in a row, five and one kept."""
    grant = await bench.committed(await bench.hotel(), 2, 3, 4, 5, 6)
    assert await bench.tokens(grant.id) == ["R-1", "R-2", "R-3", "R-4", "R-5", "R-6"]
    assert [token.value.reveal() for token in grant.kept] == ["R-1", "R-2", "R-3", "R-4", "R-5"]


async def test_what_came_after_the_sent_token_is_dropped(bench: Bench) -> None:
    """The oldest was taken: the younger ones were refused before it, and go."""
    grant = await bench.committed(await bench.hotel(), 2, 3)
    grant = await bench.committed(grant, 4, at=0)
    assert await bench.tokens(grant.id) == ["R-1", "R-4"]
    grant = await bench.committed(grant, 5)
    assert await bench.tokens(grant.id) == ["R-1", "R-4", "R-5"]


async def test_the_same_value_is_stored_once(bench: Bench) -> None:
    """V6: the token that comes is the one that was sent; also when none was named."""
    grant = await bench.hotel()
    for new in (pair(2, refresh="R-1"), pair(3, refresh=None)):
        row = await bench.row(grant.id)
        fence = await bench.leased(grant)
        assert await bench.store.write(commit_pair(fence, row.tokens[-1], new, stale_after=9.0)) is Written.DONE
        await bench.store.write(release_lease(grant.id, fence.epoch))
    assert await bench.tokens(grant.id) == ["R-1"]
    (last, first, *_) = await bench.store.read(read_history(grant.connection_id, limit=2))
    assert (last.data["same_refresh_token"], last.data["refresh_token_named"]) == (True, False)
    assert (first.data["same_refresh_token"], first.data["refresh_token_named"]) == (True, True)


@pytest.mark.parametrize(("refresh", "rest"), [("", ["R-3", "R-1", "R-4"]), ("R-1", ["R-3", "R-1"])])
async def test_the_sent_token_was_pruned_meanwhile(bench: Bench, refresh: str, rest: list[str]) -> None:
    """A late proof emptied the list under way: what is left stays, the accepted token is stored again behind it."""
    grant = await bench.committed(await bench.hotel(), 2, 3)
    fence, oldest = await bench.leased(grant), grant.tokens[0]
    assert await bench.store.write(confirm(grant.id, 3))
    assert await bench.tokens(grant.id) == ["R-3"]
    new = pair(4, refresh=refresh)
    assert await bench.store.write(commit_pair(fence, oldest, new, stale_after=9.0)) is Written.DONE
    assert await bench.tokens(grant.id) == rest


async def test_what_a_proof_has_pruned_is_not_sent(bench: Bench) -> None:
    """A late proof emptied the list between two sendings: no intent for what left it, and nothing is changed."""
    grant = await bench.committed(await bench.hotel(), 2)
    fence, (parent, child) = await bench.leased(grant), grant.tokens
    assert await bench.store.write(confirm(grant.id, 2))
    before = await bench.row(grant.id)
    assert not await bench.store.write(write_intent(fence, parent.position, lease=30.0, hold=20.0))
    assert await bench.row(grant.id) == before
    assert await bench.store.write(write_intent(fence, child.position, lease=30.0, hold=20.0))


async def test_repeating_a_commit_is_harmless(bench: Bench) -> None:
    """The answer of the first was lost: done, once (also after another took and returned the lease)."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    for _ in range(3):
        assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0)) is Written.DONE
    await bench.store.write(release_lease(grant.id, fence.epoch))
    await bench.leased(grant, "them")
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0)) is Written.DONE
    assert (await bench.row(grant.id)).generation == 2
    assert await bench.tokens(grant.id) == ["R-1", "R-2"]
    assert (await bench.kinds(grant.connection_id)).count("pair_committed") == 1


async def test_only_the_epoch_moved(bench: Bench, clock: HandClock) -> None:
    """Nothing is written; under the new epoch it is."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    clock.pass_(31.0)
    newer = await bench.leased(grant, "them")
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0)) is Written.EPOCH_MOVED
    assert await bench.tokens(grant.id) == ["R-1"]
    assert await bench.store.write(commit_pair(newer, grant.tokens[0], pair(2), stale_after=9.0)) is Written.DONE


async def test_what_another_process_sent_is_not_over_with_a_late_pair(bench: Bench, clock: HandClock) -> None:
    """It took the lease while the pair was in hand: its own pair would be dropped, but what it sent may still arrive,
    until a proof of the late pair for a refresh, and for ten minutes for a move.
    """
    grant = await bench.hotel()
    late = await bench.intent(grant)
    clock.pass_(31.0)
    await bench.intent(grant)
    clock.pass_(31.0)
    fence = await bench.leased(grant)
    new = commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0, sent_under=late.epoch)
    assert await bench.store.write(new) is Written.DONE
    row = await bench.row(grant.id)
    assert (row.generation, row.intent, row.unresolved_age) == (2, None, about(31.0))
    fence = Fence(grant.id, 2, fence.epoch)
    assert await bench.store.write(write_intent(fence, row.tokens[-1].position, lease=30.0, hold=20.0))
    await bench.store.write(settle(fence, AttemptEnd.UNSENT))
    row = await bench.row(grant.id)
    assert (row.intent, row.unresolved_age) == (None, about(31.0))
    assert await bench.store.write(confirm(grant.id, 2))
    row = await bench.row(grant.id)
    assert (row.unresolved_age, row.sent_ago) == (None, about(31.0))


async def test_the_exchange_of_another_process_stays_pending_with_a_late_pair(bench: Bench, clock: HandClock) -> None:
    """Its key would be stored, and so the grant does not move."""
    grant = await bench.hotel()
    late = await bench.intent(grant)
    clock.pass_(31.0)
    fence = await bench.leased(grant)
    assert await bench.store.write(begin_migration(fence, "client-1"))
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, exchange=True))
    clock.pass_(31.0)
    again = await bench.leased(grant)
    new = commit_pair(again, grant.tokens[0], pair(2), stale_after=9.0, sent_under=late.epoch)
    assert await bench.store.write(new) is Written.DONE
    assert (await bench.row(grant.id)).intent == 1


async def test_a_lost_sending_is_remembered(bench: Bench, clock: HandClock) -> None:
    """It may arrive whatever came of later ones; a restart of the machine counts from then, as for an intent."""
    grant = await bench.connected()
    fence = await bench.intent(grant)
    await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
    clock.pass_(25.0)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    assert (await bench.row(grant.id)).unresolved_age == 0.0, "the newest of the two"
    await bench.store.write(settle(fence, AttemptEnd.REFUSED))
    assert (await bench.row(grant.id)).unresolved_age == about(25.0)
    clock.reboot()
    await bench.leased(grant)
    clock.pass_(5.0)
    assert (await bench.row(grant.id)).unresolved_age == about(5.0)


@pytest.mark.parametrize("further", [1, 2])
async def test_the_generation_moved(bench: Bench, clock: HandClock, further: int) -> None:
    """Somebody committed since, once or twice: the late pair is not the newest and is not written."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    clock.pass_(31.0)
    await bench.committed(grant, *range(2, 2 + further))
    late = await bench.store.write(commit_pair(fence, grant.tokens[0], pair("late"), stale_after=9.0))
    assert late is Written.GENERATION_MOVED
    assert "R-late" not in await bench.tokens(grant.id)


async def test_a_superseded_grants_late_pair_goes_to_its_own_row(bench: Bench) -> None:
    """Rule 13: committed where it belongs, the state stays, the pointer stays."""
    old = await bench.hotel()
    fence = await bench.intent(old)
    new = await bench.connected(pair("new", property_ids=("1000",)))
    assert new.connection_id == old.connection_id
    assert await bench.store.write(commit_pair(fence, old.tokens[0], pair("late"), stale_after=9.0)) is Written.DONE
    row = await bench.row(old.id)
    assert (row.role, row.state, row.access.reveal()) == (Role.SUPERSEDED, State.SUPERSEDED, "A-late")
    assert await bench.tokens(old.id) == ["R-1", "R-late"]
    current = await current_grant(bench.store, old.connection_id)
    assert current is not None
    assert current.id == new.id


async def test_a_disconnected_grants_late_pair_is_gone(bench: Bench) -> None:
    """Nothing is stored for a hotel that left, nor for a row that is not there."""
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    await bench.store.write(disconnect(grant.connection_id))
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0)) is Written.GONE
    assert await bench.tokens(grant.id) == []
    nobody = Fence("gra_nobody", 1, 1)
    assert await bench.store.write(commit_pair(nobody, grant.tokens[0], pair(2), stale_after=9.0)) is Written.GONE


async def test_a_late_pair_leaves_the_mark(bench: Bench, clock: HandClock) -> None:
    """Reauthorization was required, and a pair came after all: only its proof ends the mark."""
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    for _ in range(2):
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=INTERVAL))
        clock.pass_(INTERVAL)
    assert (await bench.row(grant.id)).reauth == "revoked"
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0)) is Written.DONE
    row = await bench.row(grant.id)
    assert (row.reauth, row.problem, row.state) == ("revoked", "revoked", State.REAUTHORIZATION_REQUIRED)
    assert await bench.store.read(next_due()) == about(60.0), "whoever is killed now leaves the proof to the background"
    assert await bench.store.write(confirm(grant.id, 2))
    row = await bench.row(grant.id)
    assert (row.reauth, row.problem, row.state) == (None, None, State.FRESH)


async def test_a_wall_clock_set_back_stretches_no_life(bench: Bench, clock: HandClock) -> None:
    """What is left of a token is never more than its lifetime."""
    grant = await bench.hotel()
    clock.wall -= 366 * 86400.0
    assert (await bench.row(grant.id)).valid_for == 3600.0
    clock.wall += 2 * 366 * 86400.0
    assert (await bench.row(grant.id)).valid_for < 0


async def test_a_token_that_was_never_stored(bench: Bench) -> None:
    """A commit for a token that this list does not know keeps what is there and adds both."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    stranger = StoredToken(7, Secret("R-7"))
    assert await bench.store.write(commit_pair(fence, stranger, pair(8), stale_after=9.0)) is Written.DONE
    assert await bench.tokens(grant.id) == ["R-1", "R-7", "R-8"]


async def test_a_promotion_under_way_drops_no_pair(bench: Bench) -> None:
    """A candidate is promoted while its refresh is under way and the old grant went on: its pair is committed."""
    old = await bench.hotel()
    candidate = await bench.approved(pair("new", property_ids=("1000",)))
    await bench.committed(old, 2, 3, 4)
    fence = await bench.intent(candidate)
    assert await bench.store.write(promote(old.connection_id, candidate.id, candidate.generation, None, ()))
    written = await bench.store.write(commit_pair(fence, candidate.tokens[0], pair("newer"), stale_after=9.0))
    assert written is Written.DONE
    assert (await bench.tokens(candidate.id))[-1] == "R-newer"


# --- proofs


async def test_a_proof_prunes_and_clears(bench: Bench) -> None:
    """The child stays alone; counts, marks and problems go; history says so once."""
    grant = await bench.committed(await bench.hotel(), 2, 3)
    assert await bench.store.write(confirm(grant.id, 3))
    assert await bench.store.write(confirm(grant.id, 3))
    row = await bench.row(grant.id)
    assert (row.proven, row.state) == (True, State.FRESH)
    assert await bench.tokens(grant.id) == ["R-3"]
    assert (await bench.kinds(grant.connection_id)).count("proved") == 2  # the first generation's, and this one's


@pytest.mark.parametrize("generation", [1, 2, 4])
async def test_a_proof_of_another_generation_prunes_nothing(bench: Bench, generation: int) -> None:
    """Fenced on the generation: an old one's proof says nothing about the newest pair."""
    grant = await bench.committed(await bench.hotel(), 2, 3)
    assert not await bench.store.write(confirm(grant.id, generation))
    assert len((await bench.row(grant.id)).tokens) == 3


async def test_a_proof_needs_no_lease(bench: Bench) -> None:
    """Somebody else holds it, and an attempt runs: the proof counts, the attempt goes on."""
    grant = await bench.committed(await bench.hotel(), 2)
    await bench.intent(grant, position=2)
    assert await bench.store.write(confirm(grant.id, 2))
    row = await bench.row(grant.id)
    assert (row.state, row.intent, row.proven) == (State.REFRESHING, 2, True)


async def test_a_proof_clears_the_mark(bench: Bench, clock: HandClock) -> None:
    """A later 2xx: healthy again, and history says so although it was proven before."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    for _ in range(2):
        await bench.store.write(count_refusal(fence, "user_inactive", may_mark=True, interval=INTERVAL))
        clock.pass_(INTERVAL)
    assert await bench.store.write(confirm(grant.id, 1))
    row = await bench.row(grant.id)
    assert (row.reauth, row.refusals, row.state) == (None, 0, State.FRESH)
    assert (await bench.kinds(grant.connection_id))[-2:] == ["proved", "recovered"]


async def test_a_proof_after_a_failure_is_history(bench: Bench) -> None:
    """The token was proven before; that it ends a backoff now is told all the same, as every change of state is."""
    grant = await bench.hotel()
    await bench.store.write(settle(await bench.intent(grant), AttemptEnd.UNSENT, hold=20.0))
    assert await bench.store.write(confirm(grant.id, 1))
    assert (await bench.row(grant.id)).state is State.FRESH
    kinds = [event.kind for event in await bench.store.read(read_history(grant.connection_id, limit=2))]
    assert kinds == ["proved", "nothing_sent"]
    assert await bench.store.write(confirm(grant.id, 1))
    assert len(await bench.store.read(read_history(grant.connection_id))) == 6, "a proof of what is well is no news"


async def test_a_proof_of_a_hotel_that_left(bench: Bench) -> None:
    """It stays disconnected."""
    grant = await bench.hotel()
    await bench.store.write(disconnect(grant.connection_id))
    assert not await bench.store.write(confirm(grant.id, 1))
    assert (await bench.row(grant.id)).role is Role.DISCONNECTED


async def test_a_proof_of_a_superseded_grant(bench: Bench) -> None:
    """It prunes its own row and changes nothing else."""
    old = await bench.committed(await bench.hotel(), 2)
    await bench.connected(pair("new", property_ids=("1000",)))
    assert await bench.store.write(confirm(old.id, 2))
    row = await bench.row(old.id)
    assert (row.state, await bench.tokens(old.id)) == (State.SUPERSEDED, ["R-2"])
