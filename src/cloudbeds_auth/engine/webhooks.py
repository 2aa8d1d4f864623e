"""Outgoing webhooks, in the background: messages that are due are sent, at least once each, until the receiver accepts.

A message is written to the outbox by the transaction of the change that it reports. A process that claims a message
holds it for `HOLD` seconds; if the process is killed before it records that the receiver accepted the message, the
message is sent once more, under the same id.
"""

from __future__ import annotations

import asyncio

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.ports import Deliverer, Message
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.webhooks import wait_after
from cloudbeds_auth.transactions.outbox import claim_messages, message_delivered, message_failed, next_message

AT_ONCE = 8  # messages of one tick
HOLD = 60.0  # seconds; longer than an attempt and the write after it
LOOK = 1.0  # seconds between two reads of the outbox, at most


class WebhookSender:
    """Delivers what is due, a few messages a tick."""

    def __init__(self, world: World, deliverer: Deliverer) -> None:
        self._world = world
        self._deliverer = deliverer

    async def tick(self) -> float:
        """Send at most `AT_ONCE` of what is due; seconds until the next tick. Raises StoreUnavailable."""
        db = self._world.db
        due_in = await db.read(next_message())
        if due_in is None or due_in > 0.0:
            return LOOK
        claimed = await db.write(claim_messages(AT_ONCE, HOLD))
        ends = await asyncio.gather(*(self._send(message) for message in claimed), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):  # the store's: a message without a recorded delivery is sent again
                raise end
        return 0.0 if claimed else LOOK

    async def _send(self, message: Message) -> None:
        world, failed = self._world, message.attempts + 1
        outcome = await self._deliverer.deliver(message)
        if outcome.problem is None:
            await world.db.write(message_delivered(message.id))
            world.observer.happened(
                Happening.WEBHOOK_DELIVERED,
                message=message.id, type=message.kind, connection_id=message.connection_id, attempts=failed,
            )  # fmt: skip
            return
        wait = None if outcome.final else wait_after(failed, outcome.retry_after, world.entropy.unit())
        await world.db.write(message_failed(message.id, outcome.problem, wait))
        world.observer.happened(
            Happening.WEBHOOK_GIVEN_UP if wait is None else Happening.WEBHOOK_FAILED,
            message=message.id, type=message.kind, connection_id=message.connection_id, attempts=failed,
            problem=outcome.problem, again_in=wait,
        )  # fmt: skip
