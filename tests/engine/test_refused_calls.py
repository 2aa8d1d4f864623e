"""What refused calls tell about a connection, learnt behind the caller: never marked from a body alone (rule 12)."""

from __future__ import annotations

import pytest
from tests.support.fakes import issued, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.refused_calls import AGAIN
from cloudbeds_auth.errors import ReauthorizationRequired
from cloudbeds_auth.rules.api_errors import Act, DeadGrant, DeadToken, Inconclusive, Proof, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, Grant
from cloudbeds_auth.rules.token_response import Refused
from cloudbeds_auth.transactions.candidates import promote

INACTIVE = Refusal("user_inactive", Act.SUSPECT, "User who approved this connection is not active anymore")
NO_SCOPE = Refusal("missing_scope", Act.REPORT, "Scope required for this call was not granted by property.")
HIDDEN = Refusal("unauthorized", Act.LOOK)
ELSEWHERE = Refusal("wrong_property", Act.REPORT)


async def lent(stage: Stage) -> tuple[Grant, AccessToken]:
    """A connected hotel, and its token as a caller has it."""
    grant = await stage.connected()
    return grant, await stage.one.access.access_token(grant.connection_id)


async def note_refusal(stage: Stage, token: AccessToken, refusal: Refusal) -> None:
    """A call was refused; whatever follows has happened."""
    stage.one.refused_calls.note_refusal(token, refusal, "GET", "/api/v1.3/getHotels")
    await stage.one.world.tasks.drain()
    await stage.one.refresher.flights.drain()


# --- a grant that may be dead


@pytest.mark.row("F38")
async def test_a_dead_grant_is_found_by_its_callers(stage: Stage) -> None:
    """`/userinfo` names it, twice and the interval apart: marked with its reason, and no refresh token is spent."""
    grant, token = await lent(stage)
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    await note_refusal(stage, token, INACTIVE)
    assert await stage.shown(grant) == (State.BACKING_OFF, "user_inactive")
    assert (await stage.one.access.access_token(grant.connection_id)).is_same(token), "callers go on meanwhile"
    await stage.clock.sleep(stage.timing.refusal_interval)
    await note_refusal(stage, token, INACTIVE)
    assert await stage.shown(grant) == (State.REAUTHORIZATION_REQUIRED, "user_inactive")
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id)
    assert (stage.vendor.asked, stage.endpoint.sent) == (["A-1", "A-1"], [])
    assert await stage.tokens(grant.id) == ["R-1"]


async def test_a_body_alone_marks_nobody(stage: Stage) -> None:
    """However often it comes: `/userinfo` says that the token works, so the hotel is healthy, nothing is refreshed."""
    grant, token = await lent(stage)
    for _ in range(10):
        await note_refusal(stage, token, INACTIVE)
        await stage.clock.sleep(stage.timing.lease)
    assert await stage.shown(grant) == (State.FRESH, None)
    assert (len(stage.vendor.asked), stage.endpoint.sent) == (10, [])


async def test_once_in_a_leases_time(stage: Stage) -> None:
    """A storm of such bodies costs one look."""
    _, token = await lent(stage)
    for _ in range(100):
        stage.one.refused_calls.note_refusal(token, INACTIVE, "GET", "/x")
    await stage.one.world.tasks.drain()
    await stage.clock.sleep(0.9 * stage.timing.lease)
    await note_refusal(stage, token, INACTIVE)
    assert stage.vendor.asked == ["A-1"]
    await stage.clock.sleep(0.1 * stage.timing.lease)
    await note_refusal(stage, token, INACTIVE)
    assert stage.vendor.asked == ["A-1", "A-1"]


async def test_the_background_asks_the_second_time(stage: Stage) -> None:
    """Nobody calls any more: upkeep asks `/userinfo` again when the interval is over, and spends nothing on it."""
    grant, token = await lent(stage)
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    await note_refusal(stage, token, INACTIVE)
    await stage.clock.sleep(stage.timing.refusal_interval + 1.0)
    await stage.one.upkeep.tick()
    await stage.one.idle()
    assert await stage.shown(grant) == (State.REAUTHORIZATION_REQUIRED, "user_inactive")
    assert stage.endpoint.sent == []


async def test_a_suspicion_that_the_background_clears(stage: Stage) -> None:
    """The user is active again before the second look: healthy, not refreshed, and the history says so."""
    grant, token = await lent(stage)
    stage.vendor.script = [DeadGrant("user_inactive"), Proof()]
    await note_refusal(stage, token, INACTIVE)
    await stage.clock.sleep(stage.timing.refusal_interval + 1.0)
    await stage.one.upkeep.tick()
    await stage.one.idle()
    assert await stage.shown(grant) == (State.FRESH, None)
    assert (stage.endpoint.sent, (await stage.row(grant.id)).refusals) == ([], 0)
    assert (await stage.kinds(grant.connection_id))[-1] == "proved"
    assert [what for what, _ in stage.notes.told if what.endswith("failed")] == ["refresh_failed"], "the first look"


async def test_an_operators_refresh_is_sent_all_the_same(stage: Stage) -> None:
    """Named dead once, and a person asks for a refresh: the pair that comes settles it."""
    grant, token = await lent(stage)
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    await note_refusal(stage, token, INACTIVE)
    await stage.clock.sleep(stage.timing.refusal_interval)
    stage.endpoint.will(issued(2))
    await stage.one.access.refresh_now(grant.connection_id)
    await stage.one.idle()
    assert await stage.shown(grant) == (State.FRESH, None)


async def test_a_token_that_turns_out_dead_is_renewed(stage: Stage) -> None:
    """The body was a dead grant's and `/userinfo` says only that the token is: a refresh tells, as after any 401."""
    grant, token = await lent(stage)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(Refused("dead"))
    await note_refusal(stage, token, INACTIVE)
    assert await stage.shown(grant) == (State.BACKING_OFF, "revoked")


async def test_a_401_that_hides_under_another_status(stage: Stage) -> None:
    """The status did not say it, so nobody healed it: the dead token is renewed behind the call, a live one is not."""
    grant, token = await lent(stage)
    await note_refusal(stage, token, HIDDEN)
    assert stage.endpoint.sent == []
    await stage.clock.sleep(stage.timing.lease)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    await note_refusal(stage, token, HIDDEN)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"
    assert await stage.shown(grant) == (State.FRESH, None)


async def test_a_vendor_that_cannot_be_asked(stage: Stage) -> None:
    """Nothing is counted, nothing is sent."""
    grant, token = await lent(stage)
    stage.vendor.thinks("A-1", Inconclusive("HTTP 503"))
    await note_refusal(stage, token, INACTIVE)
    assert await stage.shown(grant) == (State.FRESH, None)
    assert stage.endpoint.sent == []


async def test_a_word_about_an_older_token(stage: Stage) -> None:
    """The pair was renewed since: nobody is asked, and the newer one is lent."""
    grant, token = await lent(stage)
    stage.endpoint.will(issued(2))
    await (await stage.process()).refresh(grant.id, 1)
    asked = len(stage.vendor.asked)
    await note_refusal(stage, token, INACTIVE)
    assert len(stage.vendor.asked) == asked
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-2"


async def test_a_grant_that_was_replaced_elsewhere(stage: Stage) -> None:
    """The hotel approved again at another process and the old grant died: the next caller here has the new one."""
    grant, token = await lent(stage)
    newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    assert await stage.one.store.write(promote(grant.connection_id, newer.id, newer.generation, None, ()))
    assert (await stage.one.access.access_token(grant.connection_id)).is_same(token), "from memory"
    await note_refusal(stage, token, INACTIVE)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-new"


async def test_a_newer_approval_waits_behind_a_dead_grant(stage: Stage) -> None:
    """The hotel approved again, which was not proven yet: the first body that names the old one dead has it proven."""
    grant, token = await lent(stage)
    await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    await note_refusal(stage, token, INACTIVE)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-new"
    assert stage.endpoint.sent == []


async def test_a_mark_made_elsewhere(stage: Stage) -> None:
    """This process lends from memory until a body tells it: then it reads the mark, and asks the vendor nothing."""
    grant, token = await lent(stage)
    other = await stage.process()
    stage.vendor.thinks("A-1", DeadGrant("user_inactive"))
    for pause in (stage.timing.refusal_interval, 0.0):
        other.refused_calls.note_refusal(token, INACTIVE, "GET", "/x")
        await other.world.tasks.drain()
        await stage.clock.sleep(pause)
    asked = len(stage.vendor.asked)
    await note_refusal(stage, token, INACTIVE)
    assert len(stage.vendor.asked) == asked
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(grant.connection_id)


async def test_a_store_that_is_away(stage: Stage) -> None:
    """Nothing is learnt, nothing is raised, and the next body asks again."""
    grant, token = await lent(stage)
    for refusal in (INACTIVE, NO_SCOPE):
        stage.one.driver.dark = True
        await note_refusal(stage, token, refusal)
        stage.one.driver.dark = False
        await stage.clock.sleep(stage.timing.lease)
        await note_refusal(stage, token, refusal)
    assert stage.vendor.asked == ["A-1"]
    assert await stage.shown(grant) == (State.FRESH, "missing_scope")


async def test_a_token_of_nobody(stage: Stage) -> None:
    """A grant that is not there any more: nothing to ask about."""
    _, token = await lent(stage)
    await note_refusal(stage, AccessToken(token.value, token.expires_at, 1, grant_id="gra_nobody"), INACTIVE)
    await note_refusal(stage, AccessToken(token.value, token.expires_at, 1, grant_id="gra_nobody"), NO_SCOPE)
    assert stage.vendor.asked == []


# --- what this hotel did not allow


async def test_a_missing_scope_is_shown(stage: Stage) -> None:
    """Healthy, with a problem, what mends it, and a line of history that names the call, before that of the risk which
    it is; nothing is asked or sent.
    """
    grant, token = await lent(stage)
    await note_refusal(stage, token, NO_SCOPE)
    found = await stage.one.views.connection(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, "missing_scope")
    assert "CLOUDBEDS_SCOPES" in (found.next_step or "")
    risk, event = await stage.one.views.events(grant.connection_id, limit=2)
    assert (risk.kind, event.kind, event.actor, event.generation) == ("risk_found", "call_refused", "cloudbeds", 1)
    said = {"method": "GET", "path": "/api/v1.3/getHotels", "said": NO_SCOPE.said}
    assert event.data == {"reason": "missing_scope", "said": said}
    assert (stage.vendor.asked, stage.endpoint.sent) == ([], [])


async def test_it_is_told_once(stage: Stage) -> None:
    """However often it happens, and in however many processes: one line."""
    grant, token = await lent(stage)
    other = await stage.process()
    for _ in range(5):
        await note_refusal(stage, token, NO_SCOPE)
        other.refused_calls.note_refusal(token, NO_SCOPE, "GET", "/x")
        await other.world.tasks.drain()
        await stage.clock.sleep(stage.timing.lease)
    assert (await stage.kinds(grant.connection_id)).count("call_refused") == 1


async def test_two_that_take_turns(stage: Stage) -> None:
    """The last one is shown; the history grows by one line of each in an hour, not with every call."""
    grant, token = await lent(stage)
    await stage.clock.sleep(1.0)
    for _ in range(50):
        for refusal in (NO_SCOPE, ELSEWHERE):
            await note_refusal(stage, token, refusal)
        await stage.clock.sleep(AGAIN / 200)
    assert (await stage.kinds(grant.connection_id)).count("call_refused") == 2
    assert await stage.shown(grant) == (State.FRESH, "wrong_property")


async def test_a_proof_says_nothing_about_it_and_a_new_pair_clears_it(stage: Stage) -> None:
    """It stays over a proof of the same token; with the next pair it has to show again, and does."""
    grant, token = await lent(stage)
    await note_refusal(stage, token, ELSEWHERE)
    assert (await stage.one.refresh(grant.id, 1, rejected=1)).proven
    assert await stage.shown(grant) == (State.FRESH, "wrong_property")
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert await stage.shown(grant) == (State.FRESH, None)
    await note_refusal(stage, await stage.one.access.access_token(grant.connection_id), ELSEWHERE)
    assert await stage.shown(grant) == (State.FRESH, "wrong_property")


async def test_what_is_worse_is_shown_instead(stage: Stage) -> None:
    """A hotel in trouble keeps the problem of its trouble."""
    grant, token = await lent(stage)
    await note_refusal(stage, token, NO_SCOPE)
    stage.vendor.script = [DeadGrant("user_inactive")]
    await note_refusal(stage, token, INACTIVE)
    assert await stage.shown(grant) == (State.BACKING_OFF, "user_inactive")
    await stage.clock.sleep(AGAIN + 1.0)
    await note_refusal(stage, token, NO_SCOPE)
    assert await stage.shown(grant) == (State.BACKING_OFF, "user_inactive")


@pytest.mark.parametrize("act", [Act.HEAL, Act.NOTHING])
async def test_everything_else_is_the_callers(stage: Stage, act: Act) -> None:
    """A 401 is healed where it came, an outage or a mistake is nobody's: nothing is asked, sent or written."""
    grant, token = await lent(stage)
    stage.one.driver.dark = True
    await note_refusal(stage, token, Refusal("x", act))
    stage.one.driver.dark = False
    assert await stage.shown(grant) == (State.FRESH, None)
    assert stage.vendor.asked == []


async def test_what_is_remembered_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that many it begins anew: at worst something is asked once more."""
    monkeypatch.setattr("cloudbeds_auth.engine.refused_calls.MOST_REMEMBERED", 2)
    for number in range(5):
        grant = await stage.connected(pair(number, property_ids=(str(number),)))
        token = await stage.one.access.access_token(grant.connection_id)
        await note_refusal(stage, token, NO_SCOPE)
        assert len(stage.one.refused_calls._not_before) <= 2
        assert await stage.shown(grant) == (State.FRESH, "missing_scope")
