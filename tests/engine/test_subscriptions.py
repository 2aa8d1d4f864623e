"""Hotels are subscribed to Cloudbeds' webhooks: made where missing, never twice, ended when nobody wants them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.support.fakes import APP, HOOK, pair
from tests.support.stage import Process, Stage, another

from cloudbeds_auth.engine.subscriptions import AT_ONCE
from cloudbeds_auth.errors import Error, StoreUnavailable, TokenEndpointUnavailable
from cloudbeds_auth.ports import Throttled
from cloudbeds_auth.rules.api_errors import OUTAGE, UNREADABLE, Act, DeadToken, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.properties import FIRST
from cloudbeds_auth.rules.schedule import PAUSE, RETRY_FIRST
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import APP_STATE, EVERY, HOLD, LEFT, Wanted
from cloudbeds_auth.rules.token_response import Refused
from cloudbeds_auth.transactions import subscriptions
from cloudbeds_auth.transactions.history import read_history

CREATED, CHANGED = "reservation/created", "reservation/status_changed"
BOTH = (Wanted(CREATED, HOOK), Wanted(CHANGED, HOOK))
NO_SCOPE = Refusal("missing_scope", Act.REPORT, "Scope required for this call was not granted by property.")
REJECTED = Refusal("unauthorized", Act.HEAL)


async def hotel(stage: Stage, *property_ids: str) -> Grant:
    """A connected hotel whose token lasts for the whole test."""
    return await stage.connected(pair(1, lifetime=9 * EVERY, property_ids=property_ids or ("1000",)))


async def states(process: Process, grant: Grant) -> dict[tuple[str, str], str]:
    """How its subscriptions are shown, by property and event."""
    found = await process.views.connection(grant.connection_id)
    return {(one.property_id, one.event): one.state for one in found.subscriptions}


async def lines(stage: Stage, grant: Grant) -> list[dict[str, object]]:
    """What the history says of them, oldest first."""
    events = await stage.one.store.read(read_history(grant.connection_id))
    return [dict(one.data) for one in reversed(events) if one.kind == "subscriptions_changed"]


async def test_a_hotel_that_connected_is_subscribed(stage: Stage) -> None:
    """At once, for each property; a day later nothing is made again, however many processes there are."""
    grant = await hotel(stage, "1000", "1001")
    process = another(stage.one, wanted=BOTH)
    assert 0.0 < await process.subscriber.tick() <= PAUSE
    expected = {(one, event) for one in ("1000", "1001") for event in (CREATED, CHANGED)}
    assert {(part, event) for event, part in stage.vendor.subscribed} == expected
    assert await states(process, grant) == dict.fromkeys(expected, "subscribed")
    assert [one["made"] for one in await lines(stage, grant)] == [[CREATED, CHANGED]] * 2
    await stage.clock.sleep(EVERY)
    await process.subscriber.tick()
    await another(await stage.process(), wanted=BOTH).subscriber.tick()
    assert len(stage.vendor.subscribed) == 4
    assert stage.notes.times("subscriptions_changed") == 2
    assert stage.notes.times("subscription_failed") == 0


async def test_one_that_was_deleted_is_made_anew(stage: Stage) -> None:
    """Within a day, and only that one."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    await process.subscriber.tick()
    del stage.vendor.there["1000", f"{CREATED}@1000"]
    await stage.clock.sleep(0.9 * EVERY - 1)
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 2
    await stage.clock.sleep(0.1 * EVERY + 1)
    await process.subscriber.tick()
    assert stage.vendor.subscribed[2:] == [(CREATED, "1000")]
    assert set((await states(process, grant)).values()) == {"subscribed"}


async def test_a_group_that_grows(stage: Stage) -> None:
    """The new property is subscribed at once; one that left is forgotten, for nothing of it can be asked any more."""
    grant = await hotel(stage, "1000", "1001")
    process = another(stage.one, wanted=BOTH)
    await process.subscriber.tick()
    stage.vendor.listed = ("1000", "1002")
    await stage.clock.sleep(FIRST)
    await process.property_lists.tick()
    await process.subscriber.tick()
    assert {part for part, _ in await states(process, grant)} == {"1000", "1002"}
    assert sorted(stage.vendor.subscribed[4:]) == [(CREATED, "1002"), (CHANGED, "1002")]


@pytest.mark.parametrize("lost", [OUTAGE, UNREADABLE])
async def test_a_lost_answer_makes_none_twice(stage: Stage, lost: Refusal) -> None:
    """It may be there or not: it is listed soon, made where it is missing, and ours in either case."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    stage.vendor.webhooks_refuse = [None, lost]
    await process.subscriber.tick()
    assert await states(process, grant) == {("1000", CREATED): "pending"}
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert stage.vendor.subscribed == [(CREATED, "1000")] * (1 if lost is OUTAGE else 2)
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}
    await another(stage.one, wanted=()).disconnecter.disconnect(grant.connection_id, forget=False)
    assert stage.vendor.unsubscribed == [f"{CREATED}@1000"]


async def test_a_process_that_dies_before_it_can_write_down_what_it_made(stage: Stage) -> None:
    """What it was about to make is stored: the next comparison finds it and makes nothing."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    usual = stage.vendor.subscribe

    async def killed(access: Secret, wanted: Wanted, property_id: str | None) -> str | Refusal:
        await usual(access, wanted, property_id)
        raise StoreUnavailable

    stage.vendor.subscribe = killed  # type: ignore[method-assign]
    await process.subscriber.tick()
    stage.vendor.subscribe = usual  # type: ignore[method-assign]
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 1
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}
    assert stage.notes.facts("subscription_failed")[0]["error"] == "store_unavailable"


async def test_a_missing_scope_is_shown(stage: Stage) -> None:
    """The hotel stays healthy; its problem, the next step, the history and the log say so, once; it is asked again."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    stage.vendor.webhooks_refuse = [None, NO_SCOPE]
    await process.subscriber.tick()
    found = await process.views.connection(grant.connection_id)
    assert (found.state, found.problem) == (State.FRESH, "missing_scope")
    assert "CLOUDBEDS_SCOPES" in (found.next_step or "")
    assert await states(process, grant) == {("1000", CREATED): "missing_scope", ("1000", CHANGED): "subscribed"}
    assert (await lines(stage, grant))[0]["refused"] == {CREATED: f"missing_scope: {NO_SCOPE.said}"}
    stage.vendor.webhooks_refuse = [None, NO_SCOPE]
    await stage.clock.sleep(EVERY)
    await process.subscriber.tick()
    assert len(await lines(stage, grant)) == 1
    assert stage.notes.times("subscription_failed") == 1
    await stage.clock.sleep(EVERY)
    await process.subscriber.tick()
    assert await stage.shown(grant) == (State.FRESH, None)


async def test_a_refusal_in_unknown_words(stage: Stage) -> None:
    """A problem of its own; where the words repeat what was sent, its secrets are left out."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    stage.vendor.webhooks_refuse = [None, Refusal("unknown", Act.NOTHING, f"Not {HOOK.url}, {HOOK.value.reveal()}")]
    await process.subscriber.tick()
    ((said, shown),) = stage.sql(
        "SELECT e.data, c.subscriptions FROM events e, connections c WHERE e.kind LIKE 'subs%'"
    )
    assert "Not [the address], [the header]" in said
    assert HOOK.value.reveal() not in f"{said}{shown}{stage.notes.facts('subscription_failed')}"
    found = await process.views.connection(grant.connection_id)
    assert found.problem == "subscription_refused"
    assert "CLOUDBEDS_AUTH_SUBSCRIPTIONS" in (found.next_step or "")


@pytest.mark.parametrize("refusal", [OUTAGE, UNREADABLE, Refusal("revoked", Act.SUSPECT)])
async def test_no_list_makes_nothing(stage: Stage, refusal: Refusal) -> None:
    """Nothing is sent that could double one; it is reported, and asked again soon."""
    await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    stage.vendor.webhooks_refuse = [refusal]
    await process.subscriber.tick()
    await process.idle()
    assert stage.vendor.subscribed == []
    assert stage.vendor.asked == (["A-1"] if refusal.act is Act.SUSPECT else [])
    assert stage.notes.facts("subscription_failed")[0]["error"] == refusal.reason
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 2


async def test_a_list_that_is_refused_for_good(stage: Stage) -> None:
    """People see why, and nothing is sent that could double one; it is asked for again a day later, and no sooner. What
    was made before stays ours.
    """
    grant = await hotel(stage)
    await another(stage.one, wanted=BOTH[:1]).subscriber.tick()
    stage.vendor.webhooks_refuse = [NO_SCOPE]
    process = another(stage.one, wanted=BOTH)
    await process.subscriber.tick()
    assert await states(process, grant) == {("1000", CREATED): "missing_scope", ("1000", CHANGED): "missing_scope"}
    assert await stage.shown(grant) == (State.FRESH, "missing_scope")
    await stage.clock.sleep(0.9 * EVERY - 1)
    await process.subscriber.tick()
    assert stage.vendor.subscribed == [(CREATED, "1000")]
    await stage.clock.sleep(0.1 * EVERY + 1)
    await process.subscriber.tick()
    assert set((await states(process, grant)).values()) == {"subscribed"}
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert sorted(stage.vendor.unsubscribed) == [f"{CREATED}@1000", f"{CHANGED}@1000"]


async def test_a_rejected_token_is_asked_about(stage: Stage) -> None:
    """As any caller's 401 is (rule-8): it is proven, and the next comparison comes soon."""
    await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    stage.vendor.webhooks_refuse = [REJECTED]
    await process.subscriber.tick()
    assert stage.vendor.asked == ["A-1"]
    assert stage.endpoint.sent == []
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 2


async def test_a_429_is_everybodys_pause(stage: Stage) -> None:
    """Reported, and tried again later; nothing is lost."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    usual = stage.vendor.subscriptions

    async def throttled(access: Secret, property_id: str | None) -> Refusal:
        raise Throttled(7.0)

    stage.vendor.subscriptions = throttled  # type: ignore[method-assign]
    await process.subscriber.tick()
    assert stage.notes.facts("subscription_failed") == [{"connection_id": grant.connection_id, "error": "rate_limited"}]
    assert stage.notes.times("vendor_rate_limited") == 1
    stage.vendor.subscriptions = usual  # type: ignore[method-assign]
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 2


async def test_other_settings_hold_at_the_next_start(stage: Stage) -> None:
    """What is new is made and what nobody wants any more is ended, without waiting for the day to end."""
    grant = await hotel(stage)
    await another(stage.one, wanted=BOTH).subscriber.tick()
    process = another(stage.one, wanted=(Wanted("guest/created", HOOK), BOTH[0]))
    await process.subscriber.tick()
    assert stage.vendor.unsubscribed == [f"{CHANGED}@1000"]
    assert stage.vendor.subscribed[2:] == [("guest/created", "1000")]
    assert set(await states(process, grant)) == {("1000", "guest/created"), ("1000", CREATED)}
    assert (await lines(stage, grant))[-1]["ended"] == [CHANGED]
    await another(stage.one, wanted=(Wanted("guest/created", HOOK), BOTH[0])).subscriber.tick()
    assert len(stage.vendor.subscribed) == 3


async def test_a_process_whose_settings_name_no_events(stage: Stage) -> None:
    """A script or a second service without the variable ends none, and makes none, whenever it starts; hotels that
    connect later are subscribed at once by the service. Settings that say `none` end them.
    """
    grant = await hotel(stage)
    service = another(stage.one, wanted=BOTH)
    await service.subscriber.tick()
    script = another(stage.one, wanted=(), decided=False)
    await script.subscriber.tick()
    await stage.clock.sleep(60.0)
    newer = await hotel(stage, "2000")
    await script.subscriber.tick()
    await service.subscriber.tick()
    await stage.clock.sleep(EVERY + LEFT)
    await script.subscriber.tick()
    assert stage.vendor.unsubscribed == []
    assert set((await states(script, grant)).values()) == set((await states(script, newer)).values()) == {"subscribed"}
    assert len(stage.vendor.subscribed) == 4
    await another(stage.one, wanted=()).subscriber.tick()
    assert (await states(script, grant), stage.vendor.there) == ({}, {})


async def test_our_own_hook_without_an_opinion_of_the_others(stage: Stage) -> None:
    """Where the service with the events has ended, a process that has only the hook is subscribed to that, and keeps
    what the program had; a disconnect ends all of it.
    """
    grant = await hotel(stage)
    await another(stage.one, wanted=BOTH[:1]).subscriber.tick()
    hooked = another(stage.one, wanted=(Wanted(APP_STATE, HOOK),), decided=False)
    await hooked.subscriber.tick()
    assert len(stage.vendor.subscribed) == 1
    await stage.clock.sleep(EVERY + LEFT)
    await hooked.subscriber.tick()
    assert await states(hooked, grant) == {("1000", APP_STATE): "subscribed", ("1000", CREATED): "subscribed"}
    assert stage.vendor.unsubscribed == []
    await hooked.disconnecter.disconnect(grant.connection_id, forget=False)
    assert stage.vendor.there == {}


async def test_a_process_with_former_settings(stage: Stage) -> None:
    """While a fleet is updated it undoes nothing of what those with the newest do; where these have all ended, it makes
    up for them.
    """
    grant = await hotel(stage)
    former, newest = another(stage.one, wanted=BOTH), another(stage.one, wanted=BOTH[:1])
    await former.subscriber.tick()
    await newest.subscriber.tick()
    await stage.clock.sleep(EVERY)
    await former.subscriber.tick()
    assert await states(newest, grant) == {("1000", CREATED): "subscribed"}
    await stage.clock.sleep(LEFT)
    await former.subscriber.tick()
    assert set(await states(newest, grant)) == {("1000", CREATED), ("1000", CHANGED)}


async def test_other_settings_over_a_large_fleet(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hotels are made due a part at a time, so that no transaction is long; what a process with the former settings
    compares meanwhile is compared again.
    """
    for at in range(AT_ONCE):
        await hotel(stage, str(1000 + at))
    former, newest = another(stage.one, wanted=BOTH), another(stage.one, wanted=BOTH[:1])
    await former.subscriber.tick()
    await stage.clock.sleep(EVERY / 2)
    monkeypatch.setattr(subscriptions, "PULLED", AT_ONCE - 1)
    assert await newest.subscriber.tick() == 0.0
    assert stage.vendor.unsubscribed == []
    await former.subscriber.tick()
    await stage.clock.sleep(1.0)
    assert await newest.subscriber.tick() == 0.0
    assert await newest.subscriber.tick() == 0.0
    assert sorted(stage.vendor.unsubscribed) == [f"{CHANGED}@{1000 + at}" for at in range(AT_ONCE)]


async def test_a_hotel_that_connects_while_a_fleet_waits(stage: Stage) -> None:
    """The settings are new, and every hotel is due: one that connects meanwhile is the first."""
    for at in range(2 * AT_ONCE):
        await stage.connected(pair(f"{at}", lifetime=9 * EVERY, property_ids=(str(1000 + at),)))
    await another(stage.one, wanted=()).subscriber.tick()
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    await stage.clock.sleep(60.0)
    await stage.connected(pair("new", lifetime=9 * EVERY, property_ids=("2000",)))
    await process.subscriber.tick()
    assert (CREATED, "2000") in stage.vendor.subscribed
    assert len(stage.vendor.subscribed) == 2 * AT_ONCE


async def test_a_clock_that_was_set_back(stage: Stage) -> None:
    """What was planned by it is compared at once."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    stage.vendor.there.clear()
    stage.sql("UPDATE grants SET subscribe_at = subscribe_at + 1000000")
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 2
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}


async def test_one_that_cannot_be_ended_is_tried_again(stage: Stage) -> None:
    """It stays stored until Cloudbeds takes note."""
    grant = await hotel(stage)
    await another(stage.one, wanted=BOTH[:1]).subscriber.tick()
    process = another(stage.one)
    stage.vendor.webhooks_refuse = [None, OUTAGE]
    await process.subscriber.tick()
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert await states(process, grant) == {}
    assert stage.vendor.there == {}


async def test_one_that_cloudbeds_refuses_to_end(stage: Stage) -> None:
    """It stays stored, the others are ended, and it is tried again a day later and no sooner."""
    grant = await hotel(stage)
    await another(stage.one, wanted=BOTH).subscriber.tick()
    process = another(stage.one)
    stage.vendor.webhooks_refuse = [None, Refusal("unknown", Act.NOTHING)]
    await process.subscriber.tick()
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}
    assert len(stage.vendor.unsubscribed) == 2
    await stage.clock.sleep(EVERY)
    await process.subscriber.tick()
    assert await states(process, grant) == {}


async def test_another_secret_replaces_the_header(stage: Stage) -> None:
    """Posted once more, and the same subscription; where it has another id then, the former one is ended."""
    await hotel(stage)
    await another(stage.one, wanted=BOTH[:1]).subscriber.tick()
    renewed = Wanted(CREATED, replace(HOOK, value=Secret("another")))
    await another(stage.one, wanted=(renewed,)).subscriber.tick()
    assert (len(stage.vendor.subscribed), stage.vendor.unsubscribed) == (2, [])
    stage.vendor.there = {("1000", "former"): CREATED}
    await another(stage.one, wanted=BOTH[:1]).subscriber.tick()
    assert stage.vendor.unsubscribed == ["former"]
    assert list(stage.vendor.there) == [("1000", f"{CREATED}@1000")]


async def test_what_somebody_else_made_is_left_alone(stage: Stage) -> None:
    """Used where it is wanted, never ended; and neither is one that we know nothing of."""
    stage.vendor.there = {("1000", f"{CREATED}@1000"): CREATED, ("1000", "theirs"): "guest/created"}
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    await process.subscriber.tick()
    assert set((await states(process, grant)).values()) == {"subscribed"}
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert stage.vendor.unsubscribed == [f"{CHANGED}@1000"]


async def test_what_somebody_else_made_is_not_ended_for_another_header(stage: Stage) -> None:
    """Where Cloudbeds makes another one beside it, that one is ours, and ends with the hotel's connection."""
    stage.vendor.there = {("1000", "theirs"): CREATED}
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    assert stage.vendor.unsubscribed == []
    del stage.vendor.there["1000", "theirs"]
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert stage.vendor.unsubscribed == [f"{CREATED}@1000"]


async def test_a_disconnect_ends_ours_before_the_app_is_disabled(stage: Stage) -> None:
    """With the token that lives until then; nothing of them is stored afterwards, and none comes back."""
    grant = await hotel(stage, "1000", "1001")
    process = another(stage.one, wanted=BOTH)
    await process.subscriber.tick()
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert len(stage.vendor.unsubscribed) == 4
    assert stage.vendor.disabled == [("A-1", ("1000",)), ("A-1", ("1001",))]
    (stored,) = stage.sql("SELECT subscriptions FROM connections WHERE id = ?", grant.connection_id)
    assert json.loads(stored[0]) == []
    await stage.clock.sleep(EVERY)
    await process.subscriber.tick()
    assert len(stage.vendor.subscribed) == 4


async def test_a_disconnect_that_fails_leaves_a_subscribed_hotel(stage: Stage) -> None:
    """Cloudbeds took no note: the hotel stays connected, and is subscribed again soon."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    stage.vendor.disables = False
    with pytest.raises(TokenEndpointUnavailable):
        await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert await states(process, grant) == {}
    await stage.clock.sleep(HOLD)
    await process.subscriber.tick()
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}


async def test_a_disconnect_does_not_wait_for_a_list(stage: Stage) -> None:
    """Where Cloudbeds lists nothing, the hotel is disconnected all the same."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    stage.vendor.webhooks_refuse = [OUTAGE]
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert await stage.shown(grant) == (State.DISCONNECTED, None)
    assert stage.vendor.unsubscribed == []


async def test_a_disconnect_of_a_group_while_cloudbeds_does_not_answer(stage: Stage) -> None:
    """It waits no longer than a caller would, however many properties there are."""
    grant = await hotel(stage, *map(str, range(1000, 1050)))
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()

    async def unanswered(access: Secret, property_id: str | None) -> Refusal:
        await stage.clock.sleep(stage.timing.deadline)
        return OUTAGE

    stage.vendor.subscriptions = unanswered  # type: ignore[method-assign]
    began = stage.clock.steady()
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert stage.clock.steady() - began <= stage.timing.wait + stage.timing.deadline
    assert await stage.shown(grant) == (State.DISCONNECTED, None)


async def test_a_hotel_that_healed_is_subscribed_again(stage: Stage) -> None:
    """Cloudbeds deletes subscriptions when a hotel disconnects: a mark that ends by a proof makes them anew at once."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    stage.vendor.there.clear()
    stage.vendor.script = [DeadToken(), DeadToken()]
    stage.endpoint.will(Refused("by mistake"), Refused("by mistake"))
    for _ in range(2):
        with pytest.raises(Error):
            await process.refresh(grant.id, 1, rejected=1)
        await stage.clock.sleep(stage.timing.refusal_interval + 1)
    assert (await stage.shown(grant))[0] is State.REAUTHORIZATION_REQUIRED
    assert await states(process, grant) == {}
    await stage.clock.sleep(RETRY_FIRST)
    await process.upkeep.tick()
    await process.subscriber.tick()
    assert await states(process, grant) == {("1000", CREATED): "subscribed"}
    assert len(stage.vendor.subscribed) == 2


async def test_a_property_level_client_has_no_app_state(stage: Stage) -> None:
    """It is subscribed to everything else."""
    stage.apps["default"] = replace(APP, level="property")
    await hotel(stage)
    await another(stage.one, wanted=(Wanted(APP_STATE, HOOK), BOTH[0])).subscriber.tick()
    assert stage.vendor.subscribed == [(CREATED, "1000")]


async def test_without_a_known_property_the_grants_own_is_meant(stage: Stage) -> None:
    """Cloudbeds is asked without an id, as everywhere."""
    grant = await stage.connected(pair(1, lifetime=9 * EVERY))
    process = another(stage.one, wanted=BOTH[:1])
    await process.subscriber.tick()
    assert stage.vendor.subscribed == [(CREATED, None)]
    assert await states(process, grant) == {("", CREATED): "subscribed"}


async def test_nothing_wanted_lists_nothing(stage: Stage) -> None:
    """What nobody asked for is not compared."""
    await hotel(stage)
    stage.vendor.webhooks_refuse = [NO_SCOPE]
    await stage.one.subscriber.tick()
    assert stage.vendor.webhooks_refuse == [NO_SCOPE]


async def test_a_hotel_that_is_marked_or_comes_again_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its old token would do is left to the next comparison."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH)
    newer = replace(grant.token(), grant_id="gra_newer")

    async def token(*_: object, **__: object) -> object:
        return newer

    monkeypatch.setattr(process.access, "access_token", token)
    await process.subscriber.tick()
    stage.sql("UPDATE grants SET reauth = 'revoked'")
    await process.subscriber._compare(grant.connection_id)
    assert stage.vendor.subscribed == []


async def test_a_grant_that_is_replaced_during_the_comparison(stage: Stage) -> None:
    """Nothing is written about it."""
    grant = await hotel(stage)
    process = another(stage.one, wanted=BOTH[:1])
    usual = stage.vendor.subscribe

    async def replaced(access: Secret, wanted: Wanted, property_id: str | None) -> str | Refusal:
        stage.sql("UPDATE grants SET role = 'superseded' WHERE id = ?", grant.id)
        return await usual(access, wanted, property_id)

    stage.vendor.subscribe = replaced  # type: ignore[method-assign]
    await process.subscriber.tick()
    assert await lines(stage, grant) == []


async def test_many_are_compared_a_few_at_a_time(stage: Stage) -> None:
    """And the next tick comes at once."""
    for at in range(AT_ONCE + 1):
        await stage.connected(pair(f"{at}", lifetime=9 * EVERY, property_ids=(str(1000 + at),)))
    process = another(stage.one, wanted=BOTH[:1])
    assert await process.subscriber.tick() == 0.0
    assert await process.subscriber.tick() > 0.0
    assert len(stage.vendor.subscribed) == AT_ONCE + 1


async def test_no_secret_is_stored(stage: Stage) -> None:
    """Neither the header's value nor the address, which may hold one: fingerprints."""
    await hotel(stage)
    await another(stage.one, wanted=BOTH).subscriber.tick()
    ((stored,),) = stage.sql("SELECT subscriptions FROM connections")
    assert CREATED in stored
    assert HOOK.value.reveal() not in stored
    assert HOOK.url not in stored
