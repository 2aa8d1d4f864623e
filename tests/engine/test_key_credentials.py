"""API keys as the credential of a connection: how they come in, come back, are refused, and never refreshed."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.support.fakes import APP, issued, key, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.intercept import Write, intercept
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import ClientRefused, NotRefreshable, ReauthorizationRequired, RefreshInDoubt
from cloudbeds_auth.ports import Listed, Throttled, Turn, Unlisted
from cloudbeds_auth.rules.api_errors import REVOKED, DeadGrant, DeadToken, Inconclusive, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import RefusedClient
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import Counted
from cloudbeds_auth.transactions.statements import Call

DAY = 86400.0
YEAR = 365 * DAY


async def test_a_key_comes_in(stage: Stage) -> None:
    """It is lent without an end, years later too, and nothing is ever refreshed."""
    stage.vendor.listed = ("1000",)
    found = (await stage.approve(key(1))).connection
    assert (found.credential, found.expires_at, found.property_ids) == ("api_key", None, ("1000",))
    token = await stage.one.access.access_token(found.id)
    assert (token.reveal(), token.expires_at, token.lifetime) == ("cbat_1", None, math.inf)
    await stage.clock.sleep(10 * YEAR)
    assert (await stage.one.access.access_token(found.id, min_valid=YEAR)).reveal() == "cbat_1"
    assert (await stage.one.views.connection(found.id)).state is State.FRESH
    assert stage.endpoint.sent == []


async def test_a_key_that_nobody_asked_for(stage: Stage) -> None:
    """A key where tokens were asked for is taken for what it is, and so are tokens where a key was asked for."""
    found = (await stage.approve(key(1, "1"))).connection
    assert found.credential == "api_key"
    stage.apps["default"] = replace(APP, credential=CredentialKind.API_KEY)
    found = (await stage.approve(issued(2, property_ids=("2",)))).connection
    assert (found.credential, (await stage.one.access.access_token(found.id)).reveal()) == ("oauth", "A-2")


async def test_the_history_tells_what_was_asked_for(stage: Stage) -> None:
    """The grant type of each exchange."""
    stage.apps["default"] = replace(APP, credential=CredentialKind.API_KEY)
    await stage.approve(key(1, "1"))
    (told,) = [facts for what, facts in stage.notes.told if what == "token_answer"]
    assert told["grant_type"] == "urn:ietf:params:oauth:grant-type:api-key"
    assert told["connection_id"] is None, "there is none yet"


async def test_a_key_is_used_daily_whatever_becomes_of_its_keep_alive(stage: Stage) -> None:
    """`/userinfo` gives no answer for weeks, from the first day on: the other questions have used the key each day, so
    nothing has to be said ahead.
    """
    await stage.connected(key("1", "1000").pair)
    stage.vendor.thinks("cbat_1", Inconclusive("outage"))
    usual, lists = stage.vendor.properties, list[str]()

    async def counted(access: Secret, turn: Turn) -> Listed | Unlisted:
        lists.append(access.reveal())
        return await usual(access, turn)

    stage.vendor.properties = counted  # type: ignore[method-assign]
    asked = 0
    for day in range(1, 41):
        await stage.clock.sleep(DAY)
        for job in (stage.one.property_lists, stage.one.app_states, stage.one.upkeep):
            await job.tick()
        assert lists == ["cbat_1"] * day
        assert len(stage.vendor.asked_states) == day
        asked += day >= 20
        assert len(stage.vendor.asked) >= asked
    assert stage.notes.times("upkeep_failed") >= 20


@pytest.mark.parametrize("before", ["key", "tokens"])
@pytest.mark.parametrize("after", ["key", "tokens"])
async def test_a_hotel_that_comes_back_keeps_its_connection(stage: Stage, before: str, after: str) -> None:
    """A bare Connect says nothing of the hotel, and the answer with a key neither: it is asked which one it is."""
    stage.vendor.listed = ("1000",)
    answers = {"key": key, "tokens": lambda number: issued(number, property_ids=("1000",))}
    first = (await stage.approve(answers[before](1))).connection
    again = (await stage.approve(answers[after](2))).connection
    assert again.id == first.id
    found = (await stage.one.access.access_token(first.id)).reveal()
    assert found == ("cbat_2" if after == "key" else "A-2")
    assert await resolve(stage.one.store, "1000") == [first.id]


async def test_a_key_whose_hotel_cannot_be_asked_about(stage: Stage) -> None:
    """It comes in all the same, as a connection of its own: a key is never thrown away."""
    first = (await stage.approve(key(1, "1000"))).connection
    assert (await stage.approve(key(2))).connection.id != first.id


async def test_a_vendor_that_is_slow_to_say_which_hotel_it_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is not kept waiting for long before it is stored."""

    async def slowly(access: Secret, turn: object) -> Listed:
        await stage.clock.sleep(20.0)
        return Listed(("1000",))

    monkeypatch.setattr(stage.vendor, "properties", slowly)
    began = stage.clock.steady()
    found = (await stage.approve(key(1))).connection
    (line,) = [one for one in await stage.one.store.read(read_history(found.id)) if one.kind == "candidate_received"]
    assert line.at.timestamp() - stage.clock.wall() + stage.clock.steady() - began <= 5.0
    assert found.property_ids == ("1000",), "learnt afterwards, when it was stored"


async def test_a_vendor_that_is_asked_too_often(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 to the question which hotel it is: heeded, and the key comes in."""

    async def throttled(access: Secret, turn: object) -> Listed:
        raise Throttled(7.0)

    monkeypatch.setattr(stage.vendor, "properties", throttled)
    assert (await stage.approve(key(1))).connection.credential == "api_key"
    assert stage.notes.times("vendor_rate_limited") >= 1


async def test_there_is_no_turn_to_ask_which_hotel_it_is(stage: Stage) -> None:
    """The key comes in; what is not known is asked at the next occasion."""
    vendor = BusyVendor()
    process = await limited(stage, vendor, limit=1)
    process.world.token_endpoint.exchange = stage.endpoint.exchange  # type: ignore[method-assign]
    begun = await process.authorizer.begin()

    async def late() -> object:
        stage.sql("UPDATE budgets SET closed_until = ?", stage.clock.steady() + 900.0)
        return key(1)

    stage.endpoint.will(late)  # type: ignore[arg-type]
    found = (await process.authorizer.finish(code="code", state=begun.state)).connection
    assert (found.credential, found.property_ids) == ("api_key", ())


async def test_refreshing_a_key(stage: Stage) -> None:
    """There is nothing to refresh: said so, also to an operator."""
    found = (await stage.approve(key(1, "1000"))).connection
    with pytest.raises(NotRefreshable) as raised:
        await stage.one.access.refresh_now(found.id)
    assert (raised.value.code, raised.value.status) == ("not_refreshable", 409)
    assert (raised.value.connection_id, raised.value.detail) == (found.id, "This credential is never refreshed")
    assert stage.endpoint.sent == []


@pytest.mark.parametrize("face", [DeadToken(), DeadGrant("user_inactive")])
async def test_a_key_that_is_refused(stage: Stage, face: DeadToken | DeadGrant) -> None:
    """No refresh can heal it: `/userinfo` says so twice, an interval apart, and the hotel is to approve again."""
    found = (await stage.approve(key(1, "1000"))).connection
    token = await stage.one.access.access_token(found.id)
    stage.vendor.thinks("cbat_1", face)
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(found.id, rejected=token)
    await stage.clock.sleep(61.0)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(found.id, rejected=token)
    shown = await stage.one.views.connection(found.id)
    reason = face.reason if isinstance(face, DeadGrant) else REVOKED
    assert (shown.state, shown.problem) == (State.REAUTHORIZATION_REQUIRED, reason)
    assert stage.endpoint.sent == []
    again = (await stage.approve(key(2, "1000"))).connection
    assert (again.id, again.state) == (found.id, State.FRESH)


@pytest.mark.parametrize("still", ["before it is read", "before it is counted"])
@pytest.mark.parametrize("face", [DeadToken(), DeadGrant("user_inactive")])
async def test_an_answer_that_lay_around_is_not_the_last_word(
    stage: Stage, face: DeadToken | DeadGrant, still: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked within the interval by a process that then stood still until it was over: it is asked once more."""
    found = (await stage.approve(key(1, "1000"))).connection
    token = await stage.one.access.access_token(found.id)
    stops = [0.0, 21.0, 0.0]

    async def read() -> Verdict:
        if still == "before it is read":
            await stage.clock.sleep(stops.pop(0))
        return face

    async def count_late(write: Write, call: Call[Counted]) -> Counted:
        if still == "before it is counted":
            await stage.clock.sleep(stops.pop(0))
        counted: Counted = await write(call)
        return counted

    intercept(monkeypatch, stage.one.store, "count_refusal", count_late)
    stage.vendor.script = [read, read, read]
    for expected in (RefreshInDoubt, RefreshInDoubt, ReauthorizationRequired):
        with pytest.raises(expected):
            await stage.one.access.access_token(found.id, rejected=token)
        await stage.clock.sleep(40.0)


async def test_a_key_needs_no_client_secret(stage: Stage) -> None:
    """The client's own credentials are refused: a hotel with a key is healthy, lent and proven; another one is not."""
    found = (await stage.approve(key(1, "1000"))).connection
    other = await stage.connected(pair(2, property_ids=("2",)))
    stage.endpoint.will(RefusedClient("wrong"))
    with pytest.raises(ClientRefused):
        await stage.one.refresh(other.id, 1, operator=True)
    assert (await stage.one.views.connection(other.connection_id)).state is State.CLIENT_REFUSED
    assert (await stage.one.views.connection(found.id)).state is State.FRESH
    token = await stage.one.access.access_token(found.id)
    assert (await stage.one.access.access_token(found.id, rejected=token)).is_same(token), "asked about, proven"


async def test_an_idle_key_is_kept_alive(stage: Stage) -> None:
    """Cloudbeds disables one that nobody uses for 30 days: it is used before 20 are over, again and again."""
    await stage.approve(key(1, "1000"))
    stage.vendor.asked.clear()
    for _ in range(4):
        await stage.clock.sleep(20 * 86400.0)
        while await stage.one.upkeep.tick() == 0.0:
            pass
    assert (stage.vendor.asked, stage.endpoint.sent) == (["cbat_1"] * 4, [])


async def test_a_newer_key_is_lent_soon(stage: Stage) -> None:
    """By the process that received it at once, by others within a minute: a key never turns stale by itself."""
    found = (await stage.approve(key(1, "1000"))).connection
    other = await stage.process()
    for process in (stage.one, other):
        assert (await process.access.access_token(found.id)).reveal() == "cbat_1"
    await stage.approve(key(2, "1000"))
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_2"
    await stage.clock.sleep(61.0)
    assert (await other.access.access_token(found.id)).reveal() == "cbat_2"


async def test_a_key_while_the_database_is_away(stage: Stage) -> None:
    """What is in memory is lent for as long as it lasts."""
    found = (await stage.approve(key(1, "1000"))).connection
    await stage.one.access.access_token(found.id)
    stage.one.driver.dark = True
    await stage.clock.sleep(86400.0)
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_1"


async def test_a_key_in_the_twins_of_a_hotel(stage: Stage) -> None:
    """Two processes lend the same key; neither has anything to refresh behind."""
    found = (await stage.approve(key(1, "1000"))).connection
    other = await stage.process()
    for process in (stage.one, other):
        assert (await process.access.access_token(found.id)).reveal() == "cbat_1"
        assert process.access.cached(found.id, 60.0) is not None
    assert not [told for told in stage.notes.told if told[0] == "refreshed"]
