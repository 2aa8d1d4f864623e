"""Posts webhooks: unsigned, two seconds for an answer, and up to five repetitions. To this machine only."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from cloudbeds_simulator.subscriptions import Post, Subscriptions

USER_AGENT = "CloudBeds-Webhooks/4.0.0"
ANSWER_WITHIN = 2.0  # seconds
REPETITIONS = 5


class Delivery:
    """Delivers what is due. ``told`` keeps every attempt: endpoint, payload, and the status (None: no answer)."""

    def __init__(self, subscriptions: Subscriptions, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._subscriptions = subscriptions
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()
        self.told: list[dict[str, object]] = []

    def flush(self, interval: float) -> None:
        """Begin to post what is due; ``interval`` seconds lie between two attempts."""
        due, self._subscriptions.due = self._subscriptions.due, []
        for post in due:
            task = asyncio.create_task(self._deliver(post, interval))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _deliver(self, post: Post, interval: float) -> None:
        for _ in range(1 + REPETITIONS):
            status = await self._attempt(post)
            self.told.append({"endpoint": post.subscription.endpoint, "payload": post.payload, "status": status})
            if status is not None and 200 <= status < 300:
                return
            await self._sleep(interval)

    async def _attempt(self, post: Post) -> int | None:
        """The status of the answer; None when none came in time, or when the endpoint is not on this machine."""
        if not _on_this_machine(post.subscription.endpoint):
            return None
        headers = {"User-Agent": USER_AGENT, **dict([post.subscription.header] if post.subscription.header else [])}
        try:
            async with (
                ClientSession(timeout=ClientTimeout(total=ANSWER_WITHIN)) as session,
                session.post(post.subscription.endpoint, json=post.payload, headers=headers) as answer,
            ):
                return answer.status
        except (ClientError, TimeoutError, OSError):
            return None


def _on_this_machine(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
