"""API keys that hotels make by themselves: asked about first, in use at once, and nothing stored of those refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.support.fakes import ADA, issued, key, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.stage import Process, Stage, another

from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.engine.pasted_keys import SCOPE_MISSING
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ClientRefused,
    InvalidRequest,
    KeyRefused,
    NotRefreshable,
    PropertyMismatch,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    RefreshPending,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.ports import Throttled, Unlisted
from cloudbeds_auth.rules.api_errors import OUTAGE, Act, DeadGrant, DeadToken, Inconclusive, Proof, Refusal, Verdict
from cloudbeds_auth.rules.code_challenge import challenge_of
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Connection, Role
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.presentation import PASTE
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.risks import CALLS_LACK_SCOPE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import RefusedClient
from cloudbeds_auth.transactions.risks import note_risks

DAY = 86400.0


async def paste(
    stage: Stage,
    name: str = "1",
    *,
    of: Sequence[str] = ("1000",),
    process: Process | None = None,
    app: str | None = None,
    reference: str | None = None,
    connection_id: str | None = None,
    expected: Sequence[str] = (),
) -> Connection:
    """The key cbat_`name`, of which Cloudbeds lists these properties."""
    stage.vendor.listed = tuple(of)
    one = process or stage.one
    home = await one.pasted_keys.add(
        Secret(f"cbat_{name}"), app=app, reference=reference, connection_id=connection_id, expected_properties=expected
    )
    return await one.views.shown(home)


async def dies(stage: Stage, found: Connection) -> None:
    """Cloudbeds answers as for a revoked key, twice and far enough apart."""
    token = await stage.one.access.access_token(found.id)
    stage.vendor.thinks(token.reveal(), DeadToken())
    with pytest.raises(RefreshInDoubt):
        await stage.one.access.access_token(found.id, rejected=token)
    await stage.clock.sleep(61.0)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(found.id, rejected=token)


# --- the way in


async def test_a_key_is_asked_about_and_in_use_at_once(stage: Stage) -> None:
    """`/userinfo` and `getHotels`, once each; the token endpoint is asked nothing, and the key is lent."""
    stage.vendor.thinks("cbat_1", Proof(ADA))
    found = await paste(stage, reference="tenant-7")
    assert (found.state, found.credential, found.reference) == (State.FRESH, "api_key", "tenant-7")
    assert (found.property_ids, found.authorizing_user, found.app) == (("1000",), ADA, "default")
    assert (await stage.one.access.access_token("con_" + found.id.removeprefix("con_"))).reveal() == "cbat_1"
    assert (stage.vendor.asked, stage.endpoint.sent) == (["cbat_1"], [])
    assert stage.notes.times("connected") == 1


async def test_a_property_that_only_userinfo_names(stage: Stage) -> None:
    """Where the list is empty, what `/userinfo` names counts."""
    stage.vendor.thinks("cbat_1", Proof(ADA, ("1000",)))
    assert (await paste(stage, of=())).property_ids == ("1000",)


async def test_the_same_key_again(stage: Stage) -> None:
    """The same connection, in another process, too; and nothing happened."""
    first = await paste(stage)
    other = await stage.process()
    assert (await paste(stage, process=other)).id == first.id
    assert stage.notes.times("connected") == 1


async def test_two_processes_at_one_time(stage: Stage) -> None:
    """One connection comes of it."""
    other = await stage.process()
    found = await asyncio.gather(paste(stage), paste(stage, process=other))
    assert found[0].id == found[1].id


@pytest.mark.parametrize("verdict", [DeadToken(), DeadToken(documented=False), DeadGrant("revoked")])
async def test_a_key_that_cloudbeds_refuses(stage: Stage, verdict: Verdict) -> None:
    """Mistyped or revoked: said so, and nothing is stored, not even a row of its rate."""
    stage.vendor.thinks("cbat_1", verdict)
    with pytest.raises(KeyRefused) as raised:
        await paste(stage)
    assert (raised.value.code, raised.value.status) == ("key_refused", 400)
    assert "cbat_1" not in f"{raised.value!r} {raised.value.diagnosis()}"
    assert stage.sql("SELECT COUNT(*) FROM connections") == [(0,)]


@pytest.mark.parametrize("pasted", ["", "A-1", "cbat_1 cbat_2", "cbat_1\n", "cbat_é", "cbat_" + "x" * 5000])
async def test_what_is_no_key(stage: Stage, pasted: str) -> None:
    """Another secret may have been pasted: it is sent nowhere."""
    with pytest.raises(KeyRefused):
        await stage.one.pasted_keys.add(
            Secret(pasted), app=None, reference=None, connection_id=None, expected_properties=()
        )
    assert stage.vendor.asked == []


async def test_a_key_that_lacks_a_scope(stage: Stage) -> None:
    """It works, and Cloudbeds names no property: the scope that is missing is named."""
    stage.vendor.listed = Unlisted(Refusal("missing_scope", Act.REPORT, "Scope required for this call was not granted"))
    with pytest.raises(KeyRefused, match=r"read:hotel.*was not granted") as raised:
        await stage.one.pasted_keys.add(
            Secret("cbat_1"), app=None, reference=None, connection_id=None, expected_properties=()
        )
    assert raised.value.next_step == SCOPE_MISSING


@pytest.mark.parametrize("answer", [(), Unlisted(Refusal("property_closed", Act.REPORT))])
async def test_a_key_that_names_no_property(stage: Stage, answer: tuple[str, ...] | Unlisted) -> None:
    """Which hotel it is, is not guessed."""
    stage.vendor.listed = answer
    with pytest.raises(KeyRefused, match="names no property"):
        await stage.one.pasted_keys.add(
            Secret("cbat_1"), app=None, reference=None, connection_id=None, expected_properties=()
        )


@pytest.mark.parametrize("away", ["userinfo", "getHotels", "429"])
async def test_cloudbeds_cannot_be_asked(stage: Stage, away: str) -> None:
    """Nothing is said against the key, and nothing is stored: a later call may succeed."""
    if away == "userinfo":
        stage.vendor.thinks("cbat_1", Inconclusive("HTTP 502"))
    elif away == "getHotels":
        stage.vendor.listed = Unlisted(Refusal("outage", Act.NOTHING))
    else:
        stage.vendor.throttled = Throttled(7.0)
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.pasted_keys.add(
            Secret("cbat_1"), app=None, reference=None, connection_id=None, expected_properties=()
        )
    assert stage.sql("SELECT COUNT(*) FROM connections") == [(0,)]


@pytest.mark.row("F87")
async def test_another_hotels_key(stage: Stage) -> None:
    """By property, connection and reference: a mismatch, and the connection keeps its key."""
    found = await paste(stage, reference="tenant-7")
    for asked in ({"expected": ("1000",)}, {"connection_id": found.id}, {"reference": "tenant-7"}):
        with pytest.raises(PropertyMismatch) as raised:
            await paste(stage, "2", of=("2000",), **asked)
        assert (raised.value.code, raised.value.status) == ("property_mismatch", 409)
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_1"
    assert stage.sql("SELECT COUNT(*) FROM grants") == [(1,)]


async def test_an_app_that_there_is_not(stage: Stage) -> None:
    """Refused before anything is sent."""
    with pytest.raises(InvalidRequest):
        await paste(stage, app="unknown")
    assert stage.vendor.asked == []


async def test_a_key_by_a_link(stage: Stage) -> None:
    """What the link was made for: its reference, its connection, and where none is named the hotel's own app."""
    stage.apps["aurora"] = App("aurora", "client-2", (Secret("s"),), "http://localhost:7000/callback/aurora")
    grant = await stage.connected(pair(1, property_ids=("1000",)), app="aurora")
    stage.vendor.listed = ("1000",)
    home = grant.connection_id
    links = [await make_link(stage), await make_link(stage, app="aurora"), await make_link(stage, home=home)]
    for name, token in enumerate(links):
        assert await stage.one.pasted_keys.add_from_link(token, Secret(f"cbat_{name}")) == home
        with pytest.raises(AuthorizationExpired):
            await stage.one.pasted_keys.add_from_link(token, Secret("cbat_other"))
    assert (await stage.one.views.connection(home)).reference == "tenant-7"


async def test_a_link_with_a_code_challenge(stage: Stage) -> None:
    """It takes no key, because a key answers no challenge; nothing is asked and nothing stored."""
    token = await make_link(stage, challenge=challenge_of("v" * 43))
    with pytest.raises(InvalidRequest, match="code challenge"):
        await stage.one.pasted_keys.add_from_link(token, Secret("cbat_1"))
    assert stage.vendor.asked == []


async def make_link(
    stage: Stage, *, app: str | None = None, home: str | None = None, challenge: str | None = None
) -> str:
    """The token of a link for tenant-7."""
    link = await stage.one.authorizer.create_link(
        app=app, reference="tenant-7", return_to=None, connection_id=home, expires_in=600.0, code_challenge=challenge
    )
    assert stage.one.world.key_url(link.token).endswith(f"/paste-key/{link.token}")
    return link.token


# --- a hotel that is connected already


async def test_a_hotel_that_had_tokens(stage: Stage) -> None:
    """Moved as by an exchange: the same connection, no refresh any more, and Cloudbeds is told nothing."""
    grant = await stage.connected()
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    found = await paste(stage)
    assert (found.id, found.credential, found.state) == (grant.connection_id, "api_key", State.FRESH)
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_1"
    with pytest.raises(NotRefreshable):
        await stage.one.access.refresh_now(found.id)
    former = await stage.row(grant.id)
    assert (former.role, former.latched) == (Role.SUPERSEDED, True)
    assert (stage.endpoint.sent, stage.vendor.disabled) == ([], [])
    assert (stage.notes.times("migrated"), stage.notes.times("connected")) == (1, 0)


async def test_a_refresh_under_way_ends_first(stage: Stage) -> None:
    """Its pair is committed, and then the key takes its place."""
    grant = await stage.expired()
    stage.endpoint.will(stage.later(5.0, issued(2, property_ids=("1000",))))
    asked = asyncio.create_task(stage.one.access.access_token(grant.connection_id))
    await stage.clock.sleep(1.0)
    found = await paste(stage)
    assert (await asked).reveal() == "A-2"
    assert (found.id, await stage.tokens(grant.id)) == (grant.connection_id, ["R-2"])
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_1"


async def test_a_refresh_that_does_not_end(stage: Stage) -> None:
    """The caller is told to come again; nothing is stored."""
    grant = await stage.connected()
    stage.sql(
        "UPDATE grants SET lease_owner = 'other', lease_until = ? WHERE id = ?", stage.clock.steady() + 900, grant.id
    )
    with pytest.raises(RefreshPending):
        await paste(stage)
    assert not (await stage.row(grant.id)).latched


async def test_a_hotel_of_another_app(stage: Stage) -> None:
    """A key belongs to no app: where none is named, it goes where the hotel is."""
    stage.apps["aurora"] = App("aurora", "client-2", (Secret("s"),), "http://localhost:7000/callback/aurora")
    grant = await stage.connected(pair(1, property_ids=("1000",)), app="aurora")
    assert (await paste(stage)).id == grant.connection_id
    apart = await paste(stage, "2", app="default")
    assert (apart.id != grant.connection_id, apart.app) == (True, "default")
    assert sorted(await resolve(stage.one.store, "1000")) == sorted([apart.id, grant.connection_id])


async def test_an_approval_takes_the_place_of_a_key(stage: Stage) -> None:
    """A hotel may go back: its approval is a candidate as always, and the connection stays."""
    found = await paste(stage)
    again = (await stage.approve(issued(2, property_ids=("1000",)), connection_id=found.id)).connection
    assert (again.id, again.credential) == (found.id, "oauth")
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-2"


# --- its life


@pytest.mark.parametrize("expected", [(), ("1000",)], ids=["of any hotel", "of this one"])
@pytest.mark.parametrize("dead", [False, True])
async def test_an_approval_whose_property_is_named_after_a_key_came(
    stage: Stage, expected: Sequence[str], dead: bool
) -> None:
    """The key that the hotel pasted after it approved stays in use, and the approval leads to its connection; but where
    Cloudbeds refuses the key by then, the approval takes its place.
    """
    stage.vendor.listed = Unlisted(OUTAGE)
    begun = await stage.one.authorizer.begin(expected_properties=expected)
    stage.endpoint.will(issued("early"))
    with suppress(RefreshInDoubt):
        await stage.one.authorizer.finish(code="code", state=begun.state)
    ((waiting,),) = stage.sql("SELECT id FROM connections")
    await stage.clock.sleep(1.0)
    found = await paste(stage)
    if dead:
        await dies(stage, found)
    await stage.one.candidates.resume(waiting)
    stage.one.access.forget(found.id)
    assert (await stage.one.access.access_token(found.id)).reveal() == ("A-early" if dead else "cbat_1")
    shown = await stage.one.views.connection(found.id)
    assert (shown.credential, shown.state) == ("oauth" if dead else "api_key", State.FRESH)
    assert await resolve(stage.one.store, "1000") == [found.id]
    again = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert again.connection.id == found.id
    assert stage.endpoint.sent == []  # nothing of the approval is refreshed


async def test_an_approval_that_is_claimed_after_a_key_came(stage: Stage) -> None:
    """A claim is the newer act: what waited in the Marketplace takes the key's place, as any approval does."""
    stage.endpoint.will(issued("parked", property_ids=("1000",)))
    parked = (await stage.one.authorizer.arrive(code="code")).connection
    await stage.clock.sleep(1.0)
    found = await paste(stage)
    assert await stage.one.authorizer.claim(parked.id, None) == found.id
    assert (await stage.one.access.access_token(found.id)).reveal() == "A-parked"


async def test_a_key_that_dies(stage: Stage) -> None:
    """Reconnect needed, with "paste a new one"; another key of the same hotel mends the same connection."""
    found = await paste(stage)
    await dies(stage, found)
    shown = await stage.one.views.shown(found.id)
    assert (shown.state, shown.problem, shown.next_step) == (State.REAUTHORIZATION_REQUIRED, "revoked", PASTE)
    assert "paste a new one" in PASTE
    for again in range(2):
        with pytest.raises(ReauthorizationRequired, match="API key") as raised:
            await stage.one.access.access_token(found.id)
        assert raised.value.next_step == PASTE
        await stage.clock.sleep(61.0 * again)
    mended = await paste(stage, "2", connection_id=found.id)
    assert (mended.id, mended.state, mended.problem) == (found.id, State.FRESH, None)
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_2"


async def test_a_dead_key_that_lives_again(stage: Stage) -> None:
    """Cloudbeds was wrong for a while: pasted once more, it is what it was, and the mark is gone."""
    found = await paste(stage)
    await dies(stage, found)
    stage.vendor.thinks("cbat_1", Proof())
    mended = await paste(stage)
    assert (mended.id, mended.state) == (found.id, State.FRESH)
    assert (await stage.one.access.access_token(found.id)).reveal() == "cbat_1"


async def test_a_scope_that_a_key_lacks_is_mended_by_another_key(stage: Stage) -> None:
    """No approval and no scope of an app of ours has to do with it."""
    found = await paste(stage)
    row = await current_grant(stage.one.store, found.id)
    assert row is not None
    await stage.one.store.write(note_risks(row.id, {CALLS_LACK_SCOPE: "why"}))
    shown = await stage.one.views.shown(found.id)
    assert (shown.state, shown.problem) == (State.FRESH, CALLS_LACK_SCOPE)
    assert "a new API key" in (shown.next_step or "")


async def test_an_idle_pasted_key_is_kept_alive(stage: Stage) -> None:
    """As every key: used before 20 days are over."""
    await paste(stage)
    stage.vendor.asked.clear()
    for _ in range(3):
        await stage.clock.sleep(20 * DAY)
        while await stage.one.upkeep.tick() == 0.0:
            pass
    assert stage.vendor.asked == ["cbat_1"] * 3


async def test_a_refused_client_is_nothing_to_it(stage: Stage) -> None:
    """Neither another client id in the settings nor a refused secret: the key is of none of them."""
    found = await paste(stage)
    other = await stage.connected(pair(2, property_ids=("2",)))
    stage.endpoint.will(RefusedClient("wrong"))
    with pytest.raises(ClientRefused):
        await stage.one.refresh(other.id, 1, operator=True)
    assert (await stage.one.views.connection(found.id)).state is State.FRESH
    moved = await stage.process(apps={"default": replace(stage.apps["default"], client_id="client-9")})
    assert (await moved.access.access_token(found.id)).reveal() == "cbat_1"
    row = await current_grant(stage.one.store, found.id)
    assert row is not None
    assert row.source == Source("https://vendor.example")


async def test_the_hotel_leaves(stage: Stage) -> None:
    """The key is deleted here, and Cloudbeds is told nothing: the hotel deletes it there."""
    found = await paste(stage)
    await stage.one.disconnecter.disconnect(found.id, forget=False)
    shown = await stage.one.views.shown(found.id)
    assert (shown.state, stage.vendor.disabled) == (State.DISCONNECTED, [])
    assert shown.next_step is not None
    assert "the hotel also deletes its API key" in shown.next_step


async def test_its_app_state_is_not_asked_about(stage: Stage) -> None:
    """No client of ours has one there: whether the key works is asked instead."""
    await paste(stage)
    stage.vendor.asked.clear()
    await stage.clock.sleep(DAY)
    await stage.one.app_states.tick()
    await stage.one.idle()
    assert (stage.vendor.asked_states, stage.vendor.asked) == ([], ["cbat_1"])


# --- its rate


async def test_its_rate_is_its_own(stage: Stage) -> None:
    """Five a second for each key, whatever the partner's other hotels use of theirs."""
    vendor = BusyVendor()
    two, ten = Limit(rate_within(2)), Limit(rate_within(1))
    one = another(await limited(stage, vendor), limit=ten, limits={"partner": ten, "property": two}, vendor=vendor)
    homes = []
    for name in ("1", "2"):
        vendor.listed = (name,)
        homes.append(
            await one.pasted_keys.add(
                Secret(f"cbat_{name}"), app=None, reference=None, connection_id=None, expected_properties=()
            )
        )
    assert stage.sql("SELECT client_id FROM budgets") == [("pasted keys",)]
    partner = await stage.connected(pair(3, property_ids=("3",)))
    await stage.clock.sleep(60.0)
    for home in homes:
        for _ in range(2):
            await one.access.turn(home)
    await one.access.turn(partner.connection_id)
    names = {name for (name,) in stage.sql("SELECT client_id FROM budgets")}
    assert names == {"pasted keys", "client-1", *homes}


async def test_many_wrong_keys_wait_for_one_another(stage: Stage) -> None:
    """What is not stored counts together: a flood of made-up keys is no flood at Cloudbeds, and leaves no rows."""
    one = another(await limited(stage, BusyVendor()), limits={"property": Limit(rate_within(1))}, vendor=stage.vendor)
    stage.vendor.thinks([f"cbat_{number}" for number in range(60)], DeadToken())

    async def refused(number: int) -> type[Exception]:
        with pytest.raises((KeyRefused, RateLimited)) as raised:
            await paste(stage, str(number), process=one)
        return raised.type

    kinds = await asyncio.gather(*(refused(number) for number in range(60)))
    assert {KeyRefused, RateLimited} == set(kinds)
    assert stage.sql("SELECT client_id FROM budgets") == [("pasted keys",)]


async def test_a_429_pauses_the_hotels_key_alone(stage: Stage) -> None:
    """The calls of the partner's other hotels continue."""
    one = another(await limited(stage, stage.vendor), limits={"property": Limit(rate_within(5))})  # type: ignore[arg-type]
    found, partner = await paste(stage, process=one), await stage.connected(pair(3, property_ids=("3",)))
    other = another(one)
    await other.access.note_pause(found.id, 600.0)
    with pytest.raises(RateLimited):
        await one.access.turn(found.id)
    await one.access.turn(partner.connection_id)


async def test_a_key_of_an_exchange_still_counts_for_its_client(stage: Stage) -> None:
    """Only what a hotel made by itself has a rate of its own."""
    found = (await stage.approve(key(1, "1000"))).connection
    row = await current_grant(stage.one.store, found.id)
    assert row is not None
    assert (row.pasted, (await stage.one.world.app_of(row)).client_id) == (False, "client-1")


async def test_a_key_that_covers_more(stage: Stage) -> None:
    """What came with it is told, once."""
    home = (await paste(stage, "1")).id
    for _ in range(2):
        assert (await paste(stage, "2", of=("1000", "1001"))).id == home
    assert [facts for what, facts in stage.notes.told if what == "properties_changed"] == [
        {"connection_id": home, "added": 1, "dropped": 0}
    ]
