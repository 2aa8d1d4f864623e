"""Rules 11 and 12: a mark is not the end, and no hotel is out for good because the vendor was wrong for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from tests.support.fakes import HOUR, STALE, issued, key, pair
from tests.support.hotels import keep_up
from tests.support.stage import Stage

from cloudbeds_auth.engine.client_secrets import AGREE_WITHIN, OTHERS_FIRST
from cloudbeds_auth.engine.jobs import AT_ONCE, MARKED_AT_ONCE
from cloudbeds_auth.errors import (
    ClientRefused,
    Error,
    NotRefreshable,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreUnavailable,
)
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Grant
from cloudbeds_auth.rules.refresh import LONGEST_HOLD
from cloudbeds_auth.rules.schedule import DAY, DELAYED, RETRY_AT_LEAST_EVERY, RETRY_FIRST
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, NotSent, Refused, UnauthorizedClient
from cloudbeds_auth.transactions.outbox import claim_messages
from cloudbeds_auth.transactions.upkeep import next_due

INTERVAL = 60.0


async def ask(stage: Stage, grant: Grant) -> str:
    """The token that a caller is lent, or the code of why not."""
    try:
        return (await stage.one.access.access_token(grant.connection_id)).reveal()
    except Error as error:
        return error.code


# --- before a mark an unexpired token is asked about


@pytest.mark.row("F93")
async def test_a_token_endpoint_that_refuses_for_an_hour(stage: Stage) -> None:
    """The access token works all the while: it serves, nothing is marked, and the first right answer is committed."""
    grant = await stage.connected(pair(1, lifetime=4 * 3600.0, property_ids=("1000",)))
    await stage.clock.sleep(3.7 * 3600.0)
    stage.endpoint.will(*[Refused("by mistake")] * 3)
    for _ in range(3):
        assert await ask(stage, grant) == "A-1"
        await stage.one.idle()
        await stage.clock.sleep(130.0)
    assert await stage.shown(grant) == (State.BACKING_OFF, "not_renewable")
    assert stage.notes.times("reauthorization_required") == 0
    assert "reprieved" in await stage.kinds(grant.connection_id)
    stage.endpoint.script = [issued(2)]
    await stage.clock.sleep(LONGEST_HOLD)
    assert await ask(stage, grant) == "A-2"


@pytest.mark.row("F93")
async def test_each_reprieve_is_longer_than_the_one_before(stage: Stage) -> None:
    """The interval, doubling to an hour: an access token that lasts for days is not asked about each minute."""
    grant = await stage.connected(pair(1, lifetime=1e6, property_ids=("1000",)))
    stage.sql("UPDATE grants SET stale_at = 0")
    stage.endpoint.will(*[Refused("by mistake")] * 20)
    holds = []
    for _ in range(9):
        for _ in range(2):
            await stage.one.refresh(grant.id, 1)
            held = (await stage.row(grant.id)).held_back
            await stage.clock.sleep(held)
        holds.append(held)
    assert holds == [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0]
    stage.endpoint.script = [issued(2)]
    await stage.one.refresh(grant.id, 1)
    assert (await stage.row(grant.id)).reprieves == 0


@pytest.mark.row("F93")
@pytest.mark.parametrize("verdict", [Inconclusive("HTTP 503"), Inconclusive("HTTP 429", 5.0)])
async def test_no_mark_while_the_access_token_cannot_be_asked_about(stage: Stage, verdict: Verdict) -> None:
    """It is unexpired and nobody knows whether it works: it serves, and the next pass waits for its time."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.vendor.thinks("A-1", verdict)
    stage.endpoint.will(*[Refused("dead")] * 3)
    for _ in range(3):
        assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
        row = await stage.row(grant.id)
        assert (row.reauth, row.held_back) == (None, INTERVAL)
        await stage.clock.sleep(INTERVAL)


@pytest.mark.row("F93")
@pytest.mark.parametrize("verdict", [DeadToken(), DeadGrant("revoked")])
async def test_a_mark_where_the_access_token_is_dead_too(stage: Stage, verdict: Verdict) -> None:
    """Every refresh token refused, twice, and the access token with it: the hotel has to approve again."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    await stage.one.refresh(grant.id, 1)
    await stage.clock.sleep(INTERVAL)
    stage.vendor.thinks("A-1", verdict)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.refresh(grant.id, 1)
    assert await ask(stage, grant) == "reauthorization_required"


@pytest.mark.row("F93")
async def test_another_process_takes_the_lease_while_the_access_token_is_asked_about(stage: Stage) -> None:
    """The fence moved: nothing is written of what was heard, the row is read again, and its token is served."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(*[Refused("by mistake")] * 3)
    await stage.one.refresh(grant.id, 1)
    await stage.clock.sleep(INTERVAL)

    async def meanwhile() -> Verdict:
        stage.sql("UPDATE grants SET lease_epoch = lease_epoch + 1, lease_owner = NULL")
        return Proof()

    stage.vendor.script = [meanwhile]
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
    assert (await stage.row(grant.id)).reauth is None
    assert len(stage.endpoint.sent) == 3


@pytest.mark.row("F93")
async def test_what_was_heard_before_the_interval_is_no_evidence(stage: Stage) -> None:
    """The access token was answered 401 a minute ago, in a bad minute of the vendor's: it is asked about once more."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(Refused("by mistake"), Refused("by mistake"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    await stage.clock.sleep(INTERVAL)
    stage.vendor.thinks("A-1", Proof())
    assert (await stage.one.refresh(grant.id, 1, rejected=1)).proven
    assert (await stage.row(grant.id)).reauth is None


# --- a marked grant is tried again by itself


@pytest.mark.row("F93")
async def test_a_marked_hotel_whose_tokens_live(stage: Stage) -> None:
    """The vendor refused by mistake: five minutes after the mark it is tried again, and everybody hears of it."""
    grant = await stage.marked(await stage.connected())
    assert await ask(stage, grant) == "reauthorization_required"
    await keep_up(stage.one, RETRY_FIRST - INTERVAL - 1.0)
    assert len(stage.endpoint.sent) == 2, "not before its time"
    stage.endpoint.will(issued(2))
    await keep_up(stage.one, 2 * INTERVAL)
    assert await ask(stage, grant) == "A-2"
    assert await stage.shown(grant) == (State.FRESH, None)
    assert stage.notes.times("recovered") == 1
    assert (await stage.kinds(grant.connection_id))[-2:] == ["proved", "recovered"]
    kinds = [one.kind for one in await stage.one.store.write(claim_messages(9, 60.0))]
    assert kinds == ["connection.connected", "connection.reauthorization_required", "connection.recovered"]


@pytest.mark.row("F93")
async def test_how_often_a_marked_hotel_is_tried(stage: Stage) -> None:
    """After five minutes, then doubling to six hours, for thirty days; then with keep-alive. People see one mark."""
    grant = await stage.marked(await stage.connected())
    at = stage.clock.wall() - INTERVAL
    retries: list[float] = []

    async def refused() -> Answer:
        retries.append(stage.clock.wall() - at)
        return Refused("dead")

    stage.endpoint.will(*[refused] * 200)
    upkeep = stage.one.upkeep
    while stage.clock.wall() < at + 75 * DAY:
        due_in = await stage.one.store.read(next_due())
        await stage.clock.sleep(max(1.0, min(3600.0, due_in or 3600.0)))
        await upkeep.tick()
    gaps = [later - sooner for sooner, later in zip([0.0, *retries], retries, strict=False)]
    assert gaps[:7] == pytest.approx([300.0 * 2**n for n in range(7)], abs=5.0)
    within = [gap for gap, since in zip(gaps, retries, strict=True) if since < 30 * DAY]
    assert max(within) <= RETRY_AT_LEAST_EVERY + 5.0
    assert len(within) == pytest.approx(30 * 4, abs=8)
    assert 1 <= len(gaps) - len(within) <= 3
    assert await stage.shown(grant) == (State.REAUTHORIZATION_REQUIRED, "revoked")
    assert stage.notes.times("reauthorization_required") == 1
    assert stage.notes.times("upkeep_failed") == 0
    assert await stage.tokens(grant.id) == ["R-1"]


@pytest.mark.row("F93")
@pytest.mark.parametrize("answer", [Ambiguous("HTTP 502"), NotSent("no route")])
async def test_a_retry_without_an_answer(stage: Stage, answer: Answer) -> None:
    """It stays marked, as people saw it, and is tried again in its time."""
    grant = await stage.marked(await stage.connected())
    stage.endpoint.will(answer)
    await stage.clock.sleep(RETRY_FIRST)
    await stage.one.upkeep.tick()
    assert await stage.shown(grant) == (State.REAUTHORIZATION_REQUIRED, "revoked")
    assert await stage.one.store.read(next_due()) == pytest.approx(RETRY_FIRST)
    stage.endpoint.will(issued(2))
    await keep_up(stage.one, 4 * RETRY_FIRST)
    assert await ask(stage, grant) == "A-2"


async def test_a_pair_alone_ends_no_mark(stage: Stage) -> None:
    """It is committed, and the proof is lost: the mark stays, nobody is told; the next proof ends it, nothing more is
    sent.
    """
    grant = await stage.marked(await stage.connected())
    stage.endpoint.will(issued(2))
    stage.vendor.thinks("A-2", Inconclusive("HTTP 503"))
    await stage.clock.sleep(RETRY_FIRST)
    await stage.one.upkeep.tick()
    assert (await stage.row(grant.id)).generation == 2
    assert await ask(stage, grant) == "reauthorization_required"
    assert stage.notes.times("recovered") == 0
    stage.vendor.thinks("A-2", Proof())
    await keep_up(stage.one, 2 * INTERVAL)
    assert await ask(stage, grant) == "A-2"
    assert stage.notes.times("recovered") == 1


@pytest.mark.parametrize(
    ("verdict", "state"), [(Proof(), State.FRESH), (DeadToken(documented=False), State.REAUTHORIZATION_REQUIRED)]
)
async def test_an_operator_sees_what_the_proof_said(stage: Stage, verdict: Verdict, state: State) -> None:
    """Who refreshes a marked hotel is told when its new token was asked about: a mark is gone then, or it is not."""
    grant = await stage.marked(await stage.connected())
    stage.endpoint.will(issued(2))
    stage.vendor.thinks("A-2", stage.later(3.0, verdict))
    await stage.one.access.refresh_now(grant.connection_id)
    assert (await stage.shown(grant))[0] is state
    assert stage.notes.times("recovered") == (state is State.FRESH)


async def test_an_operator_sees_a_marked_key_that_works(stage: Stage) -> None:
    """It is asked about, and nothing runs behind that."""
    grant = await stage.connected(pair(1, lifetime=366 * DAY, refresh=None, kind=CredentialKind.API_KEY))
    stage.sql("UPDATE grants SET marked_at = 0, retry_at = 1, reauth = 'revoked' WHERE id = ?", grant.id)
    await stage.one.access.refresh_now(grant.connection_id)
    assert (await stage.row(grant.id)).reauth is None


@pytest.mark.row("F93")
async def test_a_mark_by_userinfo_is_ended_by_userinfo(stage: Stage) -> None:
    """The user was deactivated and is active again: a 2xx, no refresh."""
    grant = await stage.connected(pair(1, lifetime=1e6, property_ids=("1000",)))
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    for _ in range(2):
        with pytest.raises((RefreshInDoubt, ReauthorizationRequired)):
            await stage.one.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(INTERVAL)
    assert await stage.shown(grant) == (State.REAUTHORIZATION_REQUIRED, "user_inactive")
    await keep_up(stage.one, RETRY_FIRST)
    assert await stage.shown(grant) == (State.REAUTHORIZATION_REQUIRED, "user_inactive")
    stage.vendor.thinks("A-1", Proof())
    await keep_up(stage.one, 3 * RETRY_FIRST)
    assert await ask(stage, grant) == "A-1"
    assert stage.endpoint.sent == []


@pytest.mark.row("F93")
async def test_a_marked_key_is_asked_about_again(stage: Stage) -> None:
    """A key that was refused by mistake is back by itself, without a caller."""
    grant = await stage.connected(key(1, "1000").pair)
    stage.vendor.thinks("cbat_1", DeadToken())
    for _ in range(2):
        with pytest.raises((RefreshInDoubt, ReauthorizationRequired)):
            await stage.one.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(INTERVAL)
    assert await ask(stage, grant) == "reauthorization_required"
    await keep_up(stage.one, RETRY_FIRST)
    assert await ask(stage, grant) == "reauthorization_required"
    stage.vendor.thinks("cbat_1", Proof())
    await keep_up(stage.one, 3 * RETRY_FIRST)
    assert await ask(stage, grant) == "cbat_1"


@pytest.mark.row("F93")
async def test_one_hotels_success_makes_all_marks_of_its_app_due(stage: Stage) -> None:
    """One of many that wait for hours works again: so may the others, and they are tried now, a few at a time."""
    hotels = [await stage.connected(pair(f"h{at}", property_ids=(f"{at}",))) for at in range(9)]
    await stage.clock.sleep(HOUR)
    stage.sql(
        "UPDATE grants SET reauth = 'revoked', problem = 'revoked', state = 'reauthorization_required', due_at = NULL, "
        "marked_at = ?, retry_at = ?",
        stage.clock.wall() - 9 * 3600.0,
        stage.clock.wall() + 5 * 3600.0,
    )
    stage.sql("UPDATE grants SET retry_at = ? WHERE id = ?", stage.clock.wall(), hotels[3].id)
    under_way: list[int] = []

    def anew(at: int) -> Callable[[], Awaitable[Answer]]:
        async def answered() -> Answer:
            under_way.append(len(stage.endpoint.sent) - stage.notes.times("recovered"))
            await stage.clock.sleep(1.0)
            return issued(f"anew-{at}")

        return answered

    stage.endpoint.will(*map(anew, range(9)))
    await stage.one.upkeep.tick()
    assert stage.notes.times("recovered") == 9
    assert under_way == [1, *[1, 2] * 4]


async def test_hotels_that_serve_do_not_wait_behind_marked_ones(stage: Stage) -> None:
    """However many marks are due: two of them are under way, and beside them what there is room for of those in use."""
    for at in range(2 * AT_ONCE):
        grant = await stage.connected(pair(f"h{at}", property_ids=(f"{at}",)))
        if at % 2:
            stage.sql("UPDATE grants SET marked_at = 0, retry_at = 1, reauth = 'x' WHERE id = ?", grant.id)
        else:
            stage.sql("UPDATE grants SET due_at = 1000 WHERE id = ?", grant.id)
    begun = []

    async def seen(grant_id: str) -> None:
        begun.append((await stage.row(grant_id)).reauth)
        await stage.clock.sleep(0.1)

    upkeep = stage.one.upkeep
    upkeep._look_after = seen  # type: ignore[method-assign]
    ticking = asyncio.create_task(upkeep.tick())
    await stage.clock.sleep(0.05)
    assert sorted(map(bool, begun)) == [False] * AT_ONCE + [True] * MARKED_AT_ONCE
    await ticking
    assert len(begun) == 2 * AT_ONCE


async def test_marked_ones_that_were_claimed_before_the_database_went_away(stage: Stage) -> None:
    """Their places are free again: when their hold is over, they are tried."""
    for at in range(MARKED_AT_ONCE):
        grant = await stage.connected(pair(f"h{at}", property_ids=(f"{at}",)))
        stage.sql("UPDATE grants SET marked_at = 0, retry_at = 1, reauth = 'x', due_at = NULL WHERE id = ?", grant.id)
    stage.one.driver.refuse("claim_due")
    with pytest.raises(StoreUnavailable):
        await stage.one.upkeep.tick()
    await stage.clock.sleep(2 * stage.timing.lease)
    await stage.one.upkeep.tick()
    assert stage.notes.times("recovered") == MARKED_AT_ONCE


async def held_in_a_storm(stage: Stage, *, after: float = 0.0) -> Grant:
    """The third hotel of an app whose tokens are all refused, so many seconds later: its mark waits an hour."""
    *first, last = [await stage.connected(pair(f"h{at}", property_ids=(f"{at}",))) for at in range(3)]
    await stage.clock.sleep(after)
    for grant in first:
        await stage.marked(grant)
    stage.endpoint.will(*[Refused("dead")] * 40)
    for _ in range(2):
        assert await ask(stage, last) == "refresh_in_doubt"
        await stage.clock.sleep(INTERVAL)
    assert stage.notes.times("mark_delayed") == 1
    return last


@pytest.mark.row("F93")
async def test_a_storm_of_marks_is_braked(stage: Stage) -> None:
    """Two hotels of an app were marked within ten minutes: the third waits an hour and is tried meanwhile, and the
    operator is told.
    """
    last = await held_in_a_storm(stage)
    assert "mark_delayed" in await stage.kinds(last.connection_id)
    assert await stage.shown(last) == (State.BACKING_OFF, "revoked")
    kinds = [one.kind for one in await stage.one.store.write(claim_messages(9, 60.0))]
    assert kinds.count("connection.reauthorization_required") == 2
    while stage.clock.wall() < (await marks_after(stage, last)):
        assert (await stage.row(last.id)).reauth is None
        await stage.clock.sleep(RETRY_FIRST)
        await ask(stage, last)
    assert await stage.shown(last) == (State.REAUTHORIZATION_REQUIRED, "revoked")


async def marks_after(stage: Stage, grant: Grant) -> float:
    """Until when its mark waits (unix seconds)."""
    ((until,),) = stage.sql("SELECT mark_after FROM grants WHERE id = ?", grant.id)
    return float(until or 0.0)


@pytest.mark.row("F93")
async def test_a_storm_that_is_over(stage: Stage) -> None:
    """The mark that waits is never made: the vendor takes the token five minutes later."""
    hotels = [await stage.connected(pair(f"h{at}", property_ids=(f"{at}",))) for at in range(3)]
    for grant in hotels[:2]:
        await stage.marked(grant)
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    for _ in range(2):
        await ask(stage, hotels[2])
        await stage.clock.sleep(INTERVAL)
    stage.endpoint.script = [issued(7)]
    await stage.clock.sleep(RETRY_FIRST)
    assert await ask(stage, hotels[2]) == "A-7"
    assert await marks_after(stage, hotels[2]) == 0.0
    assert DELAYED > RETRY_FIRST


# --- rule 11: what is no refusal of the refresh token


@pytest.mark.row("F94")
async def test_the_same_unknown_refusal_for_a_day(stage: Stage) -> None:
    """No mark, and no silence either: a problem, an alert once, and a link for the hotel."""
    grant = await stage.connected()
    odd = Ambiguous("HTTP 403", unrecognized="HTTP 403, access_denied")
    stage.endpoint.will(*[odd] * 60)
    await stage.clock.sleep(HOUR)
    for _ in range(30):
        assert await ask(stage, grant) == "refresh_in_doubt"
        await stage.clock.sleep(3600.0)
    told = {"connection_id": grant.connection_id, "answer": "HTTP 403, access_denied"}
    assert stage.notes.facts("unrecognized_refusal") == [told]
    assert await stage.shown(grant) == (State.IN_DOUBT, "unrecognized_refusal")
    shown = await stage.one.views.connection(grant.connection_id)
    assert "support" in (shown.next_step or "")
    assert (await stage.kinds(grant.connection_id)).count("unrecognized_refusal") == 1
    stage.endpoint.script = [issued(2)]
    assert await ask(stage, grant) == "A-2"
    assert await stage.shown(grant) == (State.FRESH, None)


@pytest.mark.row("F94")
async def test_unknown_refusals_that_change(stage: Stage) -> None:
    """An outage of many faces: a day of it is no problem of this hotel's."""
    grant = await stage.expired()
    for at in range(30):
        kind = f"HTTP {403 + at // 12}, another error" if at != 20 else None
        stage.endpoint.will(Ambiguous("odd", unrecognized=kind))
        await ask(stage, grant)
        await stage.clock.sleep(3600.0)
    assert stage.notes.times("unrecognized_refusal") == 0


@pytest.mark.row("F104")
async def test_a_client_that_is_refused_for_one_hotel(stage: Stage) -> None:
    """That hotel alone is held back; the others are refreshed, and it comes back by itself."""
    odd, other = await stage.connected(), await stage.connected(pair("other", property_ids=("2",)))
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(UnauthorizedClient("HTTP 400"), issued("other2"))
    with pytest.raises(ClientRefused) as raised:
        await stage.one.refresh(odd.id, 1)
    assert raised.value.connection_id == odd.connection_id
    assert await stage.shown(odd) == (State.BACKING_OFF, "unauthorized_client")
    assert await ask(stage, other) == "A-other2"
    assert stage.notes.times("client_refused") == 0
    await stage.clock.sleep(INTERVAL)
    stage.endpoint.will(UnauthorizedClient("HTTP 400"))
    assert await ask(stage, odd) == "client_refused"
    assert stage.notes.times("client_refused") == 0, "another hotel was taken since"
    stage.endpoint.will(issued(2))
    await stage.clock.sleep(INTERVAL)
    assert await ask(stage, odd) == "A-2"


@pytest.mark.row("F104")
async def test_who_does_not_wait_hears_why(stage: Stage) -> None:
    """The hotel is held back, and what runs behind callers is told that its client is refused."""
    grant = await stage.expired()
    stage.endpoint.will(UnauthorizedClient("HTTP 400"))
    for _ in range(2):
        with pytest.raises(ClientRefused):
            await stage.one.refresh(grant.id, 1, patient=False)
    assert len(stage.endpoint.sent) == 1


@pytest.mark.row("F104")
async def test_a_client_that_may_not_use_a_code(stage: Stage) -> None:
    """The approval ends there; the client is not refused for every hotel."""
    begun = await stage.one.authorizer.begin()
    stage.endpoint.will(UnauthorizedClient("HTTP 400"))
    with pytest.raises(ClientRefused):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    assert stage.notes.times("client_refused") == 0


@pytest.mark.row("F104")
async def test_a_client_that_is_refused_for_two_hotels(stage: Stage) -> None:
    """The second answer agrees: it is the client, its circuit opens, and no hotel is at fault."""
    one, two = await stage.connected(), await stage.connected(pair("two", property_ids=("2",)))
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(UnauthorizedClient("HTTP 400"), UnauthorizedClient("HTTP 400"))
    for grant in (one, two):
        assert await ask(stage, grant) == "client_refused"
    assert stage.notes.times("client_refused") == 1
    for grant in (one, two):
        assert (await stage.shown(grant))[0] is State.CLIENT_REFUSED
        assert (await stage.row(grant.id)).reauth is None


@pytest.mark.row("F104")
async def test_tokens_of_another_registration(stage: Stage) -> None:
    """ "Token is not linked to client", of two hotels: they are held back, and the registration is not at fault."""
    one, two = await stage.connected(), await stage.connected(pair("two", property_ids=("2",)))
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(*[UnauthorizedClient("HTTP 400", agrees=False)] * 2)
    for grant in (one, two):
        assert await ask(stage, grant) == "client_refused"
    assert stage.notes.times("client_refused") == 0
    assert (await stage.shown(one))[0] is State.BACKING_OFF


@pytest.mark.row("F104")
async def test_two_odd_hotels_among_others(stage: Stage) -> None:
    """They agree once, and the circuit opens: the next trial is the others', however often the odd ones ask."""
    odd = [await stage.connected(pair(f"odd{at}", property_ids=(str(at),))) for at in range(2)]
    other = await stage.expired(pair("other", property_ids=("9",)))
    stage.endpoint.will(*[UnauthorizedClient("HTTP 400")] * 2)
    for _ in range(2 * int(INTERVAL)):
        assert {await ask(stage, grant) for grant in odd} == {"client_refused"}
        await stage.clock.sleep(1.0)
    assert len(stage.endpoint.sent) == 2
    stage.endpoint.will(issued("other2"))
    assert await ask(stage, other) == "A-other2"
    assert stage.notes.times("client_refused") == 1
    stage.endpoint.will(*[UnauthorizedClient("HTTP 400")] * 2)
    await stage.clock.sleep(INTERVAL)
    assert {await ask(stage, grant) for grant in odd} == {"client_refused"}
    assert stage.notes.times("client_refused") == 1, "what is held back alone says nothing new of the client"


@pytest.mark.row("F104")
async def test_a_client_that_is_refused_for_all_hotels_and_taken_again(stage: Stage) -> None:
    """Nobody else makes the trial: after ten minutes one of them does, and all serve."""
    grants = [await stage.connected(pair(f"{at}", property_ids=(str(at),))) for at in range(2)]
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(*[UnauthorizedClient("HTTP 400")] * 2)
    for grant in grants:
        assert await ask(stage, grant) == "client_refused"
    await stage.clock.sleep(INTERVAL + OTHERS_FIRST - 1.0)
    assert await ask(stage, grants[0]) == "client_refused"
    assert len(stage.endpoint.sent) == 2
    await stage.clock.sleep(1.0)
    stage.endpoint.will(issued("new0"), issued("new1"))
    assert [await ask(stage, grant) for grant in grants] == ["A-new0", "A-new1"]


@pytest.mark.row("F104")
async def test_answers_that_do_not_come_together(stage: Stage) -> None:
    """One hotel's client is refused, and weeks later another one's: each is held back alone."""
    one, two = await stage.connected(), await stage.connected(pair("two", property_ids=("2",)))
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(UnauthorizedClient("HTTP 400"))
    assert await ask(stage, one) == "client_refused"
    await stage.clock.sleep(AGREE_WITHIN + 1.0)
    stage.endpoint.will(UnauthorizedClient("HTTP 400"))
    assert await ask(stage, two) == "client_refused"
    assert stage.notes.times("client_refused") == 0


# --- 401s that nobody has documented


@pytest.mark.row("F100")
@pytest.mark.parametrize("shape", [DeadToken(documented=False), DeadToken()])
async def test_a_401_causes_a_refresh_whatever_its_shape(stage: Stage, shape: Verdict) -> None:
    """The access token counts as rejected; nothing is said of the refresh token, which is sent and taken."""
    grant = await stage.connected()
    stage.vendor.thinks("A-1", shape)
    stage.endpoint.will(issued(2))
    token = await stage.one.access.access_token(grant.connection_id, rejected=1)
    assert token.reveal() == "A-2"
    assert (await stage.row(grant.id)).reauth is None


@pytest.mark.row("F100")
async def test_a_marked_hotel_whose_new_tokens_are_answered_401(stage: Stage) -> None:
    """Its retries give pairs again that nobody can prove: at most eight in an hour, and then it serves."""
    grant = await stage.marked(await stage.connected())
    stage.vendor.thinks([f"A-{number}" for number in range(2, 60)], DeadToken(documented=False))
    stage.endpoint.sent.clear()
    stage.endpoint.will(*[issued(number, lifetime=8 * 3600.0) for number in range(2, 60)])
    await keep_up(stage.one, RETRY_FIRST + 3600.0)
    sent = len(stage.endpoint.sent)
    assert 4 <= sent <= 8
    stage.vendor.thinks([f"A-{number}" for number in range(2, 60)], Proof())
    await keep_up(stage.one, LONGEST_HOLD)
    assert (await stage.row(grant.id)).reauth is None
    assert stage.notes.times("recovered") == 1


@pytest.mark.row("F100", "A60", control=True)
@pytest.mark.parametrize("braked", [True, False])
async def test_an_hour_of_401s_everywhere(stage: Stage, braked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every endpoint and `/userinfo` answer 401 to every token: at most eight refreshes, and then it serves again.
    Without the brake a caller could have more of them in a few minutes.
    """
    if not braked:
        monkeypatch.setattr("cloudbeds_auth.engine.commit.brake", lambda denied, timing: 0.0)
    grant = await stage.connected(pair(1, lifetime=8 * 3600.0, property_ids=("1000",)))
    answered = 401
    began, sent = stage.clock.wall(), 1

    async def opinion() -> Verdict:
        return DeadToken(documented=False) if answered == 401 else Proof()

    async def next_pair() -> Answer:
        nonlocal sent
        sent += 1
        stage.vendor.thinks(f"A-{sent}", opinion)
        return issued(sent, lifetime=8 * 3600.0)

    stage.vendor.thinks("A-1", opinion)
    stage.endpoint.will(*[next_pair] * 100)
    while stage.clock.wall() < began + (3600.0 if braked else 200.0):
        with suppress(RefreshInDoubt):  # a caller that is answered 401 at once
            token = await stage.one.access.access_token(grant.connection_id)
            await stage.one.access.access_token(grant.connection_id, rejected=token)
        await stage.clock.sleep(7.0)
    if not braked:
        assert len(stage.endpoint.sent) > 20
        return
    assert 4 <= len(stage.endpoint.sent) <= 8
    answered = 200
    token = await stage.one.access.access_token(grant.connection_id)
    assert token.generation == 1 + len(stage.endpoint.sent), "lent as ever"
    row = await stage.row(grant.id)
    await stage.clock.sleep(row.braked)
    served = await stage.one.refresh(grant.id, row.generation, rejected=row.generation)
    assert served.proven
    assert (await stage.row(grant.id)).denied == 0


@pytest.mark.row("F100")
@pytest.mark.parametrize("named", [None, 2], ids=["no token named", "the ended one named"])
async def test_a_due_refresh_does_not_wait_for_the_brake(stage: Stage, named: int | None) -> None:
    """New tokens are answered 401, and the access token runs out: no 401 caused that refresh."""
    grant = await stage.connected()
    stage.vendor.thinks(["A-1", "A-2"], DeadToken(documented=False))
    stage.endpoint.will(issued(2, lifetime=61.0), issued(3))
    await stage.one.refresh(grant.id, 1, rejected=1)
    await stage.one.idle()
    stage.sql("UPDATE grants SET denied = 9, brake_until = brake_until + 900")
    await stage.clock.sleep(50.0)
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 2, rejected=2)
    await stage.clock.sleep(12.0)
    assert (await stage.one.access.access_token(grant.connection_id, rejected=named)).reveal() == "A-3"


@pytest.mark.row("F100")
async def test_a_key_that_is_answered_401_without_a_reason(stage: Stage) -> None:
    """Nothing says that it was revoked: nothing is counted, it is asked about more and more seldom, and it is back."""
    grant = await stage.connected(key(1, "1000").pair)
    stage.vendor.thinks("cbat_1", DeadToken(documented=False))
    before = len(stage.vendor.asked)
    for _ in range(120):
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(30.0)
    assert len(stage.vendor.asked) - before <= 8
    row = await stage.row(grant.id)
    assert (row.refusals, row.reauth) == (0, None)
    stage.vendor.thinks("cbat_1", Proof())
    await stage.clock.sleep(row.braked)
    assert (await stage.one.refresh(grant.id, 1, rejected=1)).proven


# --- an API key in the place of a pair


@pytest.mark.row("F103")
async def test_a_refresh_that_is_answered_with_an_api_key(stage: Stage) -> None:
    """It is stored as a key, lent as one, and nothing of it is ever refreshed; its refresh token stays sealed."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    stage.endpoint.will(key("new"))
    served = await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert served.grant.access.reveal() == "cbat_new"
    row = await stage.row(grant.id)
    assert (row.kind, row.latched, row.generation) == (CredentialKind.API_KEY, True, 2)
    shown = await stage.one.views.connection(grant.connection_id)
    assert (shown.state, shown.credential, shown.expires_at) == (State.FRESH, "api_key", None)
    assert await ask(stage, grant) == "cbat_new"
    await stage.clock.sleep(25 * DAY)
    await stage.one.upkeep.tick()
    assert await ask(stage, grant) == "cbat_new"
    with pytest.raises(NotRefreshable):
        await stage.one.access.refresh_now(grant.connection_id)
    assert stage.endpoint.sent == ["R-1"]
    assert await stage.tokens(grant.id) == ["R-1"]
    stage.vendor.thinks("cbat_new", DeadToken())
    for error in (RefreshInDoubt, ReauthorizationRequired):
        with pytest.raises(error):
            await stage.one.refresh(grant.id, 2, rejected=2)
        await stage.clock.sleep(INTERVAL)
    assert await ask(stage, grant) == "reauthorization_required"
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id, rejected=2)
    assert stage.sql("SELECT retries FROM grants WHERE id = ?", grant.id) == [(0,)], "a caller's 401 is no retry"
    assert stage.endpoint.sent == ["R-1"], "not after a 401 either"
