"""F102: a pair or a key in hand is kept and stored, whatever goes wrong; only cancellation ends that."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from tests.support.fakes import APP, issued, key, pair
from tests.support.stage import Process, Stage, with_secrets
from tests.support.virtual import settle

from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import (
    ClientRefused,
    ConfigurationError,
    RefreshPending,
    StoreReadOnly,
    StoreUnavailable,
    VaultClosed,
)
from cloudbeds_auth.rules.lifecycle import IllegalMove, LifecycleEvent, State
from cloudbeds_auth.rules.model import CredentialKind, Grant
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer, RefusedClient
from cloudbeds_auth.transactions.statements import Statement, Transaction

T = TypeVar("T")

MORE_THAN_A_CALLER_WAITS = 6

WRONG = {
    "no descriptors": OSError(errno.EMFILE, "Too many open files"),
    "no memory": MemoryError(),
    "no thread": RuntimeError("can't start new thread"),
    "configuration": ConfigurationError("the mark file can be neither read nor made"),
    "the database": StoreUnavailable("locked"),
    "adopted elsewhere": StoreReadOnly(),
    "a bug of ours": IllegalMove(State.FRESH, LifecycleEvent.CLAIMED),
    "another one": KeyError("now"),
}

pytestmark = pytest.mark.row("F102")
everything = pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)


async def in_the_end(stage: Stage, process: Process, grant: Grant) -> Grant:
    """What rests when nothing is under way any more."""
    await process.idle()
    return await stage.row(grant.id)


@everything
@pytest.mark.parametrize("times", [1, MORE_THAN_A_CALLER_WAITS])
async def test_a_pair(stage: Stage, wrong: Exception, times: int) -> None:
    """Committed when it can be; nobody uses it before, it is asked for once, and each failure is told."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2))
    stage.one.driver.refuse("commit_pair", times, wrong)
    with_it = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await settle()
    assert stage.vendor.asked == []
    await asyncio.gather(with_it, return_exceptions=True)
    row = await in_the_end(stage, stage.one, grant)
    assert (row.access.reveal(), row.generation, row.proven) == ("A-2", 2, True)
    assert stage.endpoint.sent == ["R-1"]
    waits = [facts for what, facts in stage.notes.told if what == "commit_waits"]
    assert [facts["failures"] for facts in waits] == [*range(1, times + 1)]
    assert {facts["error"] for facts in waits} == {type(wrong).__name__}


@everything
async def test_what_is_read_after_the_commit(stage: Stage, wrong: Exception) -> None:
    """The pair rests, and what its callers are to be told cannot be read: it is once that works."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2))

    async def reading_fails() -> None:
        stage.one.driver.refuse("grant", 2, wrong)

    stage.one.driver.after("commit_pair", reading_fails)
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert (await stage.kinds(grant.connection_id)).count("pair_committed") == 1


@everything
async def test_an_approval(stage: Stage, wrong: Exception) -> None:
    """The pair that a code was exchanged for: the hotel is connected all the same."""
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    stage.one.driver.refuse("add_grant", 3, wrong)
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.state is State.FRESH
    assert stage.endpoint.codes == ["code"]
    assert stage.notes.times("commit_waits") == 3


@everything
async def test_a_key(stage: Stage, wrong: Exception) -> None:
    """The key that a refresh token was exchanged for."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    stage.endpoint.will(key("k", "1000"))
    stage.one.driver.refuse("key_received", 3, wrong)
    await stage.one.migrator.migrate(grant.connection_id)
    found = await current_grant(stage.one.store, grant.connection_id)
    assert found is not None
    assert (found.kind, found.access.reveal()) == (CredentialKind.API_KEY, "cbat_k")
    assert stage.endpoint.exchanged == ["R-1"]


# --- what is done with an answer before it is stored


async def on_trial(stage: Stage) -> None:
    """The app's secret was refused a minute ago: the next request has its trial."""
    grant = await stage.expired(pair("trial", property_ids=("7",)))
    stage.endpoint.will(RefusedClient("HTTP 401"))
    with pytest.raises(ClientRefused):
        await stage.one.refresh(grant.id, 1, patient=False)
    await stage.clock.sleep(61.0)


@everything
async def test_an_approval_on_trial(stage: Stage, wrong: Exception) -> None:
    """That the secret is good again cannot be written down: the pair is stored first of all."""
    await on_trial(stage)
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    stage.one.driver.refuse("close_circuit", 1, wrong)
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.state is State.FRESH


@everything
async def test_a_key_on_trial(stage: Stage, wrong: Exception) -> None:
    """The same for an exchange."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    stage.sql("UPDATE grants SET expires_at = expires_at + 1e6 WHERE id = ?", grant.id)
    await on_trial(stage)
    stage.endpoint.will(key("k", "1000"))
    stage.one.driver.refuse("close_circuit", 1, wrong)
    await stage.one.migrator.migrate(grant.connection_id)
    assert stage.endpoint.exchanged == ["R-1"]


@everything
async def test_a_key_whose_properties_cannot_be_learnt(stage: Stage, wrong: Exception) -> None:
    """An approval that was exchanged for a key: it is stored without them, and waits until they are named."""
    keyed = await stage.process(apps={"default": replace(APP, credential=CredentialKind.API_KEY)})
    begun = await keyed.authorizer.begin()
    stage.endpoint.will(key("k"))

    async def broken(*_: object) -> None:
        raise wrong

    stage.vendor.properties = broken  # type: ignore[method-assign, assignment]
    with pytest.raises(Exception):  # noqa: B017, PT011 - asked once more behind the stored key, and told to nobody
        await keyed.authorizer.finish(code="code", state=begun.state)
    ((kept,),) = stage.sql("SELECT COUNT(*) FROM grants WHERE kind = 'api_key' AND role = 'candidate'")
    assert kept == 1


# --- what ends it


async def test_only_cancellation(stage: Stage) -> None:
    """A process that is stopped lets go of it; its parent rests and works."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2), issued(3))
    stage.one.driver.refuse("commit_pair", 10**6, MemoryError())
    refused = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await stage.clock.sleep(3600.0)
    with pytest.raises(RefreshPending):
        await refused
    assert stage.notes.times("commit_waits") > 60
    two = await stage.process()
    await stage.kill(stage.one)
    await stage.clock.sleep(60.0)
    assert (await two.refresh(grant.id, 1)).grant.access.reveal() == "A-3"
    assert stage.endpoint.sent == ["R-1", "R-1"]


async def test_the_end_of_the_vault(stage: Stage) -> None:
    """A database that was closed takes nothing any more: nobody waits for it."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2))
    stage.one.driver.refuse("commit_pair", 1, VaultClosed())
    with pytest.raises(VaultClosed):
        await stage.one.refresh(grant.id, 1)
    assert stage.notes.times("commit_waits") == 0
    assert await stage.tokens(grant.id) == ["R-1"]


async def test_a_pause_that_fails_as_well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even dice are to be had: others run on, and it is tried again."""
    grant = await stage.expired()
    stage.endpoint.will(issued(2))
    left = [OSError(errno.EMFILE, "Too many open files")] * 3

    def unit() -> float:
        if stage.notes.times("commit_waits") and left:
            raise left.pop()
        return 0.5

    monkeypatch.setattr(stage.dice, "unit", unit)
    stage.one.driver.refuse("commit_pair", 3, MemoryError())
    assert (await stage.one.refresh(grant.id, 1)).grant.generation == 2
    assert left == []


async def test_of_two_secrets_the_second_is_taken(stage: Stage) -> None:
    """What became of the first is written down after the pair: the pair is there even where that fails."""
    both = await stage.process(apps={"default": with_secrets(Secret("new"), Secret("secret-1"))})
    grant = await stage.expired()

    async def given() -> KeyAnswer:
        both.driver.refuse("close_circuit", 1, MemoryError())
        return issued(2)

    stage.endpoint.will(RefusedClient("HTTP 401"), given)
    assert (await both.refresh(grant.id, 1)).grant.access.reveal() == "A-2"


# --- a database that takes no writes


def read_only(stage: Stage, on: bool) -> None:
    """By the database's own word, for every transaction that begins from now on."""
    inner: Any = stage.one.driver.inner
    if isinstance(inner, SqliteDriver):
        connection = inner._file._connection
        assert connection is not None
        connection.pragma("query_only", on)
    elif on:
        write = inner.write
        inner.write = lambda body, synced=True: write(lambda now: told_first(body(now)), synced=synced)
    else:
        del inner.write


def told_first(running: Transaction[T]) -> Transaction[T]:
    """PostgreSQL refuses what this transaction writes, as a standby refuses it."""
    yield Statement("read_only", "SET TRANSACTION READ ONLY", {})
    return (yield from running)


@pytest.mark.row("F57")
async def test_a_database_that_turns_read_only(stage: Stage) -> None:
    """Between answer and commit: the pair waits, unused, and the store is not ready. It is committed when the database
    takes it, and was asked for once.
    """
    grant = await stage.expired()

    async def answered() -> Answer:
        read_only(stage, True)
        return issued(2)

    stage.endpoint.will(answered)
    with_it = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await settle()
    try:
        with pytest.raises(StoreUnavailable):
            await stage.one.store.check()
        assert stage.notes.times("commit_waits") > 0
        assert stage.vendor.asked == []
    finally:
        read_only(stage, False)
    await asyncio.gather(with_it, return_exceptions=True)
    row = await in_the_end(stage, stage.one, grant)
    assert (row.access.reveal(), row.generation, row.proven) == ("A-2", 2, True)
    assert stage.endpoint.sent == ["R-1"]
