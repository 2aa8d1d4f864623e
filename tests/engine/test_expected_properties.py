"""An approval that is expected of certain properties, or with a secret: whose it is decides what follows, and when."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.bench import link as new_link
from tests.support.fakes import issued, key, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    Error,
    InvalidRequest,
    PropertyMismatch,
    RefreshInDoubt,
    StateMismatch,
    StoreUnavailable,
    Unclaimed,
)
from cloudbeds_auth.ports import Unlisted
from cloudbeds_auth.rules.api_errors import OUTAGE, DeadToken, Proof
from cloudbeds_auth.rules.code_challenge import challenge_of
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Link, Role
from cloudbeds_auth.rules.token_response import Ambiguous
from cloudbeds_auth.transactions.authorizations import add_link, read_authorization
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import list_connections
from cloudbeds_auth.transactions.grants import take_lease

DAY = 86400.0
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


async def a_link(stage: Stage, **parts: Any) -> Link:
    """A link of tenant-7 for property 1000."""
    usual: dict[str, Any] = {
        "app": None, "reference": "tenant-7", "return_to": "/done", "connection_id": None, "expires_in": 600.0,
        "expected_properties": ("1000",),
    }  # fmt: skip
    return await stage.one.authorizer.create_link(**(usual | parts))


async def opened(stage: Stage, link: Link, browser: str) -> str:
    """Begun in this browser; its state."""
    return (await stage.one.authorizer.begin_from_link(link.token, browser)).state


async def comes_back(stage: Stage, state: str, browser: str, **parts: Any) -> Connection:
    """With a code that no other browser has."""
    return (await stage.one.authorizer.finish(code=f"of {browser}", state=state, browser=browser, **parts)).connection


async def connected(stage: Stage, property_id: str, reference: str) -> Connection:
    """A hotel of before."""
    return (await stage.approve(issued("old", property_ids=(property_id,)), reference=reference)).connection


async def parked(stage: Stage) -> list[Connection]:
    """What waits to be claimed."""
    return list((await stage.one.store.read(list_connections(states=[State.PARKED]))).connections)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("known", [True, False])
async def test_the_hotel_that_was_meant(stage: Stage, named: bool, known: bool) -> None:
    """With the reference, in the connection that it had; whether the answer with the tokens names it or the list."""
    old = await stage.connected(pair("old", property_ids=("1000",))) if known else None
    stage.vendor.listed = ("1000", "1001")
    link = await a_link(stage, expected_properties=("999", "1000"))
    stage.endpoint.will(issued(1, property_ids=("1000",) if named else ()))
    found = await comes_back(stage, await opened(stage, link, "right"), "right")
    assert (found.state, found.reference) == (State.FRESH, "tenant-7")
    assert old is None or found.id == old.connection_id
    assert await stage.one.authorizer.link_outcome(link.token) == found.id
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-1"
    assert await stage.one.ids.resolve("1000") == found.id
    with pytest.raises(AuthorizationExpired):
        await opened(stage, link, "late")


@pytest.mark.row("F87")
@pytest.mark.parametrize("credential", ["named", "listed", "key"])
async def test_another_hotel(stage: Stage, credential: str) -> None:
    """Its tokens wait to be claimed, under no reference; the link is as good as before for the one that was meant."""
    stage.vendor.listed = () if credential == "named" else ("2000",)
    answer = {"named": issued(2, property_ids=("2000",)), "listed": issued(2), "key": key("2")}[credential]
    link = await a_link(stage)
    state = await opened(stage, link, "wrong")
    stage.endpoint.will(answer)
    for _ in range(2):  # a second click is answered alike, and exchanges nothing
        with pytest.raises(PropertyMismatch, match="names property 2000, not 1000") as refused:
            await comes_back(stage, state, "wrong")
        assert (refused.value.expected, refused.value.found) == (("1000",), ("2000",))
        assert refused.value.return_to == "/done"
    [waits] = await parked(stage)
    assert (waits.property_ids, waits.reference) == (("2000",), None)
    assert stage.notes.times("property_mismatch") == 1
    with pytest.raises(Unclaimed):
        await stage.one.access.access_token(waits.id)
    assert await resolve(stage.one.store, "2000") == []
    with pytest.raises(PropertyMismatch, match="names property 2000, not 1000"):
        await stage.one.authorizer.link_outcome(link.token)
    stage.vendor.listed = ("1000",)
    stage.endpoint.will(issued("right", property_ids=("1000",)))
    found = await comes_back(stage, await opened(stage, link, "right"), "right")
    assert (found.reference, found.property_ids) == ("tenant-7", ("1000",))
    assert await stage.one.authorizer.claim(waits.id, "tenant-8") == waits.id
    assert (await stage.one.views.connection(waits.id)).reference == "tenant-8"
    assert await stage.one.ids.resolve("2000") == waits.id


@pytest.mark.row("F87", control=True)
async def test_another_hotel_that_was_not_compared(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then one tenant's link would connect whatever hotel approves, under that tenant's reference."""
    for module in ("candidates", "expectations"):
        monkeypatch.setattr(f"cloudbeds_auth.transactions.{module}.fits", lambda expected, named: True)
    monkeypatch.setattr("cloudbeds_auth.engine.candidates.fits", lambda expected, named: True)
    stage.vendor.listed = ("2000",)
    state = await opened(stage, await a_link(stage), "wrong")
    stage.endpoint.will(issued(2, property_ids=("2000",)))
    found = await comes_back(stage, state, "wrong")
    assert (found.reference, found.property_ids) == ("tenant-7", ("2000",))


@pytest.mark.parametrize("named", [True, False])
async def test_another_hotel_that_is_connected(stage: Stage, named: bool) -> None:
    """The approval may have ended its former tokens: its own connection takes the new ones; its reference stays."""
    theirs = await connected(stage, "2000", "tenant-8")
    stage.vendor.listed = ("2000",)
    state = await opened(stage, await a_link(stage), "wrong")
    stage.endpoint.will(issued("new", property_ids=("2000",) if named else ()))
    with pytest.raises(PropertyMismatch):
        await comes_back(stage, state, "wrong")
    assert await parked(stage) == []
    seen = await stage.one.views.connection(theirs.id)
    assert (seen.state, seen.reference) == (State.FRESH, "tenant-8")
    assert (await stage.one.access.access_token(theirs.id)).reveal() == "A-new"
    assert await stage.one.ids.resolve("2000") == theirs.id
    assert "property_mismatch" in await stage.kinds(theirs.id)


@pytest.mark.parametrize(("listed", "fits"), [(("2000", "1000"), True), (Unlisted(OUTAGE), False)])
async def test_the_answer_names_some_of_a_group(stage: Stage, listed: tuple[str, ...] | Unlisted, fits: bool) -> None:
    """The whole list decides, where Cloudbeds gives it; else what came with the tokens."""
    stage.vendor.listed = listed
    state = await opened(stage, await a_link(stage), "b")
    stage.endpoint.will(issued(1, property_ids=("2000",)))
    if fits:
        assert (await comes_back(stage, state, "b")).reference == "tenant-7"
        assert await resolve(stage.one.store, "2000") != []
    else:
        with pytest.raises(PropertyMismatch):
            await comes_back(stage, state, "b")


@pytest.mark.parametrize("fits", [True, False])
async def test_cloudbeds_names_it_later(stage: Stage, fits: bool) -> None:
    """Until then it is nobody's, whoever asks for it; then any process settles it, and the click shows how."""
    stage.vendor.listed = Unlisted(OUTAGE)
    link = await a_link(stage)
    state = await opened(stage, link, "b")
    stage.endpoint.will(issued(1))
    with pytest.raises(RefreshInDoubt) as waits:
        await comes_back(stage, state, "b")
    own = waits.value.connection_id or ""
    assert (waits.value.return_to, (await stage.one.views.connection(own)).reference) == ("/done", None)
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(own)
    assert await stage.one.authorizer.link_outcome(link.token) is None
    await stage.clock.sleep(2 * DAY)
    stage.vendor.thinks("A-1", DeadToken())
    stage.vendor.listed = ("1000",) if fits else ("2000",)
    stage.endpoint.will(issued(2))
    await stage.one.store.write(add_link(new_link("l2")))  # sweeps what is over
    await (await stage.process()).upkeep.tick()
    if fits:
        assert (await comes_back(stage, state, "b")).reference == "tenant-7"
        assert await stage.one.authorizer.link_outcome(link.token) == own
    else:
        with pytest.raises(PropertyMismatch):
            await comes_back(stage, state, "b")
        assert [one.id for one in await parked(stage)] == [own]


async def test_a_second_click_asks_again(stage: Stage) -> None:
    """Whoever waits need not wait for upkeep."""
    stage.vendor.listed = Unlisted(OUTAGE)
    state = await opened(stage, await a_link(stage), "b")
    stage.endpoint.will(issued(1))
    with pytest.raises(RefreshInDoubt):
        await comes_back(stage, state, "b")
    stage.vendor.listed = ("1000",)
    assert (await comes_back(stage, state, "b")).reference == "tenant-7"


@pytest.mark.parametrize("how", ["refuse", "forget"])
@pytest.mark.parametrize("fits", [True, False])
async def test_a_process_dies_over_it(stage: Stage, how: str, fits: bool) -> None:
    """Before it is settled or after, never between: another process goes on, and no token is lost."""
    stage.vendor.listed = ("1000",) if fits else ("2000",)
    state = await opened(stage, await a_link(stage), "b")
    stage.endpoint.will(issued(1))
    getattr(stage.one.driver, how)("set_found")
    with pytest.raises(StoreUnavailable):
        await comes_back(stage, state, "b")
    two = await stage.process()
    await stage.clock.sleep(61.0)
    await two.upkeep.tick()
    if fits:
        found = await comes_back(stage, state, "b")
        assert found.reference == "tenant-7"
        assert (await two.access.access_token(found.id)).reveal() == "A-1"
    else:
        with pytest.raises(PropertyMismatch):
            await comes_back(stage, state, "b")
        [waits] = await parked(stage)
        await two.authorizer.claim(waits.id, None)
        assert (await two.access.access_token(waits.id)).reveal() == "A-1"


async def test_a_refresh_of_it_is_under_way(stage: Stage) -> None:
    """It stays where it is until the pair has come in."""
    stage.vendor.listed = Unlisted(OUTAGE)
    state = await opened(stage, await a_link(stage), "b")
    stage.endpoint.will(issued(1))
    with pytest.raises(RefreshInDoubt) as waits:
        await comes_back(stage, state, "b")
    candidate = await stage.one.store.read(read_candidate(waits.value.connection_id or ""))
    assert candidate is not None
    stage.vendor.listed = ("1000",)
    await stage.one.store.write(take_lease(candidate.id, "another", 30.0))
    assert await stage.one.candidates.resume(candidate.connection_id) is None
    assert (await stage.row(candidate.id)).authorization is not None
    await stage.clock.sleep(61.0)
    await stage.one.upkeep.tick()
    assert (await comes_back(stage, state, "b")).reference == "tenant-7"


async def test_two_of_one_link(stage: Stage) -> None:
    """Both wait to be named; the second one's tokens are the hotel's all the same, and nothing else follows."""
    stage.vendor.listed = Unlisted(OUTAGE)
    link = await a_link(stage)
    states = {browser: await opened(stage, link, browser) for browser in ("first", "second")}
    for number, (browser, state) in enumerate(states.items()):
        stage.endpoint.will(issued(number))
        with pytest.raises(RefreshInDoubt):
            await comes_back(stage, state, browser)
    stage.vendor.listed = ("1000",)
    found = await comes_back(stage, states["first"], "first")
    with pytest.raises(StateMismatch, match="was used in another browser"):
        await comes_back(stage, states["second"], "second")
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-1"
    assert await stage.one.authorizer.link_outcome(link.token) == found.id
    assert await parked(stage) == []


@pytest.mark.row("F87")
async def test_another_hotel_by_a_link_that_mends(stage: Stage) -> None:
    """Neither the connection nor its reference changes, the link is not used up, and the tokens are kept."""
    old = await connected(stage, "1000", "tenant-6")
    link = await a_link(stage, connection_id=old.id, expected_properties=())
    for reference, shown in (("tenant-7", "tenant-7"), (None, "tenant-6")):
        made = await a_link(stage, connection_id=old.id, expected_properties=(), reference=reference)
        asked = await stage.one.authorizer.read_link(made.token)
        assert (asked.expected_properties, asked.reference) == (("1000",), shown)
    stage.endpoint.will(issued("wrong", property_ids=("2000",)))
    with pytest.raises(PropertyMismatch):
        await comes_back(stage, await opened(stage, link, "wrong"), "wrong")
    assert [one.property_ids for one in await parked(stage)] == [("2000",)]
    seen = await stage.one.views.connection(old.id)
    assert (seen.reference, seen.generation) == ("tenant-6", 1)
    stage.endpoint.will(issued("right", property_ids=("1000",)))
    found = await comes_back(stage, await opened(stage, link, "right"), "right")
    assert (found.id, found.reference) == (old.id, "tenant-7")


@pytest.mark.row("F87")
async def test_another_hotel_that_only_the_list_names(stage: Stage) -> None:
    """By a link that mends: as where the answer with the tokens names it, on the second click, too."""
    old = await connected(stage, "1000", "tenant-6")
    link = await a_link(stage, connection_id=old.id, expected_properties=())
    state = await opened(stage, link, "wrong")
    stage.endpoint.will(issued("wrong"))
    stage.vendor.listed = Unlisted(OUTAGE)
    with pytest.raises(RefreshInDoubt) as waits:
        await comes_back(stage, state, "wrong")
    assert waits.value.connection_id == old.id
    stage.vendor.listed = ("2000",)
    for _ in range(2):
        with pytest.raises(PropertyMismatch):
            await comes_back(stage, state, "wrong")
    assert [one.property_ids for one in await parked(stage)] == [("2000",)]
    assert (await stage.one.views.connection(old.id)).reference == "tenant-6"
    assert (await stage.one.access.access_token(old.id)).reveal() == "A-old"
    stage.vendor.listed = ("1000",)
    stage.endpoint.will(issued("right"))
    found = await comes_back(stage, await opened(stage, link, "right"), "right")
    assert (found.id, found.reference, found.generation) == (old.id, "tenant-7", 3)


async def test_another_hotel_that_is_named_late_by_a_link_that_mends(stage: Stage) -> None:
    """It was a candidate of that connection; from there it goes to the one that its hotel has."""
    old = await stage.connected(pair("old", property_ids=("1000",)))
    theirs = await stage.connected(pair("theirs", property_ids=("2000",)))
    stage.vendor.listed = ("2000",)
    with pytest.raises(PropertyMismatch):
        await stage.approve(issued("new"), connection_id=old.connection_id)
    assert (await stage.one.access.access_token(theirs.connection_id)).reveal() == "A-new"
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-old"
    stage.endpoint.will(issued("older"), issued("newer"))
    await stage.clock.sleep(DAY + 60.0)
    for _ in range(3):  # what a move leaves behind is deleted after a day, where nothing else is in the connection
        await stage.one.upkeep.tick()
    assert (await stage.one.views.connection(old.connection_id)).property_ids == ("1000",)


async def test_it_cannot_be_set_aside_yet(stage: Stage) -> None:
    """One that an earlier version stored. A refresh is under way: it is refused all the same, and set aside later."""
    old = await stage.connected(pair("old", property_ids=("1000",)))
    new = await stage.candidate(old.connection_id, pair("new"))
    stage.sql("UPDATE grants SET authorization_id = NULL WHERE id = ?", new.id)
    stage.vendor.listed = ("2000",)
    await stage.one.store.write(take_lease(new.id, "another", 30.0))
    with pytest.raises(PropertyMismatch):
        await stage.one.candidates.resume(old.connection_id)
    assert (await stage.row(new.id)).role is Role.CANDIDATE
    await stage.clock.sleep(61.0)
    with pytest.raises(PropertyMismatch):
        await stage.one.candidates.resume(old.connection_id)
    assert [one.property_ids for one in await parked(stage)] == [("2000",)]


@pytest.mark.parametrize("given", ["1000", ("",), ("x" * 65,), ("a\nb",), (1000,), ["1"] * 501])
async def test_what_is_no_property(stage: Stage, given: Any) -> None:
    """Refused before anything begins, also one text in the place of a list."""
    with pytest.raises(InvalidRequest, match="expected"):
        await stage.one.authorizer.begin(expected_properties=given)
    with pytest.raises(InvalidRequest, match="expected"):
        await a_link(stage, expected_properties=given)


# --- the secret that an approval is finished with (RFC 7636)


def test_the_challenge_of_the_rfc() -> None:
    """Appendix B."""
    assert challenge_of(VERIFIER) == CHALLENGE


@pytest.mark.parametrize("given", ["", VERIFIER[:-1], CHALLENGE + "=", "é" * 43])
async def test_what_is_no_challenge_or_verifier(stage: Stage, given: str) -> None:
    """Refused; a verifier is not shown."""
    with pytest.raises(InvalidRequest):
        await stage.one.authorizer.begin(code_challenge=given)
    begun = await stage.one.authorizer.begin(code_challenge=CHALLENGE)
    short = given[:42]
    with pytest.raises(InvalidRequest) as refused:
        await stage.one.authorizer.finish(code="code", state=begun.state, code_verifier=short)
    assert not short or short not in str(refused.value)


async def test_who_has_the_secret_finishes(stage: Stage) -> None:
    """A wrong one, or one where none is asked for, spends nothing."""
    begun = await stage.one.authorizer.begin(code_challenge=CHALLENGE, reference="tenant-7")
    plain = await stage.one.authorizer.begin()
    for state, wrong in ((begun.state, "x" * 43), (plain.state, VERIFIER)):
        with pytest.raises(StateMismatch):
            await stage.one.authorizer.finish(code="code", state=state, code_verifier=wrong)
    assert stage.endpoint.codes == []
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state, code_verifier=VERIFIER)
    assert (finished.connection.state, finished.connection.reference) == (State.FRESH, "tenant-7")


@pytest.mark.parametrize("known", [True, False])
async def test_without_the_secret_it_waits(stage: Stage, known: bool) -> None:
    """A browser comes back that has none: nobody's, until the program claims it with the secret; then as begun."""
    old = await connected(stage, "1000", "tenant-6") if known else None
    link = await a_link(stage, code_challenge=CHALLENGE)
    stage.vendor.listed = ("1000",)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    waits = await comes_back(stage, await opened(stage, link, "b"), "b")
    assert (waits.state, waits.reference) == (State.PARKED, None)
    with pytest.raises(Unclaimed):
        await stage.one.access.access_token(waits.id)
    for wrong in (None, "x" * 43):
        with pytest.raises(StateMismatch):
            await stage.one.authorizer.claim(waits.id, None, wrong)
    with pytest.raises(InvalidRequest, match="another reference"):
        await stage.one.authorizer.claim(waits.id, "tenant-8", VERIFIER)
    home = await stage.one.authorizer.claim(waits.id, None, VERIFIER)
    assert home == (old.id if old else waits.id)
    seen = await stage.one.views.connection(home)
    assert (seen.state, seen.reference) == (State.FRESH, "tenant-7")
    assert (await stage.one.access.access_token(home)).reveal() == "A-1"
    assert await stage.one.authorizer.link_outcome(link.token) == home


async def test_the_secret_of_another_hotels_approval(stage: Stage) -> None:
    """Claimed with it, it is compared with what is expected as ever, and set aside."""
    link = await a_link(stage, code_challenge=CHALLENGE)
    stage.endpoint.will(issued(1, property_ids=("2000",)))
    waits = await comes_back(stage, await opened(stage, link, "b"), "b")
    with pytest.raises(PropertyMismatch):
        await stage.one.authorizer.claim(waits.id, None, VERIFIER)
    [still] = await parked(stage)
    assert (still.id, still.reference) == (waits.id, None)
    assert await stage.one.authorizer.claim(waits.id, "tenant-8") == waits.id


async def test_nobody_claims_it(stage: Stage) -> None:
    """After a day it is deleted, as what comes from the Marketplace; what it was begun with, too."""
    link = await a_link(stage, code_challenge=CHALLENGE)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    await comes_back(stage, await opened(stage, link, "b"), "b")
    begun = str(stage.sql("SELECT authorization_id FROM grants")[0][0])
    await stage.clock.sleep(2 * DAY)
    await stage.one.upkeep.tick()
    assert await parked(stage) == []
    await stage.one.authorizer.begin()  # sweeps what is over
    assert await stage.one.store.read(read_authorization(begun)) is None


async def lost_while_it_waits(stage: Stage) -> None:
    """Cloudbeds rejects the token for a moment, and the refresh that this causes gets no answer; a minute later it
    accepts the token again.
    """
    stage.vendor.listed = ("1000",)
    stage.vendor.thinks("A-1", DeadToken())
    begun = await stage.one.authorizer.begin(expected_properties=("1000",))
    stage.endpoint.will(issued(1), Ambiguous("reset by peer"))
    with pytest.raises(Error):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    stage.vendor.thinks("A-1", Proof())
    await stage.clock.sleep(60.0)
    await stage.one.upkeep.tick()


async def test_an_answer_is_lost_while_it_waits_for_its_property(stage: Stage) -> None:
    """The approval is placed all the same: nobody has a pair in hand that it would have to wait for."""
    await lost_while_it_waits(stage)
    ((home,),) = stage.sql("SELECT connection_id FROM grants")
    assert (await stage.one.access.access_token(home)).reveal() == "A-1"
    assert stage.endpoint.sent == ["R-1"]


async def test_what_was_lost_is_remembered_where_it_goes(stage: Stage) -> None:
    """The hotel has a connection already. The lost request may still arrive there, so no API key is asked for."""
    known = await stage.connected(pair("known", property_ids=("1000",)))
    await lost_while_it_waits(stage)
    assert (await stage.one.access.access_token(known.connection_id)).reveal() == "A-1"
    stage.endpoint.will(key(1))
    with pytest.raises(RefreshInDoubt, match="would kill the key"):
        await stage.one.migrator.migrate(known.connection_id)
    assert (stage.endpoint.sent, stage.endpoint.exchanged) == (["R-1"], [])
