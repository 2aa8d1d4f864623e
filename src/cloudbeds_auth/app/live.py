"""`GET /live`: changes for an open page, as server-sent events (HTML Living Standard, 9.2).

A stream holds one connection and nothing else: no turn, no caller's place, no transaction. It ends with its session,
when its page is closed, and when the service is about to stop.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.responses import Response

from cloudbeds_auth.app.http_connections import CONNECTIONS, ClientGone, Connections, until_hung_up
from cloudbeds_auth.engine.watching import Viewer, Watcher
from cloudbeds_auth.errors import TryAgain
from cloudbeds_auth.ports import Clock

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

LOOK_UP = 1.0  # seconds after which it is seen that the service is about to stop
CHECKED = 5.0  # seconds between two times that the session is looked up
SPEAKS = 15.0  # seconds of silence after which a comment is sent: intermediaries may end a silent connection
BEGIN = b"retry: 5000\n\n"  # milliseconds after which a browser reconnects
COMMENT = b":\n\n"


class LiveStream(Response):
    """The answer: what `watcher` finds, for as long as `is_good` says that the session is."""

    media_type = "text/event-stream"

    def __init__(self, watcher: Watcher, clock: Clock, is_good: Callable[[], Awaitable[bool]]) -> None:
        super().__init__(headers={"connection": "close", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._watcher = watcher
        self._now = clock.steady
        self._is_good = is_good

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream. Raises RateLimited where too many pages are live already."""
        with suppress(ClientGone), self._watcher.viewing() as viewer:
            await until_hung_up(scope, self._stream(viewer, scope["state"][CONNECTIONS], send))

    async def _stream(self, viewer: Viewer, connections: Connections, send: Send) -> None:
        async def say(text: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": more})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await say(BEGIN)
        spoke = checked = self._now()
        while not connections.ending:
            changed = await viewer.changes(LOOK_UP)
            if self._now() >= checked + CHECKED:
                if not await self._may_go_on():
                    break
                checked = self._now()
            if changed or self._now() >= spoke + SPEAKS:
                await say(_event(changed) if changed else COMMENT)
                spoke = self._now()
        await say(b"", more=False)

    async def _may_go_on(self) -> bool:
        """While the database does not answer, the session counts as valid."""
        try:
            return await self._is_good()
        except TryAgain:
            return True


def _event(connection_ids: list[str]) -> bytes:
    return f"event: changed\ndata: {json.dumps(connection_ids)}\n\n".encode()
