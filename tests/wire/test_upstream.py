"""The proxy's client: an answer is the answer to its own request, on connections that are kept."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.wire.rawserver import Peer, Respond, answer, raw, serving

from cloudbeds_auth.ports import Lost
from cloudbeds_auth.wire.upstream import AiohttpUpstream

FIRST = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
SECOND = "second"


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[AiohttpUpstream]:
    """A client of this origin."""
    upstream = AiohttpUpstream(url)
    try:
        yield upstream
    finally:
        await upstream.aclose()


async def call(upstream: AiohttpUpstream, method: str = "GET") -> bytes:
    """The body of one call's answer."""
    given = await upstream.send(method, "/x", (), b"")
    try:
        return b"".join([chunk async for chunk in given.chunks()])
    finally:
        given.close()


def then(*pieces: bytes, came: asyncio.Event, first: bytes = FIRST) -> Respond:
    """The first answer; a moment later the pieces; `came` says that they have been on the way long enough."""

    async def respond(peer: Peer) -> None:
        await peer.send(first)
        for piece in pieces:
            await asyncio.sleep(0.02)
            await peer.send(piece)
        await asyncio.sleep(0.02)
        came.set()

    return respond


async def test_a_kept_connection_is_used_again() -> None:
    """Where nothing came that was not asked for, one connection is enough."""
    async with serving(raw(FIRST), answer(SECOND)) as server, calling(server.url) as upstream:
        assert [await call(upstream), await call(upstream)] == [b"first", b"second"]
        assert server.connections == 1


@pytest.mark.row("A75")
@pytest.mark.parametrize(
    "stray",
    [
        (STRAY,),
        (STRAY[:20], STRAY[20:]),
        (STRAY[:20],),
        (b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
        (b"nonsense",),
    ],
    ids=["whole", "in two", "half", "half, then whole", "an interim one", "nonsense"],
)
async def test_an_unsolicited_answer(stray: tuple[bytes, ...]) -> None:
    """It came while the connection waited for its next request: that request uses another one."""
    came = asyncio.Event()
    async with serving(then(*stray, came=came), answer(SECOND)) as server, calling(server.url) as upstream:
        assert await call(upstream) == b"first"
        await came.wait()
        assert await call(upstream) == b"second"
        assert server.connections == 2


@pytest.mark.row("A75")
@pytest.mark.parametrize("rest", [(), (STRAY[20:],)], ids=["nothing more", "the rest later"])
@pytest.mark.parametrize("same", [STRAY, STRAY[:20]], ids=["whole", "half"])
async def test_a_second_answer_in_the_same_piece(same: bytes, rest: tuple[bytes, ...]) -> None:
    """Two answers to one request, the second begun in the packet that ended the first: it is dropped."""
    came = asyncio.Event()
    async with (
        serving(then(*rest, came=came, first=FIRST + same), answer(SECOND)) as server,
        calling(server.url) as upstream,
    ):
        assert await call(upstream) == b"first"
        await came.wait()
        assert await call(upstream) == b"second"


@pytest.mark.row("A75")
async def test_the_body_of_an_answer_to_head() -> None:
    """A body where there is none is not read as the next answer."""
    came = asyncio.Event()
    async with (
        serving(then(FIRST[-5:], came=came, first=FIRST[:-5]), answer(SECOND)) as server,
        calling(server.url) as upstream,
    ):
        assert await call(upstream, "HEAD") == b""
        await came.wait()
        assert await call(upstream) == b"second"


@pytest.mark.row("A75")
async def test_an_answer_that_lies_unread_in_the_socket() -> None:
    """It has arrived, and was not read yet, when the next request takes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        loop = asyncio.get_running_loop()
        async with calling(f"http://127.0.0.1:{listening.getsockname()[1]}") as upstream:
            first = asyncio.create_task(call(upstream))
            one, _ = await loop.sock_accept(listening)
            await loop.sock_recv(one, 65536)
            await loop.sock_sendall(one, FIRST)
            assert await first == b"first"
            one.setblocking(True)
            one.sendall(STRAY)  # and the loop has no turn before the next call takes its connection
            second = asyncio.create_task(call(upstream))
            other = asyncio.create_task(loop.sock_accept(listening))
            await asyncio.wait({second, other}, return_when=asyncio.FIRST_COMPLETED)
            assert other.done(), second.result()
            with one, other.result()[0] as another:
                await loop.sock_recv(another, 65536)
                await loop.sock_sendall(another, FIRST.replace(b"first", b"other"))
                assert await second == b"other"


@pytest.mark.parametrize("reset", [True, False])
async def test_an_answer_that_only_the_end_of_the_connection_ends(reset: bool) -> None:
    """It is whole if the vendor closed the connection, and broke off if the connection was reset."""
    read = asyncio.Event()

    async def respond(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
        await read.wait()
        if reset:
            end_of(peer.writer).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.writer.transport.abort()

    async with serving(respond) as server, calling(server.url) as upstream:
        given = await upstream.send("GET", "/x", (), b"")
        chunks = given.chunks()
        assert await anext(chunks) == b"first"
        read.set()
        if reset:
            with pytest.raises(Lost):
                await anext(chunks)
        else:
            assert [chunk async for chunk in chunks] == []
        given.close()


def end_of(writer: asyncio.StreamWriter) -> socket.socket:
    """This side's end of the connection, which the loop keeps open."""
    one: socket.socket = writer.get_extra_info("socket")._sock
    return one
