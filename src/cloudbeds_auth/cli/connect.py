"""`connect`: a hotel approves; the tokens are ours.

Where the redirect URI leads to this machine and its port is free, the command listens there itself. Otherwise the
running service receives the redirect: the command makes a one-time link and waits for what it leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from cloudbeds_auth import child_process, errors
from cloudbeds_auth.cli import vaults
from cloudbeds_auth.cli.commands import connection_fields, examples, seconds, with_output
from cloudbeds_auth.cli.listener import AnswerPage
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.documents import connection_document
from cloudbeds_auth.rules.model import Connection

if TYPE_CHECKING:
    from socket import socket

    from cloudbeds_auth.ports import Clock
    from cloudbeds_auth.vault import TokenVault

LINK_SECONDS = 600.0
PROOF_SECONDS = 20.0  # how long the service's own call with the new token is waited for
GLANCE = 0.5  # seconds between two looks at the database


@click.command(
    name="connect",
    short_help="Connect a hotel, or connect it again.",
    epilog=examples(
        "cloudbeds-auth connect",
        "cloudbeds-auth connect --reference tenant-7 --open",
        "cloudbeds-auth connect --connection con_01J...     the hotel approves again, its connection id stays",
        "cloudbeds-auth connect --app aurora                the registration of `cloudbeds-auth apps`",
    ),
)
@click.option("--reference", help="Your own id for this hotel; it comes back with the connection.")
@click.option("--connection", "connection_id", metavar="ID", help="Reconnect this connection.")
@click.option("--app", metavar="NAME", help="Which registration.  [default: the connection's own, else default]")
@click.option("--timeout", type=seconds(1), default=600.0, show_default=True, metavar="SECONDS")
@click.option("--open/--no-browser", "browse", default=False, help="Open the browser, or only print the address.")
@with_output
def command(
    out: Output, reference: str | None, connection_id: str | None, app: str | None, timeout: float, browse: bool
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

    def __init__(
        self, out: Output, app: str | None, reference: str | None, connection_id: str | None, browse: bool
    ) -> None:
        self.out, self.app, self.reference = out, app, reference
        self.connection_id, self.browse = connection_id, browse

    def show(self, url: str) -> None:
        """Tell people where to go."""
        self.out.note(f"open this address and approve:\n\n  {url}\n")
        if self.browse:
            asyncio.get_running_loop().run_in_executor(None, child_process.open_browser, url)


async def _within(wish: Wish, seconds: float) -> Connection:
    async with vaults.opened() as vault:
        if wish.connection_id is not None:
            wish.connection_id = await vault.resolve(wish.connection_id)
        try:
            async with asyncio.timeout(seconds):
                return await _connect(vault, wish, await _redirect_uri(vault, wish))
        except TimeoutError:
            raise errors.AuthorizationExpired(
                f"nobody approved within {seconds:.0f} s, or what was approved was lost on the way",
                next_step="start again with `cloudbeds-auth connect`: only the hotel can approve once more",
            ) from None


async def _redirect_uri(vault: TokenVault, wish: Wish) -> str:
    """Where the hotel comes back to; which app it approves is settled on the way."""
    if wish.app is None:
        wish.app = "default" if wish.connection_id is None else (await vault.connection(wish.connection_id)).app
    return (await vault.apps.get(wish.app)).redirect_uri


async def _connect(vault: TokenVault, wish: Wish, redirect_uri: str) -> Connection:
    from cloudbeds_auth.cli.listener import bind
    from cloudbeds_auth.settings import is_loopback

    uri = urlsplit(redirect_uri)
    if uri.scheme != "http" or not is_loopback(uri.hostname or ""):
        return await _by_link(vault, wish)
    sockets = bind(redirect_uri)
    if sockets is not None:
        return await _by_listening(vault, wish, sockets, redirect_uri)
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


async def _by_listening(vault: TokenVault, wish: Wish, sockets: list[socket], redirect_uri: str) -> Connection:
    from cloudbeds_auth.cli.listener import CallbackListener

    try:
        begun = await vault.begin_authorization(
            reference=wish.reference, app=wish.app, connection_id=wish.connection_id
        )
        approval = AwaitedApproval(vault, begun.state)
        wish.show(begun.url)
        with wish.out.waiting("waiting for the approval; Ctrl-C ends the wait"):
            await CallbackListener(redirect_uri, begun.state, approval.finish).serve(sockets)
    finally:
        for sock in sockets:
            sock.close()
    if approval.failure is not None:
        raise approval.failure
    assert approval.connection is not None  # noqa: S101 - finished without failure
    return approval.connection


class AwaitedApproval:
    """Finishes an authorization and remembers how that went; the browser is told, and the command too."""

    def __init__(self, vault: TokenVault, state: str) -> None:
        self._vault, self._state = vault, state
        self.connection: Connection | None = None
        self.failure: errors.Error | None = None

    async def finish(self, given: Mapping[str, str]) -> AnswerPage:
        """Spend the code, or note the denial."""
        from cloudbeds_auth.cli.listener import AnswerPage

        try:
            if "code" not in given:
                await self._vault.deny(state=self._state)
                raise errors.AuthorizationDenied
            self.connection = await self._vault.finish_authorization(code=given["code"], state=self._state)
        except errors.Error as error:
            self.failure = error
            said = f"{error.detail}. What to do next: {error.next_step}. You may close this page."
            return AnswerPage(400, "Not connected", said)
        return AnswerPage(200, "Connected", "The hotel is connected. You may close this page.")


# --- through the running service


async def _by_link(vault: TokenVault, wish: Wish) -> Connection:
    from cloudbeds_auth.system import SystemClock

    link = await vault.create_link(
        app=wish.app,
        reference=wish.reference,
        return_to=None,
        connection_id=wish.connection_id,
        expires_in=LINK_SECONDS,
    )
    wish.show(link.url)
    clock = SystemClock()
    with wish.out.waiting("waiting for the approval; Ctrl-C ends the wait, the link stays good"):
        while (connection_id := await vault.link_outcome(link.token)) is None:
            await clock.sleep(GLANCE)
        connection_id = await _proven(vault, link.token, connection_id, clock)
    return await vault.connection(connection_id)


async def _proven(vault: TokenVault, token: str, connection_id: str, clock: Clock) -> str:
    """Wait a little until the service saw the new approval work, in the connection that it is of: a hotel that came
    back has one. Raises InvalidRequest when it turned it down.

    An approval that can be neither proven nor turned down for now is connected all the same, and in doubt.
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
                    f"the approval was not taken into use: {event.data.get('reason')}",
                    connection_id=connection_id,
                    next_step=f"read `cloudbeds-auth connections show {connection_id}`, then connect again",
                )
            if event.kind == "candidate_received":
                break
        await clock.sleep(GLANCE)
    return connection_id
