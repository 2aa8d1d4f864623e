"""Transactions over both databases: leases, intents, how an attempt ends."""

from __future__ import annotations

import math

import pytest
from tests.database.bench import Bench, HandClock, about
from tests.support.fakes import pair

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Fence
from cloudbeds_auth.transactions.apps import close_circuit, open_circuit, open_circuits
from cloudbeds_auth.transactions.connections import read_connection
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
from cloudbeds_auth.transactions.refusals import confirm

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
    assert (row.intent, row.intent_age, row.state) == (1, about(3.0), State.REFRESHING)
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
    assert (row.intent, row.intent_age, row.held_back, row.lease_left) == (1, 0.0, 0.0, 0.0)
    await bench.leased(grant)
    clock.pass_(7.0)
    row = await bench.row(grant.id)
    assert (row.intent, row.intent_age, row.held_back) == (1, about(7.0), 0.0)


async def test_a_reboot_without_an_intent(bench: Bench, clock: HandClock) -> None:
    """Nothing was pending, nothing is pending."""
    grant = await bench.connected()
    clock.reboot()
    await bench.leased(grant)
    assert (await bench.row(grant.id)).intent_age is None


# --- how a sending ends


@pytest.mark.parametrize(
    ("attempt", "hold", "state", "intent", "attempts", "problem"),
    [
        (AttemptEnd.REFUSED, 0.0, State.REFRESHING, None, 0, None),
        (AttemptEnd.CLIENT_REFUSED, 0.0, State.BACKING_OFF, None, 0, "client_refused"),
        (AttemptEnd.UNSENT, 25.0, State.BACKING_OFF, None, 1, "nothing_sent"),
        (AttemptEnd.LOST, 25.0, State.IN_DOUBT, 1, 1, "answer_lost"),
        (AttemptEnd.NOT_OFFERED, 25.0, State.BACKING_OFF, 1, 0, "client_refused"),
    ],
)
@pytest.mark.usefixtures("clock")
async def test_each_way_an_attempt_ends(
    bench: Bench,
    attempt: AttemptEnd,
    hold: float,
    state: State,
    intent: int | None,
    attempts: int,
    problem: str | None,
) -> None:
    """Only a lost answer leaves the intent; a refusal clears the hold; failures are counted; history tells it."""
    grant = await bench.connected()
    fence = await bench.intent(grant)
    assert await bench.store.write(settle(fence, attempt, hold=hold, detail="HTTP 500")) is Settled.DONE
    row = await bench.row(grant.id)
    assert (row.state, row.intent, row.attempts) == (state, intent, attempts)
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
