"""Links to ourselves: what a hotel is sent to connect, or to connect again."""

from __future__ import annotations

from cloudbeds_auth.app.contracts import Settings, Vault
from cloudbeds_auth.app.shapes import DAY, ConnectionShape
from cloudbeds_auth.core.lifecycle import State
from cloudbeds_auth.core.nouns import Connection, Link

RECONNECT_WITHIN = 7 * DAY  # seconds; how long a reconnect link shown with a connection is good


def connect_url(settings: Settings, link: Link) -> str:
    """The address of a one-time link, below the public URL."""
    return f"{settings.public_url.rstrip('/')}/connect/{link.token}"


async def single(vault: Vault, connection: Connection) -> ConnectionShape:
    """One connection as it is shown alone: with the link that mends it, where a hotel has to approve again."""
    if connection.state is not State.REAUTHORIZATION_REQUIRED:
        return ConnectionShape.of(connection)
    link = await vault.create_link(
        app=connection.app,
        reference=connection.reference,
        connection_id=connection.id,
        expires_in=RECONNECT_WITHIN,
    )
    return ConnectionShape.of(connection, connect_url(vault.settings, link))
