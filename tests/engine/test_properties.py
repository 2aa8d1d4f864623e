"""Groups grow and shrink: which properties a connection covers is asked anew about once a day."""

from __future__ import annotations

import pytest
from tests.support.fakes import issued, key, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.stage import Stage, another

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.engine.properties import AT_ONCE
from cloudbeds_auth.ports import Listed, Throttled, Turn, Unlisted
from cloudbeds_auth.rules.api_errors import OUTAGE, UNREADABLE, Act, DeadToken, Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.properties import EVERY, FIRST, HOLD
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Refused
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import claim_listings, disconnect
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn

SCOPE = Unlisted(Refusal("missing_scope", Act.REPORT))
REJECTED = Unlisted(Refusal("unauthorized", Act.HEAL))
REVOKED = Unlisted(Refusal("revoked", Act.SUSPECT))


async def group(stage: Stage, *property_ids: str) -> Grant:
    """A connected group, whose turn it is."""
    grant = await stage.connected(pair(1, lifetime=4 * EVERY, property_ids=property_ids))
    await stage.clock.sleep(FIRST)
    return grant


async def covered(stage: Stage, grant: Grant) -> tuple[str, ...]:
    """The properties that the connection covers."""
    return (await stage.one.views.connection(grant.connection_id)).property_ids


async def changes(stage: Stage, grant: Grant) -> list[object]:
    """What the history says of them, oldest first."""
    events = await stage.one.store.read(read_history(grant.connection_id))
    return [dict(one.data) for one in reversed(events) if one.kind.startswith("propert")]


class Answers:
    """What `getHotels` answers, by access token or to everybody, and with which it was asked."""

    def __init__(self, stage: Stage, monkeypatch: pytest.MonkeyPatch, **answers: Listed | Unlisted) -> None:
        self.stage, self.answers, self.asked = stage, answers, list[str]()
        monkeypatch.setattr(stage.vendor, "properties", self.properties)

    async def properties(self, access: Secret, turn: Turn, /) -> Listed | Unlisted:
        await turn()
        self.asked.append(access.reveal())
        return self.answers[access.reveal().replace("-", "_")]


async def test_a_group_grows_and_shrinks(stage: Stage) -> None:
    """What the vendor lists now is what leads to the connection; a look-up of what left finds nothing."""
    grant = await group(stage, "1000", "1001")
    stage.vendor.listed = ("1002", "1000")
    assert await stage.one.property_lists.tick() > 0
    assert await covered(stage, grant) == ("1000", "1002")
    assert await stage.one.ids.resolve("1002") == grant.connection_id
    assert await resolve(stage.one.store, "1001") == []
    assert await changes(stage, grant) == [{"added": ["1002"], "dropped": ["1001"]}]
    assert [facts for what, facts in stage.notes.told if what == "properties_changed"] == [
        {"connection_id": grant.connection_id, "added": 1, "dropped": 1}
    ]
    assert stage.endpoint.sent == []
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"


async def test_an_approval_for_a_part_of_a_group(stage: Stage) -> None:
    """What left with it is told at once, in the history and to who counts; nothing is where it is the first one."""
    grant = await group(stage, "1000", "1001")
    assert stage.notes.times("properties_changed") == 0
    await stage.approve(issued("again", property_ids=("1001",)), connection_id=grant.connection_id)
    assert await covered(stage, grant) == ("1001",)
    assert await changes(stage, grant) == [{"added": [], "dropped": ["1000"]}]
    assert [facts for what, facts in stage.notes.told if what == "properties_changed"] == [
        {"connection_id": grant.connection_id, "added": 0, "dropped": 1}
    ]


async def test_it_is_asked_again_a_day_later(stage: Stage) -> None:
    """And not before, by however many processes; a part of its own earlier."""
    grant = await group(stage, "1000")
    stage.vendor.listed = ("1000",)
    await stage.one.property_lists.tick()
    stage.vendor.listed = ("1000", "1001")
    other = await stage.process()
    await stage.clock.sleep(0.9 * EVERY - 1)
    for process in (stage.one, other):
        await process.property_lists.tick()
    assert await covered(stage, grant) == ("1000",)
    await stage.clock.sleep(0.1 * EVERY + 1)
    await other.property_lists.tick()
    assert await covered(stage, grant) == ("1000", "1001")


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        ((), EVERY), (SCOPE, EVERY), (Unlisted(OUTAGE), HOLD), (Unlisted(UNREADABLE), HOLD), (REVOKED, HOLD),
        (REJECTED, HOLD),
    ],
)  # fmt: skip
async def test_no_list_changes_nothing(stage: Stage, answer: tuple[str, ...] | Unlisted, again: float) -> None:
    """Empty, refused or unreadable: what is known stays, and it is asked again later."""
    grant = await group(stage, "1000", "1001")
    stage.vendor.listed = answer
    await stage.one.property_lists.tick()
    await stage.one.idle()
    assert await covered(stage, grant) == ("1000", "1001")
    assert await changes(stage, grant) == []
    assert (await stage.one.views.connection(grant.connection_id)).state is State.FRESH
    stage.vendor.listed = ("1000",)
    await stage.clock.sleep(0.9 * again - 1)
    await stage.one.property_lists.tick()
    assert await covered(stage, grant) == ("1000", "1001")
    await stage.clock.sleep(0.1 * again + 1)
    await stage.one.property_lists.tick()
    assert await covered(stage, grant) == ("1000",)
    assert stage.endpoint.sent == [], "no refresh token is spent for it"


async def test_a_list_that_is_not_whole(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One property that the details name, or a cut list: nothing is dropped, and it is asked again in a day."""
    grant = await group(stage, "1000", "1001")
    answers = Answers(stage, monkeypatch, A_1=Listed(("1001", "1002"), whole=False))
    await stage.one.property_lists.tick()
    await stage.clock.sleep(HOLD)
    await stage.one.property_lists.tick()
    assert answers.asked == ["A-1"]
    assert await covered(stage, grant) == ("1000", "1001")


async def test_nothing_is_taken_from_another_connection(stage: Stage) -> None:
    """The group's list names a hotel that is connected by itself: it stays where it is, and that is told once."""
    theirs = await stage.connected(pair(2, lifetime=4 * EVERY, property_ids=("2000",)))
    ours = await group(stage, "1000")
    stage.sql("UPDATE grants SET list_at = NULL WHERE id = ?", theirs.id)
    stage.vendor.listed = ("1000", "2000")
    for _ in range(2):
        await stage.one.property_lists.tick()
        await stage.clock.sleep(EVERY)
    assert await stage.one.ids.resolve("2000") == theirs.connection_id
    assert await covered(stage, ours) == ("1000",)
    assert await covered(stage, theirs) == ("2000",)
    assert await changes(stage, ours) == [{"properties": {"2000": theirs.connection_id}}]
    assert [facts for what, facts in stage.notes.told if what == "property_elsewhere"] == [
        {"connection_id": ours.connection_id, "property": "2000"}
    ]


async def test_a_token_that_is_rejected_is_healed_and_asked_with_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any caller's: `/userinfo` says that it is dead, one refresh, and the list is asked for with the new one."""
    grant = await group(stage, "1000")
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(issued(2))
    answers = Answers(stage, monkeypatch, A_1=REJECTED, A_2=Listed(("1000", "1001")))
    await stage.one.property_lists.tick()
    assert (answers.asked, stage.endpoint.sent) == (["A-1", "A-2"], ["R-1"])
    assert await covered(stage, grant) == ("1000", "1001")


async def test_a_rejection_of_a_token_that_works(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint itself refuses: nothing is sent for it, and it is not asked a second time."""
    grant = await group(stage, "1000")
    answers = Answers(stage, monkeypatch, A_1=REJECTED)
    await stage.one.property_lists.tick()
    assert (answers.asked, stage.vendor.asked, stage.endpoint.sent) == (["A-1"], ["A-1"], [])
    assert await covered(stage, grant) == ("1000",)


async def test_a_hotel_that_left(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of a dead grant marks nobody: the grant is looked at by the one way there is."""
    grant = await group(stage, "1000")
    Answers(stage, monkeypatch, A_1=REVOKED)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(Refused("revoked"))
    await stage.one.property_lists.tick()
    await stage.one.idle()
    assert stage.notes.times("grant_suspected") == 1
    assert (await stage.row(grant.id)).refusals == 1
    assert (await stage.row(grant.id)).reauth is None


async def test_a_token_that_is_over_is_renewed_first(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks with what callers are lent, committed; never with a dead one."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    await stage.clock.sleep(4000.0)
    stage.endpoint.will(issued(2))
    answers = Answers(stage, monkeypatch, A_2=Listed(("1000", "1001")))
    await stage.one.property_lists.tick()
    assert answers.asked == ["A-2"]
    assert (await stage.row(grant.id)).generation == 2
    assert await covered(stage, grant) == ("1000", "1001")


async def test_a_key_is_asked_with_too(stage: Stage) -> None:
    """An API key of a group; years later as well."""
    stage.vendor.listed = ("1000",)
    found = (await stage.approve(key(1))).connection
    stage.vendor.listed = ("1000", "1001")
    await stage.clock.sleep(EVERY)
    await stage.one.property_lists.tick()
    assert await resolve(stage.one.store, "1001") == [found.id]


async def test_a_hotel_that_approves_again_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is of a grant that is no longer in use: it says nothing of the one that is."""
    grant = await group(stage, "1000")

    async def approved_meanwhile(access: Secret, turn: Turn, /) -> Listed:
        newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000", "1001")))
        assert await stage.one.store.write(promote(grant.connection_id, newer.id, newer.generation, None, ()))
        return Listed(("9999",))

    monkeypatch.setattr(stage.vendor, "properties", approved_meanwhile)
    await stage.one.property_lists.tick()
    assert await covered(stage, grant) == ("1000", "1001")
    assert await resolve(stage.one.store, "9999") == []
    assert stage.notes.times("properties_changed") == 0


async def test_a_newer_approval_is_served_before_the_question(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the token: nothing is asked about a grant that is over."""
    grant = await group(stage, "1000")

    async def approved_meanwhile() -> None:
        newer = await stage.candidate(grant.connection_id, pair("new", property_ids=("1000",)))
        assert await stage.one.store.write(promote(grant.connection_id, newer.id, newer.generation, None, ()))

    stage.one.driver.after("current", approved_meanwhile)
    answers = Answers(stage, monkeypatch)
    await stage.one.property_lists.tick()
    assert answers.asked == []


async def test_one_that_cannot_be_asked_about_stops_no_other(stage: Stage) -> None:
    """Its app is gone: told to the observer; the other one is asked about."""
    stage.vendor.listed = ("1000", "1001")
    await stage.connected(pair(2, property_ids=("2000",)), app="gone")
    grant = await group(stage, "1000")
    await stage.one.property_lists.tick()
    assert stage.notes.times("listing_failed") == 1
    assert await covered(stage, grant) == ("1000", "1001")


async def test_a_few_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One tick asks about a few; the next one follows at once while there are more."""
    for number in range(AT_ONCE + 1):
        await stage.connected(pair(number, lifetime=4 * EVERY, property_ids=(str(1000 + number),)))
    await stage.clock.sleep(FIRST)
    answers = Answers(stage, monkeypatch, **{f"A_{at}": Listed((str(1000 + at),)) for at in range(AT_ONCE + 1)})
    behind = stage.one.property_lists
    assert await behind.tick() == 0.0
    assert len(answers.asked) == AT_ONCE, "all are due at one moment: which of them come first is the store's business"
    assert 0.5 * PAUSE <= await behind.tick() <= PAUSE
    assert sorted(answers.asked) == [f"A-{at}" for at in range(AT_ONCE + 1)]


async def test_a_process_that_is_killed_while_it_asks(stage: Stage) -> None:
    """Another one asks when the hold is over."""
    grant = await group(stage, "1000")
    assert await stage.one.store.write(claim_listings(9, HOLD)) == [grant.connection_id]
    other, stage.vendor.listed = await stage.process(), ("1000", "1001")
    await other.property_lists.tick()
    assert await covered(stage, grant) == ("1000",)
    await stage.clock.sleep(HOLD)
    await other.property_lists.tick()
    assert await covered(stage, grant) == ("1000", "1001")


@pytest.mark.row("F20")
async def test_nothing_is_asked_against_a_pause(stage: Stage) -> None:
    """A 429 stops everybody, this question too; and a 429 to the question stops everybody else."""
    vendor = BusyVendor()
    vendor.listed = ("1000", "1001")
    process = await limited(stage, vendor)
    grant = await group(stage, "1000")
    await process.store.write(pause_turns("client-1", 60.0))
    await process.property_lists.tick()
    assert vendor.moments == []
    assert await covered(stage, grant) == ("1000",)
    stage.vendor.throttled = Throttled(60.0)
    theirs = another(stage.one, limit=Limit(rate_within(10)))
    await stage.clock.sleep(HOLD)
    await theirs.property_lists.tick()
    assert stage.notes.times("vendor_rate_limited") == 1
    assert (await stage.one.store.write(reserve_turn("client-1", rate_within(10), 0.0))) > 50.0
    await stage.clock.sleep(HOLD)
    await process.property_lists.tick()
    assert await covered(stage, grant) == ("1000", "1001")


async def test_a_vendor_without_a_list_is_never_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port says so."""
    await group(stage, "1000")
    answers = Answers(stage, monkeypatch)
    stage.vendor.lists_properties = False
    assert await stage.one.property_lists.tick() == PAUSE
    assert answers.asked == []


async def test_a_hotel_that_leaves_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the claim and the look: nobody asks, and nothing went wrong."""
    grant = await group(stage, "1000")

    async def left() -> None:
        await stage.one.store.write(disconnect(grant.connection_id))

    stage.one.driver.after("claim_listings", left)
    answers = Answers(stage, monkeypatch)
    await stage.one.property_lists.tick()
    assert (answers.asked, stage.notes.times("listing_failed")) == ([], 0)
