"""The pure model: codes, clients, grants and how they end."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from cloudbeds_simulator.__main__ import hotels
from cloudbeds_simulator.records import IssuedTokens, Rejection, VendorApp, VendorGrant
from cloudbeds_simulator.switches import SimulatorSettings
from cloudbeds_simulator.vendor_model import VendorModel

URI = "https://app.example/callback"


@pytest.fixture
def model() -> VendorModel:
    numbers = count()
    made = VendorModel(lambda kind: f"{kind}{next(numbers)}")
    for client_id in ("app", "other"):
        made.add_app(VendorApp(client_id, "secret", "An App", frozenset({URI}), ("read:hotel", "read:rate")))
    for hotel in hotels(3):
        made.add_hotel(hotel)
    return made


def connected(model: VendorModel, *property_ids: str, now: float = 0.0) -> IssuedTokens:
    code = model.authorize("app", URI, property_ids or ("100001",), (), now)
    outcome = model.exchange("app", code, URI, now)
    assert isinstance(outcome, IssuedTokens)
    return outcome


def test_code_works_once(model: VendorModel) -> None:
    """A code is spent by its first exchange."""
    code = model.authorize("app", URI, ["100001"], (), 0.0)
    assert isinstance(model.exchange("app", code, URI, 1.0), IssuedTokens)
    assert model.exchange("app", code, URI, 2.0) == Rejection("bad_code", "spent before")


@pytest.mark.parametrize(("age", "works"), [(599.9, True), (600.0, False)])
def test_code_lives_ten_minutes(model: VendorModel, age: float, works: bool) -> None:
    """A code can be exchanged for ten minutes."""
    code = model.authorize("app", URI, ["100001"], (), 0.0)
    assert isinstance(model.exchange("app", code, URI, age), IssuedTokens) == works


@pytest.mark.parametrize(("client_id", "uri"), [("other", URI), ("app", "https://app.example/elsewhere")])
def test_code_is_bound(model: VendorModel, client_id: str, uri: str) -> None:
    """A code works only for its client and redirect URI, and a wrong try does not spend it."""
    code = model.authorize("app", URI, ["100001"], (), 0.0)
    assert isinstance(model.exchange(client_id, code, uri, 1.0), Rejection)
    assert isinstance(model.exchange("app", code, URI, 1.0), IssuedTokens)


def test_refresh_token_is_bound_to_client(model: VendorModel) -> None:
    """Another client cannot spend a refresh token, and its try changes nothing."""
    pair = connected(model).pair
    assert model.refresh("other", pair.refresh_token, 1.0) == Rejection("refused", "unknown")
    assert isinstance(model.refresh("app", pair.refresh_token, 1.0), IssuedTokens)


@pytest.mark.parametrize(
    ("asked", "granted"),
    [((), ("read:hotel", "read:rate")), (("read:rate", "write:everything"), ("read:rate",))],
)
def test_scopes(model: VendorModel, asked: tuple[str, ...], granted: tuple[str, ...]) -> None:
    """No scope asked for means all registered ones; none is granted above them."""
    code = model.authorize("app", URI, ["100001"], asked, 0.0)
    outcome = model.exchange("app", code, URI, 0.0)
    assert isinstance(outcome, IssuedTokens)
    assert outcome.grant.approval.scopes == granted


@pytest.mark.parametrize("chosen", [[], ["100001", "nowhere"]])
def test_authorize_needs_known_hotels(model: VendorModel, chosen: list[str]) -> None:
    """Approving nothing, or an unknown property, is refused."""
    with pytest.raises(ValueError, match="property"):
        model.authorize("app", URI, chosen, (), 0.0)


def test_choice_is_for_one_approval(model: VendorModel) -> None:
    """A choice holds for the next automatic approval; without one the first hotel is granted."""
    model.choose(["100002", "100003"])
    assert model.take_choice() == ("100002", "100003")
    assert model.take_choice() == ("100001",)


def test_idle_for_a_year(model: VendorModel) -> None:
    """A grant unused for 365 days is dead; a resource call in between keeps it."""
    year = 365 * 86400.0
    first, second = connected(model).pair, connected(model, "100002").pair
    model.resource(second.access_token, 1000.0)
    assert model.refresh("app", first.refresh_token, year) == Rejection("refused", "revoked", model.grants[0])
    assert isinstance(model.refresh("app", second.refresh_token, year), IssuedTokens)


def test_resource_tells_why(model: VendorModel) -> None:
    """The glass box learns whether a denied access token is unknown, superseded, expired or of a dead grant."""
    old = connected(model).pair
    new = model.refresh("app", old.refresh_token, 1.0)
    assert isinstance(new, IssuedTokens)
    grant = new.grant
    assert model.resource("nonsense", 2.0) == Rejection("denied", "unknown")
    assert model.resource(old.access_token, 2.0) == Rejection("denied", "superseded", grant)
    assert isinstance(model.resource(new.pair.access_token, 2.0), VendorGrant)
    assert model.resource(new.pair.access_token, 30000.0) == Rejection("denied", "expired", grant)
    model.end(grant, "revoked")
    assert model.resource(new.pair.access_token, 2.0) == Rejection("dead", "revoked", grant)


def test_find_is_no_use(model: VendorModel) -> None:
    """Looking a token up is not its first use: the parent stays alive."""
    old = connected(model).pair
    new = model.refresh("app", old.refresh_token, 1.0)
    assert isinstance(new, IssuedTokens)
    model.find(new.pair.access_token, 2.0)
    assert isinstance(model.refresh("app", old.refresh_token, 3.0), IssuedTokens)


def test_disabled_app_state(model: VendorModel) -> None:
    """Disabling the app for a property ends its grants there and no others; a new approval enables it again."""
    ended, other = connected(model, "100001", "100002").grant, connected(model, "100003").grant
    model.set_app_state("app", "100002", "disabled", 0.0)
    assert (ended.rotation.revoked, other.rotation.revoked) == (True, False)
    connected(model, "100002")
    assert model.app_states["app", "100002"] == "enabled"


def test_disabled_one_property_after_the_other(model: VendorModel) -> None:
    """The other reading: the session ends with the last of its properties."""
    model.configure({"disabling_ends": "property"})
    grant = connected(model, "100001", "100002").grant
    model.set_app_state("app", "100002", "disabled", 0.0)
    assert not grant.rotation.revoked
    model.set_app_state("app", "100001", "disabled", 0.0)
    assert grant.rotation.revoked


@pytest.mark.parametrize("revokes", [False, True])
def test_reauthorization(model: VendorModel, revokes: bool) -> None:
    """Whether a new grant of the same property ends the earlier one is a switch."""
    model.configure({"reauthorization_revokes": revokes})
    first = connected(model).grant
    connected(model)
    assert first.rotation.revoked == revokes


def test_settings_reach_living_grants(model: VendorModel) -> None:
    """Changing variant and lifetime applies to grants that exist already."""
    grant = connected(model).grant
    model.configure({"variant": "v6", "expires_in": 60})
    outcome = model.refresh("app", grant.rotation.current.refresh_token, 10.0)
    assert isinstance(outcome, IssuedTokens)
    assert (outcome.pair.expires_at, outcome.pair.refresh_token) == (70.0, grant.rotation.pairs[0].refresh_token)


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "V9"},
        {"expires_in": 0},
        {"expires_in": "soon"},
        {"expires_in": True},
        {"code_lifetime": float("inf")},
        {"auto_approve": 1},
        {"resources": "tuple"},
        {"colour": "blue"},
    ],
)
def test_impossible_setting(change: dict[str, object]) -> None:
    """An unknown setting or an impossible value is refused, naming it."""
    with pytest.raises(ValueError, match=next(iter(change))):
        SimulatorSettings().changed(change)


def test_hotels_are_repeatable() -> None:
    """The made-up hotels are the same every time, with different ids and users."""
    made = hotels(8)
    assert made == hotels(8)
    assert len({hotel.property_id for hotel in made}) == len({hotel.user.user_id for hotel in made}) == 8


# --- groups that grow and shrink


def member(model: VendorModel, property_id: str, group: str | None) -> None:
    """This hotel, of this group from now on."""
    model.add_hotel(replace(model.hotels.get(property_id, replace(hotels(1)[0], property_id=property_id)), group=group))


def test_a_hotel_joins_a_group(model: VendorModel) -> None:
    """Grants of the whole group cover it from then on; those of a part, of others and of nobody do not."""
    for one in ("100001", "100002"):
        member(model, one, "77")
    whole, part = connected(model, "100001", "100002").grant, connected(model, "100001").grant
    other = connected(model, "100003").grant
    member(model, "100009", "77")
    assert whole.approval.property_ids == ("100001", "100002", "100009")
    assert (part.approval.property_ids, other.approval.property_ids) == (("100001",), ("100003",))
    member(model, "100009", "77")
    assert whole.approval.property_ids == ("100001", "100002", "100009")
    member(model, "100010", None)
    member(model, "100011", "88")
    assert whole.approval.property_ids == ("100001", "100002", "100009")


def test_a_hotel_leaves_a_group(model: VendorModel) -> None:
    """Grants that cover more of the group lose it; one that is of this hotel alone keeps it."""
    for one in ("100001", "100002"):
        member(model, one, "77")
    whole, alone = connected(model, "100001", "100002").grant, connected(model, "100002").grant
    member(model, "100002", None)
    assert whole.approval.property_ids == ("100001",)
    assert alone.approval.property_ids == ("100002",)
