"""The transactions of apps: registrations at Cloudbeds, their two secrets, and which of them may go."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.support.bench import Bench, HandClock, link
from tests.support.fakes import pair
from tests.support.shown import show_no_more

from cloudbeds_auth.errors import AuthorizationExpired
from cloudbeds_auth.rules.links import AppRequest
from cloudbeds_auth.rules.model import App, CredentialKind, moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration
from cloudbeds_auth.transactions.apps import (
    AppConflict,
    RedirectUris,
    add_app,
    drop_previous_secret,
    open_circuit,
    open_circuits,
    read_app,
    read_apps,
    read_conflict,
    read_redirect_uris,
    remove_app,
    rotate_secret,
)
from cloudbeds_auth.transactions.authorizations import add_link, read_link
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.marketplace import claim, discard_parked
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction

AURORA = App(
    "aurora",
    "client-2",
    (Secret("first"),),
    "https://a.example/callback/aurora",
    ("read:hotel", "read:rate"),
    "property",
)
BOREAL = App("boreal", "client-3", (Secret("boreal"),), "https://a.example/callback/boreal")


async def secrets(bench: Bench, name: str = "aurora") -> list[str]:
    """An app's secrets as another process reads them."""
    app = await (await bench.another()).read(read_app(name))
    assert app is not None
    return [secret.reveal() for secret in app.secrets]


async def test_what_was_added_is_read(bench: Bench, clock: HandClock) -> None:
    """By every process, each part as it was given, with the moment at which it was added."""
    assert await bench.store.write(add_app(AURORA)) is None
    other = await bench.another()
    assert await other.read(read_app("aurora")) == replace(AURORA, created_at=moment(clock.wall))
    assert await other.read(read_app("boreal")) is None
    assert await other.read(read_app("default")) is None


async def test_a_list_by_name(bench: Bench) -> None:
    """Whatever the order in which they came."""
    none = await bench.store.read(read_redirect_uris(RedirectUris()))
    assert (await bench.store.read(read_apps()), none.by_app) == ([], {})
    await bench.store.write(add_app(BOREAL))
    await bench.store.write(add_app(AURORA))
    assert [app.id for app in await bench.store.read(read_apps())] == ["aurora", "boreal"]
    both = await bench.store.read(read_redirect_uris(none))
    assert both.by_app == {"aurora": AURORA.redirect_uri, "boreal": BOREAL.redirect_uri}
    assert await bench.store.read(read_redirect_uris(both)) is both
    await bench.store.write(remove_app("aurora"))
    assert (await bench.store.read(read_redirect_uris(both))).by_app == {"boreal": BOREAL.redirect_uri}


WANTED = AppRequest("aurora", "property", AURORA.redirect_uri, AURORA.scopes, None)


async def test_by_a_link(bench: Bench) -> None:
    """It says what is to be registered; the app is stored in one step with the end of that; then it connects."""
    await bench.store.write(add_link(link("l1", app="aurora", registration=WANTED)))
    found = await (await bench.another()).read(read_link("l1"))
    assert found is not None
    assert found.registration == WANTED
    assert await bench.store.write(add_app(AURORA, "l1")) is None
    assert await secrets(bench) == ["first"]
    found = await bench.store.read(read_link("l1"))
    assert found is not None
    assert (found.app, found.registration) == ("aurora", None)
    with pytest.raises(AuthorizationExpired):
        await bench.store.write(add_app(BOREAL, "l1"))
    assert [app.id for app in await bench.store.read(read_apps())] == ["aurora"]


async def test_by_a_link_that_registers_nothing(bench: Bench, clock: HandClock) -> None:
    """Made to connect, used, over, or made up: nothing is written."""
    await bench.store.write(add_link(link("connects")))
    await bench.store.write(add_link(link("over", app="aurora", lifetime=60.0, registration=WANTED)))
    clock.pass_(61.0)
    for name in ("connects", "over", "made up"):
        with pytest.raises(AuthorizationExpired):
            await bench.store.write(add_app(AURORA, name))
    assert await bench.store.read(read_apps()) == []


async def test_a_link_outlives_a_conflict(bench: Bench) -> None:
    """What the hotel entered is another app's: nothing is written, and it may enter the right ones."""
    assert await bench.store.read(read_conflict(AURORA)) is None
    await bench.store.write(add_app(AURORA))
    assert await bench.store.read(read_conflict(replace(AURORA, client_id="later"))) is AppConflict.NAME
    await bench.store.write(add_link(link("l1", app="boreal", registration=replace(WANTED, name="boreal"))))
    taken = await bench.store.write(add_app(replace(BOREAL, client_id="client-2"), "l1"))
    assert taken is AppConflict.CLIENT_ID
    assert await bench.store.write(add_app(BOREAL, "l1")) is None


async def test_two_hotels_with_one_link(bench: Bench) -> None:
    """At the same moment: one registers its app, and the other one's secret is stored nowhere."""
    await bench.store.write(add_link(link("l1", app="aurora", registration=WANTED)))
    stores = [bench.store, await bench.another()]
    apps = [replace(AURORA, client_id=f"client-{number}", secrets=(Secret(f"of-{number}"),)) for number in (1, 2)]
    ends = await asyncio.gather(
        *(store.write(add_app(app, "l1")) for store, app in zip(stores, apps, strict=True)), return_exceptions=True
    )
    assert sorted(type(end).__name__ for end in ends) == ["AuthorizationExpired", "NoneType"]
    assert await secrets(bench) == [f"of-{1 + ends.index(None)}"]


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({"id": "aurora"}, AppConflict.NAME),
        ({"client_id": "client-2"}, AppConflict.CLIENT_ID),
        ({"redirect_uri": "https://other.example/callback/aurora"}, AppConflict.REDIRECT_PATH),
    ],
)
async def test_what_another_app_has(bench: Bench, changed: dict[str, Any], taken: AppConflict) -> None:
    """Names, client ids and redirect paths are one app's each; a refused one leaves nothing behind."""
    await bench.store.write(add_app(AURORA))
    assert await bench.store.write(add_app(replace(BOREAL, **changed))) is taken
    assert [app.client_id for app in await bench.store.read(read_apps())] == ["client-2"]


async def test_a_reset_keeps_the_former_secret(bench: Bench, clock: HandClock) -> None:
    """The new one first; a second reset keeps the one of the first, and no third."""
    await bench.store.write(add_app(AURORA))
    clock.pass_(60.0)
    assert await bench.store.write(rotate_secret("aurora", Secret("second")))
    assert await secrets(bench) == ["second", "first"]
    assert await bench.store.write(rotate_secret("aurora", Secret("third")))
    assert await secrets(bench) == ["third", "second"]
    found = await bench.store.read(read_app("aurora"))
    assert found is not None
    assert (found.created_at, found.rotated_at) == (moment(clock.wall - 60.0), moment(clock.wall))


async def test_the_former_secret_is_dropped(bench: Bench) -> None:
    """Once, or again; the current one stays, and a later reset keeps it."""
    await bench.store.write(add_app(AURORA))
    await bench.store.write(rotate_secret("aurora", Secret("second")))
    for _ in range(2):
        assert await bench.store.write(drop_previous_secret("aurora"))
        assert await secrets(bench) == ["second"]
    assert await bench.store.write(rotate_secret("aurora", Secret("third")))
    assert await secrets(bench) == ["third", "second"]


async def test_an_app_that_is_not_there(bench: Bench) -> None:
    """Nothing is changed, and the answer says so."""
    assert await bench.store.write(rotate_secret("aurora", Secret("second"))) is False
    assert await bench.store.write(drop_previous_secret("aurora")) is False
    assert await bench.store.write(remove_app("aurora")) is None
    assert await bench.store.read(read_apps()) == []


async def test_an_app_with_living_connections_stays(bench: Bench) -> None:
    """One in use and one not proven yet count, a disconnected one and another app's do not; then it goes."""
    await bench.store.write(add_app(AURORA))
    used = await bench.connected(pair(1, property_ids=("1000",)), app="aurora")
    unproven = await bench.approved(pair(2, property_ids=("1001",)), app="aurora")
    await bench.connected(pair(3, property_ids=("1002",)))
    for expected, connection in ((2, used), (1, unproven)):
        assert await bench.store.write(remove_app("aurora")) == expected
        assert await bench.store.read(read_app("aurora")) is not None
        await bench.store.write(disconnect(connection.connection_id))
    assert await bench.store.write(remove_app("aurora")) == 0
    assert await bench.store.read(read_app("aurora")) is None


async def test_an_app_with_something_parked_stays(bench: Bench) -> None:
    """What waits to be claimed lives; claimed for another connection, it counts there and no more here."""
    await bench.store.write(add_app(AURORA))
    ours = await bench.connected(pair(1, property_ids=("1000",)), app="aurora")
    waits = await bench.approved(pair(2, property_ids=("1000",)), app="aurora", parked=True)
    assert await bench.store.write(remove_app("aurora")) == 2
    assert await bench.store.write(claim(waits.connection_id, None, "gra_claimed")) == ours.connection_id
    assert await bench.store.write(remove_app("aurora")) == 1
    other = await bench.approved(pair(3, property_ids=("1001",)), app="aurora", parked=True)
    assert await bench.store.write(remove_app("aurora")) == 2
    assert await bench.store.write(discard_parked(other.id))
    assert await bench.store.write(remove_app("aurora")) == 1


async def test_an_app_of_keys_that_were_moved_stays(bench: Bench) -> None:
    """A connection needs the app that it belongs to, and the one that its credential came by; each is kept."""
    await bench.store.write(add_app(AURORA))
    await bench.store.write(add_app(BOREAL))
    hotel = await bench.connected(pair(1, property_ids=("1000",)), app="aurora")
    fence = await bench.leased(hotel)
    assert await bench.store.write(begin_migration(fence, "client-3"))
    key = pair("key", refresh=None, kind=CredentialKind.API_KEY, property_ids=("1000",))
    assert await bench.store.write(add_key(fence, "gra_key", "boreal", key))
    assert await bench.promoted("gra_key")
    for name in ("aurora", "boreal"):
        assert await bench.store.write(remove_app(name)) == 1
        assert await bench.store.read(read_app(name)) is not None
    await bench.store.write(disconnect(hotel.connection_id))
    for name in ("aurora", "boreal"):
        assert await bench.store.write(remove_app(name)) == 0


async def test_an_app_stays_where_the_mark_is_lost(bench: Bench) -> None:
    """A candidate of a hotel that left, and one beside a grant in use: what lives is counted, whatever lists show."""
    await bench.store.write(add_app(AURORA))
    left = await bench.connected(pair(1, property_ids=("1000",)), app="aurora")
    await bench.store.write(disconnect(left.connection_id))
    back = await bench.approved(pair(2, property_ids=("1000",)), app="aurora", connection_id=left.connection_id)
    await bench.store.write(show_no_more(left.connection_id))
    assert await bench.store.write(remove_app("aurora")) == 1
    await bench.store.write(promote(back.connection_id, back.id, back.generation, None, ()))
    assert await bench.store.write(remove_app("aurora")) == 1


async def test_an_app_that_a_process_of_the_version_before_added(bench: Bench, clock: HandClock) -> None:
    """It counts no changes; its redirect URI is known all the same."""
    await bench.store.write(add_app(AURORA))
    known = await bench.store.read(read_redirect_uris(RedirectUris()))
    clock.pass_(1.0)

    @transaction
    def added(tx: Tx) -> Transaction[None]:
        yield from query(
            "add_app", name="old", client_id="c", level="property", redirect_uri="https://o.example/o", scopes="[]",
            redirect_path="/o", credential="oauth", secret_sealed=b"", now=tx.wall,
        )  # fmt: skip

    await bench.store.write(added())
    assert "old" in (await bench.store.read(read_redirect_uris(known))).by_app


async def test_a_hotel_counts_once(bench: Bench) -> None:
    """However many approvals it gave."""
    await bench.store.write(add_app(AURORA))
    used = await bench.connected(pair(1, property_ids=("1000",)), app="aurora")
    await bench.approved(pair(2, property_ids=("1000",)), app="aurora", connection_id=used.connection_id)
    assert await bench.store.write(remove_app("aurora")) == 1


async def test_a_name_that_comes_back(bench: Bench) -> None:
    """Its former circuits are gone with it: the new registration starts with a clean sheet."""
    await bench.store.write(add_app(AURORA))
    await bench.store.write(open_circuit("aurora", "f1", trial_after=60.0))
    await bench.store.write(open_circuit("default", "f1", trial_after=60.0))
    await bench.store.write(remove_app("aurora"))
    assert await bench.store.write(add_app(replace(AURORA, secrets=(Secret("new"),)))) is None
    assert await secrets(bench) == ["new"]
    assert await bench.store.read(open_circuits("aurora")) == {}
    assert set(await bench.store.read(open_circuits("default"))) == {"f1"}
