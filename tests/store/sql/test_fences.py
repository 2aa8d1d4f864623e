"""The contract of ports.store over SQLite: leases, intents, how an attempt ends."""

from __future__ import annotations

import pytest
from tests.support.database import Database, about
from tests.support.fakes import pair

from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Fence
from cloudbeds_auth.ports.store import Attempt, Busy, Leased, Written

# --- leases


async def test_a_free_lease_is_taken(db: Database) -> None:
    """The first taker gets epoch 1."""
    grant = await db.connected()
    assert await db.store.take_lease(grant.id, "us", 30.0) == Leased(1)
    assert (await db.row(grant.id)).lease_left == about(30.0)


async def test_no_such_grant(db: Database) -> None:
    """No lease, no row, nothing to give back, nothing to confirm."""
    assert await db.store.take_lease("gra_nobody", "us", 30.0) is None
    assert await db.store.grant("gra_nobody") is None
    assert not await db.store.renew_lease("gra_nobody", 1, 30.0)
    assert not await db.store.confirm("gra_nobody", 1)
    await db.store.release_lease("gra_nobody", 1)


@pytest.mark.parametrize("owner", ["them", "us"])
async def test_a_held_lease_is_busy(db: Database, owner: str) -> None:
    """Whoever asks, also under the same name: it is held for so much longer."""
    grant = await db.connected()
    await db.store.take_lease(grant.id, "us", 30.0)
    db.clock.pass_(12.0)
    taken = await db.store.take_lease(grant.id, owner, 30.0)
    assert isinstance(taken, Busy)
    assert taken.left == about(18.0)


async def test_a_lease_that_ended_is_taken_and_the_epoch_grows(db: Database) -> None:
    """At its end it is anybody's."""
    grant = await db.connected()
    await db.store.take_lease(grant.id, "us", 30.0)
    db.clock.pass_(30.0)
    assert await db.store.take_lease(grant.id, "them", 30.0) == Leased(2)


async def test_a_lease_of_another_boot_is_free(db: Database) -> None:
    """Its steady end means nothing here: whoever held it does not run any more."""
    grant = await db.connected()
    await db.store.take_lease(grant.id, "us", 1e9)
    db.clock.reboot()
    assert (await db.row(grant.id)).lease_left == 0.0
    assert await db.store.take_lease(grant.id, "them", 30.0) == Leased(2)


async def test_a_lease_of_a_dead_process_is_free(db: Database) -> None:
    """Known dead by its name: nobody waits."""
    grant = await db.connected()
    await db.store.take_lease(grant.id, "them", 30.0)
    db.dead.add("them")
    assert await db.store.take_lease(grant.id, "us", 30.0) == Leased(2)


async def test_a_released_lease_is_free(db: Database) -> None:
    """Given back by its owner; the epoch stays and the next taker's grows."""
    grant = await db.connected()
    await db.store.take_lease(grant.id, "us", 30.0)
    await db.store.release_lease(grant.id, 1)
    assert await db.store.take_lease(grant.id, "them", 30.0) == Leased(2)


async def test_only_its_owner_releases_it(db: Database) -> None:
    """Releasing an old epoch changes nothing."""
    grant = await db.connected()
    await db.leased(grant)
    db.clock.pass_(30.0)
    await db.store.take_lease(grant.id, "them", 30.0)
    await db.store.release_lease(grant.id, 1)
    assert isinstance(await db.store.take_lease(grant.id, "us", 30.0), Busy)


async def test_renewing(db: Database) -> None:
    """Held for another while; not by an old epoch, not after it was given back."""
    grant = await db.connected()
    await db.leased(grant)
    db.clock.pass_(20.0)
    assert await db.store.renew_lease(grant.id, 1, 30.0)
    assert (await db.row(grant.id)).lease_left == about(30.0)
    assert not await db.store.renew_lease(grant.id, 0, 30.0)
    await db.store.release_lease(grant.id, 1)
    assert not await db.store.renew_lease(grant.id, 1, 30.0)


async def test_a_wall_clock_set_back_moves_no_lease(db: Database) -> None:
    """Leases go by the steady clock."""
    grant = await db.connected()
    await db.leased(grant)
    db.clock.wall -= 1e6
    assert (await db.row(grant.id)).lease_left == about(30.0)
    db.clock.wall += 2e6
    assert isinstance(await db.store.take_lease(grant.id, "them", 30.0), Busy)


# --- intents


async def test_an_intent(db: Database) -> None:
    """Which token, since when; lease and hold for the whole deadline; the state says that it runs."""
    grant = await db.connected()
    fence = await db.leased(grant, seconds=5.0)
    assert await db.store.write_intent(fence, 1, lease=30.0, hold=20.0)
    db.clock.pass_(3.0)
    row = await db.row(grant.id)
    assert (row.intent, row.intent_age, row.state) == (1, about(3.0), State.REFRESHING)
    assert (row.lease_left, row.held_back) == (about(27.0), about(17.0))
    assert (await db.kinds(grant.connection_id))[-1] == "intent_written"


async def test_an_intent_under_an_old_fence(db: Database) -> None:
    """Epoch moved, generation moved, no such grant: nothing is written."""
    grant = await db.connected()
    fence = await db.leased(grant)
    for wrong in (Fence(grant.id, 1, 9), Fence(grant.id, 9, fence.epoch), Fence("gra_nobody", 1, 1)):
        assert not await db.store.write_intent(wrong, 1, lease=30.0, hold=20.0)
    assert (await db.row(grant.id)).intent is None


async def test_an_intent_of_a_latched_grant(db: Database) -> None:
    """The latch is part of the fence (rule 15)."""
    grant = await db.connected()
    fence = await db.leased(grant)
    db.sql("UPDATE grants SET latched = 1")
    assert not await db.store.write_intent(fence, 1, lease=30.0, hold=20.0)
    assert (await db.row(grant.id)).latched


async def test_an_intent_of_a_superseded_grant(db: Database) -> None:
    """A former grant is never sent."""
    old = await db.connected(pair(1, property_ids=("1000",)))
    fence = await db.leased(old)
    await db.connected(pair(2, property_ids=("1000",)))
    assert not await db.store.write_intent(fence, 1, lease=30.0, hold=20.0)


async def test_a_reboot_keeps_a_pending_intent(db: Database) -> None:
    """A machine that crashed in mid refresh: the attempt is still unresolved; lease and hold are gone."""
    grant = await db.connected()
    await db.intent(grant)
    db.clock.reboot()
    row = await db.row(grant.id)
    assert (row.intent, row.intent_age, row.held_back, row.lease_left) == (1, 0.0, 0.0, 0.0)
    await db.leased(grant)
    db.clock.pass_(7.0)
    row = await db.row(grant.id)
    assert (row.intent, row.intent_age, row.held_back) == (1, about(7.0), 0.0)


async def test_a_reboot_without_an_intent(db: Database) -> None:
    """Nothing was pending, nothing is pending."""
    grant = await db.connected()
    db.clock.reboot()
    await db.leased(grant)
    assert (await db.row(grant.id)).intent_age is None


# --- how a sending ends


@pytest.mark.parametrize(
    ("attempt", "hold", "state", "intent", "attempts", "problem"),
    [
        (Attempt.REFUSED, 0.0, State.REFRESHING, None, 0, None),
        (Attempt.CLIENT_REFUSED, 0.0, State.BACKING_OFF, None, 0, "client_refused"),
        (Attempt.UNSENT, 25.0, State.BACKING_OFF, None, 1, "nothing_sent"),
        (Attempt.LOST, 25.0, State.IN_DOUBT, 1, 1, "answer_lost"),
    ],
)
async def test_each_way_an_attempt_ends(
    db: Database, attempt: Attempt, hold: float, state: State, intent: int | None, attempts: int, problem: str | None
) -> None:
    """Only a lost answer leaves the intent; a refusal clears the hold; failures are counted; history tells it."""
    grant = await db.connected()
    fence = await db.intent(grant)
    assert await db.store.settle(fence, attempt, hold=hold, detail="HTTP 500")
    row = await db.row(grant.id)
    assert (row.state, row.intent, row.attempts) == (state, intent, attempts)
    assert row.held_back == about(hold)
    connection = await db.store.connection(grant.connection_id)
    assert connection is not None
    assert connection.problem == problem
    (event,) = await db.store.events(grant.connection_id, limit=1)
    assert event.data == {"position": 1, "detail": "HTTP 500"}
    assert await db.tokens(grant.id) == [grant.tokens[0].value.reveal()]


async def test_an_attempt_under_an_old_fence(db: Database) -> None:
    """Somebody else has the lease or committed: nothing is recorded."""
    grant = await db.connected()
    fence = await db.intent(grant)
    for wrong in (Fence(grant.id, 1, fence.epoch + 1), Fence(grant.id, 2, fence.epoch), Fence("gra_nobody", 1, 1)):
        assert not await db.store.settle(wrong, Attempt.LOST, hold=25.0)
    assert (await db.row(grant.id)).attempts == 0


async def test_failures_in_a_row_add_up_until_a_pair(db: Database) -> None:
    """The count that backoff grows with."""
    grant = await db.connected()
    for number in (1, 2, 3):
        fence = await db.intent(grant)
        await db.store.settle(fence, Attempt.LOST, hold=20.0)
        await db.store.release_lease(grant.id, fence.epoch)
        assert (await db.row(grant.id)).attempts == number
    fence = await db.intent(grant)
    assert await db.store.commit_pair(fence, grant.tokens[0], pair("x"), stale_after=9.0) is Written.DONE
    row = await db.row(grant.id)
    assert (row.attempts, row.held_back, row.intent) == (0, 0.0, None)


# --- circuits


async def test_circuits(db: Database) -> None:
    """By app and fingerprint; the trial's time runs by the steady clock, another boot's is due now; closing ends it."""
    assert await db.store.open_circuits("default") == {}
    await db.store.open_circuit("default", "aaaa", trial_after=60.0)
    await db.store.open_circuit("other", "aaaa", trial_after=60.0)
    db.clock.pass_(20.0)
    assert await db.store.open_circuits("default") == {"aaaa": about(40.0)}
    await db.store.open_circuit("default", "aaaa", trial_after=60.0)
    assert await db.store.open_circuits("default") == {"aaaa": about(60.0)}
    db.clock.reboot()
    assert await db.store.open_circuits("default") == {"aaaa": 0.0}
    await db.store.close_circuit("default", "aaaa")
    await db.store.close_circuit("default", "aaaa")
    assert await db.store.open_circuits("default") == {}
    assert await db.store.open_circuits("other") == {"aaaa": 0.0}
