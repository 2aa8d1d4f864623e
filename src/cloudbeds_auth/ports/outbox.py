"""Webhooks out: the messages that rest until they were delivered, and whoever delivers one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is sent, now and at every later attempt; `attempts` have failed."""

    id: str
    connection_id: str
    kind: str
    body: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Outbox:
    """How many messages wait, since how many seconds the oldest does, how many were given up, and why the last was."""

    waiting: int
    oldest: float
    given_up: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended. `problem` is None when the receiver took it; `retry_after`: what it asked for, seconds."""

    problem: str | None = None
    retry_after: float | None = None
    final: bool = False


class OutboxStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`.

    Messages get in by the transaction that changes the connection (`rules.notices`), whether an address is set or not.
    """

    async def claim_messages(self, limit: int, hold: float) -> Sequence[Message]:
        """At most `limit` messages whose time has come, oldest first; nobody else is given them for `hold` seconds."""
        ...

    async def next_message(self) -> float | None:
        """Seconds until a message's time comes (0: it has); None when none waits."""
        ...

    async def message_delivered(self, message_id: str) -> None:
        """The receiver took it: it is forgotten."""
        ...

    async def message_failed(self, message_id: str, problem: str, again_in: float | None) -> None:
        """One more attempt failed; the next in so many seconds, None: it is given up and kept for people to see."""
        ...

    async def outbox(self) -> Outbox:
        """What rests."""
        ...


class Deliverer(Protocol):
    """Production: `wire.webhook_sender`."""

    async def deliver(self, message: Message) -> Outcome:
        """Sign and send once. Never raises for what the receiver or the network does."""
        ...
