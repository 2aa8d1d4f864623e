"""Rules 11, 12 and 15: what a refusal means, who is asked to reconnect, what is never refreshed."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.fakes import HOUR, STALE, issued, pair
from tests.support.stage import Stage

from cloudbeds_auth.errors import (
    NotRefreshable,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreReadOnly,
    StoreUnavailable,
    TryAgain,
)
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, judge_userinfo
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role
from cloudbeds_auth.rules.token_response import (
    Ambiguous,
    Answer,
    Issued,
    NotSent,
    Refused,
    Sent,
    classify,
)
from cloudbeds_auth.transactions.runner import Database

JSON = "application/json"


async def refused_once(stage: Stage) -> Grant:
    """A hotel whose every stored token was refused once."""
    grant = await stage.expired()
    stage.endpoint.will(Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    return await stage.row(grant.id)


# --- rule 11: refusals are classified, never guessed


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (401, JSON, b'{"error":"server_error","error_description":"The refresh token is invalid."}'),
        (400, "text/html", b'{"error":"invalid_request","message":"The refresh token is invalid."}'),
        (400, JSON, b"<html>The refresh token is invalid.</html>"),
        (400, JSON, b""),
        (429, JSON, b'{"error":"invalid_request","message":"The refresh token is invalid."}'),
        (503, JSON, b'{"error":"invalid_grant"}'),
        (400, JSON, b'{"error":"invalid_request","message":"The refresh token is inv'),
        (400, JSON, b'{"error":"invalid_request","message":"Something is missing."}'),
        (302, JSON, b'{"error":"invalid_grant"}'),
    ],
)
async def test_what_is_no_refusal_changes_nothing(stage: Stage, status: int, content_type: str, body: bytes) -> None:
    """Ambiguous: the token stays, nothing is counted, and a later pass heals."""
    grant = await stage.expired()
    stage.endpoint.will(classify(status, content_type, body, sent=Sent.TOKEN))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    row = await stage.row(grant.id)
    assert (row.refusals, row.reauth, row.generation) == (0, None, 1)
    assert await stage.tokens(grant.id) == ["R-1"]
    await stage.clock.sleep(61.0)
    stage.endpoint.will(issued(2))
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"


# --- rule 12: reconnect is the last word


@pytest.mark.row("F34")
async def test_twice_and_the_interval_apart(stage: Stage) -> None:
    """Every stored token refused, again a minute later: marked once, nothing deleted, callers get 409 and not 401."""
    grant = await refused_once(stage)
    assert (grant.refusals, grant.reauth, grant.state) == (1, None, State.BACKING_OFF)
    assert grant.held_back == pytest.approx(60.0)
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Refused("dead"))
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id)
    row = await stage.row(grant.id)
    assert (row.reauth, row.state) == ("revoked", State.REAUTHORIZATION_REQUIRED)
    assert await stage.tokens(grant.id) == ["R-1"]
    for _ in range(3):
        with pytest.raises(ReauthorizationRequired) as raised:
            await stage.one.access.access_token(grant.connection_id)
        assert raised.value.status == 409
    assert (await stage.kinds(grant.connection_id)).count("reauthorization_required") == 1
    assert stage.endpoint.sent == ["R-1", "R-1"]
    assert stage.notes.times("reauthorization_required") == 1


async def test_not_before_the_interval(stage: Stage) -> None:
    """However often somebody asks within the minute, nothing is sent and nobody is marked."""
    grant = await refused_once(stage)
    for _ in range(5):
        with pytest.raises(RefreshInDoubt):
            await stage.one.access.access_token(grant.connection_id)
        await stage.clock.sleep(5.0)
    assert stage.endpoint.sent == ["R-1"]
    assert (await stage.row(grant.id)).reauth is None


async def test_a_reboot_between_the_two_refusals(stage: Stage) -> None:
    """Steady moments of another boot mean nothing: the second refusal is a first one again."""
    grant = await refused_once(stage)
    stage.clock.boot = "boot-2"
    stage.endpoint.will(Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    assert (await stage.row(grant.id)).reauth is None


async def test_an_ambiguous_answer_in_between_is_no_second_refusal(stage: Stage) -> None:
    """A pass that ended in doubt is not a whole pass refused."""
    grant = await refused_once(stage)
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Ambiguous("HTTP 503"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    assert (await stage.row(grant.id)).reauth is None


async def test_a_pair_in_between_clears_the_count(stage: Stage) -> None:
    """Refused once, then a pair: counted from the beginning in the new generation."""
    grant = await refused_once(stage)
    await stage.clock.sleep(60.0)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    row = await stage.row(grant.id)
    assert (row.refusals, row.refused_ago, row.state) == (0, None, State.FRESH)


async def marked(stage: Stage) -> Grant:
    """A hotel that has to reconnect."""
    grant = await refused_once(stage)
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Refused("dead"))
    with pytest.raises(ReauthorizationRequired):
        await stage.one.refresh(grant.id, 1)
    stage.endpoint.sent.clear()
    return await stage.row(grant.id)


async def test_a_marked_hotel_is_not_asked_again(stage: Stage) -> None:
    """Nobody but an operator spends another request on it."""
    grant = await marked(stage)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == []


async def test_an_operator_may_try_again(stage: Stage) -> None:
    """And a pair that comes clears the mark."""
    grant = await marked(stage)
    stage.endpoint.will(issued(2))
    served = await stage.one.refresh(grant.id, 1, operator=True)
    assert served.grant.access.reveal() == "A-2"
    await stage.one.idle()
    row = await stage.row(grant.id)
    assert (row.reauth, row.state) == (None, State.FRESH)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"


async def test_a_late_commit_clears_the_mark(stage: Stage) -> None:
    """A paused process had a pair in hand while others were refused twice: it commits, the hotel is healthy."""
    grant = await stage.expired()
    two = await stage.process()

    async def paused() -> Answer:
        stage.dead.add(stage.one.world.owner)
        stage.sql("UPDATE grants SET not_before = NULL")
        for expected in (RefreshInDoubt, ReauthorizationRequired):
            stage.endpoint.will(Refused("dead"))
            with pytest.raises(expected):
                await two.refresh(grant.id, 1)
            await stage.clock.sleep(60.0)
        assert (await stage.row(grant.id)).reauth == "revoked"
        return issued(2)

    stage.endpoint.will(paused)
    await asyncio.gather(stage.one.refresh(grant.id, 1), return_exceptions=True)
    await stage.one.idle()
    row = await stage.row(grant.id)
    assert (row.reauth, row.state, row.access.reveal()) == (None, State.FRESH, "A-2")


async def test_a_later_2xx_clears_the_mark(stage: Stage) -> None:
    """Whoever sees the token work confirms it: the mark goes, and its history says so."""
    grant = await stage.connected()
    stage.vendor.script = [DeadGrant("user_inactive")]
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    await stage.clock.sleep(60.0)
    stage.vendor.script = [DeadGrant("user_inactive")]
    with pytest.raises(ReauthorizationRequired):
        await stage.one.refresh(grant.id, 1, rejected=1)
    served = await stage.one.refresh(grant.id, 1, rejected=1, operator=True)
    assert served.proven
    assert ((await stage.row(grant.id)).reauth, (await stage.row(grant.id)).state) == (None, State.FRESH)
    assert (await stage.kinds(grant.connection_id))[-2:] == ["proved", "recovered"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"success":false,"message":"User who approved this connection is not active anymore"}', "user_inactive"),
        (b'{"success":false,"message":"Application is not available to be connected. Reach out."}', "revoked"),
    ],
)
async def test_userinfo_names_a_dead_grant_twice(stage: Stage, body: bytes, reason: str) -> None:
    """One of the documented bodies, twice, the interval apart: marked with its reason, without spending a token."""
    grant = await stage.connected()
    verdict = judge_userinfo(200, JSON, body)
    stage.vendor.thinks("A-1", verdict)
    token = await stage.one.access.access_token(grant.connection_id)
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(grant.connection_id, rejected=token)
    assert (await stage.row(grant.id)).reauth is None
    await stage.clock.sleep(60.0)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id, rejected=token)
    assert (await stage.row(grant.id)).reauth == reason
    assert stage.endpoint.sent == []
    assert (await stage.one.views.connection(grant.connection_id)).problem == reason


async def test_two_different_reasons_are_not_twice(stage: Stage) -> None:
    """First one reason, then another: counted anew."""
    grant = await stage.connected()
    for reason in ("user_inactive", "revoked"):
        stage.vendor.script = [DeadGrant(reason)]
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(60.0)
    assert (await stage.row(grant.id)).reauth is None


async def test_counting_fails_when_the_store_does(stage: Stage) -> None:
    """Every token refused and the count cannot be written: 503, nothing marked, counted another time."""
    grant = await stage.expired()
    stage.endpoint.will(Refused("dead"))
    stage.one.driver.refuse("count_first")
    with pytest.raises(StoreUnavailable):
        await stage.one.refresh(grant.id, 1)
    assert (await stage.row(grant.id)).refusals == 0


async def test_a_count_whose_fence_moved_looks_again(stage: Stage) -> None:
    """Somebody committed between the last refusal and the count: their pair is served, nothing is counted."""
    grant = await stage.connected()
    two = await stage.process()

    async def overtaken() -> DeadGrant:
        stage.dead.add(stage.one.world.owner)
        stage.endpoint.will(issued("theirs"))
        await two.refresh(grant.id, 1)
        await two.idle()
        return DeadGrant("revoked")

    stage.vendor.script = [overtaken]
    served = await stage.one.refresh(grant.id, 1, rejected=1)
    assert served.grant.access.reveal() == "A-theirs"
    assert (await stage.row(grant.id)).refusals == 0


# --- with a candidate waiting


async def test_no_mark_while_a_newer_grant_waits(stage: Stage) -> None:
    """The old grant is refused twice and a newer approval waits: the newer one is gone on with, and served."""
    grant = await refused_once(stage)
    stage.vendor.thinks("A-new", Inconclusive("HTTP 503"))
    newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    await stage.clock.sleep(60.0)
    stage.vendor.thinks("A-new", Proof())
    stage.endpoint.will(*[Refused("dead")] * 5)
    token = await stage.one.access.access_token(grant.connection_id)
    assert (token.reveal(), token.grant_id) == ("A-new", newer.id)
    assert (await stage.row(grant.id)).reauth is None


async def test_the_first_refusal_goes_on_with_a_newer_grant(stage: Stage) -> None:
    """Refused once is enough to look at the newer approval (docs/rotation.md#count: a candidate exists: resume it)."""
    grant = await stage.expired()
    newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    stage.endpoint.will(Refused("dead"))
    token = await stage.one.access.access_token(grant.connection_id)
    assert (token.reveal(), token.grant_id) == ("A-new", newer.id)


async def test_a_refused_refresh_behind_callers_goes_on_with_a_newer_grant(stage: Stage) -> None:
    """The stored token is stale, not expired: whoever asks has it, and what runs behind sees to the newer approval."""
    grant = await stage.connected()
    await stage.clock.sleep(STALE)
    newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    stage.endpoint.will(Refused("dead"))
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    await stage.one.idle()
    token = await stage.one.access.access_token(grant.connection_id)
    assert (token.reveal(), token.grant_id) == ("A-new", newer.id)
    assert stage.endpoint.sent == ["R-1"]


async def test_a_waiting_grant_that_cannot_be_proven_costs_no_storm(stage: Stage) -> None:
    """The newer approval stays unproven: 503, and the refused tokens are not sent over and over within one call."""
    grant = await refused_once(stage)
    stage.vendor.thinks("A-new", Inconclusive("HTTP 503"))
    await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    await stage.clock.sleep(60.0)
    stage.endpoint.sent.clear()
    stage.endpoint.will(*[Refused("dead")] * 5)
    with pytest.raises(TryAgain):
        await stage.one.access.access_token(grant.connection_id)
    assert stage.endpoint.sent == ["R-1"]
    assert (await stage.row(grant.id)).reauth is None


@pytest.mark.parametrize("answers", [[Refused("dead")], [Ambiguous("HTTP 503")]])
async def test_a_waiting_grant_that_neither_works_nor_is_refreshed(stage: Stage, answers: list[Answer]) -> None:
    """Its access token is dead and its refresh brings nothing: it goes on waiting, and the old one stays in use."""
    grant = await stage.connected()
    newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-new", DeadToken())
    stage.endpoint.will(*answers)
    assert await stage.one.candidates.resume(grant.connection_id) is None
    assert stage.endpoint.sent == ["R-new"]
    assert (await stage.row(newer.id)).role is Role.CANDIDATE
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"


# --- rule 15 and API keys: what is never refreshed


async def test_a_latched_hotel_is_never_refreshed(stage: Stage) -> None:
    """Moved to an API key: unexpired it is served, expired it is refused; no token is sent from anywhere."""
    grant = await stage.connected()
    stage.sql("UPDATE grants SET latched = 1 WHERE id = ?", grant.id)
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
    with pytest.raises(NotRefreshable):
        await stage.one.refresh(grant.id, 1, rejected=1)
    await stage.clock.sleep(HOUR)
    with pytest.raises(NotRefreshable):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == []


@pytest.mark.row("F90")
async def test_the_latch_falls_while_a_refresh_is_about_to_send(stage: Stage) -> None:
    """Latched between reading the row and writing the intent: the latch is part of the fence, nothing is sent."""
    grant = await stage.connected()

    async def latched() -> DeadToken:
        stage.sql("UPDATE grants SET latched = 1 WHERE id = ?", grant.id)
        return DeadToken()

    stage.vendor.script = [latched]
    with pytest.raises(NotRefreshable):
        await stage.one.refresh(grant.id, 1, rejected=1)
    assert stage.endpoint.sent == []


async def key(stage: Stage) -> Grant:
    """A hotel connected by an API key."""
    return await stage.connected(pair(1, lifetime=366 * 86400.0, refresh=None, kind=CredentialKind.API_KEY))


async def test_an_api_key_that_nobody_rejected(stage: Stage) -> None:
    """It is lent as it is; asked to refresh it, the vault serves it unchanged."""
    grant = await key(stage)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
    await stage.clock.sleep(367 * 86400.0)
    with pytest.raises(NotRefreshable):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == []


async def test_a_rejected_api_key_that_works(stage: Stage) -> None:
    """`/userinfo` takes it: proven good, the endpoint itself refuses."""
    grant = await key(stage)
    served = await stage.one.refresh(grant.id, 1, rejected=1)
    assert (served.proven, served.grant.generation) == (True, 1)


async def test_a_rejected_api_key_that_is_dead(stage: Stage) -> None:
    """A 401 of `/userinfo`, twice, the interval apart: reconnect; nothing was ever sent."""
    grant = await key(stage)
    stage.vendor.thinks("A-1", DeadToken())
    for wait in (10.0, 50.0):
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(wait)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.refresh(grant.id, 1, rejected=1)
    assert ((await stage.row(grant.id)).reauth, stage.endpoint.sent) == ("revoked", [])


async def test_a_rejected_api_key_that_works_again(stage: Stage) -> None:
    """One 401 of `/userinfo`, and a moment later it is proven: it is served again, to those who did not reject it."""
    grant = await key(stage)
    stage.vendor.script = [DeadToken(), Proof()]
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    assert (await stage.one.refresh(grant.id, 1, rejected=1)).proven
    assert (await stage.one.refresh(grant.id, 1)).grant.generation == 1


async def test_a_rejected_api_key_and_an_outage(stage: Stage) -> None:
    """`/userinfo` says nothing: 503, nothing counted."""
    grant = await key(stage)
    stage.vendor.thinks("A-1", Inconclusive("HTTP 502"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    assert (await stage.row(grant.id)).refusals == 0


async def test_a_read_only_store_never_refreshes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of another installation's database (rule 16): refused before any lease."""
    grant = await stage.expired()
    monkeypatch.setattr(Database, "read_only", property(lambda _: True))
    with pytest.raises(StoreReadOnly):
        await stage.one.access.access_token(grant.connection_id)
    assert stage.sql("SELECT lease_epoch FROM grants") == [(0,)]
    assert (await stage.one.views.connection(grant.connection_id)).state is State.READ_ONLY


async def test_an_unreachable_vendor_for_six_hours(stage: Stage) -> None:
    """Cloudbeds is down: no token goes, nobody is marked, and the first answer heals."""
    grant = await stage.expired()
    for _ in range(60):
        stage.endpoint.script = [NotSent("no route")]
        with pytest.raises(TryAgain):
            await stage.one.access.access_token(grant.connection_id)
        await stage.clock.sleep(360.0)
    stage.endpoint.script = [issued(2)]
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"
    await stage.one.idle()
    assert isinstance(issued(2), Issued)
    assert await stage.tokens(grant.id) == ["R-2"]
