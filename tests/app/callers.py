"""Callers that mean no good, over real sockets: they send a byte now and then, read nothing, or come from elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
from tests.app.running import Running
from tests.app.vaults import ADMIN_TOKEN, RealVault

GUARD = 20.0  # seconds: far more than anything here takes, and less than what was once waited
CREDENTIAL = f"Authorization: Bearer {ADMIN_TOKEN}\r\n".encode()
ELSEWHERE = "127.0.0.2"  # all of 127/8 is this machine (Linux)


def head(target: str, *headers: bytes, method: str = "POST") -> bytes:
    """A request's head."""
    lines = b"".join(line + b"\r\n" for line in headers)
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n".encode() + lines + b"\r\n"


@asynccontextmanager
async def connected(
    service: Running[RealVault], data: bytes = b"", *, address: str = "127.0.0.1", window: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that has sent `data`; `window`: bytes that it takes without reading them."""
    one = socket.socket()
    if window is not None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    one.bind((address, 0))
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", service.port))
    reader, writer = await asyncio.open_connection(sock=one, limit=window or 1 << 16)
    try:
        writer.write(data)
        await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def trickling(
    service: Running[RealVault], data: bytes, drop: bytes = b"x"
) -> AsyncIterator[asyncio.StreamReader]:
    """A connection that has sent `data`, and sends `drop` a hundred times a second for as long as it can."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(0.01)
                writer.write(drop)
                await writer.drain()

    async with connected(service, data) as (reader, writer):
        dripping = asyncio.create_task(drip(writer))
        try:
            yield reader
        finally:
            dripping.cancel()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What came until the service closed the connection; fails when it does not."""
    came = bytearray()
    async with asyncio.timeout(GUARD):
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                came += part
    return bytes(came)


async def until_refused(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send `data` for as long as it is taken; fails when that is for ever."""
    async with asyncio.timeout(GUARD):
        with suppress(ConnectionError):
            while True:
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0.01)


async def answered(service: Running[RealVault], request: bytes, *, address: str = "127.0.0.1") -> int:
    """The status of the answer to this request, on a connection of its own."""
    async with asyncio.timeout(GUARD), connected(service, request, address=address) as (reader, _):
        return int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])


@asynccontextmanager
async def elsewhere() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with another address."""
    connector = aiohttp.TCPConnector(local_addr=(ELSEWHERE, 0))
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=GUARD)) as http:
        yield http
