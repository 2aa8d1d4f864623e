"""Watching hotels: what people would read otherwise is news, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.engine.test_marked_grants import marked
from tests.support.fakes import issued, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine import watch
from cloudbeds_auth.engine.watch import LATE, Change, Watch
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.presentation import presentation
from cloudbeds_auth.rules.token_response import Ambiguous, RefusedClient
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.watch import NewLines, read_new_lines


def watching(stage: Stage, *grants: Grant) -> Watch:
    """Of these hotels, or of all."""
    return Watch(stage.one.world, stage.one.views, [one.connection_id for one in grants])


def said(changes: Sequence[Change]) -> list[tuple[str, str]]:
    """Which hotel, and in which words."""
    return [(one.connection.id, presentation(one.connection).words) for one in changes]


async def test_a_refresh_of_a_healthy_hotel_is_no_news(stage: Stage) -> None:
    """Neither its first one nor a later one, of all hotels and of one that is named."""
    grant = await stage.connected()
    await stage.clock.sleep(2 * LATE)
    everything, named = watching(stage), watching(stage, grant)
    assert await everything.begin() == []
    assert [one.id for one in await named.begin()] == [grant.connection_id]
    for number in (2, 3):
        await stage.one.commit(grant, number)
        assert await everything.news() == await named.news() == []
        await stage.clock.sleep(2 * LATE)


async def test_a_hotel_that_has_to_approve_again(stage: Stage) -> None:
    """Each change on the way is said once, with the moment of its line; and that it recovers."""
    grant = await stage.connected()
    await stage.clock.sleep(2 * LATE)
    watched = watching(stage)
    assert await watched.begin() == []
    await marked(stage, grant)
    (change,) = await watched.news()
    assert said([change]) == [(grant.connection_id, "reconnect needed")]
    assert change.connection.problem == "revoked"
    assert 0.0 < stage.clock.wall() - change.at.timestamp() <= 60.0
    assert await watched.news() == []
    stage.endpoint.script = [issued(2)]
    await stage.one.access.refresh_now(grant.connection_id)
    await stage.one.idle()
    assert said(await watched.news()) == [(grant.connection_id, "healthy")]


async def test_those_that_are_not_well_are_known_from_the_beginning(stage: Stage) -> None:
    """They are what watching begins with; when they change, that is news."""
    grant = await marked(stage, await stage.connected())
    await stage.clock.sleep(2 * LATE)
    watched = watching(stage)
    (found,) = await watched.begin()
    assert (found.id, found.state) == (grant.connection_id, State.REAUTHORIZATION_REQUIRED)
    assert await watched.news() == []
    await stage.one.store.write(disconnect(grant.connection_id))
    assert said(await watched.news()) == [(grant.connection_id, "disconnected")]


async def test_a_hotel_that_was_well_and_ends(stage: Stage) -> None:
    """It was not read before, and is news: no refresh writes such a line."""
    grant, other = await stage.connected(), await stage.connected(pair(1, property_ids=("1001",)))
    await stage.clock.sleep(2 * LATE)
    watched = watching(stage)
    await watched.begin()
    await stage.one.store.write(disconnect(grant.connection_id))
    await stage.one.commit(other, 2)
    assert said(await watched.news()) == [(grant.connection_id, "disconnected")]


async def test_what_was_written_just_before_is_no_news(stage: Stage) -> None:
    """The line is read again, and nothing is otherwise than at the beginning; a line that is committed late is."""
    grant = await stage.connected()
    watched = watching(stage)
    await watched.begin()
    assert await watched.news() == []
    stage.sql("UPDATE grants SET state = 'in_doubt' WHERE id = ?", grant.id)
    await stage.clock.sleep(LATE / 2)
    assert said(await watched.news()) == [(grant.connection_id, "healthy, recovering")]


async def test_a_named_hotel_whose_app_is_refused(stage: Stage) -> None:
    """Another hotel of its app met the refusal; no line of its own says so."""
    grant, other = await stage.connected(), await stage.expired(pair(1, property_ids=("1001",)))
    watched = watching(stage, grant)
    await watched.begin()
    stage.endpoint.will(RefusedClient("wrong secret"), RefusedClient("wrong secret"))
    for _ in range(2):
        with pytest.raises(Exception, match="client"):
            await stage.one.access.access_token(other.connection_id)
    assert said(await watched.news()) == [(grant.connection_id, "our credentials are refused")]


async def test_more_lines_than_are_read_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read to the end, also where many are of one moment."""
    hotels = [await stage.connected(pair(1, property_ids=(str(number),))) for number in range(5)]
    await stage.clock.sleep(2 * LATE)
    watched = watching(stage)
    await watched.begin()
    monkeypatch.setattr(watch, "read_new_lines", lambda since: read_new_lines(since, limit=2))
    for hotel in hotels[:2]:
        await stage.one.store.write(disconnect(hotel.connection_id))
        await stage.clock.sleep(1.0)
    await stage.one.store.write(disconnect(hotels[2].connection_id))
    assert len(await watched.news()) == 3


async def test_looks_that_are_remembered_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was forgotten counts as one that was never read."""
    monkeypatch.setattr(watch, "MOST_KNOWN", 1)
    hotels = [await stage.connected(pair(1, property_ids=(str(number),))) for number in range(2)]
    watched = watching(stage)
    await watched.begin()
    assert len(watched._looks) == 1
    await stage.one.store.write(disconnect(hotels[0].connection_id))
    assert (hotels[0].connection_id, "disconnected") in said(await watched.news())


async def test_a_clock_that_was_set_back(stage: Stage) -> None:
    """What is written from then on is read."""
    grant = await stage.connected()
    await stage.clock.sleep(2 * LATE)
    watched = watching(stage)
    await watched.begin()
    stage.clock.jump -= 3600.0
    assert await watched.news() == []
    await stage.one.store.write(disconnect(grant.connection_id))
    assert said(await watched.news()) == [(grant.connection_id, "disconnected")]


async def test_an_answer_that_is_lost(stage: Stage) -> None:
    """It recovers by itself, and people see that it does."""
    grant = await stage.expired()
    await stage.clock.sleep(2 * LATE)
    watched = watching(stage)
    await watched.begin()
    stage.endpoint.will(Ambiguous("cut off"))
    with pytest.raises(Exception, match="answer"):
        await stage.one.access.access_token(grant.connection_id)
    assert said(await watched.news()) == [(grant.connection_id, "healthy, recovering")]


async def test_new_lines(stage: Stage) -> None:
    """Oldest first, from a moment on; whether there were no more."""
    grant = await stage.connected()
    found = await stage.one.store.read(read_new_lines(0.0))
    assert isinstance(found, NewLines)
    assert {line.connection_id for line in found.lines} == {grant.connection_id}
    assert [line.at for line in found.lines] == sorted(line.at for line in found.lines)
    assert found.whole
    assert not (await stage.one.store.read(read_new_lines(0.0, limit=1))).whole
    assert (await stage.one.store.read(read_new_lines(found.now + 1.0))).lines == []
