"""Several registrations at Cloudbeds: each hotel goes with its own, and what is changed in the store holds at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.fakes import APP, HOUR, issued, pair
from tests.support.stage import Stage, another

from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import AuthorizationExpired, ClientRefused, InvalidRequest, InvalidReturnTo, RateLimited
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.links import AppRequest
from cloudbeds_auth.rules.model import App, CredentialKind, Grant
from cloudbeds_auth.rules.rate_limit import Limit, Rate, rate_within
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import RefusedClient
from cloudbeds_auth.transactions.apps import read_apps
from cloudbeds_auth.transactions.connections import disconnect

AURORA = App("aurora", "client-2", (Secret("aurora-1"),), "http://localhost:7000/callback/aurora", level="property")
REFUSED = RefusedClient("HTTP 401")


async def added(stage: Stage, **parts: Any) -> App:
    """The app aurora, as an operator adds it."""
    given = {"client_id": "client-2", "client_secret": "aurora-1"} | parts
    return await stage.one.apps.add("aurora", **given)


async def expired(stage: Stage, app: str = "aurora", number: int = 1) -> Grant:
    """A hotel of this app whose access token has run out."""
    return await stage.expired(pair(number, property_ids=(str(1000 + number),)), app=app)


# --- each with its own


async def test_a_hotel_connects_and_refreshes_with_its_own_client(stage: Stage) -> None:
    """Approval, exchange and refresh of two apps side by side: each goes with its app's secret, in one process."""
    await added(stage)
    for number, app in ((1, "aurora"), (2, "default")):
        begun = await stage.one.authorizer.begin(app=app)
        assert f"client_id={'client-2' if app == 'aurora' else 'client-1'}&" in begun.url
        stage.endpoint.will(issued(number, property_ids=(str(number),)))
        finished = await stage.one.authorizer.finish(code=f"code-{number}", state=begun.state)
        assert finished.connection.app == app
    await stage.clock.sleep(HOUR)
    for number, property_id in ((3, "1"), (4, "2")):
        stage.endpoint.will(issued(number))
        (connection,) = await resolve(stage.one.store, property_id)
        assert (await stage.one.access.access_token(connection)).reveal() == f"A-{number}"
    assert stage.endpoint.apps == ["aurora", "default", "aurora", "default"]
    assert stage.endpoint.secrets == ["aurora-1", "secret-1", "aurora-1", "secret-1"]


async def test_a_hotel_brings_its_own_by_a_link(stage: Stage) -> None:
    """What the operator wants is kept in the link; what the hotel enters is registered; the same link connects it."""
    apps = stage.one.apps
    link = await apps.create_link("aurora", scopes=["read:hotel"], reference="tenant-7", return_to="/done")
    assert link.url.endswith(f"/add-app/{link.token}")
    wanted = AppRequest("aurora", "property", AURORA.redirect_uri, ("read:hotel",), None)
    assert await apps.read_link(link.token) == wanted
    authorizer = stage.one.authorizer
    for premature in (authorizer.begin_from_link(link.token, "b"), authorizer.read_link(link.token)):
        with pytest.raises(InvalidRequest, match="client id and secret of an app first"):
            await premature
    other = (await stage.process()).apps
    app = await other.add_from_link(link.token, client_id="client-2", client_secret="aurora-1")
    assert (app.client_id, app.scopes, app.secrets) == ("client-2", ("read:hotel",), AURORA.secrets)
    assert (app.level, app.issuer) == ("property", stage.one.world.issuer)
    assert await apps.read_link(link.token) is None
    begun = await stage.one.authorizer.begin_from_link(link.token, "b")
    assert "client_id=client-2&" in begun.url
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code-1", state=begun.state, browser="b")
    assert (finished.connection.app, finished.connection.reference) == ("aurora", "tenant-7")
    assert finished.return_to == "/done"
    with pytest.raises(AuthorizationExpired):
        await apps.read_link(link.token)


async def test_what_a_link_is_not_made_for(stage: Stage) -> None:
    """What could not be registered afterwards is refused when the link is made."""
    await added(stage)
    for name, parts in (
        ("aurora", {}),
        ("default", {}),
        ("Boreal", {}),
        ("boreal", {"redirect_uri": AURORA.redirect_uri}),
        ("boreal", {"expires_in": float("nan")}),
    ):
        with pytest.raises(InvalidRequest):
            await stage.one.apps.create_link(name, **parts)
    with pytest.raises(InvalidReturnTo):
        await stage.one.apps.create_link("boreal", return_to="https://evil.example/")


async def test_what_a_hotel_enters_wrongly(stage: Stage) -> None:
    """Refused as an operator's would be, without what was entered; the link is as good as before."""
    link = await stage.one.apps.create_link("aurora")
    for wrong in ({"client_id": ""}, {"client_secret": ""}, {"client_id": "client-1"}):
        with pytest.raises(InvalidRequest) as caught:
            await stage.one.apps.add_from_link(link.token, **({"client_id": "c", "client_secret": "canary"} | wrong))
        assert "canary" not in str(caught.value)
    await stage.one.apps.add_from_link(link.token, client_id="client-2", client_secret="aurora-1")
    with pytest.raises(AuthorizationExpired):
        await stage.one.apps.add_from_link(link.token, client_id="client-3", client_secret="aurora-2")
    plain = await stage.one.authorizer.create_link(
        app="default", reference=None, return_to=None, connection_id=None, expires_in=60.0
    )
    with pytest.raises(AuthorizationExpired):
        await stage.one.apps.add_from_link(plain.token, client_id="client-3", client_secret="aurora-2")


async def test_a_running_process_knows_it_at_once(stage: Stage) -> None:
    """Added by one process, used by another that has run all along: nothing is restarted, nothing is waited for."""
    other = await stage.process()
    with pytest.raises(InvalidRequest, match="no app named 'aurora'"):
        await other.authorizer.begin(app="aurora")
    await added(stage)
    begun = await other.authorizer.begin(app="aurora")
    assert begun.redirect_uri == AURORA.redirect_uri
    assert (await other.authorizer.create_link(
        app="aurora", reference=None, return_to=None, connection_id=None, expires_in=60.0
    )).token  # fmt: skip


async def test_the_settings_app_costs_no_look_into_the_store(stage: Stage) -> None:
    """A refresh of the settings' own app reads no registration."""
    grant = await expired(stage, "default")
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    assert stage.one.driver.seen["app"] == 0


async def test_a_reconnect_stays_with_its_app(stage: Stage) -> None:
    """Without a name the connection's own app is approved; with another one's name nothing is begun."""
    await added(stage)
    grant = await stage.connected(app="aurora")
    begun = await stage.one.authorizer.begin(connection_id=grant.connection_id)
    assert "client_id=client-2" in begun.url
    begun = await stage.one.authorizer.begin(app="aurora", connection_id=grant.connection_id)
    assert "client_id=client-2" in begun.url
    with pytest.raises(InvalidRequest, match="one of the app 'aurora'"):
        await stage.one.authorizer.begin(app="default", connection_id=grant.connection_id)


# --- two secrets during a reset


async def test_a_reset_holds_at_once_in_every_process(stage: Stage) -> None:
    """The new secret is presented first, by a process that has run all along."""
    await added(stage)
    other, grant = await stage.process(), await expired(stage)
    await stage.one.apps.rotate_secret("aurora", "aurora-2")
    stage.endpoint.will(issued(2))
    assert (await other.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert stage.endpoint.secrets == ["aurora-2"]


async def test_the_former_secret_is_taken_while_the_new_one_is_not(stage: Stage) -> None:
    """As of the settings' own app: new first, then the former one, in the same call and with the same token."""
    await added(stage)
    grant = await expired(stage)
    await stage.one.apps.rotate_secret("aurora", "aurora-2")
    stage.endpoint.will(REFUSED, issued(2))
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert stage.endpoint.secrets == ["aurora-2", "aurora-1"]
    assert stage.endpoint.sent == ["R-1", "R-1"]


@pytest.mark.row("F35")
async def test_a_refused_app_recovers_with_a_new_secret(stage: Stage) -> None:
    """Its circuit opens and it alone says so; another secret, given by another process, is used at once."""
    await added(stage)
    grant, ours = await expired(stage), await expired(stage, "default", 2)
    stage.endpoint.will(REFUSED)
    with pytest.raises(ClientRefused) as raised:
        await stage.one.refresh(grant.id, 1)
    assert "rotate-secret aurora" in raised.value.next_step
    shown = await stage.one.views.connection(grant.connection_id)
    assert (shown.state, shown.problem) == (State.CLIENT_REFUSED, "client_refused")
    assert "rotate-secret aurora" in str(shown.next_step)
    assert (await stage.one.views.connection(ours.connection_id)).state is not State.CLIENT_REFUSED
    await (await stage.process()).apps.rotate_secret("aurora", "aurora-2")
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.secrets == ["aurora-1", "aurora-2"]
    assert (await stage.row(grant.id)).reauth is None


async def test_the_exchange_of_a_refused_app(stage: Stage) -> None:
    """The one who connects is told whose secret it is."""
    await added(stage)
    begun = await stage.one.authorizer.begin(app="aurora")
    stage.endpoint.will(REFUSED)
    with pytest.raises(ClientRefused) as raised:
        await stage.one.authorizer.finish(code="code", state=begun.state)
    assert "rotate-secret aurora" in raised.value.next_step


# --- an app that is missing, or whose secret is


async def test_a_hotel_without_its_app(stage: Stage) -> None:
    """The token it has is lent; when it has run out nothing is sent, no other app's secret either, and all is kept."""
    grant = await stage.connected(app="aurora")
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    await stage.clock.sleep(HOUR)
    with pytest.raises(ClientRefused, match="'aurora' is no longer registered") as raised:
        await stage.one.access.access_token(grant.connection_id)
    assert "apps add aurora" in raised.value.next_step
    shown = await stage.one.views.connection(grant.connection_id)
    assert (shown.state, shown.next_step) == (State.CLIENT_REFUSED, raised.value.next_step)
    assert stage.endpoint.secrets == []
    assert await stage.tokens(grant.id) == ["R-1"]


async def test_an_app_that_comes_back(stage: Stage) -> None:
    """Its hotels go on where they were."""
    grant = await expired(stage)
    with pytest.raises(ClientRefused):
        await stage.one.refresh(grant.id, 1)
    await added(stage)
    stage.endpoint.will(issued(2))
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"


async def test_a_hotel_without_its_app_can_leave(stage: Stage) -> None:
    """Cloudbeds cannot be told, so it says so; insisting forgets the tokens."""
    grant = await stage.connected(app="aurora")
    leave = stage.one.disconnecter.disconnect
    with pytest.raises(ClientRefused):
        await leave(grant.connection_id, forget=False)
    assert await stage.tokens(grant.id) == ["R-1"]
    await leave(grant.connection_id, forget=True)
    assert (await stage.one.views.connection(grant.connection_id)).state is State.DISCONNECTED


async def test_a_secret_that_does_not_open(stage: Stage) -> None:
    """An altered row is that app's trouble alone: nothing is sent, and another secret mends it."""
    await added(stage)
    grant = await expired(stage)
    stage.sql("UPDATE apps SET generation = 7")
    with pytest.raises(ClientRefused, match="does not open") as raised:
        await stage.one.refresh(grant.id, 1)
    assert "rotate-secret aurora" in raised.value.next_step
    assert (await stage.one.views.connection(grant.connection_id)).state is State.CLIENT_REFUSED
    assert stage.endpoint.secrets == []
    await stage.one.apps.rotate_secret("aurora", "aurora-2")
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.secrets == ["aurora-2"]


# --- each level's rate


@pytest.mark.parametrize(("level", "rate"), [("property", 5), ("partner", 10)])
async def test_a_further_app_keeps_its_levels_rate(stage: Stage, level: str, rate: int) -> None:
    """Whatever the settings' own app is kept to; each client id has a budget of its own."""
    limits = {name: Limit(rate_within(most)) for name, most in (("property", 5), ("partner", 10))}
    own = Limit(Rate(1, 1000.0))
    process = another(stage.one, limit=own, limits=limits)
    app = await added(stage, level=level)
    assert process.world.limiter(app)._limit == Limit(rate_within(rate))
    await process.world.limiter(APP).spend(0.0)
    with pytest.raises(RateLimited):
        await process.world.limiter(APP).spend(0.0)
    for _ in range(rate_within(rate).most):
        await process.world.limiter(app).spend(0.0)


async def test_a_property_level_app_has_no_app_state(stage: Stage) -> None:
    """Its hotel leaves without a word to Cloudbeds, and the next step says what the hotel does."""
    await added(stage)
    grant = await stage.connected(app="aurora")
    await stage.one.disconnecter.disconnect(grant.connection_id, forget=False)
    assert stage.vendor.disabled == []
    assert "in Cloudbeds" in str((await stage.one.views.connection(grant.connection_id)).next_step)


# --- what an operator does


async def test_what_is_not_said_follows_from_the_settings(stage: Stage) -> None:
    """Property level, the settings' scopes, and a redirect URI below the settings' own."""
    app = await added(stage)
    assert (app.level, app.scopes, app.redirect_uri) == ("property", ("read:hotel",), AURORA.redirect_uri)
    assert app.credential is CredentialKind.OAUTH
    key = await stage.one.apps.add("boreal", client_id="client-3", client_secret="x", credential="api-key")
    assert (key.credential, await (await stage.process()).apps.get("boreal")) == (CredentialKind.API_KEY, key)
    await stage.one.apps.remove("boreal")
    assert [one.id for one in await stage.one.apps.list()] == ["default", "aurora"]
    assert await stage.one.apps.redirect_uris() == {"aurora": AURORA.redirect_uri}


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"client_id": "client-1"}, "client id"),
        ({"redirect_uri": "http://127.0.0.1:7000/callback"}, "redirect URI"),
    ],
)
async def test_what_the_settings_app_has(stage: Stage, parts: dict[str, str], word: str) -> None:
    """A client id, or the path of a redirect URI, belongs to one app; the settings' own counts."""
    with pytest.raises(InvalidRequest, match=word):
        await added(stage, **parts)
    with pytest.raises(InvalidRequest, match="of this name"):
        await stage.one.apps.add("default", client_id="client-2", client_secret="aurora-1")
    assert await stage.one.store.read(read_apps()) == []


async def test_what_another_app_has_too(stage: Stage) -> None:
    """Told in the words of what is taken."""
    await added(stage)
    with pytest.raises(InvalidRequest, match="client id"):
        await stage.one.apps.add("boreal", client_id="client-2", client_secret="boreal-1")


async def test_the_same_secret_again(stage: Stage) -> None:
    """Nothing is reset with the secret that there is: the former one would be lost for nothing."""
    await added(stage)
    await stage.one.apps.rotate_secret("aurora", "aurora-2")
    with pytest.raises(InvalidRequest, match="has already"):
        await stage.one.apps.rotate_secret("aurora", Secret("aurora-2"))
    app = await stage.one.apps.get("aurora")
    assert [secret.reveal() for secret in app.secrets] == ["aurora-2", "aurora-1"]
    app = await stage.one.apps.drop_previous_secret("aurora")
    assert [secret.reveal() for secret in app.secrets] == ["aurora-2"]


@pytest.mark.parametrize(("hotels", "words"), [(1, "1 connection of"), (2, "2 connections of")])
async def test_an_app_with_hotels_stays(stage: Stage, hotels: int, words: str) -> None:
    """How many would be left without it is told; when they are gone, it goes."""
    await added(stage)
    grants = [await stage.connected(pair(n, property_ids=(str(n),)), app="aurora") for n in range(hotels)]
    with pytest.raises(InvalidRequest, match=words):
        await stage.one.apps.remove("aurora")
    for grant in grants:
        await stage.one.store.write(disconnect(grant.connection_id))
    await stage.one.apps.remove("aurora")
    assert [one.id for one in await stage.one.apps.list()] == ["default"]


Deed = Callable[[Apps], Awaitable[object]]
DEEDS: dict[str, Deed] = {
    "rotate_secret": lambda apps: apps.rotate_secret("aurora", "aurora-2"),
    "drop_previous_secret": lambda apps: apps.drop_previous_secret("aurora"),
    "remove_app": lambda apps: apps.remove("aurora"),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_an_app_that_is_not_there(stage: Stage, deed: Deed) -> None:
    """Told by name; also when somebody else removed it a moment ago."""
    with pytest.raises(InvalidRequest, match="no app named 'aurora'"):
        await deed(stage.one.apps)
    await added(stage)
    other = await stage.process()
    stage.one.driver.after("app", lambda: other.apps.remove("aurora"))
    with pytest.raises(InvalidRequest, match="no app named 'aurora'"):
        await deed(stage.one.apps)


async def test_the_settings_app_is_changed_in_the_settings(stage: Stage) -> None:
    """Its secrets and its end are not the store's."""
    apps = stage.one.apps
    for deed in (apps.rotate_secret("default", "x"), apps.drop_previous_secret("default"), apps.remove("default")):
        with pytest.raises(InvalidRequest, match="settings' own") as raised:
            await deed
        assert "CLOUDBEDS_CLIENT_SECRET_PREVIOUS" in raised.value.next_step
