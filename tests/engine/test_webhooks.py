"""Webhooks out: what is due is sent until it is taken, by one process at a time, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.support.fakes import pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.webhooks import AT_ONCE, HOLD, WebhookSender
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports import Delivery, Message
from cloudbeds_auth.rules.webhooks import WAITS
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.outbox import claim_messages, read_outbox

TAKEN = Delivery()


@dataclass
class Receiver:
    """Answers as the test says; keeps what came."""

    answer: Callable[[Message], Delivery] = lambda message: TAKEN
    came: list[Message] = field(default_factory=list)
    seconds: float = 0.0

    async def deliver(self, message: Message) -> Delivery:
        self.came.append(message)
        await asyncio.sleep(self.seconds)
        return self.answer(message)

    @property
    def kinds(self) -> list[str]:
        return [message.kind.removeprefix("connection.") for message in self.came]


async def run(stage: Stage, outbound: WebhookSender, seconds: float) -> None:
    """As `jobs.Jobs` for so many seconds."""
    until = stage.clock.steady() + seconds
    while stage.clock.steady() < until:
        await stage.clock.sleep(min(await outbound.tick(), until - stage.clock.steady()))


async def test_a_hotel_that_connects_and_leaves(stage: Stage) -> None:
    """Two messages, each once."""
    receiver = Receiver()
    grant = await stage.connected()
    outbound = WebhookSender(stage.one.world, receiver)
    await run(stage, outbound, 10)
    await stage.one.store.write(disconnect(grant.connection_id))
    await run(stage, outbound, 10)
    assert receiver.kinds == ["connected", "disconnected"]
    assert stage.notes.times("webhook_delivered") == 2
    assert (await stage.one.store.read(read_outbox())).waiting == 0


async def test_a_receiver_that_is_away(stage: Stage) -> None:
    """The same message, again and again, further and further apart; then it is given up, and shown."""
    stage.dice.roll = 0.0
    receiver = Receiver(lambda message: Delivery("HTTP 503"))
    await stage.connected()
    outbound = WebhookSender(stage.one.world, receiver)
    await run(stage, outbound, 60)
    assert len(receiver.came) == 2
    for wait in WAITS[1:]:
        await stage.clock.sleep(wait)
        await outbound.tick()
    assert len(receiver.came) == len(WAITS) + 1
    assert len({(one.id, one.body) for one in receiver.came}) == 1
    rests = await stage.one.store.read(read_outbox())
    assert (rests.waiting, rests.given_up, rests.problem) == (0, 1, "HTTP 503")
    assert stage.notes.times("webhook_given_up") == 1


async def test_a_receiver_that_wants_it_no_more(stage: Stage) -> None:
    """410: this message is given up at once; the next one is tried all the same."""
    receiver = Receiver(lambda message: Delivery("HTTP 410", final=True))
    grant = await stage.connected()
    outbound = WebhookSender(stage.one.world, receiver)
    await run(stage, outbound, 60)
    assert receiver.kinds == ["connected"]
    receiver.answer = lambda message: TAKEN
    await stage.one.store.write(disconnect(grant.connection_id))
    await run(stage, outbound, 60)
    assert receiver.kinds == ["connected", "disconnected"]


async def test_a_receiver_that_says_when(stage: Stage) -> None:
    """It is not asked sooner."""
    receiver = Receiver(lambda message: Delivery("HTTP 429", retry_after=1000.0))
    await stage.connected()
    outbound = WebhookSender(stage.one.world, receiver)
    await run(stage, outbound, 900)
    assert len(receiver.came) == 1
    await run(stage, outbound, 200)
    assert len(receiver.came) == 2


async def test_two_processes_share_the_work(stage: Stage) -> None:
    """Each message is sent by one of them."""
    receiver = Receiver(seconds=1.0)
    for at in range(3 * AT_ONCE):
        await stage.connected(pair(f"{at}", property_ids=(str(1000 + at),)))
    other = await stage.process()
    await asyncio.gather(*(run(stage, WebhookSender(one.world, receiver), 30) for one in (stage.one, other)))
    names = [message.id for message in receiver.came]
    assert len(names) == len(set(names)) == 3 * AT_ONCE


async def test_a_process_that_is_killed_after_the_receiver_took_it(stage: Stage) -> None:
    """Nobody wrote down that it was taken: another process sends it once more, under the same id."""
    receiver = Receiver()
    await stage.connected()
    stage.one.driver.refuse("message_delivered")
    with pytest.raises(StoreUnavailable):
        await WebhookSender(stage.one.world, receiver).tick()
    other = WebhookSender((await stage.process()).world, receiver)
    await run(stage, other, HOLD - 5)
    assert len(receiver.came) == 1
    await run(stage, other, 10)
    first, second = receiver.came
    assert (first.id, first.body) == (second.id, second.body)


async def test_one_whose_end_could_not_be_written_leaves_the_others_alone(stage: Stage) -> None:
    """They are delivered and forgotten."""
    for at in range(3):
        await stage.connected(pair(f"{at}", property_ids=(str(1000 + at),)))
    stage.one.driver.refuse("message_delivered")
    with pytest.raises(StoreUnavailable):
        await WebhookSender(stage.one.world, Receiver()).tick()
    assert (await stage.one.store.read(read_outbox())).waiting == 1


async def test_what_somebody_else_claimed_meanwhile(stage: Stage) -> None:
    """Between the look and the claim: nothing is sent, and the next look comes after a pause."""
    receiver = Receiver()
    await stage.connected()
    other = (await stage.process()).store

    async def claim() -> object:
        return await other.write(claim_messages(9, HOLD))

    stage.one.driver.after("next_message", claim)
    assert await WebhookSender(stage.one.world, receiver).tick() > 0.0
    assert receiver.came == []
