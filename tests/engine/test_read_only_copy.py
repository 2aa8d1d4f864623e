"""A read-only copy of the database: from it nothing is sent that changes anything at Cloudbeds (rule 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.engine.test_hooks import payload
from tests.engine.test_imports import old
from tests.engine.test_webhooks import Receiver
from tests.support.fakes import HOOK, pair
from tests.support.stage import Process, Stage, another
from tests.support.virtual import settle

from cloudbeds_auth.errors import StoreReadOnly
from cloudbeds_auth.ports import AppState
from cloudbeds_auth.rules.api_errors import Act, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Wanted
from cloudbeds_auth.transactions.statements import Instant, Transaction

WANTED = [Wanted("reservation/created", HOOK)]
DAYS = 31 * 86_400.0
Deed = Callable[[Process, Grant], Awaitable[object]]


def not_ours(now: Instant) -> Transaction[bool]:
    """What the clone guard says of a copy."""
    yield from ()
    return False


async def copy_of(stage: Stage) -> Process:
    """A process over a copy, with no limit of the rate: nothing else stands between it and Cloudbeds."""
    made = await stage.process()
    await made.store.open(not_ours)
    assert made.store.read_only
    return made


async def begun(process: Process) -> tuple[str, str]:
    """An approval that was begun: its address and its state."""
    started = await process.authorizer.begin()
    return started.url, started.state


REFUSED: dict[str, Deed] = {
    "a refresh that an operator asks for": lambda copy, one: copy.access.refresh_now(one.connection_id),
    "a rejected token": lambda copy, one: copy.access.access_token(one.connection_id, rejected=one.generation),
    "the move to an API key": lambda copy, one: copy.migrator.migrate(one.connection_id),
    "an approval that begins": lambda copy, one: copy.authorizer.begin(),
    "an arrival from the Marketplace": lambda copy, one: copy.authorizer.arrive(code="code"),
    "an import": lambda copy, one: copy.importer.bring_in(old("2000")),
    "a key that is pasted": lambda copy, one: copy.pasted_keys.add(
        Secret("cbat_1"), app=None, reference=None, connection_id=None, expected_properties=()
    ),
    "a disconnect": lambda copy, one: copy.disconnecter.disconnect(one.connection_id, forget=False),
    "a disconnect that insists": lambda copy, one: copy.disconnecter.disconnect(one.connection_id, forget=True),
}

OF_NONE = {"an approval that begins", "an arrival from the Marketplace", "an import", "a key that is pasted"}


@pytest.mark.row("F74")
@pytest.mark.parametrize("what", REFUSED)
async def test_what_a_person_asks_of_a_copy(stage: Stage, what: str) -> None:
    """Refused as a copy's, before anything is sent; the token lives on and is lent."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    copy = await copy_of(stage)
    with pytest.raises(StoreReadOnly) as told:
        await REFUSED[what](copy, grant)
    assert told.value.connection_id in {grant.connection_id, None}
    assert (told.value.connection_id is None) == (what in OF_NONE), "it says of which hotel it is, where it is of one"
    await copy.idle()
    assert nothing_sent(stage)
    assert (await copy.access.access_token(grant.connection_id)).reveal() == "A-1"


@pytest.mark.row("F74")
async def test_a_code_that_comes_back_to_a_copy(stage: Stage) -> None:
    """Its approval was begun before the copy was made: the state is not spent and the code not exchanged."""
    _, state = await begun(stage.one)
    copy = await copy_of(stage)
    with pytest.raises(StoreReadOnly):
        await copy.authorizer.finish(code="code", state=state)
    assert nothing_sent(stage)


async def hinted(copy: Process, grant: Grant) -> None:
    """Cloudbeds posts to the copy that the hotel left, and would say so itself."""
    app_states = copy.app_states
    app_states.hint(payload())
    await asyncio.sleep(60)
    await app_states.stop()


async def calls_refused(copy: Process, grant: Grant) -> None:
    """A caller of the copy is told that the user is gone."""
    copy.refused_calls.note_refusal(grant.token(), Refusal("user_inactive", Act.SUSPECT), "GET", "/api/v1.3/getHotels")
    await copy.world.tasks.drain()


async def its_jobs(copy: Process, grant: Grant) -> None:
    """Upkeep, app states, listings, retention, webhooks, for some minutes."""
    receiver = Receiver()
    jobs = another(copy, deliverer=receiver, wanted=WANTED).jobs
    jobs.start(upkeep=True)
    await asyncio.sleep(300)
    await jobs.stop()
    assert receiver.came == []


TICKS: dict[str, Deed] = {
    "its jobs": its_jobs,
    "a hint": hinted,
    "a refused call": calls_refused,
    "a stale token": lambda copy, one: copy.access.access_token(one.connection_id),
}


@pytest.mark.row("F74")
@pytest.mark.parametrize("what", TICKS)
async def test_what_a_copy_does_by_itself(stage: Stage, what: str) -> None:
    """Everything is due, and a hotel has left: the copy does none of it and forgets nothing."""
    long = pair(1, property_ids=("1000",), lifetime=DAYS)
    grant = await stage.connected(long)
    stage.vendor.app_states = {"1000": AppState("disabled"), None: AppState("disabled")}
    await stage.clock.sleep(0.95 * DAYS)
    copy = await copy_of(stage)
    await TICKS[what](copy, grant)
    await settle()
    await copy.idle()
    assert nothing_sent(stage)
    assert stage.notes.times("background_failed") == 0
    assert stage.vendor.asked_states == []
    assert await stage.tokens(grant.id) == ["R-1"]
    assert (await stage.row(grant.id)).state is State.FRESH


def nothing_sent(stage: Stage) -> bool:
    """Whether no refresh token, code, app state or subscription left."""
    endpoint, vendor = stage.endpoint, stage.vendor
    return not any((endpoint.sent, endpoint.codes, endpoint.exchanged, vendor.disabled, vendor.subscribed))
