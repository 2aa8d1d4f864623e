"""A server on a free loopback port that reads one request and writes whatever bytes a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Respond = Callable[["Peer"], Awaitable[None]]
TURNS = 20  # of the loop, in which connections over TLS that ended early close their sockets


@dataclass
class Peer:
    """One accepted connection: the request that came, and the writer for the answer."""

    request: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def send(self, data: bytes) -> None:
        """Write and flush."""
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Return when the other side has closed its socket."""
        while await self.reader.read(65536):
            pass

    @property
    def head(self) -> dict[str, str]:
        """The request's header fields by lower-case name."""
        lines = self.request.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def line(self) -> str:
        """Method and target."""
        return self.request.split(b"\r\n")[0].decode("latin-1").rpartition(" ")[0]

    @property
    def body(self) -> str:
        """The request's body."""
        return self.request.partition(b"\r\n\r\n")[2].decode()


@dataclass
class RawServer:
    """What a test sees of the server."""

    port: int
    scheme: str = "http"
    peers: list[Peer] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The origin."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


@asynccontextmanager
async def _listening(
    connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    """A free loopback port on which each connection is given to `connected`, until it is left."""
    running: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            running.add(task)
        await connected(reader, writer)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running)
        for _ in range(TURNS if tls else 0):
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(*respond: Respond, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """A server that answers the n-th request with the n-th of `respond`, the last one for ever."""
    found = RawServer(0, "https" if tls else "http")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        try:
            while True:
                peer = Peer(await _request(reader), writer, reader)
                found.peers.append(peer)
                await respond[min(len(found.peers), len(respond)) - 1](peer)
                if writer.is_closing():
                    return
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, as many of these tests want it to
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over, and a client that keeps its connection ends no TLS
        finally:
            writer.close()
            found.closed.set()

    async with _listening(connected, tls) as found.port:
        yield found


def answer(body: bytes | str, status: str = "200 OK", head: str = "", kind: str = "application/json") -> Respond:
    """A complete answer with a correct Content-Length."""
    content = body.encode() if isinstance(body, str) else body
    kinds = f"Content-Type: {kind}\r\n" if kind else ""
    return raw(f"HTTP/1.1 {status}\r\n{kinds}Content-Length: {len(content)}\r\n{head}\r\n".encode() + content)


def raw(data: bytes, *, close: bool = False) -> Respond:
    """These bytes and nothing else; with `close` the connection ends after them."""

    async def respond(peer: Peer) -> None:
        await peer.send(data)
        if close:
            peer.writer.close()

    return respond


async def reset(peer: Peer) -> None:
    """A TCP reset instead of an answer."""
    peer.writer.get_extra_info("socket").setsockopt(*_LINGER)
    peer.writer.transport.abort()


@dataclass
class Tunnels:
    """A proxy that connects as it is asked to, with CONNECT (RFC 9110 section 9.3.6)."""

    port: int = 0
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The proxy."""
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def tunnelling() -> AsyncIterator[Tunnels]:
    """A proxy on a free loopback port."""
    found = Tunnels()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            method, target, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
            found.asked.append(f"{method} {target}")
            there = await asyncio.open_connection(*target.rsplit(":", 1))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))
        writer.close()

    async with _listening(connected, None) as found.port:
        yield found


async def silence(peer: Peer) -> None:
    """No answer at all, until the client gives up."""
    await peer.gone()


def drip(data: bytes, *, every: float = 0.01) -> Respond:
    """The bytes `data` once, then single spaces for ever."""

    async def respond(peer: Peer) -> None:
        await peer.send(data)
        while not peer.reader.at_eof():
            await peer.send(b" ")
            await asyncio.sleep(every)

    return respond


def _linger() -> tuple[int, int, bytes]:
    import socket
    import struct

    return socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)


_LINGER = _linger()
