"""What callers, history and observers are told when a refresh brings no pair: which hotel, why, and when again."""

from __future__ import annotations

from contextlib import suppress

import pytest
from tests.support.fakes import APP, STALE, issued, key
from tests.support.stage import Stage
from tests.support.virtual import settle

from cloudbeds_auth.engine.client_secrets import fingerprint
from cloudbeds_auth.errors import (
    ClientRefused,
    ConnectionDisconnected,
    Error,
    NotRefreshable,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreUnavailable,
    TokenEndpointUnavailable,
    UnknownConnection,
)
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, NotSent, Refused, RefusedClient, UnauthorizedClient
from cloudbeds_auth.transactions.apps import open_circuit, open_circuits
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.history import read_history

DEADLINE, INTERVAL = 20.0, 60.0  # seconds, of `Timing()`
ONCE = "Cloudbeds refused every stored token; it is asked again before the hotel is asked to reconnect"


async def last(stage: Stage, grant: Grant, kind: str) -> object:
    """The `detail` of the newest line of this kind in the history."""
    events = await stage.one.store.read(read_history(grant.connection_id))
    return next(event.data.get("detail") for event in events if event.kind == kind)


@pytest.mark.parametrize(
    ("answer", "kind", "said", "again", "line"),
    [
        (NotSent("no route"), TokenEndpointUnavailable, "Cloudbeds could not be reached (no route)", DEADLINE,
         ("nothing_sent", "no route")),
        (Ambiguous("HTTP 502"), RefreshInDoubt, "Cloudbeds' token endpoint gave no usable answer (HTTP 502)", DEADLINE,
         ("answer_lost", "HTTP 502")),
        (Ambiguous("HTTP 429", retry_after=50.0), RefreshInDoubt,
         "Cloudbeds' token endpoint gave no usable answer (HTTP 429)", 50.0, ("answer_lost", "HTTP 429")),
        (Refused("it is dead"), RefreshInDoubt, ONCE, INTERVAL, ("token_refused", "it is dead")),
        (UnauthorizedClient("HTTP 400"), ClientRefused,
         "Cloudbeds does not let this client id use the hotel's tokens (HTTP 400)", DEADLINE,
         ("client_refused", "HTTP 400")),
    ],
)  # fmt: skip
async def test_an_answer_without_a_pair(
    stage: Stage, answer: Answer, kind: type[Error], said: str, again: float, line: tuple[str, str]
) -> None:
    """The caller: what happened, to which hotel, when again. The history: the reason. The observer: kind and time."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(1.5, answer))
    with pytest.raises(kind) as raised:
        await stage.one.refresh(grant.id, 1)
    error = raised.value
    assert (error.detail, error.connection_id) == (said, grant.connection_id)
    assert error.retry_after == pytest.approx(again)
    assert (await stage.row(grant.id)).held_back == pytest.approx(again)
    assert await last(stage, grant, line[0]) == line[1]
    (told,) = [facts for what, facts in stage.notes.told if what == "token_answer"]
    assert told == {
        "connection_id": grant.connection_id, "grant_type": "refresh_token", "answer": type(answer).__name__,
        "seconds": pytest.approx(1.5),
    }  # fmt: skip
    assert set(stage.endpoint.apps) == {"default"}, "the app that the hotel approved"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(NotSent("x"), TokenEndpointUnavailable), (Ambiguous("x"), RefreshInDoubt), (Refused("x"), RefreshInDoubt)],
)
async def test_whoever_comes_too_soon_after_it(stage: Stage, answer: Answer, kind: type[Error]) -> None:
    """The same kind of obstacle, the same hotel, and the seconds that are left; nothing is sent."""
    grant = await stage.expired()
    stage.endpoint.will(answer)
    with pytest.raises(kind):
        await stage.one.refresh(grant.id, 1)
    await stage.clock.sleep(5.0)
    with pytest.raises(kind) as raised:
        await stage.one.refresh(grant.id, 1, patient=False)
    assert raised.value.connection_id == grant.connection_id
    assert raised.value.retry_after == pytest.approx((await stage.row(grant.id)).held_back)
    assert len(stage.endpoint.sent) == 1


async def test_a_refused_client(stage: Stage) -> None:
    """The caller hears of our credentials, the history says which hotel's turn it was, the observer which app."""
    grant = await stage.expired()
    stage.endpoint.will(RefusedClient("the secret is wrong"))
    with pytest.raises(ClientRefused) as raised:
        await stage.one.refresh(grant.id, 1)
    assert raised.value.retry_after == pytest.approx(stage.timing.backoff_cap)
    assert await last(stage, grant, "client_refused") == "the secret is wrong"
    assert ("client_refused", {"app": "default"}) in stage.notes.told


async def test_a_refused_token_says_that_the_client_was_taken(stage: Stage) -> None:
    """A secret on trial is presented with a dead token: the token is refused, so the secret is good again."""
    grant = await stage.expired()
    await stage.one.store.write(open_circuit("default", fingerprint(APP, APP.secrets[0]), trial_after=0.0))
    stage.endpoint.will(Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    assert await stage.one.store.read(open_circuits("default")) == {}


@pytest.mark.parametrize("verdict", [Proof(), DeadToken(), Inconclusive("HTTP 503"), DeadGrant("revoked")])
async def test_an_observer_hears_every_verdict(stage: Stage, verdict: Verdict) -> None:
    """Of the proof before spending and of the one after a commit, by the verdict's name."""
    grant = await stage.connected()
    stage.vendor.thinks(["A-1", "A-2"], verdict)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    await stage.clock.sleep(stage.timing.refusal_interval)  # after a 401 another one causes nothing for so long
    stage.endpoint.will(issued(3))
    with suppress(RefreshInDoubt):
        await stage.one.refresh(grant.id, 2, rejected=2)
    await stage.one.idle()
    told = [facts for what, facts in stage.notes.told if what == "proof"]
    assert [one["verdict"] for one in told[:2]] == [type(verdict).__name__] * 2
    assert {one["connection_id"] for one in told} == {grant.connection_id}


async def test_a_question_that_was_not_answered(stage: Stage) -> None:
    """Rule 3: the token was rejected, and `/userinfo` says nothing; the caller hears why and when to ask again."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", Inconclusive("HTTP 503"))
    with pytest.raises(RefreshInDoubt) as raised:
        await stage.one.refresh(grant.id, 1, rejected=1)
    error = raised.value
    assert error.detail == "Cloudbeds could not be asked whether the token works (HTTP 503)"
    assert (error.connection_id, error.retry_after) == (grant.connection_id, stage.timing.backoff_first)


@pytest.mark.parametrize("wait", [0.0, 5.0])
async def test_every_question_is_answered_401(stage: Stage, wait: float) -> None:
    """A key, and no answer says that it ended: the caller hears which hotel and when it is asked about again, the one
    who asked and the one who comes too soon after.
    """
    grant = await stage.connected(key(1, "1000").pair)
    stage.vendor.thinks("cbat_1", DeadToken(documented=False))
    if wait:
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(wait)
    with pytest.raises(RefreshInDoubt) as raised:
        await stage.one.refresh(grant.id, 1, rejected=1)
    error = raised.value
    assert error.detail == "Cloudbeds answers 401 to every question: another 401 causes no request yet"
    assert error.connection_id == grant.connection_id
    assert error.retry_after == pytest.approx(INTERVAL - wait)


async def test_the_last_word(stage: Stage) -> None:
    """Refused twice: the caller, and whoever comes later, hears which hotel; the observer hears the reason, once."""
    grant = await stage.expired()
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    await stage.clock.sleep(INTERVAL)
    for _ in range(2):
        with pytest.raises(ReauthorizationRequired) as raised:
            await stage.one.refresh(grant.id, 1)
        assert raised.value.connection_id == grant.connection_id
    with pytest.raises(ReauthorizationRequired, match=r"every stored token \(revoked\)") as lent:
        await stage.one.access.access_token(grant.connection_id)
    assert lent.value.connection_id == grant.connection_id
    told = [facts for what, facts in stage.notes.told if what == "reauthorization_required"]
    assert told == [{"connection_id": grant.connection_id, "reason": "revoked"}]


async def test_a_hotel_that_is_never_refreshed(stage: Stage) -> None:
    """Moved to an API key: whoever asks for a refresh hears which hotel, and nothing is sent."""
    grant = await stage.expired()
    stage.sql("UPDATE grants SET latched = 1")
    with pytest.raises(NotRefreshable) as raised:
        await stage.one.refresh(grant.id, 1)
    assert (raised.value.connection_id, stage.endpoint.sent) == (grant.connection_id, [])


async def test_nobody_there(stage: Stage) -> None:
    """Unknown or disconnected: the error names what was asked for."""
    grant = await stage.connected()
    for ask in (stage.one.access.access_token, stage.one.access.refresh_now):
        with pytest.raises(UnknownConnection) as raised:
            await ask("con_nobody")
        assert raised.value.connection_id == "con_nobody"
    await stage.one.store.write(disconnect(grant.connection_id))
    for _ in range(2):
        with pytest.raises(ConnectionDisconnected) as left:
            await stage.one.access.access_token(grant.connection_id)
        assert left.value.connection_id == grant.connection_id
        await stage.delete(grant)  # and as if its only approval had been dropped


async def test_no_store_and_nothing_remembered(stage: Stage) -> None:
    """503 with the hotel and the time to come back; a token that has just run out is not lent, nor the rejected one."""
    grant = await stage.connected()
    token = await stage.one.access.access_token(grant.connection_id)
    stage.one.driver.dark = True
    for rejected in (token, token.generation):
        with pytest.raises(StoreUnavailable) as raised:
            await stage.one.access.access_token(grant.connection_id, rejected=rejected)
        assert (raised.value.connection_id, raised.value.retry_after) == (grant.connection_id, 1.0)
    assert (await stage.one.access.access_token(grant.connection_id, rejected=7)).is_same(token)
    await stage.clock.sleep(3600.0)
    with pytest.raises(StoreUnavailable):
        await stage.one.access.access_token(grant.connection_id)


# --- behind the callers


async def test_behind_the_callers_nobody_waits_for_an_obstacle(stage: Stage) -> None:
    """A stale token is served while the last attempt holds the next one back: the one behind gives up at once."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.sql("UPDATE grants SET not_before = ?", stage.clock.steady() + 10.0)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    await settle()
    assert stage.one.refresher.flights.running(grant.id) is None
    assert stage.endpoint.sent == []


async def test_behind_the_callers_a_superseded_grant_is_no_error(stage: Stage) -> None:
    """The hotel approved again while its old grant was being refreshed behind: nobody is told of a failure."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)

    async def replaced() -> Answer:
        stage.sql("UPDATE grants SET role = 'superseded', state = 'superseded'")
        return Refused("superseded")

    stage.endpoint.will(replaced)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    await stage.one.idle()
    failed = {"connection_id": grant.connection_id, "error": "GrantSuperseded"}
    assert ("refresh_failed", failed) in stage.notes.told


async def test_behind_the_callers_the_next_token_is_remembered(stage: Stage) -> None:
    """What a refresh behind brought is lent from memory: no look at the store."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    known = stage.one.access.cached(grant.connection_id, 60.0)
    assert known is not None
    assert known.reveal() == "A-2"
