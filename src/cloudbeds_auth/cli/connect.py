"""`connect`: a hotel approves, and its tokens are stored.

If the redirect URI leads to this machine and its port is free, the command listens there itself. Otherwise the running
service receives the redirect: the command makes a one-time link and waits for its outcome.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import click

from cloudbeds_auth import child_process, errors
from cloudbeds_auth.cli import commands
from cloudbeds_auth.cli.commands import command, seconds, show_connection
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.os_files import take_port
from cloudbeds_auth.rules.model import Connection

if TYPE_CHECKING:
    from cloudbeds_auth.ports import Clock
    from cloudbeds_auth.vault import TokenVault

LINK_SECONDS = 600.0
PROOF_SECONDS = 20.0  # how long to wait for the service's own call with the new token
GLANCE = 0.5  # seconds between two reads of the database
HEAD_LIMIT = 16 * 1024
HEAD_SECONDS = 10.0
HEADERS = (
    "Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n"
)
WAITS = "waiting for the approval (if it fails, the hotel's page says so); Ctrl-C ends the wait, the link stays good"
WAITING = "This address waits for an approval by Cloudbeds."


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command was asked for."""

    out: Output
    app: str | None
    reference: str | None
    connection_id: str | None
    expected: tuple[str, ...]
    browse: bool
    within: float

    def show(self, url: str) -> None:
        """Show the address to open."""
        self.out.note(f"open this address and approve:\n\n  {url}\n")
        if self.browse:
            asyncio.get_running_loop().run_in_executor(None, child_process.open_browser, url)

    @asynccontextmanager
    async def patience(self) -> AsyncIterator[None]:
        """Inside this block, the approval has to arrive; what happens to one that arrived is not cut short. Raises
        AuthorizationExpired.
        """
        try:
            async with asyncio.timeout(self.within):
                yield
        except TimeoutError:
            raise errors.AuthorizationExpired(
                f"no approval arrived within {self.within:.0f} s",
                next_step="start again with `cloudbeds-auth connect`: the hotel has to approve again",
            ) from None


@command(
    "connect",
    "cloudbeds-auth connect",
    "cloudbeds-auth connect --reference tenant-7 --open",
    "cloudbeds-auth connect --connection con_01J...     reconnect: the hotel approves again, the id stays",
    "cloudbeds-auth connect --property 1000             refuse an approval by another hotel",
    "cloudbeds-auth connect --app aurora                use a registration from `cloudbeds-auth apps`",
    short_help="Connect or reconnect a hotel.",
)
@click.option("--reference", help="Your own id for this hotel, stored with the connection.")
@click.option("--connection", "connection_id", metavar="ID", help="Reconnect this connection.")
@click.option(
    "--property",
    "expected",
    metavar="ID",
    multiple=True,
    help="Refuse an approval that covers none of these properties.",
)
@click.option("--app", metavar="NAME", help="The registration to use.  [default: the connection's own, else default]")
@click.option(
    "--timeout",
    type=seconds(1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the approval.",
)
@click.option("--open/--no-browser", "browse", default=False, help="Open the browser, or only print the URL.")
def connect(
    out: Output,
    reference: str | None,
    connection_id: str | None,
    expected: tuple[str, ...],
    app: str | None,
    timeout: float,
    browse: bool,
) -> None:
    """Connect a hotel: print the URL of the approval page, wait for the approval, print the connection."""
    wish = Wish(out, app, reference, connection_id, expected, browse, timeout)
    show_connection(out, commands.with_vault(lambda vault: _connect(vault, wish)), "connected")


async def _redirect_uri(vault: TokenVault, wish: Wish) -> str:
    """The redirect URI of the named app, else of the connection's own app or the default app."""
    app = wish.app
    if app is None:
        app = "default" if wish.connection_id is None else (await vault.connection(wish.connection_id)).app
    return (await vault.apps.get(app)).redirect_uri


async def _connect(vault: TokenVault, wish: Wish) -> Connection:
    from cloudbeds_auth.settings import is_loopback

    redirect_uri = await _redirect_uri(vault, wish)
    uri = urlsplit(redirect_uri)
    if uri.scheme != "http" or not is_loopback(uri.hostname or ""):
        return await _by_link(vault, wish)
    sockets = bind(redirect_uri)
    if sockets is not None:
        return await _by_listening(vault, wish, sockets, redirect_uri)
    await _refuse_strangers(uri.hostname or "", uri.port or 80)
    return await _by_link(vault, wish, here=True)


async def _refuse_strangers(host: str, port: int) -> None:
    """Raises ConfigurationError unless the port is in use by a service of ours."""
    from cloudbeds_auth.doctor import installation

    found = await installation.look(host, port)
    if found.tenant is not installation.Tenant.OURS:
        raise errors.ConfigurationError(
            f"port {port} of the redirect URI is in use by {found.who or 'another program'}, which is not this service",
            next_step="stop it, or register a redirect URI with another port and set CLOUDBEDS_REDIRECT_URI to it",
        )


# --- through the running service


async def _by_link(vault: TokenVault, wish: Wish, *, here: bool = False) -> Connection:
    """`here`: the service is on this machine; whether it has the same database can be asked at once."""
    from cloudbeds_auth.doctor import installation
    from cloudbeds_auth.system import SystemClock

    link = await vault.create_link(
        app=wish.app,
        reference=wish.reference,
        connection_id=wish.connection_id,
        expires_in=LINK_SECONDS,
        expected_properties=wish.expected,
    )
    if here and await installation.refuses_link(link.url):
        raise errors.ConfigurationError(
            f"the service on {urlsplit(link.url).netloc} has another database: it does not know a link made here",
            next_step="run this command with the settings of that service, or stop it",
        )
    wish.show(link.url)
    clock = SystemClock()
    with wish.out.waiting(WAITS):
        async with wish.patience():
            while (connection_id := await vault.link_outcome(link.token)) is None:
                await clock.sleep(GLANCE)
        connection_id = await _proven(vault, link.token, connection_id, clock)
    return await vault.connection(connection_id)


async def _proven(vault: TokenVault, token: str, connection_id: str, clock: Clock) -> str:
    """Wait briefly until the service has seen the new approval work; returns its connection, which for a known hotel is
    the existing one. Raises InvalidRequest if the service rejected the approval.

    An approval that can be neither proven nor rejected for now is connected all the same, and in doubt.
    """
    deadline = clock.steady() + PROOF_SECONDS
    while clock.steady() < deadline:
        events, former = await vault.events(connection_id), connection_id
        connection_id = await vault.link_outcome(token) or former
        for event in events if connection_id == former else ():
            if event.kind == "promoted":
                return connection_id
            if event.kind == "superseded":
                raise errors.InvalidRequest(
                    f"the approval was rejected: {event.data.get('reason')}",
                    connection_id=connection_id,
                    next_step=f"run `cloudbeds-auth connections show {connection_id}`, then connect again",
                )
            if event.kind == "candidate_received":
                break
        await clock.sleep(GLANCE)
    return connection_id


# --- listening here, on the registered address only: answers the approval's redirect, then closes


async def _by_listening(vault: TokenVault, wish: Wish, sockets: list[socket.socket], redirect_uri: str) -> Connection:
    ended: list[Connection | errors.Error] = []

    async def finish(given: Mapping[str, str]) -> bytes:
        """Exchange the code, or record the denial; both the browser and the command get the result."""
        try:
            if "code" not in given:
                await vault.deny(state=begun.state)
                raise errors.AuthorizationDenied
            ended.append(await vault.finish_authorization(code=given["code"], state=begun.state))
        except errors.Error as error:
            ended.append(error)
            said = f"{error.detail}. What to do next: {error.next_step}. You may close this page."
            return page(400, "Not connected", said)
        return page(200, "Connected", "The hotel is connected. You may close this page.")

    try:
        begun = await vault.begin_authorization(
            reference=wish.reference, app=wish.app, connection_id=wish.connection_id, expected_properties=wish.expected
        )
        wish.show(begun.url)
        with wish.out.waiting("waiting for the approval; Ctrl-C ends the wait"):
            await CallbackListener(redirect_uri, begun.state, finish).serve(sockets, wish.patience())
    finally:
        for sock in sockets:
            sock.close()
    if isinstance(ended[0], errors.Error):
        raise ended[0]
    return ended[0]


def bind(redirect_uri: str) -> list[socket.socket] | None:
    """Listen on the address of a redirect URI, on every address that its host name has here; None if it is in use.

    Raises ConfigurationError if listening there is not possible at all.
    """
    parts = urlsplit(redirect_uri)
    taken: list[socket.socket] = []
    try:
        taken = take_port(parts.hostname or "", parts.port or 80)
        for sock in taken:
            sock.listen()
    except OSError as error:
        for sock in taken:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise errors.ConfigurationError(
            f"cannot listen on {redirect_uri}: {error.strerror}",
            next_step="register a redirect URI with a port above 1023 at Cloudbeds and set CLOUDBEDS_REDIRECT_URI",
        ) from None
    return taken


def page(status: int, title: str, text: str) -> bytes:
    """A page for the browser, as a complete HTTP response."""
    body = (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<h1>{escape(title)}</h1><p>{escape(text)}</p></html>\n"
    ).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{HEADERS}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class CallbackListener:
    """Waits for the one redirect that carries `state`; `callback` gets its parameters and returns the page to show.

    Just enough HTTP for one GET of one path. Any other request, even one with a wrong state, is refused and the wait
    continues: another page in the browser must not be able to end it.
    """

    def __init__(
        self, redirect_uri: str, state: str, callback: Callable[[Mapping[str, str]], Awaitable[bytes]]
    ) -> None:
        parts = urlsplit(redirect_uri)
        self._path, self._authority = parts.path, parts.netloc.lower()
        self._state, self._callback = state, callback
        self._ended = False
        self._arrived, self._answered = asyncio.Event(), asyncio.Event()

    async def serve(self, sockets: list[socket.socket], patience: AbstractAsyncContextManager[object]) -> None:
        """Return once the redirect, which `patience` waits for, was answered; the sockets are closed in any case."""
        servers = [await asyncio.start_server(self._handle, sock=sock, limit=HEAD_LIMIT) for sock in sockets]
        try:
            async with patience:
                await self._arrived.wait()
            await self._answered.wait()
        finally:
            for server in servers:
                server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Half a request, or a browser's spare connection: nothing to answer.
            with suppress(TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
                async with asyncio.timeout(HEAD_SECONDS):
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                writer.write(await self._answer(head))
                await writer.drain()
        finally:
            writer.close()
            if self._ended:  # a second visit while the first is being answered does not end the wait
                self._answered.set()

    async def _answer(self, head: str) -> bytes:
        request, *fields = head.split("\r\n")
        words = request.split(" ")
        named = (field.partition(":") for field in fields)
        hosts = [value.strip().lower() for name, _, value in named if name.strip().lower() == "host"]
        if len(words) != 3 or hosts != [self._authority]:
            return page(400, "Not understood", WAITING)
        if words[0] != "GET":
            return page(405, "Not understood", WAITING)
        try:
            target = urlsplit(words[1])
            given = {name: values[0] for name, values in parse_qs(target.query, max_num_fields=50).items()}
        except ValueError:
            return page(400, "Not understood", WAITING)
        if target.path != self._path:
            return page(404, "Nothing here", WAITING)
        state = given.get("state", "")
        if self._arrived.is_set() or not hmac.compare_digest(state.encode(), self._state.encode()):
            return page(400, "Not this approval", "This approval was not started here, or was answered already.")
        self._arrived.set()
        try:
            return await self._callback(given)
        finally:
            self._ended = True
