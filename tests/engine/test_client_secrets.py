"""Client secrets: a refused one marks no hotel, and a new one or a second one is tried (rule 11)."""

from __future__ import annotations

import pytest
from tests.support.fakes import APP, HOUR, issued, pair
from tests.support.stage import Stage, with_secrets

from cloudbeds_auth.engine.client_secrets import fingerprint
from cloudbeds_auth.errors import (
    ClientRefused,
    RefreshInDoubt,
)
from cloudbeds_auth.rules.api_errors import DeadToken
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import (
    RefusedClient,
)
from cloudbeds_auth.transactions.apps import open_circuit
from cloudbeds_auth.transactions.refusals import note_denied


async def test_a_refused_client_marks_no_hotel(stage: Stage) -> None:
    """Cloudbeds refuses our secret: one request, then nobody asks; hotels keep their state; it recovers by itself."""
    first, second = await stage.connected(), await stage.connected(pair("other"))
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(RefusedClient("HTTP 401"))
    for grant in (first, second, first):
        with pytest.raises(ClientRefused):
            await stage.one.access.access_token(grant.connection_id)
    assert stage.endpoint.sent == ["R-1"]
    for grant in (first, second):
        row = await stage.row(grant.id)
        assert (row.refusals, row.reauth, row.held_back, row.intent) == (0, None, 0.0, None)
        assert (await stage.one.views.connection(grant.connection_id)).state is State.CLIENT_REFUSED
    await stage.clock.sleep(stage.timing.backoff_cap)
    stage.endpoint.will(issued(2))
    assert (await stage.one.access.access_token(first.connection_id)).reveal() == "A-2"
    await stage.one.idle()
    assert (await stage.one.views.connection(second.connection_id)).state is not State.CLIENT_REFUSED


async def test_a_new_secret_recovers_without_waiting(stage: Stage) -> None:
    """A process that was given another secret carries on at once: the circuit belongs to the secret, not the app."""
    grant = await stage.expired()
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(2))
    with pytest.raises(ClientRefused):
        await stage.one.refresh(grant.id, 1)
    mended = await stage.process(apps={"default": with_secrets(Secret("new"))})
    assert (await mended.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert stage.endpoint.secrets == ["secret-1", "new"]


@pytest.mark.row("F36")
async def test_a_rolling_secret_change(stage: Stage) -> None:
    """One machine still has the old secret: it stops refreshing, the one with the new secret goes on."""
    grant = await stage.expired()
    old, new = stage.one, await stage.process(apps={"default": with_secrets(Secret("new"))})
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(2), issued(3))
    with pytest.raises(ClientRefused):
        await old.refresh(grant.id, 1)
    await new.refresh(grant.id, 1)
    await new.idle()
    await stage.clock.sleep(HOUR)
    await old.client_secrets.trying(
        await old.client_secrets.choose(APP)
    )  # due for a trial, which now is this machine's
    with pytest.raises(ClientRefused):
        await stage.one.refresh(grant.id, 2)
    await new.refresh(grant.id, 2)
    assert stage.endpoint.secrets == ["secret-1", "new", "new"]


async def test_two_secrets_during_a_reset(stage: Stage) -> None:
    """The new secret is refused and the previous one still taken: the same call is served with the second."""
    grant = await stage.expired()
    both = await stage.process(apps={"default": with_secrets(Secret("new"), Secret("secret-1"))})
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(2))
    assert (await both.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert stage.endpoint.secrets == ["new", "secret-1"]
    assert stage.endpoint.sent == ["R-1", "R-1"]


def new_and_old() -> dict[str, App]:
    """Both secrets of a reset are registered, the new one first."""
    return {"default": with_secrets(Secret("new"), Secret("secret-1"))}


async def test_a_new_secret_that_was_registered_too_early(stage: Stage) -> None:
    """Refused while Cloudbeds still took the old one: when that one ends, the same call is served with the new one."""
    grant = await stage.expired()
    both = await stage.process(apps=new_and_old())
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(2))
    await both.refresh(grant.id, 1)
    await both.idle()
    await stage.clock.sleep(5.0)
    stage.vendor.thinks("A-2", DeadToken())
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(3))
    assert (await both.refresh(grant.id, 2, rejected=2)).grant.access.reveal() == "A-3"
    assert stage.endpoint.secrets == ["new", "secret-1", "secret-1", "new"]
    assert not (await both.client_secrets.choose(APP)).on_trial


async def test_two_refused_secrets_do_not_call_each_other_up(stage: Stage) -> None:
    """Neither is taken any more: one trial of the other, then nobody asks until the next is due."""
    grant = await stage.expired()
    both = await stage.process(apps=new_and_old())
    await both.store.write(open_circuit("default", fingerprint(APP, Secret("new")), trial_after=30.0))
    stage.endpoint.will(*[RefusedClient("HTTP 401")] * 2)
    for _ in range(3):
        with pytest.raises(ClientRefused):
            await both.refresh(grant.id, 1)
    assert stage.endpoint.secrets == ["secret-1", "new"]


async def test_a_code_meets_both_secrets_of_a_reset(stage: Stage) -> None:
    """It is exchanged with the new one, which was refused a while ago; nobody has to approve again."""
    both = await stage.process(apps=new_and_old())
    await both.store.write(open_circuit("default", fingerprint(APP, Secret("new")), trial_after=30.0))
    begun = await both.authorizer.begin()
    stage.endpoint.will(RefusedClient("HTTP 401"), issued(1, property_ids=("1000",)))
    finished = await both.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.property_ids == ("1000",)
    assert stage.endpoint.secrets == ["secret-1", "new"]


async def test_one_trial_at_a_time(stage: Stage) -> None:
    """A refused secret is due for a trial: whoever makes it keeps all others away meanwhile, those who chose too."""
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=5.0))
    with pytest.raises(ClientRefused) as raised:
        await stage.one.client_secrets.choose(APP)
    assert raised.value.retry_after == pytest.approx(5.0)
    await stage.clock.sleep(6.0)
    chosen = await stage.one.client_secrets.choose(APP)
    late = await stage.one.client_secrets.choose(APP)
    assert chosen.on_trial
    await stage.one.client_secrets.trying(chosen)
    with pytest.raises(ClientRefused):
        await stage.one.client_secrets.choose(APP)
    with pytest.raises(ClientRefused) as raised:
        await stage.one.client_secrets.trying(late)
    assert raised.value.retry_after == pytest.approx(60.0)
    await stage.one.client_secrets.accepted(chosen)
    assert not (await stage.one.client_secrets.choose(APP)).on_trial
    assert not await stage.one.client_secrets.is_open(APP)
    await stage.one.client_secrets.trying(late)
    assert not await stage.one.client_secrets.is_open(APP), "it was accepted meanwhile: there is no trial to make"


async def test_a_trial_is_not_taken_by_who_sends_nothing(stage: Stage) -> None:
    """A hotel that is held back asks each second; the one that has something to send makes the trial."""
    held, other = await stage.connected(), await stage.connected(pair("other", lifetime=1.0, property_ids=("2",)))
    await stage.one.store.write(note_denied(held.id, 1, 3000.0))
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=0.0))
    await stage.clock.sleep(2.0)
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(held.id, 1, rejected=1)
    stage.endpoint.will(issued("other2"))
    assert (await stage.one.refresh(other.id, 1)).grant.access.reveal() == "A-other2"
    assert not await stage.one.client_secrets.is_open(APP)


async def test_an_accepted_secret_without_a_circuit_writes_nothing(stage: Stage) -> None:
    """The usual case costs no transaction."""
    chosen = await stage.one.client_secrets.choose(APP)
    stage.one.driver.dark = True  # a transaction would raise
    await stage.one.client_secrets.accepted(chosen)
    assert not chosen.on_trial
