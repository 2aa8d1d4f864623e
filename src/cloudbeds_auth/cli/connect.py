"""`connect`: a hotel approves; the tokens are ours.

Where the redirect URI leads to this machine and its port is free, the command listens there itself. Otherwise the
running service receives the redirect: the command makes a one-time link and waits for the connection to appear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli import vaults
from cloudbeds_auth.cli.commands import connection_document, connection_fields, examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Connection

if TYPE_CHECKING:
    from socket import socket

    from cloudbeds_auth.cli.listener import Page
    from cloudbeds_auth.facade import TokenVault

PAGE = 200  # connections in one look at the database
LINK_SECONDS = 600.0
Look = tuple[State, int | None, datetime | None]
GLANCE = 0.5  # seconds between two looks at the database


@click.command(
    name="connect",
    epilog=examples(
        "cloudbeds-auth connect",
        "cloudbeds-auth connect --reference tenant-7 --open",
        "cloudbeds-auth connect --connection con_01J...     the hotel approves again, its connection id stays",
    ),
)
@click.option("--reference", help="Your own id for this hotel; it comes back with the connection.")
@click.option("--connection", "connection_id", metavar="ID", help="Reconnect this connection.")
@click.option("--app", default="default", show_default=True, help="Which registration to use.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600.0, show_default=True, metavar="SECONDS")
@click.option("--open/--no-browser", "browse", default=False, help="Open the browser, or only print the address.")
@with_output
def command(
    out: Output, reference: str | None, connection_id: str | None, app: str, timeout: float, browse: bool
) -> None:
    """Connect a hotel: print the approval page's address, wait for the approval, print the connection."""
    wish = Wish(out, app, reference, connection_id, browse)
    connection = asyncio.run(_within(wish, timeout))
    if out.as_json:
        out.document(connection_document(connection))
    else:
        out.line("connected")
        out.fields(connection_fields(connection))


class Wish:
    """What is wanted."""

    def __init__(self, out: Output, app: str, reference: str | None, connection_id: str | None, browse: bool) -> None:
        self.out, self.app, self.reference = out, app, reference
        self.connection_id, self.browse = connection_id, browse

    def show(self, url: str) -> None:
        """Tell people where to go."""
        self.out.note(f"open this address and approve:\n\n  {url}\n")
        if self.browse:
            click.launch(url)


async def _within(wish: Wish, seconds: float) -> Connection:
    async with vaults.opened() as vault:
        if wish.connection_id is not None:
            wish.connection_id = await vault.resolve(wish.connection_id)
        try:
            async with asyncio.timeout(seconds):
                return await _connect(vault, wish)
        except TimeoutError:
            raise errors.AuthorizationExpired(f"nobody approved within {seconds:.0f} s") from None


async def _connect(vault: TokenVault, wish: Wish) -> Connection:
    from cloudbeds_auth.cli.listener import bind
    from cloudbeds_auth.settings import is_loopback

    uri = urlsplit(vault.settings.redirect_uri)
    if uri.scheme != "http" or not is_loopback(uri.hostname or ""):
        return await _by_link(vault, wish)
    sockets = bind(vault.settings.redirect_uri)
    if sockets is not None:
        return await _by_listening(vault, wish, sockets)
    await _refuse_strangers(uri.hostname or "", uri.port or 80)
    return await _by_link(vault, wish)


async def _refuse_strangers(host: str, port: int) -> None:
    """Raises ConfigurationError unless the port is held by a service of ours."""
    from cloudbeds_auth.doctor.listening import Tenant, look

    found = await look(host, port)
    if found.tenant is not Tenant.OURS:
        raise errors.ConfigurationError(
            f"port {port} of the redirect URI is held by {found.who or 'another program'}, which is not this service",
            next_step="stop it, or register a redirect URI with another port and set CLOUDBEDS_REDIRECT_URI to it",
        )


# --- listening here


async def _by_listening(vault: TokenVault, wish: Wish, sockets: list[socket]) -> Connection:
    from cloudbeds_auth.cli.listener import Listener

    try:
        begun = await vault.begin_authorization(
            reference=wish.reference, app=wish.app, connection_id=wish.connection_id
        )
        approval = Approval(vault, begun.state)
        wish.show(begun.url)
        with wish.out.waiting("waiting for the approval; Ctrl-C ends the wait"):
            await Listener(vault.settings.redirect_uri, begun.state, approval.finish).serve(sockets)
    finally:
        for sock in sockets:
            sock.close()
    if approval.failure is not None:
        raise approval.failure
    assert approval.connection is not None  # noqa: S101 - finished without failure
    return approval.connection


class Approval:
    """Finishes an authorization and remembers how that went; the browser is told, and the command too."""

    def __init__(self, vault: TokenVault, state: str) -> None:
        self._vault, self._state = vault, state
        self.connection: Connection | None = None
        self.failure: errors.Error | None = None

    async def finish(self, given: Mapping[str, str]) -> Page:
        """Spend the code, or note the denial."""
        from cloudbeds_auth.cli.listener import Page

        try:
            if "code" not in given:
                await self._vault.deny(state=self._state)
                raise errors.AuthorizationDenied
            self.connection = await self._vault.finish_authorization(code=given["code"], state=self._state)
        except errors.Error as error:
            self.failure = error
            return Page(400, "Not connected", f"{error.detail}. You may close this page.")
        return Page(200, "Connected", "The hotel is connected. You may close this page.")


# --- through the running service


async def _by_link(vault: TokenVault, wish: Wish) -> Connection:
    before = await _looks(vault, wish)
    link = await vault.create_link(
        app=wish.app,
        reference=wish.reference,
        return_to=None,
        connection_id=wish.connection_id,
        expires_in=LINK_SECONDS,
    )
    wish.show(f"{vault.settings.public_url}/connect/{link.token}")
    since = link.expires_at - timedelta(seconds=LINK_SECONDS + 1)
    with wish.out.waiting("waiting for the connection to appear; Ctrl-C ends the wait, the link stays good"):
        return await _appeared(vault, wish, before, since)


async def _appeared(vault: TokenVault, wish: Wish, before: Mapping[str, Look], since: datetime) -> Connection:
    """The first connection that looks different from before and got a new approval, which its history tells."""
    from cloudbeds_auth.system import SystemClock

    clock = SystemClock()
    while True:
        for connection_id, look in (await _looks(vault, wish)).items():
            if before.get(connection_id) != look and await _promoted(vault, connection_id, since):
                return await vault.connection(connection_id)
        await clock.sleep(GLANCE)


async def _promoted(vault: TokenVault, connection_id: str, since: datetime) -> bool:
    """Whether a new approval was seen to work since then; a refresh alone changes how a connection looks, too."""
    return any(event.kind == "promoted" and event.at >= since for event in await vault.events(connection_id))


async def _looks(vault: TokenVault, wish: Wish) -> dict[str, Look]:
    """How each connection in question looks."""
    if wish.connection_id is not None:
        one = await vault.connection(wish.connection_id)
        return {one.id: _look(one)}
    looks: dict[str, Look] = {}
    cursor: str | None = None
    while True:
        page = await vault.connections(reference=wish.reference, app=wish.app, cursor=cursor, limit=PAGE)
        looks |= {one.id: _look(one) for one in page.connections}
        if page.next is None:
            return looks
        cursor = page.next


def _look(one: Connection) -> Look:
    return one.state, one.generation, one.expires_at
