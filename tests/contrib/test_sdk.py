"""Cloudbeds' own packages over a vault: each of their traps, with the package itself and the simulator."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import cloudbeds_pms
import cloudbeds_pms_v1_3
import pydantic
import pytest
import urllib3
from tests.contrib.hotel import Hotel

from cloudbeds_auth import AccessToken, ForeignOrigin, InvalidRequest, TryAgain
from cloudbeds_auth.contrib import sdk
from cloudbeds_auth.program_vault import ProgramVault
from cloudbeds_auth.sync import TokenVault

PACKAGES = [cloudbeds_pms_v1_3, cloudbeds_pms]
TOO_LATE = "Wed, 21 Oct 2037 07:28:00 GMT"


def name_of(package: ModuleType) -> str:
    """Its import name."""
    return package.__name__


@pytest.fixture(params=PACKAGES, ids=name_of)
def package(request: pytest.FixtureRequest) -> ModuleType:
    """Either package."""
    found: ModuleType = request.param
    return found


def called(hotel: Hotel, package: ModuleType, configuration: Any = None, **parts: Any) -> Any:
    """A client of this package whose addresses the simulator answers: it knows v1.3, and echoes the rest."""
    configuration = configuration or package.Configuration()
    if package is cloudbeds_pms and configuration.host == package.Configuration().host:
        configuration.host = hotel.url("echo")
    return sdk.api_client(hotel.vault, hotel.id, package=package, configuration=configuration, **parts)


@pytest.fixture
def client(hotel: Hotel, package: ModuleType) -> Iterator[Any]:
    """A client of either package, as `api_client` makes it."""
    with called(hotel, package) as made:
        yield made


@pytest.fixture
def one(hotel: Hotel) -> Iterator[Any]:
    """A client of the v1.3 package."""
    with called(hotel, cloudbeds_pms_v1_3) as made:
        yield made


def read(client: Any, **parts: Any) -> Any:
    """One GET by a method of the package; the raw answer, so that both packages take the simulator's."""
    if isinstance(client, cloudbeds_pms.ApiClient):
        api = cloudbeds_pms.PropertyApi(client)
        return api.system_controller_get_system_without_preload_content("100001", **parts)
    return cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get_without_preload_content(**parts)


@pytest.mark.row("F41")
def test_a_call_is_healed_across_a_rotation(hotel: Hotel, client: Any) -> None:
    """The packages refresh nothing at a 401; over the vault a call sees 200 before and after, for one refresh."""
    assert read(client).status == 200
    hotel.expire()
    assert read(client).status == 200
    assert read(client).status == 200
    assert hotel.statuses() == [200, 401, 200, 200]
    assert hotel.refreshes == 1


def test_the_packages_own_methods_and_models(one: Any) -> None:
    """What comes back is the package's: models, `ApiResponse`, exceptions."""
    assert cloudbeds_pms_v1_3.AuthenticationApi(one).userinfo_get().first_name == "Ada"
    hotels = cloudbeds_pms_v1_3.HotelApi(one).get_hotels_get_with_http_info()
    assert (hotels.status_code, [found.property_id for found in hotels.data.data or ()]) == (200, ["100001"])
    assert isinstance(one, cloudbeds_pms_v1_3.ApiClient)


@pytest.fixture
def two(hotel: Hotel) -> Iterator[Any]:
    """A client of the v2 package as a program makes it, at the address of the vault."""
    with sdk.api_client(hotel.vault, hotel.id, package=cloudbeds_pms) as made:
        yield made


@pytest.mark.row("F41")
def test_the_v2_packages_own_methods_and_models(hotel: Hotel, two: Any) -> None:
    """Every method of a module that the simulator has is decoded by the package's models; and healed."""
    v2: Any = cloudbeds_pms
    assert v2.PropertyApi(two).system_controller_get_system("100001").features[0].name == "rates"
    hotel.expire()
    page = v2.RatePlansApi(two).rate_plan_controller_index("100001", limit=2, include_total=True)
    assert [plan.name["en"] for plan in page.data] == ["Best available rate", "Bed and breakfast"]
    assert page.total == 3
    plan = v2.RatePlansApi(two).rate_plan_controller_single("100001", page.data[1].id)
    assert (plan.id, plan.meal_plans) == (page.data[1].id, ["breakfast"])
    assert v2.AddonsApi(two).addon_controller_get_addons("100001").data[0].price.amount == "1250"
    amenities = v2.AmenitiesApi(two).property_amenity_controller_get_property_amenities(100001)
    assert [one.code for one in amenities.amenities] == ["wifi", "parking"]
    rooms = v2.HousekeepingApi(two).call_27abd48cb30106ec3251cf3baf34174c(100001)
    assert [room.room_condition for room in rooms.data] == ["clean", "dirty"]
    segments = v2.MarketSegmentationApi(two).segment_controller_index("100001", True)
    assert [segment.code for segment in segments.data] == ["LEI"]
    apps = v2.ApplicationsApi(two).api_client_controller_connected_api_clients("100001")
    assert [app.id for app in apps.data] == [hotel.settings.client_id]
    done = v2.IntegrationEventCreateRequestSchema(
        objectType="reservation", system="Demo", status="completed", result="success"
    )
    event = v2.IntegrationEventsApi(two).integration_event_controller_create("100001", done)
    assert (event.property_id, event.object_type, event.status) == ("100001", "reservation", "completed")
    assert hotel.statuses().count(401) == hotel.refreshes == 1


@pytest.mark.row("F40")
def test_another_property_over_the_v2_package(hotel: Hotel, two: Any) -> None:
    """The package's exception with its model of the refusal; no refresh."""
    with pytest.raises(cloudbeds_pms.exceptions.ForbiddenException) as caught:
        cloudbeds_pms.PropertyApi(two).system_controller_get_system("100002")
    assert getattr(caught.value.data, "message", None) == "Forbidden"
    assert (hotel.statuses(), hotel.refreshes) == ([403], 0)


@pytest.mark.row("F39")
def test_an_endpoint_that_refuses_a_good_token(hotel: Hotel, client: Any, package: ModuleType) -> None:
    """The package's own exception, after one send and no refresh."""
    hotel.fault("resource", "status", status=401)
    with pytest.raises(package.exceptions.UnauthorizedException):
        client.response_deserialize(_read(client.call_api("GET", f"{client.configuration.host}/getHotels")), {})
    assert hotel.statuses() == [401]
    assert hotel.refreshes == 0


def _read(answer: Any) -> Any:
    answer.read()
    return answer


@pytest.mark.row("F40")
@pytest.mark.parametrize(
    ("status", "kind"), [(403, "ForbiddenException"), (404, "NotFoundException"), (422, "UnprocessableEntityException")]
)
def test_another_refusal_is_passed_on(hotel: Hotel, one: Any, status: int, kind: str) -> None:
    """Sent once, no refresh, the package's exception."""
    hotel.fault("getHotels", "status", status=status)
    with pytest.raises(getattr(cloudbeds_pms_v1_3.exceptions, kind)):
        cloudbeds_pms_v1_3.HotelApi(one).get_hotels_get()
    assert hotel.statuses() == [status]
    assert hotel.refreshes == 0


@pytest.mark.row("F54")
def test_three_sends_and_no_more(hotel: Hotel, client: Any) -> None:
    """401 → the store's newer token → 401 → a refresh → the last try, whatever that is answered."""
    read(client)
    with TokenVault.open(hotel.settings) as other:
        other.refresh(hotel.id)
    hotel.expire()
    hotel.fault("resource", "status", status=401, skip=2)
    assert read(client).status == 401
    assert hotel.statuses() == [200, 401, 401, 401]
    assert hotel.refreshes == 2


def test_the_vault_is_asked_once_a_call(hotel: Hotel, package: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages read `access_token` four times a call: they get a constant, and no refresh can come in between."""
    asked: list[str] = []
    look_up = ProgramVault.cached

    def counted(self: ProgramVault, connection_id: str, *given: Any, **more: Any) -> AccessToken | None:
        if not given:  # else it is the question whether a newer one came while this call waited for its turn
            asked.append(connection_id)
        return look_up(self, connection_id, *given, **more)

    monkeypatch.setattr(ProgramVault, "cached", counted)
    with called(hotel, package) as client:
        reads = [client.configuration.auth_settings() for _ in range(4)]
        assert asked == []
        assert reads == [reads[0]] * 4
        assert "Bearer" in str(reads[0])
        assert hotel.vault.access_token(hotel.id).reveal() not in str(reads)
        asked.clear()
        assert read(client).status == 200
        assert asked == [hotel.id]


def test_a_token_that_somebody_set_to_none(hotel: Hotel, client: Any) -> None:
    """Where the packages would send no credential, the call carries the hotel's."""
    client.configuration.access_token = None
    assert read(client).status == 200
    assert hotel.statuses() == [200]


@pytest.mark.row("A35")
@pytest.mark.parametrize("when", ["given", "set later"])
def test_one_credential_leaves(hotel: Hotel, package: ModuleType, when: str) -> None:
    """The packages send both headers where a key and a token are set; ours sends the hotel's token and no key."""
    configuration = package.Configuration(api_key={"api_key": "cbat_key"}, access_token="mine", host=hotel.url("echo"))
    with called(hotel, package, configuration) as client:
        if when == "set later":
            client.configuration.api_key["api_key"], client.configuration.access_token = "cbat_key", "mine"
        told = _headers(read(client).data)
    assert "x-api-key" not in told
    assert hotel.calls()[-1]["access_token"] == hotel.vault.access_token(hotel.id).reveal()
    assert (configuration.api_key, configuration.access_token) == ({"api_key": "cbat_key"}, "mine"), "left as it was"


def _headers(told: bytes) -> set[str]:
    return {name.lower() for name, _ in json.loads(told)["headers"]}


@pytest.mark.row("A35")
@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer mine"}, {"authorization": "Bearer mine"}, {"X-API-KEY": "cbat_key"}],
    ids=lambda headers: next(iter(headers)),
)
def test_headers_do_not_take_the_credentials_place(hotel: Hotel, package: ModuleType, headers: dict[str, str]) -> None:
    """`_headers` with another credential, in any case of letters: the hotel's leaves, alone."""
    with called(hotel, package, package.Configuration(host=hotel.url("echo"))) as client:
        told = _headers(read(client, _headers=dict(headers)).data)
        client.set_default_header(*next(iter(headers.items())))
        assert read(client).status == 200
    assert "x-api-key" not in told
    tokens = {call["access_token"] for call in hotel.calls()}
    assert tokens == {hotel.vault.access_token(hotel.id).reveal()}


@pytest.mark.parametrize("where", ["header", "query"])
def test_another_credential_for_one_call_is_refused(hotel: Hotel, client: Any, where: str) -> None:
    """`_request_auth`: nothing is sent, and the error says what to use for that."""
    other = {"type": "oauth2", "in": where, "key": "Authorization", "value": "Bearer mine"}
    with pytest.raises(InvalidRequest, match="_request_auth") as caught:
        read(client, _request_auth=other)
    assert "ApiClient" in caught.value.next_step
    assert hotel.calls() == []


@pytest.mark.row("F20")
@pytest.mark.parametrize(
    ("status", "after"), [(413, "1"), (429, "1"), (429, "1000000000"), (429, TOO_LATE), (429, None), (503, "1")]
)
def test_nothing_is_sent_again_by_itself(hotel: Hotel, client: Any, status: int, after: str | None) -> None:
    """A GET answered 413, 429 or 503 with Retry-After: the packages would wait and send it again, three times."""
    hotel.fault("resource", "rate_limited", status=status, retry_after=after)
    answer = read(client)
    assert (answer.status, answer.headers.get("Retry-After")) == (status, after)
    assert hotel.statuses() == [status]


@contextmanager
def alone(hotel: Hotel, **parts: Any) -> Iterator[Any]:
    """The v1.3 package without us: what its traps are shown with."""
    given = {"host": hotel.url("")[:-1], "access_token": hotel.vault.access_token(hotel.id).reveal(), **parts}
    client = cloudbeds_pms_v1_3.ApiClient(cloudbeds_pms_v1_3.Configuration(**given))
    try:
        yield client
    finally:
        client.rest_client.pool_manager.clear()


def test_the_package_alone_sends_again_by_itself(hotel: Hotel) -> None:
    """The traps are there: a GET after a 429; a PUT after a lost answer; a redirect is followed."""
    with alone(hotel) as client:
        hotel.fault("getHotels", "rate_limited", retry_after="1")
        assert cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get().success
        assert hotel.statuses("getHotels") == [429, 200]
        hotel.fault("putReservation", "reset_after")
        assert WRITES["PUT"](client).success
        assert len(hotel.calls("putReservation")) == 2
        hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails")
        cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get_without_preload_content()
        assert hotel.statuses("getHotelDetails") == [200]


def test_the_package_alone_reads_the_token_four_times(hotel: Hotel) -> None:
    """The trap is there: between two of the reads a token could be renewed."""
    reads: list[str] = []

    class Reading(cloudbeds_pms_v1_3.Configuration):
        @property
        def access_token(self) -> str:
            reads.append("read")
            return "some token"

        @access_token.setter
        def access_token(self, value: object) -> None:
            """The package's own constructor sets it."""

    client = cloudbeds_pms_v1_3.ApiClient(Reading(host=hotel.url("")[:-1]))
    assert cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get_without_preload_content().status == 401
    client.rest_client.pool_manager.clear()
    assert len(reads) == 4


def test_retries_that_were_asked_for(hotel: Hotel, package: ModuleType) -> None:
    """`retries` of a given configuration are the caller's wish; redirects are not followed all the same."""
    retries = urllib3.Retry(2, status_forcelist=[502])
    with called(hotel, package, package.Configuration(retries=retries)) as client:
        hotel.fault("resource", "html", status=502)
        assert read(client).status == 200
        assert hotel.statuses() == [502, 200]
        hotel.fault("resource", "redirect", location="/api/v1.3/getHotelDetails")
        assert read(client).status == 302
    assert hotel.statuses() == [502, 200, 302]


def test_a_redirect_is_not_followed(hotel: Hotel, one: Any) -> None:
    """Within the vendor's origin: the package's exception with the status, and `Location` in its headers."""
    hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails")
    with pytest.raises(cloudbeds_pms_v1_3.ApiException) as caught:
        cloudbeds_pms_v1_3.HotelApi(one).get_hotels_get()
    assert (caught.value.status, dict(caught.value.headers or {})["Location"]) == (302, "/api/v1.3/getHotelDetails")
    assert hotel.statuses() == [302]


WRITES: dict[str, Callable[[Any], Any]] = {
    "POST": lambda client: cloudbeds_pms_v1_3.ReservationApi(client).post_reservation_note_post(
        reservation_id="100001000001", reservation_note="süß & late"
    ),
    "PUT": lambda client: cloudbeds_pms_v1_3.ReservationApi(client).put_reservation_put(
        reservation_id="100001000001", status="checked_in"
    ),
    "DELETE": lambda client: cloudbeds_pms_v1_3.IntegrationApi(client).delete_webhook_delete(subscription_id="1"),
}
PATHS = {"POST": "postReservationNote", "PUT": "putReservation", "DELETE": "deleteWebhook"}


@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_repeated_after_a_401(hotel: Hotel, one: Any, method: str) -> None:
    """A 401 is refused before it is acted upon: sent again whole, and it worked."""
    fresh = WRITES[method](one)
    hotel.expire()
    assert WRITES[method](one) == fresh
    assert fresh.success
    assert hotel.statuses(PATHS[method]) == [200, 401, 200]


@pytest.mark.row("F43")
@pytest.mark.parametrize("method", WRITES)
def test_a_write_without_an_answer_is_not_repeated(hotel: Hotel, one: Any, method: str) -> None:
    """Cut off after it was acted upon: urllib3's error, and the vendor saw it once; the package repeats PUT, DELETE."""
    hotel.fault(PATHS[method], "reset_after")
    with pytest.raises(urllib3.exceptions.HTTPError):
        WRITES[method](one)
    assert len(hotel.calls(PATHS[method])) == 1


@pytest.mark.row("F42")
def test_an_upload_is_sent_again_whole(hotel: Hotel, one: Any) -> None:
    """The package takes `Content-Type` out of a form's headers as it sends it: the second sending has it again."""
    content = bytes(range(256)) * 40
    hotel.expire()
    sent = cloudbeds_pms_v1_3.HotelApi(one).post_file_post_without_preload_content(
        file=("menu.txt", content), _content_type="multipart/form-data"
    )
    assert sent.json()["data"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert hotel.statuses() == [401, 200]


INACTIVE = "User who approved this connection is not active anymore"


@pytest.mark.row("F38")
def test_success_false_raises_the_packages_exception(hotel: Hotel, one: Any) -> None:
    """200 with `success: false`: the vendor's words as the reason, the body as it came, and nothing is refreshed."""
    hotel.fault("getHotels", "success_false", message=INACTIVE)
    with pytest.raises(cloudbeds_pms_v1_3.ApiException, match=INACTIVE) as caught:
        cloudbeds_pms_v1_3.HotelApi(one).get_hotels_get()
    assert (caught.value.status, caught.value.reason) == (200, INACTIVE)
    assert caught.value.body == f'{{"success": false, "message": "{INACTIVE}"}}'
    assert dict(caught.value.headers or {})["X-Request-ID"]
    assert (hotel.statuses(), hotel.refreshes) == ([200], 0)


@pytest.mark.parametrize(
    "body",
    ['{"success": "False", "message": "No"}', '{"message": "No", "success": false, "data": []}', '{"success": false}'],
)
def test_success_false_in_its_other_shapes(hotel: Hotel, one: Any, body: str) -> None:
    """As a string, among other members, without a message; on `userinfo` it would be an empty model."""
    assert cloudbeds_pms_v1_3.AuthenticationApi(one).userinfo_get().first_name
    hotel.fault("userinfo", "body", body=body)
    with pytest.raises(cloudbeds_pms_v1_3.ApiException, match=r"No|success: false"):
        cloudbeds_pms_v1_3.AuthenticationApi(one).userinfo_get()


@pytest.mark.parametrize(
    "body",
    [
        '{"success": true, "message": "false"}',
        '{"data": {"success": false}}',
        '{"success": null}',
    ],
)
def test_what_is_no_failure(hotel: Hotel, one: Any, body: str) -> None:
    """Only `success` itself counts, and only where it says no."""
    hotel.fault("getHotels", "body", body=body)
    with suppress(pydantic.ValidationError):  # the models may refuse what the vendor would not send
        cloudbeds_pms_v1_3.HotelApi(one).get_hotels_get()
    assert hotel.statuses() == [200]


def test_success_false_may_be_left_to_the_caller(hotel: Hotel) -> None:
    """`raise_on_failure=False`: the package's own way, a model whose `success` is False."""
    with called(hotel, cloudbeds_pms_v1_3, raise_on_failure=False) as client:
        hotel.fault("getHotels", "success_false", message=INACTIVE)
        assert cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get().success is False


def test_the_package_alone_takes_a_failure_for_a_success(hotel: Hotel) -> None:
    """The trap is there: an upload that the package sends wrongly is answered `success: false`, and nothing is said."""
    with alone(hotel) as client:
        assert cloudbeds_pms_v1_3.HotelApi(client).post_file_post(file=("menu.txt", b"soup")).success is False


@pytest.fixture
def debugging() -> Iterator[None]:
    """`debug=True` sets a switch of the whole process; it is put back."""
    before = http.client.HTTPConnection.debuglevel
    yield
    http.client.HTTPConnection.debuglevel = before


@pytest.mark.row("A46")
@pytest.mark.usefixtures("debugging")
@pytest.mark.parametrize("how", ["in the configuration", "set later", "somebody else's"])
def test_debug_prints_no_credential(
    hotel: Hotel, package: ModuleType, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """`debug=True`, whoever says it, makes `http.client` print every header of every connection; not of ours."""
    with called(hotel, package, package.Configuration(debug=True if how == "in the configuration" else None)) as client:
        if how == "set later":
            client.configuration.debug = True
        if how == "somebody else's":
            package.Configuration(debug=True)
        assert http.client.HTTPConnection.debuglevel == 1
        assert read(client).status == 200
        token = hotel.vault.access_token(hotel.id).reveal()
        shown = "".join(capfd.readouterr())
        assert token not in shown
        assert "Bearer" not in shown


@pytest.mark.row("A46")
@pytest.mark.usefixtures("debugging")
def test_the_package_alone_prints_it(hotel: Hotel, capfd: pytest.CaptureFixture[str]) -> None:
    """The trap is there."""
    with alone(hotel, debug=True) as client:
        cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get()
    assert hotel.vault.access_token(hotel.id).reveal() in capfd.readouterr().out


def test_an_exception_shows_no_credential(hotel: Hotel, one: Any) -> None:
    """What an exception of the package tells has no request header in it."""
    hotel.fault("getHotels", "status", status=500)
    with pytest.raises(cloudbeds_pms_v1_3.exceptions.ServiceException) as caught:
        cloudbeds_pms_v1_3.HotelApi(one).get_hotels_get()
    assert hotel.vault.access_token(hotel.id).reveal() not in f"{caught.value}{vars(caught.value)}"


def test_the_vaults_vendor_is_called(hotel: Hotel, package: ModuleType) -> None:
    """Without a host of its own a client calls `vault.base_url`, at the path that its package belongs to."""
    for configuration in (None, package.Configuration(), package.Configuration(ssl_ca_cert=None)):
        with sdk.api_client(hotel.vault, hotel.id, package=package, configuration=configuration) as client:
            path = "/api/v1.3" if package is cloudbeds_pms_v1_3 else ""
            assert client.configuration.host == hotel.vault.base_url + path


@pytest.mark.row("A63")
def test_a_host_of_its_own_is_the_vendors_or_nothing_is_sent(hotel: Hotel, package: ModuleType) -> None:
    """ForeignOrigin at the call, whether it was given or set later."""
    for host in ("https://api.cloudbeds.com/other", "http://[::1", "ftp://127.0.0.1", "//127.0.0.1", ""):
        given = sdk.api_client(hotel.vault, hotel.id, package=package, configuration=package.Configuration(host=host))
        later = sdk.api_client(hotel.vault, hotel.id, package=package)
        later.configuration.host = host
        for client in (given, later):
            with pytest.raises(ForeignOrigin):
                read(client)
    assert hotel.calls() == []


@pytest.mark.parametrize("grant_type", ["refresh_token", "refresh_token_exchange", "authorization_code"])
def test_the_token_endpoint_is_the_vaults_alone(hotel: Hotel, one: Any, grant_type: str) -> None:
    """A refresh by hand would kill the token that the vault lends: nothing is sent."""
    with pytest.raises(InvalidRequest, match="token endpoint"):
        cloudbeds_pms_v1_3.AuthenticationApi(one).access_token_post(
            grant_type=grant_type, client_id="a", client_secret="b", refresh_token="c"
        )
    assert hotel.refreshes == 0


def test_metadata_carries_the_credential(hotel: Hotel, one: Any) -> None:
    """The package sends none there, where the answer depends on it."""
    told = {"success": "true", "data": {"api": {"url": hotel.vault.base_url}}, "message": None}
    assert cloudbeds_pms_v1_3.AuthenticationApi(one).oauth_metadata_get().to_dict() == told
    hotel.expire()
    assert cloudbeds_pms_v1_3.AuthenticationApi(one).oauth_metadata_get().to_dict() == told


def test_what_the_models_do_not_read(hotel: Hotel, one: Any) -> None:
    """A user id that is a number is an answer that the package refuses; `vault.call` and the raw answer have it."""
    hotel.made.vendor.control("settings", user_id="int")
    api = cloudbeds_pms_v1_3.AuthenticationApi(one)
    with pytest.raises(pydantic.ValidationError):
        api.userinfo_get()
    assert api.userinfo_get_without_preload_content().json()["user_id"] == 9001
    assert hotel.vault.call(hotel.id, "GET", "userinfo").json()["user_id"] == 9001


def test_every_sending_is_in_the_history(hotel: Hotel, one: Any) -> None:
    """By method and path, without the query, refused ones too."""
    hotel.expire()
    cloudbeds_pms_v1_3.HotelApi(one).get_hotel_details_get(property_id="100001")
    WRITES["POST"](one)
    assert hotel.history() == {"GET /api/v1.3/getHotelDetails": 2, "POST /api/v1.3/postReservationNote": 1}


def test_threads_share_one_client_and_one_refresh(hotel: Hotel, client: Any) -> None:
    """32 threads with one client meet one dead token."""
    hotel.expire()
    with ThreadPoolExecutor(32) as pool:
        assert {one.result().status for one in [pool.submit(read, client) for _ in range(32)]} == {200}
    assert hotel.refreshes == 1


def test_the_vaults_error_after_a_401(hotel: Hotel, client: Any) -> None:
    """Where no newer token is to be had the call raises what the vault raises, not the package's 401."""
    hotel.expire()
    hotel.fault("token", "reset_before", times=None)
    with pytest.raises(TryAgain):
        read(client)


def test_neither_package_is_imported_unless_it_is_used() -> None:
    """They take a second each."""
    script = "import sys, cloudbeds_auth.contrib.sdk; print([one for one in sys.modules if 'cloudbeds_pms' in one])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("absent", [["urllib3"], ["cloudbeds_pms", "cloudbeds_pms_v1_3"]], ids=" and ".join)
def test_without_the_extra_the_import_says_what_to_install(absent: list[str]) -> None:
    """Where neither package is installed, or what they send with is not."""
    script = f"import sys; sys.modules.update(dict.fromkeys({absent})); import cloudbeds_auth.contrib.sdk"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'cloudbeds-auth[sdk]'" in done.stderr
