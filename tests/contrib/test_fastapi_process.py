"""The flow in somebody's own application under a real uvicorn, with a simulated Cloudbeds as a process of its own."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.acceptance.processes import Answer, Http, Process, World, world
from tests.contrib.serving import ROOT, approved, free_port, serving, stripping_proxy

pytestmark = pytest.mark.long  # processes that live for seconds

ALICE = {"X-Their-Key": "alices-key"}

PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"


def test_the_applications_own_middlewares_stay_in_charge(tmp_path: Path) -> None:
    """Compression, CORS and a stamp of theirs on our answers; what protects the hotel's way is still there."""
    with world(tmp_path, "--auto-approve", callback="/auth/callback") as made, serving(made, prefix="/auth"):
        asked = {"Accept-Encoding": "gzip", "Origin": "https://front.example"}
        page = Http(made.base).get("/auth/not-connected/state_mismatch", headers=asked)
        assert page.status == 400
        assert page.headers["Content-Encoding"] == "gzip"
        assert page.headers["Access-Control-Allow-Origin"] == "https://front.example"
        assert page.headers["X-Process"]
        assert page.headers["Referrer-Policy"] == "no-referrer"
        assert page.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Cloudbeds-Auth-Code"] == "state_mismatch"
        assert Http(made.base).get("/static/style.css").json == {"theirs": "style.css"}


def test_workers_share_one_way(tmp_path: Path) -> None:
    """Begun at one process, ended at any: six clicks on one callback are one exchange and one connection.

    A click that meets the exchange at the other process is told that the approval is used; asked again, it is shown
    what it led to, by either.
    """
    with (
        world(tmp_path, "--auto-approve", callback="/auth/callback") as made,
        serving(made, "--workers", "2", prefix="/auth"),
    ):
        browser = Http(made.base)
        back = approved(browser, "/auth/connect?reference=tenant-7")

        def click(_: int) -> Answer:
            return Http(made.base, cookies=browser.cookies).get(back)

        with ThreadPoolExecutor(6) as several:
            statuses = {answer.status for answer in several.map(click, range(6))}
        assert 303 in statuses
        assert statuses <= {303, 400}
        assert made.vendor.counts("authorization_code") == {"issued": 1}
        shown: dict[str, str] = {}
        while len(shown) < 2:
            answer = click(0)
            shown[answer.headers["X-Process"]] = answer.headers["Location"]
        assert len(set(shown.values())) == 1
        made.vendor.control("expire")
        seen: set[str] = set()
        while len(seen) < 2:
            answer = Http(made.base).get("/my-hotel", headers=ALICE)
            assert answer.status == 200
            seen.add(answer.headers["X-Process"])
        assert made.vendor.counts() == {"issued": 1}


def test_a_hotel_that_disconnects_at_cloudbeds(tmp_path: Path) -> None:
    """Subscribed to where the router lies: Cloudbeds posts there, the application asks; its token works, and serves."""
    hooks = {"CLOUDBEDS_AUTH_HOOK_SECRET": PATH, "CLOUDBEDS_AUTH_HOOK_HEADER": HEADER, "THEIR_UPKEEP": "yes"}
    with world(tmp_path, "--auto-approve", callback="/auth/callback", **hooks) as made:
        with serving(made, prefix="/auth"):
            hotel = Http(made.base).get("/auth/connect", follow=True).url.partition("connection_id=")[2]
        with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as database:
            database.execute("UPDATE grants SET poll_at = 0")  # its first minute is over
        with serving(made, prefix="/auth") as process:
            assert made.vendor.control("wait?path=/api/v1.3/postWebhook&answered=true&timeout=60", "GET")["entry"]
            made.vendor.control("app-state", property="100001", state="disabled", keep=True)
            process.wait_for(f'"POST /auth/hooks/{PATH} HTTP/1.1" 200')
            with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as database:
                kinds = "SELECT kind FROM events WHERE kind = 'disabled_withdrawn'"
                while not database.execute(kinds).fetchall():
                    time.sleep(0.05)
            assert Http(made.base).get(f"/hotels/{hotel}/echo").status == 200
        assert [one["status"] for one in made.vendor.control("webhooks", "GET")["sent"]] == [200]


async def test_behind_a_proxy_that_strips_a_path(tmp_path: Path) -> None:
    """With uvicorn's root path: every address that the browser is given leads through the proxy."""
    port = free_port()
    with (
        world(tmp_path, "--auto-approve", callback="/shop/auth/callback") as made,
        serving(made, "--root-path", "/shop", port=port, prefix="/auth"),
    ):
        async with stripping_proxy("/shop", made.port, port):
            browser = Http(made.base)
            page = await asyncio.to_thread(browser.get, "/shop/auth/connect", follow=True)
            assert (page.status, page.url.partition("?")[0]) == (200, f"{made.base}/shop/auth/connected")
            assert 'href="/shop/auth/connected/style.css"' in page.text
            style = await asyncio.to_thread(browser.get, "/shop/auth/connected/style.css")
            assert style.status == 200
            failed = await asyncio.to_thread(browser.get, "/shop/auth/callback?code=x", follow=True)
            assert failed.url == f"{made.base}/shop/auth/not-connected/state_mismatch"
            assert 'href="/shop/auth/connect"' in failed.text
            sent = await asyncio.to_thread(browser.post, "/shop/connect-my-hotel", headers=ALICE)
            assert sent.headers["Location"].startswith(f"{made.base}/shop/auth/connect/")


def test_a_link_that_the_application_made(tmp_path: Path) -> None:
    """The reference is the application's whatever the browser says; it ends where the application said."""
    with world(tmp_path, "--auto-approve") as made, serving(made):
        browser = Http(made.base)
        link = browser.post("/connect-my-hotel", headers=ALICE).headers["Location"]
        end = browser.start(f"{link}?reference=tenant-8&return_to=https://evil.example/", follow=True)
        assert end.url.partition("?")[0] == f"{made.base}/settings"
        assert end.json["reference"] == "tenant-7"
        assert end.json["connection_id"].startswith("con_")
        assert browser.get("/my-hotel", headers=ALICE).status == 200
        assert browser.get(link).status == 400


def problem(answer_of: Http, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and code of a problem document."""
    answer = answer_of.ask(method, path)
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    assert answer.headers["X-Cloudbeds-Auth-Code"] == answer.json["code"]
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status, answer.json["code"]


def test_what_goes_wrong_in_an_endpoint_is_a_problem(tmp_path: Path) -> None:
    """Unknown ids, a lost answer, a hotel that revoked: the contract's codes."""
    with world(tmp_path, "--auto-approve") as made, serving(made):
        http = Http(made.base)
        assert problem(http, "/hotels/con_unknown/echo") == (404, "unknown_connection")
        assert problem(http, "/hotels/100001/echo") == (404, "unknown_connection")
        assert problem(http, "/my-hotel") == (404, "unknown_connection")
        connection = http.get("/connect", follow=True).url.partition("connection_id=")[2]
        by_property = http.get("/hotels/100001/echo").json
        assert [value for name, value in by_property["headers"] if name.lower() == "x-property-id"] == ["100001"]
        by_connection = http.get(f"/hotels/{connection}/echo").json
        assert "x-property-id" not in {name.lower() for name, _ in by_connection["headers"]}
        assert http.get(f"/hotels/{connection}/blocking").json["first_name"] == "Ada"
        made.vendor.control("faults", target="echo", kind="reset_before", times=2)
        assert problem(http, "/hotels/100001/echo") == (502, "upstream_failed")
        assert problem(http, "/hotels/100001/echo", "POST") == (502, "outcome_unknown")
        made.vendor.control("revoke", property="100001")
        assert problem(http, "/hotels/100001/echo") == (503, "refresh_in_doubt")
        assert int(http.get("/hotels/100001/echo").headers["Retry-After"]) > 1


def refused_start(made: World, prefix: str = "", **settings: str) -> str:
    """The output of a uvicorn that has to give up."""
    process = Process(
        "uvicorn", "tests.contrib.their_app:app", "--app-dir", str(ROOT), "--port", str(made.port),
        env={**made.settings, "THEIR_PREFIX": prefix, **settings}, cwd=made.folder,
    )  # fmt: skip
    try:
        process.wait_for("Application startup failed")
    finally:
        status = process.stop()
    assert status != 0
    return process.output


def test_a_start_that_could_not_end_well(tmp_path: Path) -> None:
    """A redirect URI that the application does not serve, links to nowhere, no client id: it says so and stops."""
    with world(tmp_path) as made:
        assert "the callback is served at /auth/callback" in refused_start(made, prefix="/auth")
        elsewhere = refused_start(made, CLOUDBEDS_AUTH_PUBLIC_URL=f"{made.base}/auth")
        assert "the path of CLOUDBEDS_AUTH_PUBLIC_URL is not /" in elsewhere
        assert "CLOUDBEDS_CLIENT_ID: is not set" in refused_start(made, CLOUDBEDS_CLIENT_ID="")
    assert not (tmp_path / "hotels.sqlite3").exists()
