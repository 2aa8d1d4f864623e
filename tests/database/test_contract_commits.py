"""Transactions over both databases: commits and proofs."""

from __future__ import annotations

import pytest
from tests.database.bench import Bench, HandClock, about
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Fence, Role, StoredToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import AttemptEnd, Written, commit_pair, release_lease, settle
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm, count_refusal
from cloudbeds_auth.transactions.upkeep import next_due

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
    await bench.store.write(disconnect(grant.connection_id, actor="operator"))
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
    assert await bench.store.write(promote(old.connection_id, candidate.id, None, ()))
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
    await bench.store.write(disconnect(grant.connection_id, actor="operator"))
    assert not await bench.store.write(confirm(grant.id, 1))
    assert (await bench.row(grant.id)).role is Role.DISCONNECTED


async def test_a_proof_of_a_superseded_grant(bench: Bench) -> None:
    """It prunes its own row and changes nothing else."""
    old = await bench.committed(await bench.hotel(), 2)
    await bench.connected(pair("new", property_ids=("1000",)))
    assert await bench.store.write(confirm(old.id, 2))
    row = await bench.row(old.id)
    assert (row.state, await bench.tokens(old.id)) == (State.SUPERSEDED, ["R-2"])
