"""Numbers and texts that no program means, over both databases: InvalidRequest, whatever they are (A78)."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.support.fakes import pair
from tests.support.stage import Stage

from cloudbeds_auth.errors import InvalidRequest, UnknownConnection
from cloudbeds_auth.rules.inputs import Search

pytestmark = pytest.mark.row("A78")


@pytest.mark.parametrize("seconds", [math.nan, -1.0, -math.inf])
async def test_min_valid(stage: Stage, seconds: float) -> None:
    """Whether a token is in memory or not; more than there is is only too much."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    access = stage.one.access
    for _ in range(2):
        with pytest.raises(InvalidRequest, match=r"^min_valid "):
            await access.access_token(grant.connection_id, seconds)
        assert (await access.access_token(grant.connection_id, 1e300)).generation == 1


@pytest.mark.parametrize("generation", [-1, 10**30])
async def test_a_rejected_generation(stage: Stage, generation: int) -> None:
    """One that no connection can have."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    with pytest.raises(InvalidRequest, match=r"^the rejected generation "):
        await stage.one.access.access_token(grant.connection_id, rejected=generation)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0, 1e300])
async def test_the_life_of_a_link(stage: Stage, seconds: float) -> None:
    """No link lasts for ever."""
    with pytest.raises(InvalidRequest, match="expires_in"):
        await stage.one.authorizer.create_link(
            app=None, reference=None, return_to=None, connection_id=None, expires_in=seconds
        )


async def test_pages(stage: Stage) -> None:
    """Cursors, limits, and texts to look for."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    look = stage.one.views
    for cursor in ("-1", str(10**30), "9" * 30 + "_1_1"):
        with pytest.raises(InvalidRequest, match="cursor"):
            await look.events(grant.connection_id, cursor=cursor)
    for limit in (0, -1, 201, 10**30):
        with pytest.raises(InvalidRequest, match="limit"):
            await look.events(grant.connection_id, limit=limit)
        with pytest.raises(InvalidRequest, match="limit"):
            await look.connections(Search(limit=limit))
    with pytest.raises(InvalidRequest, match="cursor"):
        await look.connections(Search(cursor="9" * 30))
    for text in ("\x00", "\ud800"):
        for name in ("reference", "property_id", "app"):
            asked: Any = {name: text}
            with pytest.raises(InvalidRequest, match="control character"):
                await look.connections(Search(**asked))


@pytest.mark.parametrize("text", ["\x00", "\ud800"], ids=["zero", "surrogate"])
async def test_ids_and_names_that_there_cannot_be(stage: Stage, text: str) -> None:
    """Unknown, as any other that there is not."""
    with pytest.raises(UnknownConnection):
        await stage.one.ids.resolve(text)
    with pytest.raises(InvalidRequest, match="no app"):
        await stage.one.authorizer.begin(app=text)
