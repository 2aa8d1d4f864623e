"""A grant knows where it came from: nothing of it is sent or lent at another origin or under another client id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.support.fakes import APP, HERE, HOUR, ISSUER, issued, key, pair
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine import apps as vault_apps
from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import ClientRefused, Error, InvalidRequest, StoreUnavailable, Unclaimed
from cloudbeds_auth.rules.api_errors import Act, Inconclusive, Proof, Refusal
from cloudbeds_auth.rules.imports import Handover, Imported
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, NotSent, Refused, RefusedClient
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.history import read_history

ELSEWHERE = "https://elsewhere.example"
OTHER = replace(APP, client_id="client-2", secrets=(Secret("secret-2"),))
NEITHER = Source()  # of rows from before


async def strange(stage: Stage, how: str) -> Process:
    """A process with another registered app's credentials in its settings, or that points at another host."""
    if how == "client id":
        return await stage.process(apps={"default": OTHER})
    return await stage.process(issuer=ELSEWHERE)


def nothing_sent(stage: Stage) -> bool:
    """Whether the vendor was asked nothing, of tokens and of hotels."""
    endpoint, vendor = stage.endpoint, stage.vendor
    asked = (endpoint.secrets, vendor.asked, vendor.asked_states, vendor.subscribed, vendor.disabled)
    return not any(asked)


def source_of(stage: Stage, grant: Grant) -> Source:
    """As it is stored."""
    ((issuer, client_id),) = stage.sql("SELECT issuer, client_id FROM grants WHERE id = ?", grant.id)
    return Source(issuer, client_id)


def bound(stage: Stage) -> dict[str, str]:
    """Which apps' secrets are for which origin."""
    return dict(stage.sql("SELECT app, issuer FROM issuers"))


Asked = Callable[[Process, Grant], Awaitable[object]]
ASKED: dict[str, Asked] = {
    "a token": lambda one, grant: one.access.access_token(grant.connection_id),
    "a token, the last one being rejected": lambda one, grant: one.access.access_token(grant.connection_id, rejected=1),
    "a refresh": lambda one, grant: one.refresh(grant.id, grant.generation),
    "a refresh, the last token being rejected": lambda one, grant: one.refresh(grant.id, 1, 1),
    "an operator's refresh": lambda one, grant: one.access.refresh_now(grant.connection_id),
    "a move to an API key": lambda one, grant: one.migrator.migrate(grant.connection_id),
    "a disconnect": lambda one, grant: one.disconnecter.disconnect(grant.connection_id, forget=False),
}


@pytest.mark.row("F92")
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("expired", [False, True], ids=["unexpired", "expired"])
@pytest.mark.parametrize("how", ["client id", "origin"])
async def test_nothing_of_a_grant_is_sent_from_elsewhere(stage: Stage, how: str, expired: bool, asked: str) -> None:
    """Refused, both named, before any lease; the row stays as it was, and the right process serves."""
    grant = await stage.connected()
    if expired:
        await stage.clock.sleep(HOUR)
    before = stage.sql("SELECT * FROM grants")
    other = await strange(stage, how)
    with pytest.raises(ClientRefused) as refused:
        await ASKED[asked](other, grant)
    names = ("client-1", "client-2") if how == "client id" else (ISSUER, ELSEWHERE)
    assert all(name in refused.value.detail for name in names)
    assert refused.value.connection_id == grant.connection_id
    assert nothing_sent(stage)
    assert stage.sql("SELECT * FROM grants") == before
    stage.endpoint.will(issued(2))
    served = await stage.one.access.access_token(grant.connection_id)
    assert served.reveal() == ("A-2" if expired else "A-1")


@pytest.mark.row("F92", "A54", control=True)
@pytest.mark.parametrize("how", ["client id", "origin"])
async def test_where_a_grant_came_from_is_not_compared(stage: Stage, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the refresh token and the other secret would go to the other host, or under the other id."""
    grant = await stage.expired()
    other = await strange(stage, how)
    with pytest.raises(ClientRefused):
        await other.access.access_token(grant.connection_id)
    assert nothing_sent(stage)
    for name in ("foreign", "foreign_secret"):
        monkeypatch.setattr(f"cloudbeds_auth.engine.context.{name}", lambda *_, **more: None)
    stage.endpoint.will(issued(2))
    assert (await other.access.access_token(grant.connection_id)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]


@pytest.mark.row("F92")
@pytest.mark.parametrize("how", ["client id", "origin"])
async def test_what_nobody_waits_for_sends_nothing_either(stage: Stage, how: str) -> None:
    """Upkeep, polls, listings, a hint, a refused call: a day of them is 0 requests and no mark; then all goes on."""
    grant = await stage.connected()
    other = await strange(stage, how)
    token = grant.token()
    stage.sql("UPDATE grants SET used_at = received_at, due_at = stale_at, poll_at = 0, list_at = 0")
    for _ in range(24):
        await stage.clock.sleep(HOUR)
        other.refused_calls.note_refusal(token, Refusal("revoked", Act.SUSPECT), "GET", "/api/v1.3/getHotels")
        other.app_states.hint(b'{"event":"integration/appstate_changed","newState":"disabled","propertyID_str":"1000"}')
        await other.upkeep.tick()
        await other.app_states.tick()
        await other.property_lists.tick()
        await other.idle()
    await other.app_states.stop()
    assert nothing_sent(stage)
    assert stage.notes.times("source_refused") == 24, "once a minute, however many ask"
    row = await stage.row(grant.id)
    assert (row.reauth, row.refusals, row.role, len(row.tokens)) == (None, 0, Role.ACTIVE, 1)
    stage.endpoint.will(issued(2))
    await stage.clock.sleep(100.0)
    while await stage.one.upkeep.tick() == 0.0:
        pass
    assert (await stage.row(grant.id)).generation == 2, "nobody acted, and it was refreshed"


@pytest.mark.row("F92")
@pytest.mark.parametrize("how", ["client id", "origin"])
async def test_a_candidate_is_proven_where_it_came_from(stage: Stage, how: str) -> None:
    """A newer approval that waits is not shown to another vendor; nor is it dropped."""
    grant = await stage.connected()
    newer = await stage.candidate(grant.connection_id, replace(pair(2, property_ids=("1000",)), source=HERE))
    other = await strange(stage, how)
    with pytest.raises(ClientRefused):
        await other.candidates.resume(grant.connection_id)
    assert nothing_sent(stage)
    promoted = await stage.one.candidates.resume(grant.connection_id)
    assert promoted is not None
    assert promoted.id == newer.id


@pytest.mark.row("F92")
@pytest.mark.parametrize("how", ["client id", "origin"])
async def test_what_waits_to_be_claimed_says_goodbye_where_it_came_from(stage: Stage, how: str) -> None:
    """Sent away by a strange process: nothing is told, so nothing is forgotten; claimed, it knows where it is from."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    found = (await stage.one.authorizer.arrive(code="code-1")).connection
    stage.endpoint.secrets.clear()
    other = await strange(stage, how)
    with pytest.raises(ClientRefused):
        await other.disconnecter.disconnect(found.id, forget=False)
    assert nothing_sent(stage)
    with pytest.raises(Unclaimed):
        await other.access.access_token(found.id)
    grant = await current_grant(stage.one.store, found.id)
    assert grant is not None
    assert await stage.one.authorizer.claim(found.id, None) == found.id
    assert (grant.source, source_of(stage, grant)) == (HERE, HERE)


# --- what a process remembers


@pytest.mark.row("F92")
async def test_settings_that_are_read_again_name_another_client(stage: Stage) -> None:
    """What is in memory is not lent under it, neither while the database is there nor while it is away."""
    grant = await stage.connected()
    assert stage.one.access.cached(grant.connection_id, 60.0) is None
    await stage.one.access.access_token(grant.connection_id)
    assert stage.one.access.cached(grant.connection_id, 60.0) is not None
    stage.apps["default"] = OTHER
    assert stage.one.access.cached(grant.connection_id, 60.0) is None
    with pytest.raises(ClientRefused):
        await stage.one.access.access_token(grant.connection_id)
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await stage.one.access.access_token(grant.connection_id)
    stage.apps["default"] = APP
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"


@pytest.mark.row("F92")
async def test_a_mended_registration_is_another_one(stage: Stage) -> None:
    """Every secret is refused, so the settings are read again while a refresh is wanted: they name another client."""
    grant = await stage.expired()
    stage.endpoint.will(RefusedClient("HTTP 401"))
    with pytest.raises(ClientRefused):
        await stage.one.access.access_token(grant.connection_id)
    other = await stage.process(apps=(apps := dict(stage.apps)))
    object.__setattr__(other.world, "reread_apps", lambda: apps.update(default=OTHER))
    with pytest.raises(ClientRefused, match="client-2"):
        await other.refresh(grant.id, 1)
    assert stage.endpoint.secrets == ["secret-1"]


# --- the app's secret


@pytest.mark.row("F92")
async def test_a_fresh_database_binds_the_secret_at_its_first_accepted_exchange(stage: Stage) -> None:
    """Not at one that was refused or that never came about; then nobody is sent to approve elsewhere, and no code is
    exchanged there.
    """
    for answer in (Refused("HTTP 400"), RefusedClient("HTTP 401"), Ambiguous("reset")):
        begun = await stage.one.authorizer.begin()
        stage.endpoint.will(answer)
        with pytest.raises(Error):
            await stage.one.authorizer.finish(code="code-0", state=begun.state)
        await stage.clock.sleep(100.0)
    assert bound(stage) == {}
    begun, late = await stage.one.authorizer.begin(), await stage.one.authorizer.begin()
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code-1", state=begun.state)
    assert bound(stage) == {"default": ISSUER}
    grant = await current_grant(stage.one.store, finished.connection.id)
    assert grant is not None
    assert source_of(stage, grant) == HERE
    sent = list(stage.endpoint.secrets)
    other = await stage.process(issuer=ELSEWHERE)
    for ask in (other.authorizer.begin(), other.authorizer.finish(code="code-2", state=late.state)):
        with pytest.raises(ClientRefused) as refused:
            await ask
        assert all(name in refused.value.detail for name in ("'default'", ISSUER, ELSEWHERE))
        assert f"move-origin default --from {ISSUER}" in refused.value.next_step
    assert stage.endpoint.secrets == sent


@pytest.mark.row("F92")
async def test_a_further_app_is_bound_when_it_is_added(stage: Stage) -> None:
    """Its secret was typed in for the vendor that the settings name; removed and added again, for the one of then."""
    await stage.one.apps.add("aurora", client_id="client-3", client_secret="aurora-1")
    assert bound(stage) == {"aurora": ISSUER}
    other = await stage.process(issuer=ELSEWHERE)
    with pytest.raises(ClientRefused, match="'aurora'"):
        await other.authorizer.begin(app="aurora")
    listed = await other.apps.list()
    assert [(app.id, app.issuer) for app in listed] == [("default", None), ("aurora", ISSUER)]
    await other.apps.remove("aurora")
    added = await other.apps.add("aurora", client_id="client-3", client_secret="aurora-1")
    assert added.issuer == ELSEWHERE
    assert bound(stage) == {"aurora": ELSEWHERE}
    assert (await other.authorizer.begin(app="aurora")).url


@pytest.mark.row("F92")
@pytest.mark.parametrize("host", ["hotels", "api"])
async def test_origins_that_are_one_service(stage: Stage, host: str) -> None:
    """What came from api.cloudbeds.com is good at hotels.cloudbeds.com, and the other way round."""
    came_from, other = {"hotels": ("api", "hotels"), "api": ("hotels", "api")}[host]
    grant = await stage.connected(source=Source(f"https://{came_from}.cloudbeds.com", "client-1"))
    process = await stage.process(issuer=f"https://{other}.cloudbeds.com")
    assert (await process.access.access_token(grant.connection_id)).reveal() == "A-1"
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(issued(2))
    assert (await process.access.access_token(grant.connection_id)).reveal() == "A-2"
    assert source_of(stage, grant).issuer == f"https://{came_from}.cloudbeds.com"


# --- rows from before


@pytest.mark.row("F92")
async def test_a_row_from_before_is_bound_by_a_proof_and_by_a_committed_refresh(stage: Stage) -> None:
    """The proof says at which vendor it works, the pair to which client it was issued; nothing else says either."""
    grant = await stage.connected(source=NEITHER)
    stage.vendor.thinks(["A-2"], Inconclusive("HTTP 502"))
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(NotSent("down"), Refused("HTTP 400"), issued(2))
    for _ in range(2):
        with pytest.raises(Error):
            await stage.one.access.access_token(grant.connection_id)
        assert (source_of(stage, grant), bound(stage)) == (NEITHER, {})
        await stage.clock.sleep(100.0)
    await stage.one.access.access_token(grant.connection_id)
    await stage.one.idle()
    assert (source_of(stage, grant), bound(stage)) == (Source(None, "client-1"), {})
    stage.vendor.thinks(["A-2"], Proof())
    await stage.one.refresh(grant.id, 2, 2)
    assert (source_of(stage, grant), bound(stage)) == (HERE, {"default": ISSUER})


@pytest.mark.row("F92")
async def test_a_proof_alone_names_no_client(stage: Stage) -> None:
    """A row from before whose token was seen to work: its origin is known, and its first pair names the rest."""
    grant = await stage.connected(source=NEITHER)
    await stage.one.refresh(grant.id, 1, 1)
    assert source_of(stage, grant) == Source(ISSUER, None)
    with pytest.raises(ClientRefused):
        await (await strange(stage, "origin")).access.access_token(grant.connection_id)
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    assert source_of(stage, grant) == HERE


@pytest.mark.row("F92")
async def test_a_mark_from_before_counts_its_retries_from_the_first_pair(stage: Stage) -> None:
    """It may have been made under another app's id: the pair that names the client begins the count anew."""
    grant = await stage.expired(source=NEITHER)
    stage.sql("UPDATE grants SET reauth = 'revoked', state = 'reauthorization_required', problem = 'revoked',"
              " marked_at = ?, retries = 9, due_at = NULL, retry_at = ?", *[stage.clock.wall()] * 2)  # fmt: skip
    stage.vendor.thinks(["A-2"], Inconclusive("HTTP 502"))
    stage.endpoint.will(issued(2))
    await stage.one.upkeep.tick()
    await stage.one.idle()
    assert stage.sql("SELECT retries, client_id, reauth FROM grants") == [(0, "client-1", "revoked")]
    stage.vendor.thinks(["A-2"], Proof())
    await stage.clock.sleep(HOUR / 10)
    while await stage.one.upkeep.tick() == 0.0:
        pass
    assert (await stage.row(grant.id)).reauth is None
    assert source_of(stage, grant) == HERE


@pytest.mark.row("F92")
async def test_a_marked_hotel_is_not_tried_under_another_id(stage: Stage) -> None:
    """A day of retries that send nothing counts none; with the right id in the settings it heals by itself."""
    grant = await stage.expired()
    stage.sql("UPDATE grants SET reauth = 'revoked', state = 'reauthorization_required', problem = 'revoked',"
              " marked_at = ?, retries = 3, due_at = NULL, retry_at = ?", *[stage.clock.wall()] * 2)  # fmt: skip
    other = await strange(stage, "client id")
    for _ in range(24):
        await other.upkeep.tick()
        await stage.clock.sleep(HOUR)
    assert nothing_sent(stage)
    assert stage.sql("SELECT retries FROM grants") == [(3,)]
    stage.endpoint.will(issued(2))
    while await stage.one.upkeep.tick() == 0.0:
        pass
    await stage.one.idle()
    assert (await stage.row(grant.id)).reauth is None


@pytest.mark.row("F92")
async def test_a_reprieve_binds_as_a_proof_does(stage: Stage) -> None:
    """Every refresh token is refused and the access token works: where it worked is known from then on."""
    grant = await stage.connected(pair(1, lifetime=7200.0, property_ids=("1000",)), source=NEITHER)
    stage.endpoint.will(Refused("HTTP 400"), Refused("HTTP 400"))
    for _ in range(2):
        await stage.one.refresh(grant.id, 1)
        await stage.clock.sleep(100.0)
    assert "reprieved" in await stage.kinds(grant.connection_id)
    assert (source_of(stage, grant), bound(stage)) == (Source(ISSUER, None), {"default": ISSUER})


@pytest.mark.row("F92")
async def test_a_row_from_before_is_of_the_origin_of_its_app(stage: Stage) -> None:
    """As soon as one hotel of the app was proven, no other's token goes elsewhere; the rows say nothing yet."""
    first, second = await stage.connected(source=NEITHER), await stage.connected(pair(5), source=NEITHER)
    newer = await stage.candidate(first.connection_id, pair(6, property_ids=("1000",)))
    await stage.one.refresh(first.id, 1, 1)
    assert source_of(stage, second) == NEITHER
    other = await stage.process(issuer=ELSEWHERE)
    for ask in (
        other.access.access_token(second.connection_id), other.refresh(second.id, 1),
        other.candidates.resume(first.connection_id),
    ):  # fmt: skip
        with pytest.raises(ClientRefused, match=ELSEWHERE):
            await ask
    assert (await other.views.connection(second.connection_id)).state is State.CLIENT_REFUSED
    shown = (await other.views.connections(Search(state="client_refused"))).connections
    assert {one.id for one in shown} == {first.connection_id, second.connection_id}
    assert source_of(stage, newer) == NEITHER


@pytest.mark.row("F92")
async def test_bound_while_the_lease_was_waited_for(stage: Stage) -> None:
    """Two processes with different ids want to refresh a row from before: what the first brings binds it, and the
    second, which had read it unbound, finds that under the lease.
    """
    grant = await stage.expired(source=NEITHER)
    other = await strange(stage, "client id")

    async def bind() -> None:
        stage.sql("UPDATE grants SET client_id = 'client-1'")

    other.driver.after("take_lease", bind)
    with pytest.raises(ClientRefused):
        await other.refresh(grant.id, 1)
    assert nothing_sent(stage)
    assert (await stage.row(grant.id)).lease_left == 0


# --- the ways in


@pytest.mark.row("F92")
async def test_an_import_says_where_it_is_from(stage: Stage) -> None:
    """With the wrong id in the settings nothing worked; imported again with the right one, it is of that one."""
    wrong = await strange(stage, "client id")
    stage.endpoint.will(NotSent("down"))
    told = await bring_in(wrong)
    grant = await current_grant(stage.one.store, told.connection.id)
    assert grant is not None
    assert source_of(stage, grant) == Source(ISSUER, "client-2")
    await stage.clock.sleep(100.0)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    assert (await bring_in(stage.one)).outcome == "connected"
    assert source_of(stage, grant) == HERE
    assert bound(stage) == {"default": ISSUER}, "nothing but imports has bound it"
    with pytest.raises(ClientRefused):
        await wrong.access.access_token(told.connection.id)
    assert (await bring_in(wrong)).connection.id == told.connection.id
    assert source_of(stage, grant) == HERE, "it worked, so nobody's word changes it"


@pytest.mark.row("F92")
async def test_no_import_for_an_app_of_elsewhere(stage: Stage) -> None:
    """Refused before anything is stored."""
    await stage.connected()
    with pytest.raises(ClientRefused, match="client secret"):
        await bring_in(await stage.process(issuer=ELSEWHERE), "2000")
    assert stage.sql("SELECT COUNT(*) FROM grants") == [(1,)]


async def bring_in(process: Process, property_id: str = "1000") -> Imported:
    """As an operator types it."""
    return await process.importer.bring_in(Handover(property_id, Secret(f"R-{property_id}")))


@pytest.mark.row("F92")
async def test_tokens_that_move_to_another_connection_take_it_along(stage: Stage) -> None:
    """Claimed for the connection that the hotel has already."""
    await stage.connected()
    stage.endpoint.will(issued(2, property_ids=("1000",)))
    waits = (await stage.one.authorizer.arrive(code="code-2")).connection
    home = await stage.one.authorizer.claim(waits.id, None)
    assert home != waits.id
    grant = await current_grant(stage.one.store, home)
    assert grant is not None
    assert (grant.access.reveal(), source_of(stage, grant)) == ("A-2", HERE)


@pytest.mark.row("F92")
async def test_a_hotel_approves_the_registration_that_took_the_others_place(stage: Stage) -> None:
    """What it approved before stays refused; the new approval is of the new client, and serves."""
    grant = await stage.connected()
    other = await strange(stage, "client id")
    begun = await other.authorizer.begin(connection_id=grant.connection_id)
    stage.endpoint.will(issued(2, property_ids=("1000",)))
    finished = await other.authorizer.finish(code="code", state=begun.state)
    assert (finished.connection.id, finished.connection.state) == (grant.connection_id, State.FRESH)
    assert (await other.access.access_token(grant.connection_id)).reveal() == "A-2"
    with pytest.raises(ClientRefused):
        await stage.one.access.access_token(grant.connection_id)


# --- the move to an API key


@pytest.mark.row("F92")
@pytest.mark.parametrize("kept", [False, True], ids=["proven", "with a kept token"])
async def test_credentials_given_for_a_move_alone(stage: Stage, kept: bool) -> None:
    """Named for this command they may be another client's; the service, which has its own, goes on with the key."""
    grant = await stage.connected()
    if kept:
        await stage.clock.sleep(HOUR)
        stage.vendor.script = [Inconclusive("HTTP 502")]
        stage.endpoint.will(issued(2))
        await stage.one.access.access_token(grant.connection_id)
        await stage.one.idle()
        assert len((await stage.row(grant.id)).kept) == 1
    stage.endpoint.secrets.clear()
    mover = await strange(stage, "client id")
    stage.endpoint.will(key(1))
    await mover.migrator.migrate(grant.connection_id, app="default")
    assert stage.endpoint.secrets == ["secret-2"]
    await stage.clock.sleep(100.0)  # within a minute a process may lend what it has in memory
    for process in (stage.one, mover):
        assert (await process.access.access_token(grant.connection_id)).reveal() == "cbat_1"
        assert (await process.views.connection(grant.connection_id)).state is State.FRESH
    row = await current_grant(stage.one.store, grant.connection_id)
    assert row is not None
    assert (row.kind, source_of(stage, row)) == (CredentialKind.API_KEY, Source(ISSUER, None))


@pytest.mark.row("F92")
async def test_a_grant_from_before_is_bound_while_its_move_waits_for_the_lease(stage: Stage) -> None:
    """Another process's pair names the client: what was read unbound is not exchanged under another."""
    grant = await stage.connected(source=NEITHER)
    mover = await strange(stage, "client id")

    async def bind() -> None:
        stage.sql("UPDATE grants SET client_id = 'client-1'")

    mover.driver.after("take_lease", bind)
    with pytest.raises(ClientRefused, match="client-1"):
        await mover.migrator.migrate(grant.connection_id)
    assert nothing_sent(stage)
    assert not (await stage.row(grant.id)).latched


@pytest.mark.row("F92")
async def test_a_key_of_the_apps_own_exchange_is_bound_to_its_client(stage: Stage) -> None:
    """And is lent under no other."""
    grant = await stage.connected()
    stage.endpoint.will(key(1))
    await stage.one.migrator.migrate(grant.connection_id)
    row = await current_grant(stage.one.store, grant.connection_id)
    assert row is not None
    assert source_of(stage, row) == HERE
    with pytest.raises(ClientRefused):
        await (await strange(stage, "client id")).access.access_token(grant.connection_id)


@pytest.mark.row("F92")
async def test_a_move_is_made_where_the_grant_came_from(stage: Stage) -> None:
    """Whatever credentials are given for it."""
    grant = await stage.connected()
    with pytest.raises(ClientRefused, match=ELSEWHERE):
        await (await strange(stage, "origin")).migrator.migrate(grant.connection_id, app="default")
    assert nothing_sent(stage)
    assert not (await stage.row(grant.id)).latched


# --- the operator's word


@pytest.mark.row("F92")
async def test_an_operator_says_that_the_vendor_moved(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secret and grants of one app, a few at a time, each with a line of history; the other app stays where it was."""
    monkeypatch.setattr(vault_apps, "AT_ONCE", 2)
    await stage.one.apps.add("aurora", client_id="client-3", client_secret="aurora-1")
    hotels = [await stage.connected(pair(at, property_ids=(str(at),))) for at in range(1, 6)]
    apart = await stage.connected(pair(7, property_ids=("7",)), app="aurora", source=Source(ISSUER, "client-3"))
    other = await stage.process(issuer=ELSEWHERE)
    assert await other.apps.move_origin("default", ISSUER) == 5
    assert bound(stage) == {"default": ELSEWHERE, "aurora": ISSUER}
    for at, grant in enumerate(hotels, 1):
        assert source_of(stage, grant) == Source(ELSEWHERE, "client-1")
        assert (await other.access.access_token(grant.connection_id)).reveal() == f"A-{at}"
        (told, *_) = await stage.one.store.read(read_history(grant.connection_id))
        assert (told.kind, told.actor, told.data) == ("origin_moved", "program", {"from": ISSUER, "to": ELSEWHERE})
    with pytest.raises(ClientRefused):
        await other.access.access_token(apart.connection_id)
    with pytest.raises(ClientRefused):
        await stage.one.refresh(hotels[0].id, 1)
    assert stage.notes.times("origin_moved") == 1


@pytest.mark.row("F92")
async def test_a_move_that_was_cut_off_goes_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret moves last, so that asking again finds what is left."""
    monkeypatch.setattr(vault_apps, "AT_ONCE", 1)
    hotels = [await stage.connected(pair(at, property_ids=(str(at),))) for at in range(2)]
    other = await stage.process(issuer=ELSEWHERE)
    other.driver.refuse("move_issuer")
    with pytest.raises(StoreUnavailable):
        await other.apps.move_origin("default", ISSUER)
    assert [source_of(stage, grant).issuer for grant in hotels] == [ELSEWHERE] * 2
    assert bound(stage) == {"default": ISSUER}
    assert await other.apps.move_origin("default", ISSUER) == 0
    assert bound(stage) == {"default": ELSEWHERE}


@pytest.mark.row("F92")
async def test_a_move_that_there_is_not(stage: Stage) -> None:
    """From where nothing came, or all is sent already; of no app, or of one whose secret is for a third origin."""
    grant = await stage.connected()
    one, other = stage.one.apps, (await stage.process(issuer=ELSEWHERE)).apps
    for asked, said in (
        (one.move_origin("default", "https://third.example"), "nothing of the app 'default' came from"),
        (one.move_origin("default", ISSUER), "where the settings send everything already"),
        (one.move_origin("nobody", ELSEWHERE), "no app named 'nobody'"),
        (other.move_origin("default", "https://third.example"), f"is for {ISSUER}"),
    ):
        with pytest.raises(InvalidRequest, match=said):
            await asked
    assert (source_of(stage, grant), bound(stage)) == (HERE, {"default": ISSUER})
    stage.sql("DELETE FROM issuers")
    with pytest.raises(InvalidRequest, match="nothing of the app"):
        await other.move_origin("default", "https://third.example")
    assert await other.move_origin("default", ISSUER) == 1, "an app from before, bound to no origin"


@pytest.mark.row("F92")
async def test_a_grant_that_moved_meanwhile(stage: Stage) -> None:
    """Another operator was first: it has one line of history."""
    grant = await stage.connected()
    other = await stage.process(issuer=ELSEWHERE)

    async def first() -> None:
        stage.sql("UPDATE grants SET issuer = ?", ELSEWHERE)

    other.driver.after("issuer", first)
    assert await other.apps.move_origin("default", ISSUER) == 0
    assert "origin_moved" not in await stage.kinds(grant.connection_id)


# --- what people see


@pytest.mark.row("F92")
@pytest.mark.parametrize("how", ["client id", "origin"])
async def test_people_see_both_names(stage: Stage, how: str) -> None:
    """The state is `client_refused`, and one finding counts the hotels; what has ended or is marked looks as it did."""
    living = [await stage.connected(pair(at, property_ids=(str(at),))) for at in range(3)]
    gone = await stage.connected(pair(8, property_ids=("8",)))
    await stage.one.store.write(disconnect(gone.connection_id))
    marked = await stage.connected(pair(9, property_ids=("9",)))
    stage.sql("UPDATE grants SET reauth = 'revoked', state = 'reauthorization_required' WHERE id = ?", marked.id)
    other = await strange(stage, how)
    names = ("client-1", "client-2") if how == "client id" else (ISSUER, ELSEWHERE)
    for grant in living:
        shown = await other.views.connection(grant.connection_id)
        assert shown.state is State.CLIENT_REFUSED
        assert all(name in str(shown.problem) for name in names)
        assert names[0] in str(shown.next_step)
    assert len((await other.views.connections(Search(state="client_refused"))).connections) == 3
    assert (await other.views.connection(gone.connection_id)).state is State.DISCONNECTED
    assert (await other.views.connection(marked.connection_id)).state is State.REAUTHORIZATION_REQUIRED
    (told,) = await other.apps.foreign()
    assert told.what.startswith("4 hotels: their tokens were issued")
    assert all(name in told.what for name in names)
    assert await stage.one.apps.foreign() == []
    assert (await stage.one.views.connection(living[0].connection_id)).state is State.FRESH
