"""Transactions over both databases: counted refusals, and the mark (rule 12)."""

from __future__ import annotations

from tests.support.bench import Bench, HandClock, about
from tests.support.fakes import pair

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Fence
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import AttemptEnd, settle
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import Counted, count_refusal, note_denied

INTERVAL = 60.0


async def test_the_first_refused_pass(bench: Bench, clock: HandClock) -> None:
    """Counted, held back for the interval, not marked."""
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    await bench.store.write(settle(fence, AttemptEnd.REFUSED))
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL)) is Counted.FIRST
    clock.pass_(10.0)
    row = await bench.row(grant.id)
    assert (row.refusals, row.reauth, row.state) == (1, None, State.BACKING_OFF)
    assert (row.refused_ago, row.held_back, row.intent) == (about(10.0), about(50.0), None)


async def test_too_early_to_count(bench: Bench, clock: HandClock) -> None:
    """A pass that began within the interval is not counted, however late that is told; the history names it."""
    grant = await bench.hotel()
    fence = await bench.leased(grant, seconds=1000.0)
    await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL))
    for passed in (INTERVAL - 0.1, 25.0):
        clock.pass_(passed)
        assert (
            await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL)) is Counted.EARLY
        )
        assert (await bench.row(grant.id)).refusals == 1
    assert (await bench.kinds(grant.connection_id)).count("pass_refused") == 3


async def test_the_second_refused_pass_marks(bench: Bench, clock: HandClock) -> None:
    """The interval later: reauthorization is required, with its reason; every token stays."""
    grant = await bench.hotel()
    fence = await bench.leased(grant, seconds=1000.0)
    await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL))
    clock.pass_(INTERVAL)
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=INTERVAL)) is Counted.MARKED
    row = await bench.row(grant.id)
    assert (row.refusals, row.reauth, row.state) == (2, "revoked", State.REAUTHORIZATION_REQUIRED)
    assert (row.held_back, await bench.tokens(grant.id)) == (0.0, ["R-1"])
    (event,) = await bench.store.read(read_history(grant.connection_id, limit=1))
    assert (event.kind, event.data) == ("reauthorization_required", {"reason": "revoked"})


async def test_another_reason_begins_anew(bench: Bench, clock: HandClock) -> None:
    """Two different reasons are not the same thing seen twice."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    await bench.store.write(count_refusal(fence, "user_inactive", may_mark=False, interval=INTERVAL))
    clock.pass_(INTERVAL)
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL)) is Counted.FIRST
    assert (await bench.row(grant.id)).reauth is None


async def test_another_boot_begins_anew(bench: Bench, clock: HandClock) -> None:
    """How long ago the first one was cannot be told."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL))
    clock.reboot()
    assert (await bench.row(grant.id)).refusals == 0
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL)) is Counted.FIRST


async def test_no_mark_while_a_candidate_waits(bench: Bench, clock: HandClock) -> None:
    """A newer approval is there: this one is held back, not marked. A candidate itself may be marked."""
    old = await bench.hotel()
    new = await bench.approved(pair("new", property_ids=("1000",)))
    for grant, outcome in ((old, Counted.CANDIDATE), (new, Counted.MARKED)):
        fence = await bench.leased(grant, seconds=1000.0)
        assert (
            await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL)) is Counted.FIRST
        )
        clock.pass_(INTERVAL)
        assert await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=INTERVAL)) is outcome
    assert (await bench.row(old.id)).reauth is None
    assert (await bench.row(old.id)).state is State.BACKING_OFF


async def test_an_older_candidate_holds_no_mark_back(bench: Bench, clock: HandClock) -> None:
    """Of two that wait the newer one is the hotel's last word: dead, it makes way for the other."""
    await bench.hotel()
    older = await bench.approved(pair("x", property_ids=("1000",)))
    newer = await bench.approved(pair("y", property_ids=("1000",)))
    for grant, outcome in ((older, Counted.CANDIDATE), (newer, Counted.MARKED)):
        fence = await bench.leased(grant, seconds=1000.0)
        await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL))
        clock.pass_(INTERVAL)
        assert await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=INTERVAL)) is outcome


async def test_a_count_under_an_old_fence(bench: Bench) -> None:
    """Epoch or generation moved, superseded, gone: not counted."""
    grant = await bench.hotel()
    fence = await bench.leased(grant)
    for wrong in (Fence(grant.id, 2, fence.epoch), Fence(grant.id, 1, 0), Fence("gra_nobody", 1, 1)):
        assert (
            await bench.store.write(count_refusal(wrong, "revoked", may_mark=False, interval=INTERVAL)) is Counted.MOVED
        )
    await bench.connected(pair("new", property_ids=("1000",)))
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=INTERVAL)) is Counted.MOVED
    assert (await bench.row(grant.id)).refusals == 0


async def test_a_401_of_what_was_in_use_before(bench: Bench) -> None:
    """It came late: a newer pair was stored, the hotel left, or the grant is deleted. No 401 of what is there now waits
    because of it.
    """
    grant, gone = await bench.committed(await bench.hotel(), 2), await bench.connected()
    await bench.store.write(disconnect(gone.connection_id))
    before = await bench.kinds(grant.connection_id)
    for grant_id, generation in ((grant.id, 1), (gone.id, 1), ("gra_nobody", 1)):
        assert not await bench.store.write(note_denied(grant_id, generation, 60.0))
    assert ((await bench.row(grant.id)).braked, await bench.kinds(grant.connection_id)) == (0.0, before)
    assert await bench.store.write(note_denied(grant.id, 2, 60.0))
    assert (await bench.row(grant.id)).braked == about(60.0)
