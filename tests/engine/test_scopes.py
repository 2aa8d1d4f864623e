"""Hotels that have to approve again for a scope that the app asks for by now."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.fakes import APP, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine import views
from cloudbeds_auth.engine.views import Search, Views
from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.model import CredentialKind
from cloudbeds_auth.transactions.connections import disconnect


def wanting(stage: Stage, *wanted: str) -> Views:
    """The app asks for these now; every hotel granted `read:hotel`."""
    stage.apps["default"] = replace(APP, scopes=wanted)
    return stage.one.views


async def test_those_that_lack_one(stage: Stage) -> None:
    """With what they lack, and a link that leads back to the same connection."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    (one,) = (await wanting(stage, "read:hotel", "write:reservation").lacking_scopes(Search())).connections
    assert one.id == grant.connection_id
    assert one.next_step == "send the hotel its connect link: its approval lacks write:reservation"
    assert one.connect_url is not None
    link = await stage.one.authorizer.begin_from_link(one.connect_url.rpartition("/")[2], None)
    assert link.state
    assert await wanting(stage, "read:hotel", "write:reservation").missing_scopes(one.id) == ("write:reservation",)
    assert (await wanting(stage, "read:hotel").lacking_scopes(Search())).connections == ()


@pytest.mark.parametrize("why", ["disconnected", "never proven", "an API key", "of an unknown app"])
async def test_those_that_lack_nothing(stage: Stage, why: str) -> None:
    """What is not in use lacks nothing, nor does what was not granted by scopes."""
    kind = CredentialKind.API_KEY if why == "an API key" else CredentialKind.OAUTH
    grant = await stage.connected(pair(1, kind=kind), proven=why != "never proven")
    if why == "disconnected":
        await stage.one.store.write(disconnect(grant.connection_id, actor="operator"))
    asked = wanting(stage, "write:reservation")
    if why == "of an unknown app":
        del stage.apps["default"]
    assert (await asked.lacking_scopes(Search())).connections == ()


async def test_page_by_page(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of them once, however the pages fall; one question reads so many and no more."""
    monkeypatch.setattr(views, "MOST_LISTED", 2)
    monkeypatch.setattr(views, "MOST_PAGES", 2)
    for number in range(9):
        await stage.connected(pair(number, property_ids=(str(number),)))
    lacking = [0, 1, 3]  # the newest do not: one question ends among them
    for number in {*range(9)} - {*lacking}:
        stage.sql(
            "UPDATE grants SET scopes = ? WHERE property_ids = ?", '["read:hotel","write:reservation"]', f'["{number}"]'
        )
    asked, found, cursor = wanting(stage, "read:hotel", "write:reservation"), [], None
    while True:
        page = await asked.lacking_scopes(Search(cursor=cursor, limit=1))
        found += [int(one.property_ids[0]) for one in page.connections]
        cursor = page.next
        if cursor is None:
            break
    assert found == lacking[::-1]


@pytest.mark.parametrize("limit", [0, views.MOST_LISTED + 1])
async def test_a_page_of_no_size(stage: Stage, limit: int) -> None:
    """As for every list."""
    with pytest.raises(InvalidRequest):
        await wanting(stage).lacking_scopes(Search(limit=limit))
