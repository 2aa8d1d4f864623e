"""Watching hotels: what people would read otherwise is news, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.support.fakes import issued, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine import changed_looks
from cloudbeds_auth.engine.changed_looks import ChangedLooks
from cloudbeds_auth.engine.watching import EVERY, WITHIN
from cloudbeds_auth.errors import ClientRefused, StoreUnavailable, TryAgain
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Grant
from cloudbeds_auth.rules.presentation import presentation
from cloudbeds_auth.rules.token_response import Ambiguous, RefusedClient
from cloudbeds_auth.transactions.connections import disconnect

SOON = 2 * EVERY  # seconds in which a change is read


@asynccontextmanager
async def watching(stage: Stage, *grants: Grant) -> AsyncIterator[tuple[ChangedLooks, Sequence[Connection]]]:
    """These hotels, or all; and what it begins with."""
    with stage.one.watcher.viewing() as viewer:
        ids = [one.connection_id for one in grants]
        looks = ChangedLooks(stage.one.world, stage.one.views, viewer, ids)
        yield looks, await looks.begin()


def said(changed: Sequence[Connection]) -> list[tuple[str, str]]:
    """Which hotel, and in which words."""
    return [(one.id, presentation(one).words) for one in changed]


async def news(looks: ChangedLooks) -> list[tuple[str, str]]:
    """What is said of all that changed."""
    return [*said(await looks.news(SOON)), *said(await looks.news(SOON))]


async def test_a_refresh_of_a_healthy_hotel_is_no_news(stage: Stage) -> None:
    """Neither its first one nor a later one, of all hotels and of one that is named."""
    grant = await stage.connected()
    await stage.clock.sleep(2 * WITHIN)
    async with watching(stage) as (everything, found), watching(stage, grant) as (named, named_found):
        assert (found, [one.id for one in named_found]) == ([], [grant.connection_id])
        for number in (2, 3):
            await stage.one.commit(grant, number)
            assert await news(everything) == await news(named) == []


async def test_a_hotel_that_has_to_approve_again(stage: Stage) -> None:
    """It is said once; and so is that it recovers."""
    grant = await stage.connected()
    await stage.clock.sleep(2 * WITHIN)
    async with watching(stage) as (looks, found):
        assert found == []
        await stage.marked(grant)
        assert await news(looks) == [(grant.connection_id, "reconnect needed")]
        assert await news(looks) == []
        stage.endpoint.script = [issued(2)]
        await stage.one.access.refresh_now(grant.connection_id)
        await stage.one.idle()
        assert await news(looks) == [(grant.connection_id, "healthy")]


async def test_those_that_are_not_well_are_known_from_the_beginning(stage: Stage) -> None:
    """They are what watching begins with; when they change, that is news."""
    grant = await stage.marked(await stage.connected())
    async with watching(stage) as (looks, (found,)):
        assert (found.id, found.state) == (grant.connection_id, State.REAUTHORIZATION_REQUIRED)
        assert await news(looks) == []
        await stage.one.store.write(disconnect(grant.connection_id))
        assert await news(looks) == [(grant.connection_id, "disconnected")]


async def test_a_hotel_that_was_well_and_ends(stage: Stage) -> None:
    """It was not read before, and is news; a refresh beside it is none."""
    grant, other = await stage.connected(), await stage.connected(pair(1, property_ids=("1001",)))
    await stage.clock.sleep(2 * WITHIN)
    async with watching(stage) as (looks, _):
        await stage.one.store.write(disconnect(grant.connection_id))
        await stage.one.commit(other, 2)
        assert await news(looks) == [(grant.connection_id, "disconnected")]


async def test_a_hotel_that_connects(stage: Stage) -> None:
    """It was not there before."""
    async with watching(stage) as (looks, _):
        await stage.clock.sleep(1.0)
        grant = await stage.connected()
        assert await news(looks) == [(grant.connection_id, "healthy")]


async def test_what_was_written_just_before_is_no_news(stage: Stage) -> None:
    """How those hotels look is known; what is committed late is news."""
    gone, grant = await stage.connected(), await stage.connected(pair(1, property_ids=("1001",)))
    await stage.one.store.write(disconnect(gone.connection_id))
    async with watching(stage, gone, grant) as (named, _), watching(stage) as (looks, found):
        assert found == []
        assert await news(looks) == await news(named) == []
        stage.sql("UPDATE grants SET state = 'in_doubt' WHERE id = ?", grant.id)
        assert await news(named) == [(grant.connection_id, "healthy, recovering")]


async def test_a_named_hotel_whose_app_is_refused(stage: Stage) -> None:
    """Another hotel of its app met the refusal; no line of its own says so."""
    grant, other = await stage.connected(), await stage.expired(pair(1, property_ids=("1001",)))
    async with watching(stage, grant) as (looks, _):
        stage.endpoint.will(RefusedClient("wrong secret"), RefusedClient("wrong secret"))
        for _ in range(2):
            with pytest.raises((ClientRefused, TryAgain)):
                await stage.one.access.access_token(other.connection_id)
        assert await news(looks) == [(grant.connection_id, "our credentials are refused")]


async def test_looks_that_are_remembered_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was forgotten counts as one that was never read."""
    monkeypatch.setattr(changed_looks, "MOST_KNOWN", 1)
    hotels = [await stage.connected(pair(1, property_ids=(str(number),))) for number in range(2)]
    async with watching(stage) as (looks, _):
        assert len(looks._looks) == 1
        for hotel in hotels:
            await stage.one.store.write(disconnect(hotel.connection_id))
        assert {one for one, _ in await news(looks)} == {hotel.connection_id for hotel in hotels}


async def test_an_answer_that_is_lost(stage: Stage) -> None:
    """It recovers by itself, and people see that it does."""
    grant = await stage.expired()
    async with watching(stage) as (looks, _):
        stage.endpoint.will(Ambiguous("cut off"))
        with pytest.raises(TryAgain):
            await stage.one.access.access_token(grant.connection_id)
        assert await news(looks) == [(grant.connection_id, "healthy, recovering")]


async def test_while_the_database_is_away(stage: Stage) -> None:
    """It is raised where something is read; what happened meanwhile is news when it is back."""
    grant = await stage.connected()
    async with watching(stage, grant) as (looks, _):
        stage.one.driver.dark = True
        with pytest.raises(StoreUnavailable):
            await looks.news(SOON)
        stage.one.driver.dark = False
        await stage.one.store.write(disconnect(grant.connection_id))
        assert await news(looks) == [(grant.connection_id, "disconnected")]
