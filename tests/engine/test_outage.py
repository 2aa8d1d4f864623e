"""A store that does not answer: what is in memory serves without it, and what is not waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.fakes import HOUR, pair
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine.access import LOOK_AGAIN
from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.engine.outage import PATIENCE
from cloudbeds_auth.engine.rate_limiter import AGAIN
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.grants import read_grant

HANGS = 10.0  # seconds until a server that is stopped has a read fail


@pytest.fixture
async def reads(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each read of the first process began; while its database is away they take long to say so."""
    began: list[float] = []
    read = stage.one.driver.read

    async def slow(body: Any) -> Any:
        began.append(stage.clock.steady())
        if stage.one.driver.dark:
            await stage.clock.sleep(HANGS)
        return await read(body)

    monkeypatch.setattr(stage.one.driver, "read", slow)
    return began


async def lent(stage: Stage) -> str:
    """A connection whose property was read, and whose token was lent, longer ago than either is taken unread."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    assert await ask(stage.one, "1000") == 1
    await stage.clock.sleep(LOOK_AGAIN)
    return grant.connection_id


async def ask(process: Process, named: str, **parts: Any) -> int:
    """What the vault does for a caller; the generation that was lent."""
    return (await process.access.access_token(await process.ids.find_to_call(named), **parts)).generation


@pytest.mark.row("F110", "F62")
async def test_a_token_in_memory(stage: Stage, reads: list[float]) -> None:
    """The store is waited for a second, for the property and not for the token again; then for some seconds not at
    all. When it answers again, it is asked as before.
    """
    home = await lent(stage)
    stage.one.driver.dark = True
    began = stage.clock.steady()
    assert await ask(stage.one, "1000") == 1
    assert stage.clock.steady() - began == pytest.approx(PATIENCE)
    del reads[:]
    for named in ("1000", home) * 20:
        assert await ask(stage.one, named) == 1
    assert stage.clock.steady() - began == pytest.approx(PATIENCE)
    assert reads == []
    await stage.clock.sleep(AGAIN)
    assert await ask(stage.one, home) == 1
    assert stage.clock.steady() - began == pytest.approx(PATIENCE + AGAIN + PATIENCE)
    assert len(reads) == 1
    stage.one.driver.dark = False
    await stage.clock.sleep(AGAIN)
    grant = await current_grant(stage.one.store, home)
    assert grant is not None
    await stage.one.commit(grant, 2)
    assert await ask(stage.one, "1000") == 2


@pytest.mark.row("F110")
async def test_what_is_not_in_memory_waits(stage: Stage, reads: list[float]) -> None:
    """A hotel that was not asked for before, a token that was rejected, one that has ended: each as long as the store
    takes to fail.
    """
    home = await lent(stage)
    cold = await stage.connected(pair(2, property_ids=("2000",)))
    stage.one.driver.dark = True
    for named, parts in ((cold.connection_id, {}), ("2000", {}), (home, {"rejected": 1})):
        began = stage.clock.steady()
        with pytest.raises(StoreUnavailable):
            await ask(stage.one, named, **parts)
        assert stage.clock.steady() - began == pytest.approx(HANGS)
    await stage.clock.sleep(HOUR)
    with pytest.raises(StoreUnavailable) as caught:
        await ask(stage.one, home)
    assert caught.value.connection_id == home


@pytest.mark.row("F110")
async def test_a_token_that_ends_while_the_store_is_waited_for(stage: Stage, reads: list[float]) -> None:
    """It was good when its caller came, and is not lent any more."""
    home = await lent(stage)
    await stage.clock.sleep(HOUR - LOOK_AGAIN - PATIENCE / 2)
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await ask(stage.one, home, min_valid=0.0)


@pytest.mark.row("F110")
async def test_a_rejected_token_heals_when_the_store_is_back(stage: Stage, reads: list[float]) -> None:
    """Another process refreshed it meanwhile: what memory lent is answered 401, and healed by what is stored."""
    home = await lent(stage)
    two = await stage.process()
    stage.one.driver.dark = True
    rejected = await stage.one.access.access_token(home)
    grant = await two.store.read(read_grant(rejected.grant_id))
    assert grant is not None
    await two.commit(grant, 2)
    with pytest.raises(StoreUnavailable):
        await stage.one.access.access_token(home, rejected=rejected)
    stage.one.driver.dark = False
    assert await ask(stage.one, home, rejected=rejected) == 2


@pytest.mark.row("F71")
async def test_a_row_that_does_not_open_is_no_outage(stage: Stage, reads: list[float]) -> None:
    """It is its hotel's trouble: the others' tokens and properties are read as ever."""
    home = await lent(stage)
    damaged = await stage.connected(pair(2, property_ids=("2000",)))
    assert await ask(stage.one, "2000") == 1
    await stage.clock.sleep(LOOK_AGAIN)
    stage.sql("UPDATE grants SET access_sealed = ? WHERE id = ?", b"not sealed", damaged.id)
    assert await ask(stage.one, "2000") == 1, "what is in memory is good until it ends"
    grant = await current_grant(stage.one.store, home)
    assert grant is not None
    await stage.one.commit(grant, 2)
    assert await ask(stage.one, home) == 2, "and not the generation in memory, as in an outage"
    await stage.clock.sleep(HOUR)
    with pytest.raises(StoreUnavailable, match="does not open"):
        await ask(stage.one, damaged.connection_id)


async def test_a_crowd_reads_a_property_once(stage: Stage, reads: list[float]) -> None:
    """Where it was known before, callers of one moment share the read."""
    await lent(stage)
    del reads[:]
    assert await asyncio.gather(*(ask(stage.one, "1000") for _ in range(50))) == [1] * 50
    assert len(reads) == 2, "one for the property, one for the token"
