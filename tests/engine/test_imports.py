"""Hotels of an old script: each token is stored, sent once, proven, and never taken for another hotel's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from tests.support.fakes import ADA, issued, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.stage import Stage

from cloudbeds_auth.cli.import_command import AT_ONCE
from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.errors import ClientRefused, InvalidRequest, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.ports import MaySend
from cloudbeds_auth.rules.api_errors import DeadToken, Inconclusive, Proof
from cloudbeds_auth.rules.imports import Handover, Imported, Outcome
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Role, moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Issued, NotSent, Refused, RefusedClient
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.imports import NewImport, add_import


def old(property_id: str = "1000", token: str = "R-old", **more: object) -> Handover:
    return Handover(property_id, Secret(token), reference="tenant-7", **more)  # type: ignore[arg-type]


async def bring_in(stage: Stage, hotel: Handover | None = None) -> Imported:
    return await stage.one.importer.bring_in(hotel or old())


def in_an_hour(stage: Stage) -> datetime:
    return moment(stage.clock.wall() + 3600.0)


# --- the way in


async def test_a_token_is_sent_once_and_proven(stage: Stage) -> None:
    """Connected under the caller's own name; nobody asked `/userinfo` with a token that there never was."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    stage.vendor.thinks("A-1", Proof(ADA))
    told = await bring_in(stage)
    assert (told.outcome, told.connection.state, told.connection.reference) == ("connected", State.FRESH, "tenant-7")
    assert (told.connection.property_ids, told.connection.authorizing_user) == (("1000",), ADA)
    assert told.connection.scopes == ("read:hotel",)
    assert stage.endpoint.sent == ["R-old"]
    assert set(stage.vendor.asked) == {"A-1"}
    await stage.one.idle()
    assert await stage.tokens((await current_grant(stage.one.store, told.connection.id)).id) == ["R-1"]  # type: ignore[union-attr]


class KnowingVendor(BusyVendor):
    """Names the property of each token in its answer."""

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        answer = await super().refresh(app, secret, token, may_send)
        assert isinstance(answer, Issued)
        return Issued(replace(answer.pair, property_ids=(token.reveal().removeprefix("R-"),)))


async def test_many_hotels_stay_within_the_limit(stage: Stage) -> None:
    """As many at once as the command takes: each token is sent once, and no second holds a request too many."""
    vendor, gate = KnowingVendor(), asyncio.Semaphore(AT_ONCE)
    one = (await limited(stage, vendor, 10)).importer

    async def bring_in_turn(property_id: str) -> Outcome:
        async with gate:
            return (await one.bring_in(old(property_id, f"R-{property_id}"))).outcome

    hotels = [f"{2000 + at}" for at in range(40)]
    assert set(await asyncio.gather(*map(bring_in_turn, hotels))) == {Outcome.CONNECTED}
    assert sorted(vendor.renewed) == [f"R-{hotel}" for hotel in hotels]
    assert vendor.most_in_a_second() <= 10


async def test_the_same_token_again(stage: Stage) -> None:
    """Told as it was, and not sent again, by this process or another one."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    first = await bring_in(stage)
    other = await stage.process()
    for process in (stage.one, other):
        again = await process.importer.bring_in(old())
        assert (again.outcome, again.connection.id) == (Outcome.CONNECTED, first.connection.id)
    assert stage.endpoint.sent == ["R-old"]


async def test_scopes_that_the_hotel_granted(stage: Stage) -> None:
    """As the list says, where it does."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    assert (await bring_in(stage, old(scopes=("read:guest",)))).connection.scopes == ("read:guest",)


@pytest.mark.parametrize(
    "hotel", [old(""), old("con_1"), old("1" * 65), old("\ud800"), old(token=""), old(app="unknown")]
)
async def test_what_names_no_hotel(stage: Stage, hotel: Handover) -> None:
    """Refused before anything is stored."""
    with pytest.raises(InvalidRequest):
        await bring_in(stage, hotel)
    assert stage.sql("SELECT COUNT(*) FROM connections") == [(0,)]


# --- killed, lost, refused


async def test_killed_while_the_request_is_under_way(stage: Stage) -> None:
    """The token rests, with an intent: the same import goes on, and what the vendor issued is asked for again."""
    begun = asyncio.Event()

    async def never() -> Ambiguous:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    stage.endpoint.will(never)
    first = await stage.process()
    running = asyncio.create_task(first.importer.bring_in(old()))
    await begun.wait()
    await stage.kill(first)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    assert (await bring_in(stage)).outcome is Outcome.CONNECTED
    assert stage.endpoint.sent == ["R-old", "R-old"]


@pytest.mark.parametrize(
    ("answer", "why"), [(Ambiguous("HTTP 502"), "the answer to its refresh was lost"), (NotSent("no route"), "reached")]
)
async def test_no_usable_answer(stage: Stage, answer: Ambiguous | NotSent, why: str) -> None:
    """In doubt, kept, and gone on with: by the same import, or by the background alone."""
    stage.endpoint.will(answer)
    told = await bring_in(stage)
    assert (told.outcome, why in told.detail) == (Outcome.IN_DOUBT, True)
    assert told.retry_after
    await stage.clock.sleep(told.retry_after or 0.0)
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    await stage.one.upkeep.tick()
    assert (await bring_in(stage)).outcome is Outcome.CONNECTED


async def test_whoever_asks_for_a_token_goes_on_with_it(stage: Stage) -> None:
    """Stored by an import that was killed at once: the first caller of the hotel brings it in."""
    new = NewImport("hash", "default", "tenant-7", "1000", pair("old", lifetime=0.0))
    await stage.one.store.write(add_import(new, "con_1", "gra_1"))
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    assert (await stage.one.access.access_token("con_1")).reveal() == "A-1"
    assert stage.endpoint.sent == ["R-old"]


async def test_a_call_and_an_import_at_once(stage: Stage) -> None:
    """One refresh, whoever began it."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    other = await stage.process()
    both = await asyncio.gather(bring_in(stage), other.importer.bring_in(old()))
    assert Outcome.CONNECTED in {told.outcome for told in both}
    assert (await bring_in(stage)).outcome is Outcome.CONNECTED
    assert stage.endpoint.sent == ["R-old"]


async def test_a_new_token_that_cannot_be_asked_about(stage: Stage) -> None:
    """Refreshed, and Cloudbeds' `userinfo` is away: in doubt, and not sent again."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    stage.vendor.thinks("A-1", Inconclusive("HTTP 502"))
    told = await bring_in(stage)
    assert (told.outcome, "proven to work" in told.detail) == (Outcome.IN_DOUBT, True)
    stage.vendor.thinks("A-1", Proof(ADA))
    assert (await bring_in(stage)).outcome is Outcome.CONNECTED
    assert stage.endpoint.sent == ["R-old"]


async def test_a_dead_token_is_refused_twice(stage: Stage) -> None:
    """The first refusal is a doubt, as for every token; a minute later it is the last word, with a link to send."""
    stage.endpoint.will(Refused("revoked"), Refused("revoked"))
    first = await bring_in(stage)
    assert (first.outcome, "refused it once" in first.detail) == (Outcome.IN_DOUBT, True)
    assert not await stage.one.importer.was_refused(old())
    assert first.retry_after == pytest.approx(60.0, abs=1.0)
    await stage.clock.sleep(first.retry_after or 0.0)
    told = await bring_in(stage)
    assert told.outcome is Outcome.REFUSED
    assert told.connection.connect_url
    assert (await bring_in(stage)).outcome is Outcome.REFUSED
    assert await stage.one.importer.was_refused(old())
    assert not await stage.one.importer.was_refused(old(token="R-other"))
    assert len(stage.endpoint.sent) == 2


async def test_the_link_of_a_dead_token_keeps_the_connection(stage: Stage) -> None:
    """The hotel approves by the link: the connection that the import made, under its own name."""
    stage.endpoint.will(Refused("revoked"), Refused("revoked"))
    await stage.clock.sleep((await bring_in(stage)).retry_after or 0.0)
    told = await bring_in(stage)
    assert told.connection.connect_url is not None
    begun = await stage.one.authorizer.begin_from_link(told.connection.connect_url.rpartition("/")[2], None)
    stage.endpoint.will(issued(5, property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state)
    assert (finished.connection.id, finished.connection.reference) == (told.connection.id, "tenant-7")
    assert (await bring_in(stage)).outcome is Outcome.REFUSED  # that token is still dead; the hotel is connected


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda stage: stage.endpoint.will(*[RefusedClient("bad secret")] * 9), ClientRefused),
        (lambda stage: setattr(stage.one.driver, "dark", True), StoreUnavailable),
        (lambda stage: setattr(stage.one.store, "_read_only", True), StoreReadOnly),
    ],
)
async def test_what_every_hotel_would_meet(
    stage: Stage, make: Callable[[Stage], object], error: type[Exception]
) -> None:
    """Raised, so that a long import ends at the first; nothing is held against the hotel."""
    make(stage)
    with pytest.raises(error):
        await bring_in(stage)


# --- whose it is


@pytest.mark.row("F87")
async def test_a_token_of_another_hotel(stage: Stage) -> None:
    """Not attached to the hotel that was named; it was kept, and begins anew under its own without a second refresh."""
    stage.endpoint.will(issued(1, property_ids=("2000",)))
    stage.vendor.listed = ("2000",)
    told = await bring_in(stage)
    assert told.outcome is Outcome.OTHER_PROPERTY
    assert told.detail == "Cloudbeds names property 2000, not 1000"
    assert await resolve(stage.one.store, "1000") == []
    assert (await bring_in(stage)).outcome is Outcome.OTHER_PROPERTY
    corrected = await bring_in(stage, old("2000"))
    assert corrected.outcome is Outcome.CONNECTED
    assert await resolve(stage.one.store, "2000") == [corrected.connection.id]
    assert stage.endpoint.sent == ["R-old"]


@pytest.mark.row("F87")
async def test_another_hotels_token_never_takes_a_hotels_place(stage: Stage) -> None:
    """A hotel that has to approve again keeps what it has when the list brings somebody else's token for it."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    stage.endpoint.will(Refused("revoked"), Refused("revoked"))
    await stage.clock.sleep(3700.0)
    for _ in range(2):
        with pytest.raises(Exception, match="refuse"):
            await stage.one.refresh(grant.id, seen=grant.generation)
        await stage.clock.sleep(61.0)
    stage.endpoint.will(issued(2))
    stage.vendor.listed = ("2000",)
    told = await bring_in(stage)
    assert told.connection.id == grant.connection_id
    assert told.connection.state is State.REAUTHORIZATION_REQUIRED
    assert (await current_grant(stage.one.store, grant.connection_id)).id == grant.id  # type: ignore[union-attr]


async def test_the_vendor_does_not_name_the_property(stage: Stage) -> None:
    """It is not guessed: in doubt until it does; the token that works is not sent again meanwhile."""
    stage.endpoint.will(issued(1))
    told = await bring_in(stage)
    assert (told.outcome, "which property" in told.detail) == (Outcome.IN_DOUBT, True)
    stage.vendor.listed = ("1000", "1001")
    told = await bring_in(stage)
    assert (told.outcome, told.connection.property_ids) == (Outcome.CONNECTED, ("1000", "1001"))
    assert stage.endpoint.sent == ["R-old"]


async def test_the_background_asks_seldom_whose_it_is(stage: Stage) -> None:
    """An app that may not ask: two requests an hour and hotel, not every minute; named in the end, it is connected."""
    stage.endpoint.will(issued(1, lifetime=40 * 3600.0))
    told = await bring_in(stage)
    behind, asked = stage.one.upkeep, len(stage.vendor.asked)
    for _ in range(180):
        await stage.clock.sleep(60.0)
        await behind.tick()
    assert len(stage.vendor.asked) - asked <= 4
    stage.vendor.listed = ("1000",)
    for _ in range(61):
        await stage.clock.sleep(60.0)
        await behind.tick()
    assert (await stage.one.views.connection(told.connection.id)).connected_at is not None
    assert stage.endpoint.sent == ["R-old"]


async def test_a_hotel_that_is_connected_already(stage: Stage) -> None:
    """Its old token is neither stored nor sent."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    told = await bring_in(stage)
    assert (told.outcome, told.connection.id) == (Outcome.ALREADY_CONNECTED, grant.connection_id)
    assert stage.endpoint.sent == []


async def test_a_hotel_that_was_disconnected_since(stage: Stage) -> None:
    """The same list does not bring it back: only the hotel does."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    told = await bring_in(stage)
    await stage.one.store.write(disconnect(told.connection.id))
    assert (await bring_in(stage)).outcome is Outcome.DISCONNECTED


async def test_a_hotel_that_approved_anew_meanwhile(stage: Stage) -> None:
    """The newer approval is the one in use; the token of the list is out of the way."""
    stage.endpoint.will(Ambiguous("HTTP 502"))
    told = await bring_in(stage)
    newer = await stage.candidate(told.connection.id, pair(7, property_ids=("1000",)))
    assert (await bring_in(stage)).outcome is Outcome.ALREADY_CONNECTED
    assert (await stage.row(newer.id)).role is Role.ACTIVE


async def test_superseded_in_the_middle_of_its_refresh(stage: Stage) -> None:
    """Somebody promotes a newer approval while the access token's grant is refreshed: told as what is so then."""

    async def approved_meanwhile() -> Ambiguous:
        home = (await resolve(stage.one.store, "1000"))[0]
        newer = await stage.candidate(home, pair(7, property_ids=("1000",)))
        assert await stage.one.store.write(promote(home, newer.id, newer.generation, None, ()))
        return issued(2)  # type: ignore[return-value]

    stage.vendor.listed = ("1000",)
    stage.endpoint.will(approved_meanwhile)
    told = await bring_in(stage, old(access_token=Secret("A-old"), expires_at=in_an_hour(stage)))
    assert told.outcome is Outcome.ALREADY_CONNECTED


# --- an access token comes along


async def test_an_access_token_is_proven_before_the_refresh_token_is_spent(stage: Stage) -> None:
    """It works and is of the right hotel: then the refresh, once, so that the old script's is not the newest."""
    stage.vendor.listed = ("1000",)
    stage.endpoint.will(issued(1))
    told = await bring_in(stage, old(access_token=Secret("A-old"), expires_at=in_an_hour(stage)))
    assert told.outcome is Outcome.CONNECTED
    assert (stage.vendor.asked[0], stage.endpoint.sent) == ("A-old", ["R-old"])


@pytest.mark.row("F87")
async def test_an_access_token_tells_of_another_hotel_before_anything_is_spent(stage: Stage) -> None:
    """The refresh token is whole, and begins anew under the right property."""
    stage.vendor.listed = ("2000",)
    hotel = old(access_token=Secret("A-old"), expires_at=in_an_hour(stage))
    assert (await bring_in(stage, hotel)).outcome is Outcome.OTHER_PROPERTY
    assert stage.endpoint.sent == []
    stage.endpoint.will(issued(1))
    assert (await bring_in(stage, old("2000"))).outcome is Outcome.CONNECTED


async def test_an_access_token_that_works_beside_a_refused_refresh_token(stage: Stage) -> None:
    """It serves while it lasts, and the refresh token is in doubt; then it is refused, as any grant's in use."""
    stage.vendor.listed = ("1000",)
    stage.endpoint.will(*[Refused("revoked")] * 4)
    hotel = old(access_token=Secret("A-old"), expires_at=in_an_hour(stage))
    told = await bring_in(stage, hotel)
    assert told.outcome is Outcome.IN_DOUBT
    assert (await stage.one.access.access_token(told.connection.id)).reveal() == "A-old"
    await stage.clock.sleep(told.retry_after or 0.0)
    assert (await bring_in(stage, hotel)).outcome is Outcome.IN_DOUBT
    await stage.clock.sleep(3600.0)
    assert (await bring_in(stage, hotel)).outcome is Outcome.IN_DOUBT
    await stage.clock.sleep(61.0)
    told = await bring_in(stage, hotel)
    assert told.outcome is Outcome.REFUSED
    assert told.connection.connect_url


@pytest.mark.parametrize("known", [True, False])
async def test_an_access_token_of_no_use(stage: Stage, known: bool) -> None:
    """Over, or nobody knows how long it lasts: nobody asks with it."""
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    ended = moment(stage.clock.wall() - 1.0) if known else None
    assert (await bring_in(stage, old(access_token=Secret("A-old"), expires_at=ended))).outcome is Outcome.CONNECTED
    assert "A-old" not in stage.vendor.asked


async def test_an_access_token_that_cannot_be_asked_about(stage: Stage) -> None:
    """Nothing is known, so nothing is spent."""
    stage.vendor.thinks("A-old", Inconclusive("HTTP 502"))
    hotel = old(access_token=Secret("A-old"), expires_at=in_an_hour(stage))
    assert (await bring_in(stage, hotel)).outcome is Outcome.IN_DOUBT
    assert stage.endpoint.sent == []
    stage.vendor.thinks("A-old", DeadToken())
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    assert (await bring_in(stage, hotel)).outcome is Outcome.CONNECTED


async def test_a_token_that_is_corrected_is_not_sent_beside_itself(stage: Stage) -> None:
    """A refresh of it got no answer a moment ago, and then it turned out to be another hotel's: that request may still
    arrive, and behind the first use of a new pair it would revoke the grant (V3).
    """
    hotel = old(access_token=Secret("A-old"), expires_at=in_an_hour(stage))
    stage.vendor.listed = ("2000",)
    began, when = stage.clock.steady(), list[float]()

    async def again() -> Issued:
        when.append(stage.clock.steady())
        return issued(2)

    stage.endpoint.will(Ambiguous("reset by peer"), again)
    for verdict, outcome in ((DeadToken(), Outcome.IN_DOUBT), (Proof(ADA), Outcome.OTHER_PROPERTY)):
        stage.vendor.thinks("A-old", verdict)
        assert (await bring_in(stage, hotel)).outcome is outcome
    stage.vendor.thinks("A-old", DeadToken())
    await bring_in(stage, replace(hotel, property_id="2000"))
    assert stage.endpoint.sent == ["R-old", "R-old"]
    assert when == pytest.approx([began + stage.timing.deadline], abs=1.0)
