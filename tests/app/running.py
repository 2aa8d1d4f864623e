"""The service under its own server on a free port, and a vendor of a few lines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypedDict, TypeVar

import aiohttp
import uvicorn.server
from aiohttp import web
from tests.app.vaults import ADMIN_TOKEN, RealVault

from cloudbeds_auth.app.application import Parts, Service
from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.app.server import AnnouncingServer, bind, configuration
from cloudbeds_auth.rules.permissions import Caller
from cloudbeds_auth.vault import TokenVault
from cloudbeds_auth.wire.upstream import AiohttpUpstream

AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """One request as the vendor got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass
class Vendor:
    """Accepts the bearer tokens in `good`; `answer` answers what is authorized."""

    good: set[str] = field(default_factory=lambda: {"token-1"})
    seen: list[Seen] = field(default_factory=list)
    answer: Handler | None = None
    before: Handler | None = None
    base_url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.before is not None:
            return await self.before(request)
        headers = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        seen = Seen(request.method, request.raw_path, headers, await request.read())
        self.seen.append(seen)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.good:
            return web.json_response({"error": "access_denied"}, status=401)
        if self.answer is not None:
            return await self.answer(request)
        return web.json_response({"method": seen.method, "size": len(seen.body)})


@asynccontextmanager
async def a_vendor() -> AsyncIterator[Vendor]:
    """The vendor on a free port."""
    vendor = Vendor()
    runner = web.ServerRunner(web.Server(vendor.handle), access_log=None, shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        vendor.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield vendor
    finally:
        await runner.cleanup()


V = TypeVar("V", bound=TokenVault)


class Timeouts(TypedDict, total=False):
    """The proxy's upstream's, in seconds."""

    connect: float
    idle: float
    head: float


@dataclass
class Running(Generic[V]):
    """A service that runs: its vault, its address, and a client that follows nothing and decodes nothing."""

    vault: V
    url: str
    port: int
    http: aiohttp.ClientSession
    server: AnnouncingServer


class Prompt:
    """asyncio for uvicorn's servers in this process: each looks every tenth of a second whether it is to stop, and then
    as often whether it may, for which most tests would wait longer than for answers.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


@contextmanager
def promptly() -> Iterator[None]:
    """Servers look twenty times as often."""
    former = vars(uvicorn.server)["asyncio"]
    vars(uvicorn.server)["asyncio"] = Prompt()
    try:
        yield
    finally:
        vars(uvicorn.server)["asyncio"] = former


@asynccontextmanager
async def a_service(
    vault: V,
    keys: dict[str, Caller] | None = None,
    *,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    window: int | None = None,
) -> AsyncIterator[Running[V]]:
    """The service with this vault, which it opens if that is still to be done.

    `keys` are further credentials, `timeouts` those of the proxy's upstream.

    `window`: bytes of answers that the kernel holds for a caller who does not read.
    """
    if keys:
        own = vault.keys.authenticate

        async def authenticate(text: str, address: str) -> Caller | None:
            return keys.get(text) or await own(text, address)

        vault.keys.authenticate = authenticate  # type: ignore[method-assign]

    async def opener(stack: AsyncExitStack) -> Parts:
        if isinstance(vault, RealVault) and not vault.started:
            stack.push_async_callback(vault.aclose)
            await vault.start()
        upstream = AiohttpUpstream(vault.base_url, **(timeouts or {}))
        stack.push_async_callback(upstream.aclose)
        metrics = (b"# metrics\n", "text/plain; version=0.0.4")
        return Parts(vault, lambda *_: metrics, upstream, limits or Limits())

    sockets = bind("127.0.0.1", 0)
    if window is not None:
        sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
    listening = asyncio.Event()
    server = AnnouncingServer(configuration(Service(opener), vault.settings), listening.set)
    port = sockets[0].getsockname()[1]
    with promptly():
        task = asyncio.create_task(server._serve(sockets))
        await asyncio.wait({task, asyncio.create_task(listening.wait())}, return_when=asyncio.FIRST_COMPLETED)
        async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as http:
            try:
                yield Running(vault, f"http://127.0.0.1:{port}", port, http, server)
            finally:
                await http.close()
                server.should_exit = True
                await task


async def raw(service: Running[V], request: bytes) -> bytes:
    """The bytes of the answer to these bytes, until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()
