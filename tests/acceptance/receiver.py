"""A receiver of webhooks on loopback: verifies with the specification's library, and answers as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook
from tests.acceptance.processes import PATIENCE
from tests.support.keys import WEBHOOK_SECRET


@dataclass
class Receiver:
    """`came`: id and verified document of each message, in order. `silent`: it is taken, and nothing is answered."""

    port: int
    silent: bool = False
    came: list[tuple[str, Any]] = field(default_factory=list)
    grown: threading.Condition = field(default_factory=threading.Condition)
    let_go: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, number: int) -> list[tuple[str, Any]]:
        """The messages, when there are so many."""
        with self.grown:
            assert self.grown.wait_for(lambda: len(self.came) >= number, PATIENCE), self.came
            return list(self.came)


@contextmanager
def receiving(port: int) -> Iterator[Receiver]:
    """A receiver on this port for the time of a block."""
    made = Receiver(port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            document = Webhook(WEBHOOK_SECRET).verify(body, dict(self.headers))
            with made.grown:
                made.came.append((self.headers["webhook-id"], document))
                made.grown.notify_all()
            if made.silent:
                made.let_go.wait(PATIENCE)
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.let_go.set()
            server.shutdown()
            thread.join()
