"""Which hotel an approval is for: until Cloudbeds has named a property, what came without one is used by nobody."""

from __future__ import annotations

import pytest
from tests.support.fakes import issued, key, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import ReauthorizationRequired, RefreshInDoubt
from cloudbeds_auth.ports import Throttled, Unlisted
from cloudbeds_auth.rules.api_errors import OUTAGE, UNREADABLE, Act, Inconclusive, Proof, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, Role
from cloudbeds_auth.rules.presentation import WAITING
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.history import read_history

SCOPE = Unlisted(Refusal("missing_scope", Act.REPORT, "Scope required"))
FORBIDDEN = Unlisted(Refusal("forbidden", Act.REPORT))
CLOSED = Unlisted(Refusal("property_closed", Act.REPORT))
SUSPECT = Unlisted(Refusal("revoked", Act.SUSPECT))


async def waiting(stage: Stage, answer: tuple[str, ...] | Unlisted) -> Grant:
    """An approval without properties, of a vendor that says this about them."""
    stage.vendor.listed = answer
    finished = await stage.approve(issued(1, lifetime=40 * 3600.0))
    found = await stage.one.store.read(read_candidate(finished.connection.id))
    assert found is not None, "it was promoted"
    return found


TOLD = {
    "property_unknown": "the hotel approved, but Cloudbeds has not said yet for which property",
    "hotel_scope_missing": "Cloudbeds does not say which property this is: the approval lacks the scope read:hotel",
}


@pytest.mark.parametrize(
    ("answer", "problem", "reason"),
    [
        ((), "property_unknown", "no_property"),
        (SCOPE, "hotel_scope_missing", "missing_scope"),
        (FORBIDDEN, "hotel_scope_missing", "forbidden"),
        (CLOSED, "property_unknown", "property_closed"),
        (SUSPECT, "property_unknown", "revoked"),
        (Unlisted(OUTAGE), "property_unknown", "outage"),
        (Unlisted(UNREADABLE), "property_unknown", "unreadable"),
    ],
)
async def test_no_property_is_named(
    stage: Stage, answer: tuple[str, ...] | Unlisted, problem: str, reason: str
) -> None:
    """It waits, nobody is lent its token, and people see why: in the list, and once in the history."""
    grant = await waiting(stage, answer)
    shown = await stage.one.views.connection(grant.connection_id)
    assert (shown.state, shown.problem, shown.next_step) == (State.IN_DOUBT, problem, WAITING[problem].text)
    assert shown.connected_at is None
    expected = ReauthorizationRequired if problem == "hotel_scope_missing" else RefreshInDoubt
    for _ in range(2):
        with pytest.raises(expected) as told:
            await stage.one.access.access_token(grant.connection_id)
        assert told.value.next_step == WAITING[problem].text
        assert (told.value.connection_id, told.value.detail) == (grant.connection_id, TOLD[problem])
    (line,) = [
        one for one in await stage.one.store.read(read_history(grant.connection_id)) if one.kind == "property_unknown"
    ]
    said = answer.refusal.said if isinstance(answer, Unlisted) else ""
    assert (line.grant_id, line.generation, line.data) == (grant.id, 1, {"reason": reason, "said": said})
    assert stage.notes.times("property_unknown") == 1
    assert stage.notes.times("connected") == 0


@pytest.mark.parametrize("answer", [SCOPE, Unlisted(OUTAGE)])
async def test_a_marked_hotel_approves_again_and_is_not_named(stage: Stage, answer: tuple[str, ...] | Unlisted) -> None:
    """Its callers are told what is in the way of the approval that it just gave, not that the former one is over."""
    old = await stage.marked(await stage.connected())
    stage.vendor.listed = answer
    with pytest.raises(RefreshInDoubt, match="the approval is stored"):
        await stage.approve(issued("new"), connection_id=old.connection_id)
    problem = "property_unknown" if answer == Unlisted(OUTAGE) else "hotel_scope_missing"
    with pytest.raises((RefreshInDoubt, ReauthorizationRequired)) as told:
        await stage.one.access.access_token(old.connection_id)
    assert (told.value.detail, told.value.next_step) == (TOLD[problem], WAITING[problem].text)


@pytest.mark.parametrize("answer", [(), SCOPE, Unlisted(OUTAGE)])
async def test_whoever_wants_it_goes_on(stage: Stage, answer: tuple[str, ...] | Unlisted) -> None:
    """As soon as a property is named it is connected, and nothing is wrong any more."""
    grant = await waiting(stage, answer)
    stage.vendor.listed = ("1000", "1001")
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    shown = await stage.one.views.connection(grant.connection_id)
    assert (shown.state, shown.problem, shown.next_step) == (State.FRESH, None, None)
    assert shown.property_ids == ("1000", "1001")
    assert await resolve(stage.one.store, "1001") == [grant.connection_id]


@pytest.mark.parametrize(
    ("answer", "seldom"), [((), True), (SCOPE, True), (CLOSED, True), (Unlisted(OUTAGE), False), (SUSPECT, False)]
)
async def test_the_background_asks_again(stage: Stage, answer: tuple[str, ...] | Unlisted, seldom: bool) -> None:
    """What had an answer is asked about once an hour, anything else about once a minute; in the end it is connected."""
    grant = await waiting(stage, answer)
    before, behind = len(stage.vendor.asked), stage.one.upkeep
    for _ in range(61):
        await stage.clock.sleep(60.0)
        await behind.tick()
    asked = len(stage.vendor.asked) - before
    assert asked == 1 if seldom else 20 <= asked <= 61
    stage.vendor.listed = ("1000",)
    for _ in range(61):
        await stage.clock.sleep(60.0)
        await behind.tick()
    assert (await stage.row(grant.id)).role is Role.ACTIVE


@pytest.mark.parametrize("answer", [(), SCOPE, Unlisted(OUTAGE)])
async def test_what_userinfo_names_is_taken_where_the_list_does_not_say(
    stage: Stage, answer: tuple[str, ...] | Unlisted
) -> None:
    """The list comes first; the documented body names none, one that does is believed."""
    stage.vendor.thinks("A-1", Proof(None, ("1000",)))
    stage.vendor.listed = answer
    grant = await stage.connected(pair(1), proven=False)
    assert await stage.one.candidates.resume(grant.connection_id) is not None
    assert await resolve(stage.one.store, "1000") == [grant.connection_id]
    stage.vendor.thinks("A-2", Proof(None, ("2000",)))
    stage.vendor.listed = ("3000", "3001")
    other = await stage.connected(pair(2), proven=False)
    promoted = await stage.one.candidates.resume(other.connection_id)
    assert promoted is not None
    assert promoted.property_ids == ("3000", "3001")


async def test_a_caller_that_asks_each_second(stage: Stage) -> None:
    """Cloudbeds is asked once in a lease's time, and the caller told when that is over; a newer approval at once."""
    grant = await waiting(stage, Unlisted(OUTAGE))
    asked, left = len(stage.vendor.asked), []
    for _ in range(int(stage.timing.lease)):
        with pytest.raises(RefreshInDoubt) as told:
            await stage.one.access.access_token(grant.connection_id)
        left.append(told.value.retry_after)
        await stage.clock.sleep(1.0)
    assert len(stage.vendor.asked) - asked == 1
    assert left == pytest.approx([stage.timing.lease - at for at in range(len(left))])
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(grant.connection_id)
    assert len(stage.vendor.asked) - asked == 2
    await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-new"


async def test_a_vendor_without_a_list_of_properties(stage: Stage) -> None:
    """Its port says so: nothing is asked, and nothing is waited for."""
    stage.vendor.lists_properties = False
    stage.vendor.throttled = Throttled(5.0)
    grant = await stage.connected(pair(1), proven=False)
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    assert (await stage.row(grant.id)).role is Role.ACTIVE


async def test_one_that_is_not_proven_either_is_lent_to_nobody(stage: Stage) -> None:
    """While its property is not known; one whose property is known is lent as it was."""
    stage.vendor.script = [Inconclusive("HTTP 503")] * 2
    unknown = await stage.connected(pair(1), proven=False)
    with pytest.raises(RefreshInDoubt) as told:
        await stage.one.access.access_token(unknown.connection_id)
    assert told.value.retry_after == stage.timing.lease
    known = await stage.connected(pair(2, property_ids=("2000",)), proven=False)
    assert (await stage.one.access.access_token(known.connection_id)).reveal() == "A-2"


async def test_a_key_whose_hotel_is_not_named(stage: Stage) -> None:
    """The rule of every approval: it waits, and is used when it is named."""
    stage.vendor.listed = SCOPE
    found = (await stage.approve(key(1))).connection
    assert (found.credential, found.problem) == ("api_key", "hotel_scope_missing")
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(found.id)
    stage.vendor.listed = ("1000",)
    await stage.clock.sleep(stage.timing.lease)
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_1"


async def test_an_arrival_that_is_claimed(stage: Stage) -> None:
    """From the Marketplace, and claimed: as any other."""
    stage.endpoint.will(issued(1))
    parked = (await stage.one.authorizer.arrive(code="code")).connection
    assert await stage.one.authorizer.claim(parked.id, "tenant-7") == parked.id
    assert (await stage.one.views.connection(parked.id)).problem == "property_unknown"
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(parked.id)
    stage.vendor.listed = ("1000",)
    await stage.clock.sleep(stage.timing.lease)
    assert (await stage.one.access.access_token(parked.id)).reveal() == "A-1"


async def test_what_works_is_used_while_a_newer_approval_waits(stage: Stage) -> None:
    """The pointer does not move for one whose hotel nobody knows."""
    old = await stage.connected(pair(1, property_ids=("1000",)))
    newer = await stage.candidate(old.connection_id, pair("new"))
    stage.vendor.listed = SCOPE
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    assert (await stage.row(newer.id)).role is Role.CANDIDATE
    assert "property_unknown" in await stage.kinds(old.connection_id)


async def test_a_reason_that_changes_is_told_again(stage: Stage) -> None:
    """First an outage, then what the hotel can mend; and a way to mend it."""
    grant = await waiting(stage, Unlisted(OUTAGE))
    views = stage.one.views
    assert (await views.linked(await stage.one.views.connection(grant.connection_id))).connect_url is None
    stage.vendor.listed = SCOPE
    await stage.one.candidates.resume(grant.connection_id)
    shown = await views.linked(await stage.one.views.connection(grant.connection_id))
    assert shown.problem == "hotel_scope_missing"
    assert shown.connect_url is not None
    assert (await stage.kinds(grant.connection_id)).count("property_unknown") == 2
