"""An installation of ours by its settings: its database opened as one process has it, and filled with hotels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.fakes import pair
from tests.support.keys import KEY_TEXT
from tests.support.processes import leased, row

from cloudbeds_auth.database import opening
from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.history import record_calls
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.model import App, Grant
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import add_app, rotate_secret
from cloudbeds_auth.transactions.authorizations import NewAuthorization, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, write_intent
from cloudbeds_auth.transactions.runner import Database

HOTELS = 3
APP = App("aurora", "client-2", (Secret("first"),), "https://a.example/callback/aurora", level="property")


def settings(url: str, *, key: str = KEY_TEXT) -> Settings:
    """Of an installation with its database there."""
    return Settings(
        database_url=url,
        encryption_keys=(Secret(key),),
        admin_token=Secret("an-admin-token-of-more-than-32-characters"),
    )


def silent(what: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


@asynccontextmanager
async def opened(where: Settings) -> AsyncIterator[Database]:
    """The store of one process."""
    store = await opening.open_database(where)
    try:
        yield store
    finally:
        await store.close()


async def filled(where: Settings) -> list[Grant]:
    """A database with hotels: the first has a kept token and a history."""
    async with opened(where) as store:
        found = []
        for number in range(HOTELS):
            await connected(store, number)
            found.append(await row(store, f"gra_{number}"))
        assert await store.write(add_app(APP)) is None
        assert await store.write(rotate_secret(APP.id, Secret("second")))
        fence = await leased(store, found[0])
        assert await store.write(write_intent(fence, found[0].tokens[-1].position, lease=30.0, hold=0.0))
        written = await store.write(commit_pair(fence, found[0].tokens[-1], pair("0-2"), stale_after=3240.0))
        assert written is Written.DONE
        await store.write(release_lease("gra_0", fence.epoch))
        await record_calls(
            store, [Calls("gra_0", 1, 1e9, 1e9 + number, 1, 0, {"GET /a": 1}, f"x/{number}") for number in range(3)]
        )
        return [await row(store, grant.id) for grant in found]


async def connected(store: Database, number: int) -> None:
    """One more hotel."""
    new = NewAuthorization(f"aut_{number}", "default", f"state-{number}", None, None, None, None, None, 600.0)
    await store.write(add_authorization(new))
    await spend(store, new.state_hash, None, "code")
    first = pair(f"{number}-1", property_ids=(str(1000 + number),))
    home = await store.write(add_candidate(new.id, f"con_{number}", f"gra_{number}", first, stale_after=3240.0))
    assert await store.write(promote(home, f"gra_{number}", 1, None, ()))


async def secrets(store: Database) -> list[tuple[str, int, list[str]]]:
    """What each hotel can be called and refreshed with."""
    found = [await row(store, f"gra_{number}") for number in range(HOTELS)]
    return [(one.access.reveal(), one.generation, [token.value.reveal() for token in one.tokens]) for one in found]
