"""Said ahead: what may end a connection that works is reported once, shown while it lasts, and taken back."""

from __future__ import annotations

from dataclasses import replace

from tests.support.fakes import APP, HOOK, issued, key, pair
from tests.support.stage import Process, Stage, another

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.rules.api_errors import OUTAGE, Act, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Grant, Pair
from cloudbeds_auth.rules.presentation import presentation
from cloudbeds_auth.rules.risks import NEXT_STEP
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import EVERY, Wanted
from cloudbeds_auth.rules.token_response import Refused
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.outbox import claim_messages
from cloudbeds_auth.transactions.risks import note_risks

LONG = pair(1, lifetime=9 * EVERY, property_ids=("1000",))
NO_SCOPE = Refusal("missing_scope", Act.REPORT, "Scope required for this call was not granted by property.")


async def messages(stage: Stage) -> list[str]:
    """Those that wait, without `connection.`."""
    found = await stage.one.store.write(claim_messages(99, 1.0))
    await stage.clock.sleep(2.0)
    return [one.kind.removeprefix("connection.") for one in found]


async def lines(stage: Stage, grant: Grant) -> list[tuple[str, object]]:
    """What the history says of risks, oldest first."""
    events = await stage.one.store.read(read_history(grant.connection_id))
    return [(one.kind, one.data["risk"]) for one in reversed(events) if one.kind.startswith("risk_")]


def mend(risk: str, found: Connection) -> str | None:
    """What people are told of a hotel that has this risk."""
    return presentation(replace(found, problem=risk, next_step=None)).next_step


async def a_day(stage: Stage, process: Process | None = None) -> None:
    """It passes, and each hotel's turn comes."""
    await stage.clock.sleep(EVERY)
    await (process or stage.one).subscriber.tick()


async def again(stage: Stage, grant: Grant, first: Pair) -> None:
    """The hotel approves once more."""
    newer = await stage.candidate(grant.connection_id, first)
    await stage.one.candidates.prove(newer)


async def test_an_approver_who_is_no_owner(stage: Stage) -> None:
    """Reported once, and the hotel stays healthy; an owner's approval ends it; nothing is said of who has no roles."""
    grant = await stage.connected(LONG)
    stage.vendor.approver = ("Front desk", "Housekeeping")
    await stage.one.subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, "approver_no_owner")
    found = await stage.one.views.shown(grant.connection_id)
    assert "an owner of the hotel" in (found.next_step or "")
    assert found.connect_url
    assert found.risks == {"approver_no_owner": "Front desk, Housekeeping"}
    await a_day(stage)
    assert await messages(stage) == ["connected", "at_risk"]
    await again(stage, grant, pair(2, lifetime=9 * EVERY, property_ids=("1000",)))
    assert (await stage.shown(grant))[1] == "approver_no_owner", "the next comparison says whether it is over"
    stage.vendor.approver = ("Hotel Owner",)
    await stage.one.subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, None)
    stage.vendor.approver = ()
    await a_day(stage)
    assert await lines(stage, grant) == [("risk_found", "approver_no_owner"), ("risk_over", "approver_no_owner")]
    assert await messages(stage) == ["connected", "at_risk", "risk_over"]
    assert (stage.notes.times("at_risk"), stage.notes.times("risk_over")) == (1, 1)


async def test_where_cloudbeds_does_not_say_which_roles_there_are(stage: Stage) -> None:
    """What is known stays."""
    grant = await stage.connected(LONG)
    stage.vendor.approver = ("Front desk",)
    await stage.one.subscriber.tick()
    stage.vendor.approver = OUTAGE
    await a_day(stage)
    assert (await stage.shown(grant))[1] == "approver_no_owner"


async def test_a_scope_that_the_app_asks_for_by_now(stage: Stage) -> None:
    """Its approval lacks it; a newer approval ends it, and so does an app that asks for it no more."""
    grant = await stage.connected(LONG)
    more = another(stage.one, apps={"default": replace(APP, scopes=("read:hotel", "read:guest"))})
    await more.subscriber.tick()
    found = await more.views.connection(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, "scope_not_approved")
    assert found.risks == {"scope_not_approved": "read:guest"}
    await a_day(stage, another(stage.one))
    assert await stage.shown(grant) == (State.FRESH, None)
    await a_day(stage, more)
    wider = replace(pair(2, lifetime=9 * EVERY, property_ids=("1000",)), scopes=("read:guest", "read:hotel"))
    await again(stage, grant, wider)
    await more.subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, None)
    assert await messages(stage) == ["connected", "at_risk", "risk_over", "at_risk", "risk_over"]


async def test_a_subscription_that_lacks_a_scope(stage: Stage) -> None:
    """Reported where Cloudbeds refuses it, once; over when it is taken, or not wanted any more."""
    grant = await stage.connected(LONG)
    wanted = (Wanted("reservation/created", HOOK),)
    process = another(stage.one, wanted=wanted, apps={"default": replace(APP, scopes=())})
    stage.vendor.webhooks_refuse = [None, NO_SCOPE, None, NO_SCOPE]
    await process.subscriber.tick()
    await a_day(stage, process)
    found = await process.views.connection(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, "missing_scope")
    assert found.risks == {"subscription_lacks_scope": "reservation/created"}
    await a_day(stage, process)
    assert (await process.views.connection(grant.connection_id)).risks == {}
    assert await messages(stage) == ["connected", "at_risk", "risk_over"]
    stage.vendor.there.clear()
    stage.vendor.webhooks_refuse = [None, NO_SCOPE]
    await a_day(stage, process)
    await another(stage.one, wanted=()).subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, None)
    assert [line for line, _ in await lines(stage, grant)] == ["risk_found", "risk_over"] * 2


async def test_a_subscription_that_needs_what_the_app_does_not_ask_for(stage: Stage) -> None:
    """Whatever words it is refused in: the app has to ask, and the hotel to approve."""
    grant = await stage.connected(LONG)
    process = another(stage.one, wanted=(Wanted("reservation/created", HOOK),))
    stage.vendor.webhooks_refuse = [None, Refusal("unknown", Act.NOTHING, "No.")]
    await process.subscriber.tick()
    found = await process.views.shown(grant.connection_id)
    assert found.risks == {"subscription_lacks_scope": "reservation/created"}
    assert "CLOUDBEDS_SCOPES" in (mend("subscription_lacks_scope", found) or "")
    assert await messages(stage) == ["connected", "at_risk"]


async def test_an_approval_that_was_asked_for_without_scopes(stage: Stage) -> None:
    """It has all that the app is registered for: settings that name some by now put no fleet at risk."""
    grant = await stage.connected(replace(LONG, scopes=None))
    await another(stage.one, apps={"default": replace(APP, scopes=("read:guest",))}).subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, None)


async def test_a_scope_that_a_call_lacks(stage: Stage) -> None:
    """The next pair lacks it as well: it is shown until the hotel approves again."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    stage.one.refused_calls.note_refusal(grant.token(), NO_SCOPE, "GET", "/api/v1.3/getGuestList")
    await stage.one.idle()
    await stage.clock.sleep(3300.0)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    found = await stage.one.views.connection(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, "missing_scope")
    assert found.risks == {"missing_scope": "/api/v1.3/getGuestList"}
    await again(stage, grant, pair(3, property_ids=("1000",)))
    assert await stage.shown(grant) == (State.FRESH, None)
    assert await messages(stage) == ["connected", "at_risk", "risk_over"]


async def test_a_pasted_key(stage: Stage) -> None:
    """No user approved it, so none is asked about; a scope that a call lacks is mended by another key, and by no link.
    A hotel that moves to one is not at risk for its former approver.
    """
    grant = await stage.connected(LONG)
    stage.vendor.approver = ("Front desk",)
    await stage.one.subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, "approver_no_owner")
    stage.vendor.listed = ("1000",)
    home = await stage.one.pasted_keys.add(
        Secret("cbat_1"), app=None, reference=None, connection_id=grant.connection_id, expected_properties=("1000",)
    )
    await stage.one.subscriber.tick()
    assert (await stage.one.views.connection(home)).problem is None
    row = await current_grant(stage.one.world.db, home)
    assert row is not None
    stage.one.refused_calls.note_refusal(row.token(), NO_SCOPE, "GET", "/api/v1.3/getGuestList")
    await stage.one.idle()
    found = await stage.one.views.shown(home)
    assert (found.pasted, found.problem, found.connect_url) == (True, "missing_scope", None)
    assert "new API key with this scope" in (found.next_step or "")
    assert (mend("missing_scope", found), mend("not_renewable", found)) == (
        found.next_step, NEXT_STEP["not_renewable"],
    )  # fmt: skip


async def test_a_grant_that_cannot_be_renewed(stage: Stage) -> None:
    """Every refresh token is refused while the access token works: that is more than a backoff. A pair ends it."""
    grant = await stage.connected(LONG)
    stage.endpoint.will(Refused("no"), Refused("no"), issued(2, lifetime=EVERY))
    await stage.clock.sleep(0.95 * 9 * EVERY)
    await stage.one.refresh(grant.id, 1)
    await stage.clock.sleep(stage.timing.refusal_interval + 1)
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert await stage.shown(grant) == (State.BACKING_OFF, "not_renewable")
    assert "connect link in time" in ((await stage.one.views.connection(grant.connection_id)).next_step or "")
    await stage.clock.sleep(3600.0)
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert await stage.shown(grant) == (State.FRESH, None)
    assert await messages(stage) == ["at_risk", "risk_over"]  # the first one was forgotten after a week


async def test_an_approval_without_a_refresh_token(stage: Stage) -> None:
    """It lasts as long as its access token; an API key needs none."""
    grant = await stage.connected(pair(1, refresh=None, property_ids=("1000",)))
    assert await stage.shown(grant) == (State.FRESH, "not_renewable")
    assert await messages(stage) == ["connected", "at_risk"]
    other = await stage.connected(key("1", "2000").pair)
    assert await stage.shown(other) == (State.FRESH, None)


async def test_a_risk_of_a_hotel_that_is_marked_or_gone(stage: Stage) -> None:
    """The mark says more: no message is sent of a risk; a disconnect forgets all of them. Where one of several is over,
    none is sent either.
    """
    grant = await stage.connected(LONG)
    await stage.one.store.write(note_risks(grant.id, {"missing_scope": "/x", "not_renewable": "why"}))
    assert (await stage.one.store.write(note_risks(grant.id, {"missing_scope": None}))).over == ["missing_scope"]
    await stage.one.store.write(note_risks(grant.id, {"scope_not_approved": "read:guest"}))
    stage.sql("UPDATE grants SET reauth = 'revoked', marked_at = 1, state = 'reauthorization_required'")
    changes = await stage.one.store.write(note_risks(grant.id, dict.fromkeys(("not_renewable", "scope_not_approved"))))
    assert (list(changes.found), list(changes.over)) == ([], ["not_renewable", "scope_not_approved"])
    assert await messages(stage) == ["connected", "at_risk", "at_risk"]
    await stage.one.store.write(note_risks(grant.id, {"scope_not_approved": "read:guest"}))
    await stage.one.store.write(disconnect(grant.connection_id))
    assert stage.sql("SELECT risks FROM connections") == [("{}",)]
    assert not (await stage.one.store.write(note_risks(grant.id, {"scope_not_approved": "read:guest"}))).found
