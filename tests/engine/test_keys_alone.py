"""Settings without a client id: keys work, and everything that would send one is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.engine.test_pasted_keys import paste
from tests.support.fakes import APP, issued
from tests.support.stage import Process, Stage

from cloudbeds_auth.errors import ClientRefused
from cloudbeds_auth.rules.imports import Handover
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Grant
from cloudbeds_auth.rules.origins import UNKNOWN
from cloudbeds_auth.rules.secret import Secret

NO_APP = replace(APP, client_id="", secrets=())


async def keys_alone(stage: Stage) -> Process:
    """A process whose settings have no client id."""
    return await stage.process(apps={"default": NO_APP})


async def by_a_link(one: Process) -> object:
    """The button of a link's page."""
    link = await one.authorizer.create_link(
        app=None, reference=None, return_to=None, connection_id=None, expires_in=60.0
    )
    assert not (await one.authorizer.read_link(link.token)).takes_approval
    return await one.authorizer.begin_from_link(link.token, None)


BEGINNINGS: dict[str, Callable[[Process], Awaitable[object]]] = {
    "an approval": lambda one: one.authorizer.begin(),
    "an approval by a link": by_a_link,
    "an arrival from the Marketplace": lambda one: one.authorizer.arrive(code="code"),
    "an import of tokens": lambda one: one.importer.bring_in(Handover("1000", Secret("R-1"))),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
async def test_nothing_begins_without_a_client_id(stage: Stage, beginning: str) -> None:
    """One error, which names what to set; nothing is sent and nothing is written that waits to come back."""
    one = await keys_alone(stage)
    with pytest.raises(ClientRefused, match="no client id is set") as refused:
        await BEGINNINGS[beginning](one)
    assert "CLOUDBEDS_CLIENT_ID" in refused.value.next_step
    assert (stage.endpoint.sent, stage.endpoint.secrets, stage.vendor.asked) == ([], [], [])
    assert stage.sql("SELECT COUNT(*) FROM authorizations") == stage.sql("SELECT COUNT(*) FROM grants") == [(0,)]


async def test_an_approval_that_was_begun_before(stage: Stage) -> None:
    """Its code is not exchanged after a restart without a client id."""
    begun = await stage.one.authorizer.begin()
    one = await keys_alone(stage)
    with pytest.raises(ClientRefused, match="no client id is set"):
        await one.authorizer.finish(code="code", state=begun.state)
    assert stage.endpoint.secrets == []


MOVES: dict[str, Callable[[Process, Grant], Awaitable[object]]] = {
    "a token": lambda one, grant: one.access.access_token(grant.connection_id, rejected=1),
    "a refresh": lambda one, grant: one.refresh(grant.id, grant.generation),
    "a move to a key": lambda one, grant: one.migrator.migrate(grant.connection_id),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("known", [True, False], ids=["of a client id", "of an unknown one"])
async def test_hotels_that_approved_before(stage: Stage, move: str, known: bool) -> None:
    """Tokens are refreshed and exchanged under no empty client id; no hotel is marked, and it is shown why."""
    old = await stage.connected(source=None if known else UNKNOWN)
    one = await keys_alone(stage)
    with pytest.raises(ClientRefused):
        await MOVES[move](one, old)
    assert (stage.endpoint.sent, stage.endpoint.secrets) == ([], [])
    assert (await one.views.connection(old.connection_id)).state is State.CLIENT_REFUSED
    assert [found.what for found in await one.apps.foreign()] == known * [
        "1 hotel: its tokens were issued to the client id client-1, and CLOUDBEDS_CLIENT_ID is not set"
    ]
    assert (await stage.row(old.id)).reauth is None


async def test_a_key_needs_none(stage: Stage) -> None:
    """It comes in, is lent and kept alive by upkeep, and no happening says that anything is refused."""
    one = await keys_alone(stage)
    found = await paste(stage, process=one, reference="tenant-7")
    assert (found.state, found.app, found.problem) == (State.FRESH, "default", None)
    assert (await one.access.access_token(found.id)).reveal() == "cbat_1"
    await stage.clock.sleep(21 * 86400.0)
    before = len(stage.vendor.asked)
    await one.upkeep.tick()
    assert stage.vendor.asked[before:] == ["cbat_1"]
    assert (stage.endpoint.secrets, await one.apps.foreign()) == ([], [])
    assert (stage.notes.times("client_refused"), stage.notes.times("source_refused")) == (0, 0)


async def test_a_further_app_still_approves(stage: Stage) -> None:
    """Only the settings' own is missing: a hotel that brings an app of its own connects by it."""
    one = await keys_alone(stage)
    app: App = await one.apps.add("aurora", client_id="client-2", client_secret="secret-2")
    begun = await one.authorizer.begin(app=app.id)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    assert (await one.authorizer.finish(code="code", state=begun.state)).connection.state is State.FRESH
