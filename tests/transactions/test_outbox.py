"""The transactions of outbox: a change of a connection and its message are written together, or neither is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.bench import Bench, HandClock, about
from tests.support.fakes import ADA, pair

from cloudbeds_auth.ports import Message
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.schedule import DAY
from cloudbeds_auth.rules.webhooks import SHOWN, UNTRIED
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.outbox import (
    claim_messages,
    message_delivered,
    message_failed,
    next_message,
    read_outbox,
)
from cloudbeds_auth.transactions.refusals import Counted, confirm, count_refusal

HOLD = 60.0


async def told(bench: Bench) -> list[str]:
    """The types of the messages that wait, oldest first; they are taken out."""
    found = await bench.store.write(claim_messages(100, HOLD))
    for message in found:
        await bench.store.write(message_delivered(message.id))
    return [message.kind.removeprefix("connection.") for message in found]


async def one(bench: Bench) -> Message:
    """The one message that waits."""
    (message,) = await bench.store.write(claim_messages(100, 0.0))
    return message


async def marked(bench: Bench, grant: Grant) -> None:
    """Two passes refused."""
    fence = await bench.leased(grant)
    for _ in range(2):
        counted = await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert counted is Counted.MARKED
    await bench.store.write(release_lease(grant.id, fence.epoch))


async def test_a_hotel_that_connects(bench: Bench) -> None:
    """Told when its grant was seen to work, once."""
    grant = await bench.approved()
    assert await told(bench) == []
    await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, None, ()))
    assert await told(bench) == ["connected"]
    await bench.store.write(confirm(grant.id, grant.generation))
    assert await told(bench) == []


async def test_a_refresh_is_told_to_nobody(bench: Bench) -> None:
    """Nor is a newer approval of a healthy hotel: it stays connected."""
    grant = await bench.hotel()
    await told(bench)
    await bench.committed(grant, 2, 3)
    await bench.store.write(confirm(grant.id, 3))
    await bench.connected(pair("new", property_ids=("1000",)))
    assert await told(bench) == []


async def test_a_hotel_that_has_to_approve_again(bench: Bench) -> None:
    """Told once, however often an operator tries it again."""
    grant = await bench.hotel()
    await told(bench)
    await marked(bench, grant)
    assert await told(bench) == ["reauthorization_required"]
    fence = await bench.intent(grant)
    await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert await told(bench) == []


@pytest.mark.parametrize("how", ["proof", "pair", "approval"])
async def test_a_mark_that_ends(bench: Bench, how: str) -> None:
    """By a proof, by a pair that came late, or because the hotel approved again: recovered, once."""
    grant = await bench.hotel()
    await marked(bench, grant)
    await told(bench)
    if how == "proof":
        await bench.store.write(confirm(grant.id, 1))
    elif how == "pair":
        await bench.committed(grant, 2)
        await bench.store.write(confirm(grant.id, 2))
    else:
        await bench.connected(pair("new", property_ids=("1000",)))
    assert await told(bench) == ["recovered"]


async def test_a_hotel_that_leaves_and_comes_back(bench: Bench) -> None:
    """Disconnected, then connected; leaving twice is told once."""
    grant = await bench.hotel()
    await told(bench)
    for _ in range(2):
        await bench.store.write(disconnect(grant.connection_id))
    assert await told(bench) == ["disconnected"]
    back = await bench.connected(pair("new", property_ids=("1000",)))
    assert back.connection_id == grant.connection_id
    assert await told(bench) == ["connected"]


async def test_a_marked_hotel_that_leaves(bench: Bench) -> None:
    """Disconnected."""
    grant = await bench.hotel()
    await marked(bench, grant)
    await told(bench)
    await bench.store.write(disconnect(grant.connection_id))
    assert await told(bench) == ["disconnected"]


async def test_an_approval_that_never_worked(bench: Bench) -> None:
    """Nobody was told that it connected, so nobody is told that it left, or has to approve again."""
    grant = await bench.approved()
    await marked(bench, grant)
    await bench.store.write(disconnect(grant.connection_id))
    assert await told(bench) == []


async def test_a_candidate_that_was_refused_and_then_worked(bench: Bench) -> None:
    """Connected, and nothing else."""
    grant = await bench.approved()
    await marked(bench, grant)
    await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, None, ()))
    await bench.store.write(confirm(grant.id, grant.generation))
    assert await told(bench) == ["connected"]


async def test_a_write_whose_fence_moved_tells_nothing(bench: Bench) -> None:
    """No change, no message."""
    grant = await bench.hotel()
    await told(bench)
    fence = await bench.intent(grant)
    await bench.store.write(disconnect(grant.connection_id))
    await told(bench)
    assert await bench.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=3000.0)) is Written.GONE
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0)) is Counted.MOVED
    assert await told(bench) == []


async def test_what_a_message_says(bench: Bench) -> None:
    """Type, moment, the line of the history that tells the same, and the connection as the API shows it then.

    Nobody's name or address, no token, and no connect link.
    """
    grant = await bench.approved(pair(1, property_ids=("1000",)), reference="seaside")
    await bench.store.write(promote(grant.connection_id, grant.id, grant.generation, ADA, ()))
    message = await one(bench)
    body: dict[str, Any] = json.loads(message.body)
    (line,) = await bench.store.read(read_history(grant.connection_id, limit=1))
    assert (body["type"], message.kind, line.kind) == ("connection.connected", "connection.connected", "promoted")
    assert body["data"]["sequence"] == line.sequence
    assert body["timestamp"].endswith("Z")
    shown = body["data"]["connection"]
    assert (shown["id"], shown["reference"], shown["state"]) == (grant.connection_id, "seaside", "fresh")
    assert shown["property_ids"] == ["1000"]
    assert not {"authorizing_user", "connect_url"} & shown.keys()
    assert shown["next_step"] is None
    for secret in ("Ada", "ada@hotel", grant.access.reveal(), grant.tokens[0].value.reveal()):
        assert secret not in message.body


async def test_a_message_that_is_tried_again_is_the_same(bench: Bench) -> None:
    """Id and body, byte for byte; only the count of attempts grows."""
    await bench.hotel()
    first = await one(bench)
    await bench.store.write(message_failed(first.id, "HTTP 503", 0.0))
    second = await one(bench)
    assert (second.id, second.body, second.attempts) == (first.id, first.body, 1)


async def test_a_claimed_message_is_nobody_elses(bench: Bench, clock: HandClock) -> None:
    """Until the hold is over: whoever had it may have been killed."""
    for _ in range(3):
        await bench.connected()
    other = await bench.another()
    mine = await bench.store.write(claim_messages(2, HOLD))
    theirs = await other.write(claim_messages(2, HOLD))
    assert len(mine) == 2
    assert [message.id for message in theirs] == sorted({message.id for message in theirs} - {one.id for one in mine})
    assert await bench.store.read(next_message()) == about(HOLD)
    clock.pass_(HOLD)
    assert len(await other.write(claim_messages(9, HOLD))) == 3


async def test_the_oldest_goes_first(bench: Bench, clock: HandClock) -> None:
    """Of one connection, in the order of its history."""
    grant = await bench.hotel()
    clock.pass_(1.0)
    await marked(bench, grant)
    clock.pass_(1.0)
    await bench.store.write(confirm(grant.id, 1))
    (first,) = await bench.store.write(claim_messages(1, HOLD))
    rest = await bench.store.write(claim_messages(9, HOLD))
    kinds = [message.kind.removeprefix("connection.") for message in (first, *rest)]
    assert kinds == ["connected", "reauthorization_required", "recovered"]


async def test_when_a_failed_one_is_due(bench: Bench, clock: HandClock) -> None:
    """As it was told; one that was given up is never due, and is shown, with how long ago that was."""
    assert await bench.store.read(next_message()) is None
    await bench.hotel()
    assert await bench.store.read(next_message()) == 0.0
    message = await one(bench)
    await bench.store.write(message_failed(message.id, "HTTP 503", 300.0))
    assert await bench.store.read(next_message()) == about(300.0)
    await bench.store.write(message_failed(message.id, "HTTP 410", None))
    assert await bench.store.read(next_message()) is None
    rests = await bench.store.read(read_outbox())
    assert (rests.waiting, rests.given_up, rests.problem, rests.given_up_ago) == (0, 1, "HTTP 410", 0.0)
    clock.pass_(600.0)
    assert (await bench.store.read(read_outbox())).given_up_ago == about(600.0)


async def test_how_much_rests(bench: Bench, clock: HandClock) -> None:
    """How many wait, and how long the oldest has."""
    empty = await bench.store.read(read_outbox())
    assert (empty.waiting, empty.oldest, empty.given_up, empty.problem) == (0, 0.0, 0, None)
    await bench.connected()
    clock.pass_(100.0)
    await bench.connected()
    full = await bench.store.read(read_outbox())
    assert (full.waiting, full.oldest, full.given_up) == (2, about(100.0), 0)


@pytest.mark.row("F99")
@pytest.mark.parametrize("back", [600.0, 3600.0, 3 * DAY])
async def test_a_clock_that_was_set_back_stops_nothing(bench: Bench, clock: HandClock, back: float) -> None:
    """A message that was never tried is due now, one that failed as far ahead as it was."""
    await bench.hotel()
    clock.wall -= back
    assert await bench.store.read(next_message()) == 0.0
    message = await one(bench)
    assert message.kind == "connection.connected"
    await bench.store.write(message_failed(message.id, "HTTP 503", 300.0))
    clock.wall -= back
    assert list(await bench.store.write(claim_messages(4, HOLD))) == []
    assert await bench.store.read(next_message()) == about(300.0)


async def test_nothing_rests_for_ever(bench: Bench, clock: HandClock) -> None:
    """What nobody tried to send (no address is set), and what was given up long ago, is forgotten."""
    await bench.hotel()
    given_up = await one(bench)
    await bench.store.write(message_failed(given_up.id, "HTTP 410", None))
    await bench.connected()
    clock.pass_(UNTRIED + 1)
    await bench.connected()
    rests = await bench.store.read(read_outbox())
    assert (rests.waiting, rests.given_up) == (1, 1)
    clock.pass_(SHOWN)
    await bench.store.write(claim_messages(1, HOLD))
    rests = await bench.store.read(read_outbox())
    assert (rests.waiting, rests.given_up) == (0, 0)


async def test_messages_that_are_gone(bench: Bench) -> None:
    """Delivered by somebody else meanwhile: nothing happens."""
    await bench.store.write(message_delivered("msg_nobody"))
    await bench.store.write(message_failed("msg_nobody", "HTTP 500", 1.0))
    assert (await bench.store.read(read_outbox())).waiting == 0
