"""Bytes of a connection, at the protocol that `serve` uses, without a socket."""

from __future__ import annotations

import asyncio
import re
from functools import cache
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send
from tests.fuzzing.parsers import parser
from uvicorn.server import ServerState

from cloudbeds_auth.app.http_connections import CONNECTIONS, Connections
from cloudbeds_auth.app.http_limits import BoundedProtocol
from cloudbeds_auth.app.limits import LARGEST_HEADERS, LONGEST_TARGET, MOST_HEADERS, Limits, Tally
from cloudbeds_auth.ports import Fact
from cloudbeds_auth.rules.happenings import Happening

Asked = tuple[str, bytes, tuple[tuple[bytes, bytes], ...], bytes]


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 7000)})
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        """Kept."""
        self.sent += bytes(data)

    def close(self) -> None:
        """Nothing more is written."""
        self.closed = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def pause_reading(self) -> None:
        """Nothing is read that is not given."""

    resume_reading = pause_reading


class Stranger:
    """A connection's other end, and what the application was asked on it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.was_closed = False
        self.loop, config = _server()
        self.wire = Wire()
        tally = Tally(_Nobody(), every=1e9)
        state = {CONNECTIONS: Connections(Limits(), (), tally)}
        config.loaded_app = self._answer
        self.protocol = BoundedProtocol(config=config, server_state=ServerState(), app_state=state, _loop=self.loop)
        self.protocol.connection_made(self.wire)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.asked.append((scope["method"], target, tuple(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def send(self, piece: bytes) -> None:
        """Some bytes, and the time to answer them."""
        self.protocol.data_received(piece)
        for _ in range(8):
            self.loop.run_until_complete(asyncio.sleep(0))

    def end(self) -> None:
        """It hangs up, unless it was closed."""
        self.was_closed = self.wire.closed
        self.protocol.connection_lost(None)
        while tasks := asyncio.all_tasks(self.loop):
            self.loop.run_until_complete(asyncio.wait(tasks))


class _Nobody:
    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Nobody looks."""


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """In whose place each stranger puts an application of its own."""


@cache
def _server() -> tuple[asyncio.AbstractEventLoop, uvicorn.Config]:
    """Kept: a loop and a configuration take longer to make than a request."""
    config = uvicorn.Config(
        _nowhere, http=BoundedProtocol, ws="none", lifespan="off", access_log=False, log_config=None, log_level=50
    )
    config.load()
    return asyncio.new_event_loop(), config


@parser(
    b"GET /proxy/con_1/api/x?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n",
    b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01",
    words="GET POST HEAD CONNECT PRI HTTP/1.1 HTTP/1.0 HTTP/2.0 Host: Content-Length: Transfer-Encoding: "
    "chunked Connection: close "
    "Upgrade: Expect: 100-continue 0 http://evil",
)
def connection(data: bytes) -> bool:
    """What reaches the application has one framing and a path for its target, whatever comes; where nothing of it is
    refused it is the same requests, however the bytes are cut.
    """
    whole = _given([data])
    for method, target, received, _ in whole.asked:
        assert re.fullmatch(r"[A-Z-]+", method)
        assert target.startswith(b"/")
        assert len(target) <= LONGEST_TARGET
        framings = [(name, value) for name, value in received if name in {b"content-length", b"transfer-encoding"}]
        assert len(framings) <= 1
        assert len(received) <= MOST_HEADERS
        assert sum(len(name) + len(value) for name, value in received) <= LARGEST_HEADERS
    assert re.match(rb"\Z|HTTP/1\.1 [1-5]\d\d ", whole.wire.sent)
    # What is no request behind others closes the connection: how many of those were answered by then, nobody promises.
    refused = whole.was_closed or re.search(rb"HTTP/1\.1 [45]", whole.wire.sent) is not None
    if not refused:
        middle = len(data) // 2
        assert _given([data[:middle], data[middle:]]).asked == whole.asked
        if len(data) < 200:
            assert _given([data[at : at + 1] for at in range(len(data))]).asked == whole.asked
    return bool(whole.asked) and not refused


def _given(pieces: list[bytes]) -> Stranger:
    stranger = Stranger()
    try:
        for piece in pieces:
            if not stranger.wire.closed:
                stranger.send(piece)
    finally:
        stranger.end()
    return stranger
