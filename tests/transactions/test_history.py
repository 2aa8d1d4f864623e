"""The transactions of history and usage: what happened to a connection, and the calls of each generation."""

from __future__ import annotations

from tests.support.bench import Bench, HandClock, about
from tests.support.fakes import key

from cloudbeds_auth.engine.history import record_calls
from cloudbeds_auth.rules.history import Calls, HistoryPlace
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.history import add_calls, note_use, read_history, read_pair_history, read_recent
from cloudbeds_auth.transactions.marketplace import discard_parked
from cloudbeds_auth.transactions.refusals import count_refusal
from cloudbeds_auth.transactions.upkeep import next_due

# --- history and calls


async def test_history(bench: Bench, clock: HandClock) -> None:
    """Newest first, numbered from 1 per connection, cut by cursor and limit; moments by the wall clock."""
    grant = await bench.connected()
    await bench.connected()
    events = await bench.store.read(read_history(grant.connection_id))
    assert [event.kind for event in events] == ["proved", "promoted", "candidate_received"]
    assert [event.sequence for event in events] == [3, 2, 1]
    assert {event.at for event in events} == {moment(clock.wall)}
    assert [event.sequence for event in await bench.store.read(read_history(grant.connection_id, limit=2))] == [3, 2]
    assert [
        event.sequence for event in await bench.store.read(read_history(grant.connection_id, place=HistoryPlace(3)))
    ] == [
        2,
        1,
    ]


async def test_recent_events(bench: Bench, clock: HandClock) -> None:
    """Of all connections, those of the last seconds, and of many the newest."""
    early = await bench.connected()
    clock.pass_(60.0)
    late = await bench.approved()
    assert await bench.store.read(read_recent(10.0, 9)) == {(late.connection_id, 1)}
    everything = await bench.store.read(read_recent(90.0, 9))
    assert everything == {(late.connection_id, 1), *((early.connection_id, number) for number in (1, 2, 3))}
    assert await bench.store.read(read_recent(90.0, 1)) == {(late.connection_id, 1)}


async def test_recent_events_after_the_clock_was_set_back(bench: Bench, clock: HandClock) -> None:
    """Those that are written now, and none of the many that seem to be of later."""
    for _ in range(3):
        await bench.connected()
    clock.wall -= 86_400.0
    new = await bench.approved()
    assert await bench.store.read(read_recent(10.0, 2)) == {(new.connection_id, 1)}
    clock.wall -= 5.0
    assert await bench.store.read(read_recent(10.0, 2)) == {(new.connection_id, 1)}, "a small step hides nothing"


async def test_calls(bench: Bench) -> None:
    """Aggregates are lines of history and the time of last use; calls of nobody are dropped."""
    grant = await bench.connected()
    calls = Calls(grant.id, 1, 1e10, 1e10 + 10, 3, 1, {"GET /a": 3})
    older = Calls(grant.id, 1, 1e10 - 9, 1e10 - 5, 1, 0, {"GET /b": 1})
    await record_calls(bench.store, [Calls("gra_nobody", 1, 1.0, 2.0, 1, 0, {}), calls, older])
    (second, first, *_) = await bench.store.read(read_history(grant.connection_id))
    assert (second.kind, second.actor, second.generation, second.at) == ("calls", "caller", 1, moment(1e10))
    assert second.data == {"first": 1e10, "last": 1e10 + 10, "count": 3, "refused": 1, "methods": {"GET /a": 3}}
    assert first.data["count"] == 1
    assert (await bench.look(grant.connection_id)).used_at == moment(1e10 + 10)


async def test_what_a_picture_is_drawn_from(bench: Bench, clock: HandClock) -> None:
    """Events alone, and behind them the calls of each generation that they tell of, added up over lines and spans."""
    grant = await bench.connected()
    clock.pass_(60)
    await bench.committed(grant, 2)
    newest = clock.wall
    lines = [
        Calls(grant.id, generation, newest + at, newest + at + 1, count, refused, {"GET /a": 1})
        for generation, at, count, refused in (
            (1, -50, 3, 1),
            (1, -30, 4, 0),
            (2, 1, 5, 0),
            (1, -90, 9, 0),
            (7, 0, 1, 0),
        )
    ]
    await record_calls(bench.store, lines)
    events, planned = await bench.store.read(read_pair_history(grant.connection_id))
    kinds = [event.kind for event in events if event.kind != "calls"]
    assert kinds[:1] == ["pair_committed"]
    assert kinds[-1] == "candidate_received"
    calls = {event.generation: event.data for event in events if event.kind == "calls"}
    assert {at: (one["count"], one["refused"]) for at, one in calls.items()} == {1: (7, 1), 2: (5, 0)}
    assert calls[1]["first"] == newest - 50
    assert planned is not None
    assert planned > newest
    older, _ = await bench.store.read(read_pair_history(grant.connection_id, place=HistoryPlace(3, 0)))
    assert [event.kind for event in older] == ["promoted", "candidate_received"]
    assert await bench.store.read(read_pair_history("con_nobody")) == ([], None)


async def test_what_is_parked_is_not_looked_after(bench: Bench) -> None:
    """The end of its waiting is no refresh."""
    grant = await bench.approved(parked=True)
    assert (await bench.store.read(read_pair_history(grant.connection_id)))[1] is None


async def test_the_use_of_a_key_puts_its_keep_alive_off(bench: Bench, clock: HandClock) -> None:
    """But not the question about one that was refused once: that is due a minute later, and the line of the refused
    call comes after it.
    """
    grant = await bench.connected(key(1).pair)
    clock.pass_(86_400.0)
    await bench.store.write(note_use(grant.id, clock.wall))
    assert (await bench.store.read(next_due()) or 0.0) > 17 * 86_400.0
    fence = await bench.leased(grant)
    await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=60.0))
    await bench.store.write(note_use(grant.id, clock.wall + 1.0))
    assert await bench.store.read(next_due()) == about(60.0)


async def test_a_use_of_a_grant_that_is_deleted_meanwhile(bench: Bench) -> None:
    """Between the line of its calls and the time of its last use: that is noted nowhere."""
    grant = await bench.approved(parked=True)
    used = await bench.store.write(add_calls([Calls(grant.id, 1, 1e10, 1e10 + 10, 3, 1, {})]))
    assert await bench.store.write(discard_parked(grant.id))
    for grant_id, at in used.items():
        await bench.store.write(note_use(grant_id, at))
    assert used == {grant.id: 1e10 + 10}
    assert await bench.store.read(read_grant(grant.id)) is None
