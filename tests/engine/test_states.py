"""The states that people see: each has a line of history, a number for a machine, and one thing to do next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from tests.support.fakes import HOUR, STALE, issued, pair
from tests.support.stage import Stage

from cloudbeds_auth.errors import (
    ClientRefused,
    Error,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreUnavailable,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.observe.metrics import Metrics
from cloudbeds_auth.rules.api_errors import DeadGrant, Proof
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.presentation import STATES as PEOPLE
from cloudbeds_auth.rules.presentation import UNSETTLED
from cloudbeds_auth.rules.token_response import Ambiguous, NotSent, Refused, RefusedClient
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm

INTERVAL = 60.0
AGAIN = "try again in a moment"
HEALS = "it recovers by itself: try again in a moment"
LINK = "send the hotel its connect link; the stored tokens are also retried"
OPERATOR = "the operator checks CLOUDBEDS_CLIENT_ID and CLOUDBEDS_CLIENT_SECRET; no hotel is at fault"


async def ask(stage: Stage, grant: Grant) -> Error | None:
    """A caller's question; the error it gets."""
    try:
        await stage.one.access.access_token(grant.connection_id)
    except Error as error:
        return error
    finally:
        await stage.one.idle()
    return None


async def fresh(stage: Stage, grant: Grant) -> Error | None:
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(issued(2))
    return await ask(stage, grant)


async def stale(stage: Stage, grant: Grant) -> Error | None:
    error = await fresh(stage, grant)
    await stage.clock.sleep(STALE)
    return error


async def in_doubt(stage: Stage, grant: Grant) -> Error | None:
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(Ambiguous("HTTP 502"))
    return await ask(stage, grant)


async def backing_off(stage: Stage, grant: Grant) -> Error | None:
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(NotSent("no route"))
    return await ask(stage, grant)


async def refused_twice(stage: Stage, grant: Grant) -> Error | None:
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    await ask(stage, grant)
    await stage.clock.sleep(INTERVAL)
    return await ask(stage, grant)


async def user_inactive(stage: Stage, grant: Grant) -> Error | None:
    """`/userinfo` names the reason, twice."""
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(grant.connection_id, rejected=1)
    await stage.clock.sleep(INTERVAL)
    with pytest.raises(ReauthorizationRequired) as raised:
        await stage.one.access.access_token(grant.connection_id, rejected=1)
    return raised.value


async def client_refused(stage: Stage, grant: Grant) -> Error | None:
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(RefusedClient("the secret is wrong"))
    return await ask(stage, grant)


Bring = Callable[[Stage, Grant], Awaitable[Error | None]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What people and machines are told in a state. `error`: what a caller gets; None: it is served."""

    state: State
    bring: Bring
    event: str
    metric: str
    problem: str | None = None
    next_step: str | None = None
    error: type[Error] | None = None
    caller: str | None = None


STATES = [
    Seen(State.FRESH, fresh, "proved", 'refreshes_total{outcome="refreshed"} 1.0'),
    Seen(State.STALE, stale, "proved", 'connections{state="stale"} 1.0'),
    Seen(State.IN_DOUBT, in_doubt, "answer_lost", 'token_requests_total{outcome="ambiguous"} 1.0', "answer_lost",
         UNSETTLED, RefreshInDoubt, HEALS),
    Seen(State.BACKING_OFF, backing_off, "nothing_sent", 'token_requests_total{outcome="not_sent"} 1.0', "nothing_sent",
         "nothing to do: it is tried again by itself", TokenEndpointUnavailable, AGAIN),
    Seen(State.REAUTHORIZATION_REQUIRED, refused_twice, "reauthorization_required",
         'refreshes_total{outcome="reauthorization_required"} 1.0', "revoked",
         LINK, ReauthorizationRequired, LINK),
    Seen(State.REAUTHORIZATION_REQUIRED, user_inactive, "reauthorization_required",
         'refreshes_total{outcome="reauthorization_required"} 1.0', "user_inactive",
         LINK, ReauthorizationRequired, LINK),
    Seen(State.CLIENT_REFUSED, client_refused, "client_refused", 'refreshes_total{outcome="client_refused"} 1.0',
         "client_refused", OPERATOR, ClientRefused, OPERATOR),
]  # fmt: skip


async def metrics(stage: Stage) -> str:
    """What Prometheus would be told: everything that happened, and the connections by state."""
    counted = Metrics()
    for what, facts in stage.notes.told:
        counted.happened(what, **facts)
    return counted.render(await stage.one.views.count_states())[0].decode()


@pytest.mark.parametrize("seen", STATES, ids=lambda seen: f"{seen.state}-{seen.bring.__name__}")
async def test_a_state_that_people_see(stage: Stage, seen: Seen) -> None:
    """It shows in the connection, the history and a number; the next step is one, the caller's and the operator's."""
    grant = await stage.connected()
    error = await seen.bring(stage, grant)
    found = await stage.one.views.connection(grant.connection_id)
    assert (found.state, found.problem, found.next_step) == (seen.state, seen.problem, seen.next_step)
    assert (await stage.kinds(grant.connection_id))[-1] == seen.event
    assert f"cloudbeds_auth_{seen.metric}" in (await metrics(stage)).splitlines()
    if seen.error is None:
        assert error is None
        return
    assert type(error) is seen.error
    what, lost, next_step = error.diagnosis()
    assert (next_step, bool(what), bool(lost)) == (seen.caller, True, True)


async def test_the_vendors_reason_is_told_everywhere(stage: Stage) -> None:
    """Why the hotel has to approve again: in the connection, in its history, to the observer; a proof clears it."""
    grant = await stage.connected()
    await user_inactive(stage, grant)
    (event,) = [
        one
        for one in await stage.one.store.read(read_history(grant.connection_id))
        if one.kind == "reauthorization_required"
    ]
    assert event.data["reason"] == "user_inactive"
    told = [facts["reason"] for what, facts in stage.notes.told if what == "reauthorization_required"]
    assert told == ["user_inactive"]
    stage.vendor.thinks("A-1", Proof())
    await stage.one.store.write(confirm(grant.id, 1))
    found = await stage.one.views.connection(grant.connection_id)
    assert (found.state, found.problem, found.next_step) == (State.FRESH, None, None)


async def test_a_refused_client_says_so_for_every_hotel(stage: Stage) -> None:
    """The refusal met one hotel's refresh; every other hotel of the app shows the same problem and next step."""
    unlucky, other = await stage.connected(), await stage.connected(pair("b", property_ids=("1001",)))
    await client_refused(stage, unlucky)
    for grant in (unlucky, other):
        found = await stage.one.views.connection(grant.connection_id)
        assert (found.state, found.problem, found.next_step) == (State.CLIENT_REFUSED, "client_refused", OPERATOR)


async def test_the_store_is_unavailable(stage: Stage) -> None:
    """No state of any hotel, and no history while it lasts: a code, a number, and one thing to do."""
    grant = await stage.connected()
    stage.one.driver.dark = True
    error = await ask(stage, grant)
    assert isinstance(error, StoreUnavailable)
    assert (error.code, error.connection_id) == ("store_unavailable", grant.connection_id)
    assert error.diagnosis().next_step == "repair the database (space, permissions, locks); calls then succeed again"
    stage.one.driver.dark = False
    assert 'cloudbeds_auth_happenings_total{what="store_unavailable"} 1.0' in (await metrics(stage)).splitlines()
    assert (await stage.one.views.connection(grant.connection_id)).state is State.FRESH


def test_no_two_problems_share_a_next_step() -> None:
    """Whoever reads one knows what it is about; a healthy hotel asks for nothing; each has words for people."""
    steps = {(seen.state, seen.next_step) for seen in STATES}
    assert len(steps) == len({state for state, _ in steps})
    asked = [step for _, step in steps if step is not None]
    assert len(asked) == len(set(asked))
    assert {state for state, step in steps if step is None} == {State.FRESH, State.STALE}
    assert {PEOPLE[seen.state].words for seen in STATES} == {
        "healthy", "healthy, recovering", "reconnect needed", "our credentials are refused",
    }  # fmt: skip
