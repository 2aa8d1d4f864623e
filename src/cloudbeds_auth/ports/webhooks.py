"""Webhooks out: the messages that are stored until they are delivered, and what delivers one."""

from __future__ import annotations

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
class Delivery:
    """How one attempt ended. `problem` is None when the receiver took it; `retry_after`: what it asked for, seconds."""

    problem: str | None = None
    retry_after: float | None = None
    final: bool = False


class Deliverer(Protocol):
    """Production: `wire.webhook_sender`."""

    async def deliver(self, message: Message) -> Delivery:
        """Sign and send once. Never raises for what the receiver or the network does."""
        ...
