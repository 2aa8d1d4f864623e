"""A database that lived for long: no byte of its files, its logs, a backup or a copy holds a secret as it is (A49)."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from tests.support.fakes import HOUR, Dice, Notebook, issued, key
from tests.support.planted import found_in, planted
from tests.support.postgres_stage import Elsewhere, PostgresDatabase
from tests.support.stage import SqliteDatabase, Stage, StageDatabase, stage

from cloudbeds_auth.database.backup import back_up
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.observe import LogObserver
from cloudbeds_auth.ports import Fact, Place
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, Grant
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import add_app, rotate_secret
from cloudbeds_auth.transactions.refusals import confirm

ROTATIONS = 1000


class Planting(Dice):
    """States, links and other random texts are planted, too."""

    def token(self) -> str:
        return quote(planted(super().token()), "")


class Logging(Notebook):
    """Everything is logged as in the service."""

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        LogObserver().happened(what, **facts)


Rotate = Callable[[Stage, Grant, str], Awaitable[None]]


async def refresh(on: Stage, grant: Grant, pair: str) -> None:
    """As it goes when a caller comes after the token has run out: lease, intent, pair, proof, history."""
    await on.clock.sleep(HOUR)
    on.endpoint.will(issued(pair))
    assert (await on.one.access.access_token(grant.connection_id)).reveal() == f"A-{pair}"
    await on.one.idle()


async def commit(on: Stage, grant: Grant, pair: str) -> None:
    """Only what is written of a pair, and its proof."""
    await on.one.commit(grant, pair)
    await on.one.store.write(confirm(grant.id, (await on.row(grant.id)).generation))


async def live(on: Stage, rotations: int, rotate: Rotate) -> None:
    """A hotel that came by a link and is rotated again and again, one with a key, an app, and what waits."""
    one, browser = on.one, planted("browser")
    link = await one.authorizer.create_link(
        app=None, reference=None, return_to=None, connection_id=None, expires_in=600.0
    )
    begun = await one.authorizer.begin_from_link(link.token, browser)
    await one.authorizer.begin(browser=browser)
    on.endpoint.will(issued(planted("first"), property_ids=("1000",)))
    finished = await one.authorizer.finish(code=planted("code"), state=begun.state, browser=browser)
    await on.connected(key(planted("key"), "2000").pair)
    await one.store.write(add_app(App("aurora", "client-2", (Secret(planted("app")),), "https://a.example/callback")))
    await one.store.write(rotate_secret("aurora", Secret(planted("reset"))))
    grant = await current_grant(one.store, finished.connection.id)
    assert grant is not None
    for number in range(rotations):
        await rotate(on, grant, planted(number))
    on.endpoint.will(issued(planted("last")))
    await on.clock.sleep(HOUR)
    await one.access.access_token(finished.connection.id)  # not proven when all ends


@asynccontextmanager
async def lived(database: StageDatabase, rotations: int = ROTATIONS, rotate: Rotate = refresh) -> AsyncIterator[Stage]:
    """A stage on which that happened."""
    async with stage(database, notes=Logging(), dice=Planting()) as on:
        await live(on, rotations, rotate)
        yield on


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below, whatever it is called."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()


def holding(folder: Path) -> dict[str, list[bytes]]:
    """The files that hold a planted secret, and in which form."""
    return {name: found for name, data in files(folder) if (found := found_in(data))}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.row("A49")
async def test_the_files_of_sqlite(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a thousand rotations: the file, the write-ahead log and its index while it is open, a backup, what is left
    when it was closed, and the log.
    """
    caplog.set_level(logging.DEBUG)
    database = SqliteDatabase(tmp_path / "vault.sqlite3")
    async with lived(database):
        assert {"vault.sqlite3", "vault.sqlite3-wal", "vault.sqlite3-shm"} <= {name for name, _ in files(tmp_path)}
        back_up(database.path, tmp_path / "backup", lambda *_: None)
        assert holding(tmp_path) == {}
    assert holding(tmp_path) == {}
    assert database.sql("SELECT generation FROM grants WHERE kind = 'oauth'") == [(ROTATIONS + 2,)]
    assert (caplog.text.count("refreshed") > ROTATIONS, found_in(caplog.text.encode())) == (True, [])


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.row("A49")
async def test_the_files_of_postgresql(postgres_url: str, elsewhere: Elsewhere) -> None:
    """Tables, indexes, write-ahead log and the server's own log, of all its databases."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        ((place,),) = connection.execute("SHOW data_directory").fetchall()
        async with lived(PostgresDatabase(postgres_url, elsewhere), rotate=commit):
            connection.execute("CHECKPOINT")
            if not os.access(place, os.R_OK):
                pytest.skip("the server's files are another machine's, or another user's")
            assert len([*files(Path(place))]) > 100
            assert holding(Path(place).parent) == {}


@pytest.mark.row("A49", control=True)
async def test_secrets_that_are_not_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written as they are they are found at once, also where they are encoded."""
    database = SqliteDatabase(tmp_path / "vault.sqlite3")

    def encoded(self: AesGcmSealer, secret: Secret, place: Place) -> bytes:
        return base64.b64encode(secret.reveal().encode())

    monkeypatch.setattr(AesGcmSealer, "seal", encoded)
    monkeypatch.setattr(AesGcmSealer, "open", lambda self, sealed, place: Secret(base64.b64decode(sealed).decode()))
    async with lived(database, 3):
        assert {"vault.sqlite3-wal"} <= holding(tmp_path).keys()
    assert holding(tmp_path).keys() == {"vault.sqlite3"}


@pytest.mark.parametrize("wrap", ["{}", "xx{}", "x{}x", "xyz{}xyz"])
def test_a_secret_is_found_in_every_form(wrap: str) -> None:
    """Alone or within something longer, in part, and encoded; nothing else is."""
    text = wrap.format(planted("x")).encode()
    for data in (text, text.hex().encode(), base64.b64encode(text), base64.urlsafe_b64encode(text)):
        assert found_in(data)
    assert found_in(quote(planted("x"), "").encode())
    assert not found_in(b"planted8 of another case")
