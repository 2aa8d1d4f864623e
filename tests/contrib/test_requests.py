"""`requests` over a vault: real requests against the simulator, which is a process of its own."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from tests.contrib.hotel import LARGE, SMALL, Hotel, connected
from urllib3 import Retry

from cloudbeds_auth import (
    BodyNotReplayable,
    ForeignOrigin,
    OutcomeUnknown,
    ReauthorizationRequired,
    TryAgain,
    UpstreamFailed,
)
from cloudbeds_auth import TokenVault as AsynchronousVault
from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.sync import TokenVault


@pytest.fixture
def http(hotel: Hotel) -> Iterator[requests.Session]:
    """A session that calls for the hotel."""
    with requests.Session() as session:
        session.auth = RequestsAuth(hotel.vault, hotel.id)
        yield session


def test_a_call_is_healed_across_a_rotation(hotel: Hotel) -> None:
    """`requests.get(…, auth=…)` sees 200 before and after the vendor ended the token, for one refresh."""
    auth = RequestsAuth(hotel.vault, hotel.id)
    assert requests.get(hotel.url("userinfo"), auth=auth).json()["first_name"] == "Ada"
    hotel.expire()
    healed = requests.get(hotel.url("getHotels"), auth=auth)
    assert (healed.status_code, [one.status_code for one in healed.history]) == (200, [401])
    assert requests.get(hotel.url("getHotels"), auth=auth).history == []
    assert hotel.statuses("getHotels") == [401, 200, 200]
    assert hotel.refreshes == 1


@pytest.mark.row("F54")
def test_three_sends_and_no_more(hotel: Hotel, http: requests.Session) -> None:
    """401 → the store's newer token → 401 → a refresh → the last try, whatever that is answered."""
    http.get(hotel.url("getHotels"))
    with TokenVault.open(hotel.settings) as other:
        other.refresh(hotel.id)  # this one does not know
    hotel.expire()
    hotel.fault("getHotels", "status", status=401, skip=2)
    assert http.get(hotel.url("getHotels")).status_code == 401
    sent = hotel.calls("getHotels")
    assert [one["status"] for one in sent] == [200, 401, 401, 401]
    assert len({one["access_token"] for one in sent[1:3]}) == 2
    assert hotel.refreshes == 2


@pytest.mark.row("F39")
def test_an_endpoint_that_refuses_a_good_token(hotel: Hotel, http: requests.Session) -> None:
    """`/userinfo` accepts the token: the endpoint's own 401 is passed on, after one send and no refresh."""
    hotel.fault("getHotels", "status", status=401)
    assert http.get(hotel.url("getHotels")).status_code == 401
    assert hotel.statuses("getHotels") == [401]
    assert hotel.refreshes == 0


@pytest.mark.row("F40")
@pytest.mark.parametrize("status", [403, 404, 422])
def test_another_refusal_is_passed_on(hotel: Hotel, http: requests.Session, status: int) -> None:
    """Sent once, no refresh."""
    hotel.fault("getHotels", "status", status=status)
    assert http.get(hotel.url("getHotels")).status_code == status
    assert hotel.statuses("getHotels") == [status]
    assert hotel.refreshes == 0


@pytest.mark.row("F20")
@pytest.mark.parametrize("after", [None, "1", "1000000000", "Wed, 21 Oct 2037 07:28:00 GMT"])
def test_a_rate_limited_call_is_passed_on_at_once(hotel: Hotel, http: requests.Session, after: str | None) -> None:
    """A 429 is the caller's, `Retry-After` and all; it is not waited for, and nothing is sent again."""
    hotel.fault("getHotels", "rate_limited", retry_after=after)
    answer = http.get(hotel.url("getHotels"), timeout=20)
    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, after)
    assert hotel.statuses("getHotels") == [429]


@pytest.mark.row("F38")
def test_success_false_is_relayed(hotel: Hotel, http: requests.Session) -> None:
    """A 200 that says no is the caller's, as it came."""
    said = "User who approved this connection is not active anymore"
    hotel.fault("getHotels", "success_false", message=said)
    assert http.get(hotel.url("getHotels")).json() == {"success": False, "message": said}
    assert hotel.statuses("getHotels") == [200]


@pytest.mark.row("F37")
def test_a_revoked_hotel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vault's own errors come through as they are, at last the one that says what mends it; never a bare 401."""
    hurried = replace(Timing.scaled(0.05), connect=5.0, wait=25.0, refusal_interval=0.3)  # not rule 12's minute
    monkeypatch.setattr(Timing, "of", lambda deadline: hurried)
    with connected(tmp_path) as hotel:
        auth = RequestsAuth(hotel.vault, hotel.id)
        hotel.made.vendor.control("revoke", property="100001")

        def ask() -> None:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with suppress(TryAgain):
                    requests.get(hotel.url("getHotels"), auth=auth)
                time.sleep(0.1)

        with pytest.raises(ReauthorizationRequired) as caught:
            ask()
        assert caught.value.connection_id == hotel.id
        assert caught.value.connect_url


@pytest.mark.row("F43")
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_write_without_an_answer_is_not_repeated(hotel: Hotel, http: requests.Session, method: str) -> None:
    """Cut off after it was acted upon: requests' own error, and the vendor saw it once."""
    hotel.fault("echo", "reset_after")
    with pytest.raises(requests.ConnectionError):
        http.request(method, hotel.url("echo"), data={"note": "once"})
    assert len(hotel.calls("echo")) == 1


class Unseekable:
    """A file of known length that goes forward only, as an encoder of forms does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.len = len(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._content)


def half_read(folder: Path, content: bytes) -> Any:
    """A file whose first half is none of the body."""
    (folder / "half").write_bytes(content * 2)
    file = (folder / "half").open("rb")
    file.seek(len(content))
    return file


BODIES: dict[str, Callable[[Path], tuple[bytes, dict[str, Any]]]] = {
    "bytes": lambda _: (LARGE, {"data": LARGE}),
    "a bytearray": lambda _: (LARGE, {"data": bytearray(LARGE)}),
    "text": lambda _: ("süß".encode(), {"data": "süß"}),
    "a form": lambda _: (b"note=late", {"data": {"note": "late"}}),
    "json": lambda _: (b'{"note": "late"}', {"json": {"note": "late"}}),
    "a small stream": lambda _: (SMALL, {"data": Unseekable(SMALL)}),
    "a small stream of declared length": lambda _: (
        SMALL,
        {"data": iter([SMALL[:9], SMALL[9:]]), "headers": {"Content-Length": str(len(SMALL))}},
    ),
    "a small text file": lambda _: ("süß".encode(), {"data": io.StringIO("süß")}),
    "a large file": lambda folder: (LARGE, {"data": half_read(folder, LARGE)}),
    "a large file in memory": lambda _: (LARGE, {"data": io.BytesIO(LARGE)}),
}


@pytest.mark.row("F42")
@pytest.mark.parametrize("kind", BODIES)
def test_a_body_is_sent_again_whole(hotel: Hotel, http: requests.Session, tmp_path: Path, kind: str) -> None:
    """After a 401 the vendor gets every byte of it, from where it began, once."""
    whole, parts = BODIES[kind](tmp_path)
    hotel.expire()
    told = http.post(hotel.url("echo"), **parts).json()
    assert (told["body_length"], told["body_sha256"]) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert hotel.statuses("echo") == [401, 200]
    getattr(parts.get("data"), "close", lambda: None)()


def test_a_multipart_form_is_sent_again_whole(hotel: Hotel, http: requests.Session) -> None:
    """requests makes the form in memory, whatever the file is."""
    hotel.expire()
    files = {"file": ("menu.txt", io.BytesIO(LARGE), "text/plain")}
    told = http.post(hotel.url("postFile"), files=files).json()["data"]
    assert told == {"fileName": "menu.txt", "size": len(LARGE), "sha256": hashlib.sha256(LARGE).hexdigest()}
    assert hotel.statuses("postFile") == [401, 200]


def chunks() -> Iterator[bytes]:
    """A body of unknown length."""
    yield b"note="
    yield b"streamed"


def piped(http: requests.Session, url: str) -> requests.Response:
    """A file that cannot go back."""
    out, into = os.pipe()
    with os.fdopen(into, "wb") as writing:
        writing.write(b"note=piped")
    with closing(os.fdopen(out, "rb")) as reading:
        return http.post(url, data=reading)


def closed(http: requests.Session, url: str) -> requests.Response:
    """A file that is closed at its end, as some wrappers do."""

    class Closing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            part = super().read(size)
            if not part:
                self.close()
            return part

    return http.post(url, data=Closing(LARGE))


STREAMS: dict[str, Callable[[requests.Session, str], requests.Response]] = {
    "a generator": lambda http, url: http.post(url, data=chunks()),
    "a large stream": lambda http, url: http.post(url, data=Unseekable(LARGE)),
    "a pipe": piped,
    "a file that was closed": closed,
}


@pytest.mark.row("F42")
@pytest.mark.parametrize("kind", STREAMS)
def test_a_body_that_cannot_be_sent_again(hotel: Hotel, http: requests.Session, kind: str) -> None:
    """It met a dead token: BodyNotReplayable, never a bare 401; the token is renewed, and the next request works."""
    hotel.expire()
    with pytest.raises(BodyNotReplayable):
        STREAMS[kind](http, hotel.url("echo"))
    assert hotel.statuses("echo") == [401]
    assert STREAMS[kind](http, hotel.url("echo")).status_code == 200
    assert (hotel.refreshes, hotel.under_way) == (1, 0)


@pytest.mark.parametrize(("method", "error"), [("PUT", OutcomeUnknown), ("GET", UpstreamFailed)])
def test_a_redirect_that_repeats_a_spent_body(
    hotel: Hotel, http: requests.Session, method: str, error: type[Exception]
) -> None:
    """A 307 within the vendor's origin: requests would send an empty body. A write may have been carried out."""
    hotel.fault("echo", "redirect", status=307, location="/api/v1.3/getHotels")
    with pytest.raises(error, match="can be read only once"):
        http.request(method, hotel.url("echo"), data=chunks())
    assert hotel.calls("getHotels") == []
    assert hotel.under_way == 0


@pytest.mark.parametrize("kind", ["a generator", "a large stream"])
def test_a_retry_that_repeats_a_spent_body(hotel: Hotel, http: requests.Session, kind: str) -> None:
    """Cloudbeds carried the write out and the answer was lost: never "nothing is lost, send it again"."""
    http.mount(hotel.vault.base_url, HTTPAdapter(max_retries=RequestsAuth(hotel.vault, hotel.id).retries(Retry(3))))
    hotel.fault("echo", "reset_after")
    with pytest.raises(OutcomeUnknown, match="can be read only once"):
        http.put(hotel.url("echo"), data=chunks() if kind == "a generator" else Unseekable(LARGE))
    assert [one["outcome"] for one in hotel.calls("echo")] == ["accepted"]


def test_a_retry_before_the_body_was_begun(hotel: Hotel, http: requests.Session) -> None:
    """No connection came about at first: nothing of the body was read, so the retry sends all of it."""
    refusing = iter([ConnectionRefusedError(), None])

    def connect(*given: Any, **how: Any) -> Any:
        if refused := next(refusing):
            raise refused
        return there(*given, **how)

    there = urllib3.util.connection.create_connection
    http.mount(hotel.vault.base_url, HTTPAdapter(max_retries=Retry(3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urllib3.util.connection, "create_connection", connect)
        told = http.put(hotel.url("echo"), data=chunks()).json()
    assert told["body_length"] == len(b"".join(chunks()))
    assert (hotel.statuses("echo"), hotel.under_way) == ([200], 0)


@pytest.mark.parametrize("ended", ["answered", "broken off", "cut off"])
def test_a_streamed_body_is_counted_while_it_is_under_way(hotel: Hotel, http: requests.Session, ended: str) -> None:
    """From its first byte to the answer, however that ends; one that can be sent again is not."""
    seen: list[int] = []

    def told() -> Iterator[bytes]:
        for chunk in chunks():
            seen.append(hotel.under_way)
            yield chunk
        if ended == "broken off":
            raise RuntimeError("the file is gone")

    if ended == "cut off":
        hotel.fault("echo", "reset_before")
    try:
        assert http.post(hotel.url("echo"), data=told()).status_code == 200
    except (RuntimeError, requests.ConnectionError):
        assert ended != "answered"
    assert seen == [1, 1]
    gc.collect()  # an error of requests holds on to its request for as long as it goes round in circles itself
    assert hotel.under_way == 0
    http.hooks["response"].append(lambda response, **_: seen.append(hotel.under_way))
    http.post(hotel.url("echo"), data=io.BytesIO(LARGE))
    http.post(hotel.url("echo"), data=LARGE)
    assert seen[2:] == [0, 0]


def test_a_streamed_body_is_under_way_until_its_answer(hotel: Hotel, http: requests.Session) -> None:
    """Its last byte is sent and the vendor thinks: it is still counted."""
    hotel.fault("echo", "hang_after")
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(http.post, hotel.url("echo"), data=chunks())
        hotel.made.vendor.control("wait?target=resource&outcome=accepted&timeout=20", "GET")
        assert hotel.under_way == 1
        hotel.made.vendor.control("faults", "DELETE")
        sending.exception()
    del sending
    assert hotel.under_way == 0


def test_a_redirect_within_the_origin_is_followed_and_healed(hotel: Hotel, http: requests.Session) -> None:
    """The credential goes along, and a 401 at its end is healed there."""
    hotel.expire()
    hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails")
    answer = http.get(hotel.url("getHotels"))
    assert (answer.status_code, answer.json()["data"]["propertyID"]) == (200, "100001")
    assert hotel.statuses("getHotels") == [302]
    assert hotel.statuses("getHotelDetails") == [401, 200]


@pytest.mark.row("A33")
def test_redirects_that_are_not_followed(hotel: Hotel, http: requests.Session) -> None:
    """`allow_redirects=False`: one within the origin is handed over; one to elsewhere raises all the same."""
    hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails")
    answer = http.get(hotel.url("getHotels"), allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/api/v1.3/getHotelDetails")
    hotel.fault("getHotels", "redirect", location="https://files.example/signed")
    with pytest.raises(ForeignOrigin):
        http.get(hotel.url("getHotels"), allow_redirects=False)
    assert hotel.statuses() == [302, 302]


def test_a_redirect_after_a_rotation_carries_the_new_token(hotel: Hotel, http: requests.Session) -> None:
    """The rejected token is not carried on to the redirect's end."""
    hotel.expire()
    hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails", skip=1)
    assert http.get(hotel.url("getHotels")).status_code == 200
    assert hotel.statuses("getHotels") == [401, 302]
    assert hotel.statuses("getHotelDetails") == [200]


def test_every_sending_is_in_the_history(hotel: Hotel, http: requests.Session) -> None:
    """Refused ones, redirects and their ends, each by method and path, without the query."""
    http.post(hotel.url("postReservationNote"), data={"note": "a"}, params={"propertyID": "100001"})
    hotel.expire()
    http.get(hotel.url("getHotels"))
    hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails")
    http.get(hotel.url("getHotels"))
    assert hotel.history() == {
        "POST /api/v1.3/postReservationNote": 1,
        "GET /api/v1.3/getHotels": 3,
        "GET /api/v1.3/getHotelDetails": 1,
    }


def test_a_hook_of_the_users_own_sees_the_healed_answer(hotel: Hotel, http: requests.Session) -> None:
    """It is called once, with what the caller gets."""
    seen: list[int] = []
    hotel.expire()
    http.get(hotel.url("getHotels"), hooks={"response": lambda response, **_: seen.append(response.status_code)})
    assert seen == [200]


def test_a_prepared_request_may_be_sent_twice(hotel: Hotel, http: requests.Session) -> None:
    """The second time it carries a token that died meanwhile, and is healed."""
    request = http.prepare_request(requests.Request("GET", hotel.url("getHotels")))
    assert http.send(request).status_code == 200
    hotel.expire()
    assert http.send(request).status_code == 200
    assert http.send(request).status_code == 200
    assert hotel.statuses("getHotels") == [200, 401, 200, 200]


def test_a_streamed_answer_is_left_to_the_caller(hotel: Hotel, http: requests.Session) -> None:
    """`stream=True`: the healed answer's body is read by whoever asked."""
    hotel.expire()
    with http.get(hotel.url("getHotels"), stream=True) as answer:
        assert not answer.raw.closed
        assert answer.json()["success"] is True


@pytest.mark.row("A32")
def test_netrc_does_not_take_the_credentials_place(
    hotel: Hotel, http: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests reads netrc only where no auth is given; an entry for the vendor's host changes nothing."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n", "utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert http.get(hotel.url("getHotels")).status_code == 200
    assert hotel.statuses("getHotels") == [200]


def test_threads_share_one_auth_and_one_refresh(hotel: Hotel) -> None:
    """32 threads with one RequestsAuth meet one dead token."""
    auth = RequestsAuth(hotel.vault, hotel.id)
    hotel.expire()
    with ThreadPoolExecutor(32) as pool:
        asked = [pool.submit(requests.get, hotel.url("getHotels"), auth=auth) for _ in range(32)]
        assert {one.result().status_code for one in asked} == {200}
    assert hotel.refreshes == 1


async def test_an_asynchronous_vault_serves_other_threads(hotel: Hotel) -> None:
    """As a web framework runs blocking code; in the vault's own thread it would wait for itself, and says so."""
    hotel.expire()
    async with AsynchronousVault.open(hotel.settings) as vault:
        auth = RequestsAuth(vault, hotel.id)
        answer = await asyncio.to_thread(requests.get, hotel.url("getHotels"), auth=auth)
        with pytest.raises(RuntimeError, match="own event loop"):
            requests.get(hotel.url("getHotels"), auth=auth)
    assert (answer.status_code, hotel.refreshes) == (200, 1)


def test_without_the_extra_the_import_says_what_to_install() -> None:
    """Where requests is not installed."""
    script = "import sys; sys.modules['requests'] = None; import cloudbeds_auth.contrib.requests"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ModuleNotFoundError: cloudbeds_auth.contrib.requests needs" in done.stderr
    assert "pip install 'cloudbeds-auth[requests]'" in done.stderr
