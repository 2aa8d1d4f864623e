"""The transactions of retention: what is forgotten on request, and what is too old."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock
from tests.support.fakes import ADA, pair

from cloudbeds_auth.engine.history import record_calls
from cloudbeds_auth.rules.history import Calls, HistoryPlace
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, User
from cloudbeds_auth.transactions.candidates import drop_candidate, promote
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.history import forget, read_history, sweep
from cloudbeds_auth.transactions.imports import NewImport, add_import
from cloudbeds_auth.transactions.refusals import confirm

DAY = 86400.0


async def hotel(bench: Bench, number: int = 1) -> Grant:
    """A connected hotel that Ada approved, with calls."""
    grant = await bench.approved(pair(number, property_ids=(str(999 + number),)))
    assert await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, ADA, ()))
    await record_calls(bench.store, [Calls(grant.id, 1, 1.0, 2.0, 1, 0, {"GET /api/v1.3/getGuest/Ada": 1})])
    return grant


async def approved_by(bench: Bench, grant: Grant) -> User | None:
    shown = await bench.store.read(read_connection(grant.connection_id))
    assert shown is not None
    return shown.authorizing_user


async def test_who_approved_is_forgotten_and_what_happened_stays(bench: Bench) -> None:
    """Name and e-mail, and the paths of calls, are gone; the history tells what happened, and that it was forgotten."""
    grant = await hotel(bench)
    await bench.store.write(disconnect(grant.connection_id))
    assert await approved_by(bench, grant) == ADA
    before = await bench.kinds(grant.connection_id)
    assert await bench.store.write(forget(grant.connection_id))
    assert await approved_by(bench, grant) is None
    assert await bench.kinds(grant.connection_id) == [*before, "forgotten"]
    told = await bench.store.read(read_history(grant.connection_id))
    assert "Ada" not in str(told)
    assert told[0].actor == "program"
    shown = await bench.store.read(read_connection(grant.connection_id))
    assert shown is not None
    assert (shown.state, shown.property_ids) == (State.DISCONNECTED, ("1000",))


async def test_a_hotel_that_is_connected_is_not_forgotten(bench: Bench) -> None:
    """Nor one that waits to be proven, nor one that nobody knows; nothing changes."""
    connected, waiting = await hotel(bench), await bench.approved()
    for grant in (connected, waiting):
        before = await bench.kinds(grant.connection_id)
        assert not await bench.store.write(forget(grant.connection_id))
        assert await bench.kinds(grant.connection_id) == before
    assert await approved_by(bench, connected) == ADA
    assert not await bench.store.write(forget("con_unknown"))


async def test_a_former_approval_is_forgotten_too(bench: Bench) -> None:
    """Whoever approved before is no less a person."""
    former = await hotel(bench)
    newer = await bench.approved(pair(2, property_ids=("1000",)))
    assert await bench.store.write(promote(newer.connection_id, newer.id, newer.generation, ADA, ()))
    await bench.store.write(disconnect(former.connection_id))
    assert await bench.store.write(forget(former.connection_id))
    assert await bench.store.write(sweep(-DAY, 9)) > 0
    assert await approved_by(bench, newer) is None


async def test_a_token_that_was_never_of_use_is_forgotten(bench: Bench) -> None:
    """Of a hotel whose only token was dropped the token rests until then."""
    await bench.store.write(
        add_import(NewImport("hash", "default", None, "1000", pair(1, lifetime=0)), "con_1", "gra_1")
    )
    await bench.store.write(drop_candidate("gra_1", "refused twice"))
    assert (await bench.row("gra_1")).tokens
    assert await bench.store.write(forget("con_1"))
    assert (await bench.row("gra_1")).tokens == ()
    assert (await bench.kinds("con_1"))[-2:] == ["disconnected", "forgotten"]


async def test_what_is_too_old_is_deleted(bench: Bench, clock: HandClock) -> None:
    """Lines of history by their own age; who approved, by how long ago the connection ended; never if it lives."""
    lives, left = await hotel(bench, 1), await hotel(bench, 2)
    clock.pass_(DAY)
    await bench.store.write(disconnect(left.connection_id))
    clock.pass_(9 * DAY)
    assert await bench.store.write(sweep(9.5 * DAY, 100)) == len(["received", "promoted", "calls", "its state"]) * 2
    assert await bench.kinds(lives.connection_id) == []
    assert await bench.kinds(left.connection_id) == ["disconnected"]
    assert await approved_by(bench, left) == ADA
    clock.pass_(DAY)
    assert await bench.store.write(sweep(9.5 * DAY, 100)) == len(["disconnected", "who approved", "the audit"])
    assert (await approved_by(bench, left), await approved_by(bench, lives)) == (None, ADA)
    assert await bench.store.write(sweep(9.5 * DAY, 100)) == 0


async def test_the_history_goes_on_after_its_beginning_is_gone(bench: Bench, clock: HandClock) -> None:
    """Numbers grow; a page that was begun before goes on where it was."""
    grant = await hotel(bench)
    clock.pass_(DAY)
    await bench.store.write(confirm(grant.id, 1))
    (newest, *_) = await bench.store.read(read_history(grant.connection_id))
    assert await bench.store.write(sweep(0.5 * DAY, 100)) == newest.sequence - 1 + len(["calls"])
    await bench.store.write(disconnect(grant.connection_id))
    told = await bench.store.read(read_history(grant.connection_id))
    assert [event.sequence for event in told] == [newest.sequence + 1, newest.sequence]
    assert await bench.store.read(read_history(grant.connection_id, place=HistoryPlace(newest.sequence + 1, 0))) == [
        newest
    ]
    assert await bench.store.read(read_history(grant.connection_id, place=HistoryPlace(newest.sequence, 0))) == []


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_few_at_a_time(bench: Bench, clock: HandClock, limit: int) -> None:
    """The oldest first."""
    grant = await hotel(bench)
    clock.pass_(DAY)
    kinds = [kind for kind in await bench.kinds(grant.connection_id) if kind != "calls"]
    assert await bench.store.write(sweep(0.0, limit)) == limit + len(["calls"])
    assert await bench.kinds(grant.connection_id) == kinds[limit:]
