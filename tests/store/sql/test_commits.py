"""The contract of ports.store over SQLite: commits, proofs, counted refusals."""

from __future__ import annotations

import pytest
from tests.support.database import Database, about
from tests.support.fakes import pair

from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Fence, Grant, Role, StoredToken
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.ports.store import Counted, Written

INTERVAL = 60.0


async def committed(db: Database, grant: Grant, *numbers: int | str, at: int = -1) -> Grant:
    """Pairs committed one after another, unproven, each over the token at index `at`."""
    for number in numbers:
        row = await db.row(grant.id)
        fence = await db.leased(grant)
        sent = row.tokens[at]
        assert await db.store.write_intent(fence, sent.position, lease=30.0, hold=20.0)
        assert await db.store.commit_pair(fence, sent, pair(number), stale_after=3000.0) is Written.DONE
        await db.store.release_lease(grant.id, fence.epoch)
    return await db.row(grant.id)


async def hotel(db: Database) -> Grant:
    """A connected hotel with R-1."""
    return await db.connected(pair(1, property_ids=("1000",)))


# --- commits


async def test_a_commit_appends(db: Database) -> None:
    """The next generation: its A, its times, its R behind the one that was sent; every mark and hold is gone."""
    grant = await committed(db, await hotel(db), 2)
    assert (grant.generation, grant.access.reveal(), grant.state) == (2, "A-2", State.FRESH)
    assert await db.tokens(grant.id) == ["R-1", "R-2"]
    assert (grant.valid_for, grant.stale_in) == (about(3600.0), about(3000.0))
    assert (grant.proven, grant.intent, grant.held_back) == (False, None, 0.0)
    (event,) = await db.store.events(grant.connection_id, limit=1)
    assert (event.kind, event.generation) == ("pair_committed", 2)
    assert event.data == {
        "expires_at": db.clock.wall + 3600.0, "kept": 1, "same_refresh_token": False, "refresh_token_named": True
    }  # fmt: skip


async def test_the_list_grows_with_every_unproven_generation(db: Database) -> None:
    """No slots: five in a row, five and one kept."""
    grant = await committed(db, await hotel(db), 2, 3, 4, 5, 6)
    assert await db.tokens(grant.id) == ["R-1", "R-2", "R-3", "R-4", "R-5", "R-6"]
    assert [token.value.reveal() for token in grant.kept] == ["R-1", "R-2", "R-3", "R-4", "R-5"]


async def test_what_came_after_the_sent_token_is_dropped(db: Database) -> None:
    """The oldest was taken: the younger ones were refused before it, and go."""
    grant = await committed(db, await hotel(db), 2, 3)
    grant = await committed(db, grant, 4, at=0)
    assert await db.tokens(grant.id) == ["R-1", "R-4"]
    grant = await committed(db, grant, 5)
    assert await db.tokens(grant.id) == ["R-1", "R-4", "R-5"]


async def test_the_same_value_is_stored_once(db: Database) -> None:
    """V6: the token that comes is the one that was sent; also when none was named."""
    grant = await hotel(db)
    for new in (pair(2, refresh="R-1"), pair(3, refresh=None)):
        row = await db.row(grant.id)
        fence = await db.leased(grant)
        assert await db.store.commit_pair(fence, row.tokens[-1], new, stale_after=9.0) is Written.DONE
        await db.store.release_lease(grant.id, fence.epoch)
    assert await db.tokens(grant.id) == ["R-1"]
    (last, first, *_) = await db.store.events(grant.connection_id, limit=2)
    assert (last.data["same_refresh_token"], last.data["refresh_token_named"]) == (True, False)
    assert (first.data["same_refresh_token"], first.data["refresh_token_named"]) == (True, True)


@pytest.mark.parametrize(("refresh", "rest"), [("", ["R-3", "R-1", "R-4"]), ("R-1", ["R-3", "R-1"])])
async def test_the_sent_token_was_pruned_meanwhile(db: Database, refresh: str, rest: list[str]) -> None:
    """A late proof emptied the list under way: what is left stays, the accepted token is stored again behind it."""
    grant = await committed(db, await hotel(db), 2, 3)
    fence, oldest = await db.leased(grant), grant.tokens[0]
    assert await db.store.confirm(grant.id, 3)
    assert await db.tokens(grant.id) == ["R-3"]
    new = pair(4, refresh=refresh)
    assert await db.store.commit_pair(fence, oldest, new, stale_after=9.0) is Written.DONE
    assert await db.tokens(grant.id) == rest


async def test_repeating_a_commit_is_harmless(db: Database) -> None:
    """The answer of the first was lost: done, once (also after another took and returned the lease)."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    for _ in range(3):
        assert await db.store.commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0) is Written.DONE
    await db.store.release_lease(grant.id, fence.epoch)
    await db.leased(grant, "them")
    assert await db.store.commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0) is Written.DONE
    assert (await db.row(grant.id)).generation == 2
    assert await db.tokens(grant.id) == ["R-1", "R-2"]
    assert (await db.kinds(grant.connection_id)).count("pair_committed") == 1


async def test_only_the_epoch_moved(db: Database) -> None:
    """Nothing is written; under the new epoch it is."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    db.clock.pass_(31.0)
    newer = await db.leased(grant, "them")
    assert await db.store.commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0) is Written.EPOCH_MOVED
    assert await db.tokens(grant.id) == ["R-1"]
    assert await db.store.commit_pair(newer, grant.tokens[0], pair(2), stale_after=9.0) is Written.DONE


@pytest.mark.parametrize("further", [1, 2])
async def test_the_generation_moved(db: Database, further: int) -> None:
    """Somebody committed since, once or twice: the late pair is not the newest and is not written."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    db.clock.pass_(31.0)
    await committed(db, grant, *range(2, 2 + further))
    late = await db.store.commit_pair(fence, grant.tokens[0], pair("late"), stale_after=9.0)
    assert late is Written.GENERATION_MOVED
    assert "R-late" not in await db.tokens(grant.id)


async def test_a_superseded_grants_late_pair_goes_to_its_own_row(db: Database) -> None:
    """Rule 13: committed where it belongs, the state stays, the pointer stays."""
    old = await hotel(db)
    fence = await db.intent(old)
    new = await db.connected(pair("new", property_ids=("1000",)))
    assert new.connection_id == old.connection_id
    assert await db.store.commit_pair(fence, old.tokens[0], pair("late"), stale_after=9.0) is Written.DONE
    row = await db.row(old.id)
    assert (row.role, row.state, row.access.reveal()) == (Role.SUPERSEDED, State.SUPERSEDED, "A-late")
    assert await db.tokens(old.id) == ["R-1", "R-late"]
    current = await db.store.current_grant(old.connection_id)
    assert current is not None
    assert current.id == new.id


async def test_a_disconnected_grants_late_pair_is_gone(db: Database) -> None:
    """Nothing is stored for a hotel that left, nor for a row that is not there."""
    grant = await hotel(db)
    fence = await db.intent(grant)
    await db.store.disconnect(grant.connection_id, actor="operator")
    assert await db.store.commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0) is Written.GONE
    assert await db.tokens(grant.id) == []
    nobody = Fence("gra_nobody", 1, 1)
    assert await db.store.commit_pair(nobody, grant.tokens[0], pair(2), stale_after=9.0) is Written.GONE


async def test_a_late_pair_clears_the_mark(db: Database) -> None:
    """Reauthorization was required; a pair came after all."""
    grant = await hotel(db)
    fence = await db.intent(grant)
    for _ in range(2):
        await db.store.count_refusal(fence, "revoked", interval=INTERVAL)
        db.clock.pass_(INTERVAL)
    assert (await db.row(grant.id)).reauth == "revoked"
    assert await db.store.commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0) is Written.DONE
    row = await db.row(grant.id)
    assert (row.reauth, row.refusals, row.state) == (None, 0, State.FRESH)


async def test_a_wall_clock_set_back_stretches_no_life(db: Database) -> None:
    """What is left of a token is never more than its lifetime."""
    grant = await hotel(db)
    db.clock.wall -= 366 * 86400.0
    assert (await db.row(grant.id)).valid_for == 3600.0
    db.clock.wall += 2 * 366 * 86400.0
    assert (await db.row(grant.id)).valid_for < 0


# --- proofs


async def test_a_proof_prunes_and_clears(db: Database) -> None:
    """The child stays alone; counts, marks and problems go; history says so once."""
    grant = await committed(db, await hotel(db), 2, 3)
    assert await db.store.confirm(grant.id, 3)
    assert await db.store.confirm(grant.id, 3)
    row = await db.row(grant.id)
    assert (row.proven, row.state) == (True, State.FRESH)
    assert await db.tokens(grant.id) == ["R-3"]
    assert (await db.kinds(grant.connection_id)).count("proved") == 2  # the first generation's, and this one's


@pytest.mark.parametrize("generation", [1, 2, 4])
async def test_a_proof_of_another_generation_prunes_nothing(db: Database, generation: int) -> None:
    """Fenced on the generation: an old one's proof says nothing about the newest pair."""
    grant = await committed(db, await hotel(db), 2, 3)
    assert not await db.store.confirm(grant.id, generation)
    assert len((await db.row(grant.id)).tokens) == 3


async def test_a_proof_needs_no_lease(db: Database) -> None:
    """Somebody else holds it, and an attempt runs: the proof counts, the attempt goes on."""
    grant = await committed(db, await hotel(db), 2)
    await db.intent(grant, position=2)
    assert await db.store.confirm(grant.id, 2)
    row = await db.row(grant.id)
    assert (row.state, row.intent, row.proven) == (State.REFRESHING, 2, True)


async def test_a_proof_clears_the_mark(db: Database) -> None:
    """A later 2xx: healthy again, and history says so although it was proven before."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    for _ in range(2):
        await db.store.count_refusal(fence, "user_inactive", interval=INTERVAL)
        db.clock.pass_(INTERVAL)
    assert await db.store.confirm(grant.id, 1)
    row = await db.row(grant.id)
    assert (row.reauth, row.refusals, row.state) == (None, 0, State.FRESH)
    assert (await db.kinds(grant.connection_id))[-1] == "proved"


async def test_a_proof_of_a_hotel_that_left(db: Database) -> None:
    """It stays disconnected."""
    grant = await hotel(db)
    await db.store.disconnect(grant.connection_id, actor="operator")
    assert not await db.store.confirm(grant.id, 1)
    assert (await db.row(grant.id)).role is Role.DISCONNECTED


async def test_a_proof_of_a_superseded_grant(db: Database) -> None:
    """It prunes its own row and changes nothing else."""
    old = await committed(db, await hotel(db), 2)
    await db.connected(pair("new", property_ids=("1000",)))
    assert await db.store.confirm(old.id, 2)
    row = await db.row(old.id)
    assert (row.state, await db.tokens(old.id)) == (State.SUPERSEDED, ["R-2"])


# --- refusals


async def test_the_first_refused_pass(db: Database) -> None:
    """Counted, held back for the interval, not marked; the intent is over."""
    grant = await hotel(db)
    fence = await db.intent(grant)
    assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.FIRST
    db.clock.pass_(10.0)
    row = await db.row(grant.id)
    assert (row.refusals, row.reauth, row.state) == (1, None, State.BACKING_OFF)
    assert (row.refused_ago, row.held_back, row.intent) == (about(10.0), about(50.0), None)


async def test_too_early_to_count(db: Database) -> None:
    """Within the interval nothing changes."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    await db.store.count_refusal(fence, "revoked", interval=INTERVAL)
    db.clock.pass_(59.9)
    assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.EARLY
    assert (await db.row(grant.id)).refusals == 1


async def test_the_second_refused_pass_marks(db: Database) -> None:
    """The interval later: reauthorization is required, with its reason; every token stays."""
    grant = await hotel(db)
    fence = await db.leased(grant, seconds=1000.0)
    await db.store.count_refusal(fence, "revoked", interval=INTERVAL)
    db.clock.pass_(INTERVAL)
    assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.MARKED
    row = await db.row(grant.id)
    assert (row.refusals, row.reauth, row.state) == (2, "revoked", State.REAUTHORIZATION_REQUIRED)
    assert (row.held_back, await db.tokens(grant.id)) == (0.0, ["R-1"])
    (event,) = await db.store.events(grant.connection_id, limit=1)
    assert (event.kind, event.data) == ("reauthorization_required", {"reason": "revoked"})


async def test_another_reason_begins_anew(db: Database) -> None:
    """Two different reasons are not the same thing seen twice."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    await db.store.count_refusal(fence, "user_inactive", interval=INTERVAL)
    db.clock.pass_(INTERVAL)
    assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.FIRST
    assert (await db.row(grant.id)).reauth is None


async def test_another_boot_begins_anew(db: Database) -> None:
    """How long ago the first one was cannot be told."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    await db.store.count_refusal(fence, "revoked", interval=INTERVAL)
    db.clock.reboot()
    assert (await db.row(grant.id)).refusals == 0
    assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.FIRST


async def test_no_mark_while_a_candidate_waits(db: Database) -> None:
    """A newer approval is there: this one is held back, not marked. A candidate itself may be marked."""
    old = await hotel(db)
    new = await db.approved(pair("new", property_ids=("1000",)))
    for grant, outcome in ((old, Counted.CANDIDATE), (new, Counted.MARKED)):
        fence = await db.leased(grant, seconds=1000.0)
        assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.FIRST
        db.clock.pass_(INTERVAL)
        assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is outcome
    assert (await db.row(old.id)).reauth is None
    assert (await db.row(old.id)).state is State.BACKING_OFF


async def test_a_count_under_an_old_fence(db: Database) -> None:
    """Epoch or generation moved, superseded, gone: not counted."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    for wrong in (Fence(grant.id, 2, fence.epoch), Fence(grant.id, 1, 0), Fence("gra_nobody", 1, 1)):
        assert await db.store.count_refusal(wrong, "revoked", interval=INTERVAL) is Counted.MOVED
    await db.connected(pair("new", property_ids=("1000",)))
    assert await db.store.count_refusal(fence, "revoked", interval=INTERVAL) is Counted.MOVED
    assert (await db.row(grant.id)).refusals == 0


async def test_a_token_that_was_never_stored(db: Database) -> None:
    """A commit for a token that this list does not know keeps what is there and adds both."""
    grant = await hotel(db)
    fence = await db.leased(grant)
    stranger = StoredToken(7, Secret("R-7"))
    assert await db.store.commit_pair(fence, stranger, pair(8), stale_after=9.0) is Written.DONE
    assert await db.tokens(grant.id) == ["R-1", "R-7", "R-8"]


async def test_a_promotion_under_way_drops_no_pair(db: Database) -> None:
    """A candidate is promoted while its refresh is under way and the old grant went on: its pair is committed."""
    old = await hotel(db)
    candidate = await db.approved(pair("new", property_ids=("1000",)))
    await committed(db, old, 2, 3, 4)
    fence = await db.intent(candidate)
    assert await db.store.promote(old.connection_id, candidate.id, None, ())
    written = await db.store.commit_pair(fence, candidate.tokens[0], pair("newer"), stale_after=9.0)
    assert written is Written.DONE
    assert (await db.tokens(candidate.id))[-1] == "R-newer"
