"""A service killed with a hotel's new tokens in hand: what was approved is lost, and people are told to start again."""

from __future__ import annotations

import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import apsw
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import PATIENCE, Answer, Http, Process, World


def killed_with_the_tokens_in_hand(made: World, service: Process, tab: Http, callback: str) -> None:
    """The exchange is answered while nothing can be stored, then `kill -9`; the browser's request breaks off."""
    made.vendor.control("faults", target="token", kind="hang_after", grant_type="authorization_code")
    after = made.vendor.control("requests", "GET")["last"]
    exchange = f"wait?after={after}&grant_type=authorization_code&timeout={PATIENCE}"
    with ThreadPoolExecutor() as threads:
        waiting: Future[Answer] = threads.submit(tab.get, callback)
        assert made.vendor.control(f"{exchange}&outcome=issued", "GET")["entry"]
        with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as database:
            database.execute("BEGIN IMMEDIATE")
            made.vendor.control("faults", "DELETE")
            assert made.vendor.control(f"{exchange}&answered=true", "GET")["entry"]
            service.stop(signal.SIGKILL)
        with pytest.raises(ConnectionError):
            waiting.result(PATIENCE)


@pytest.mark.long
@pytest.mark.row("F84")
def test_killed_between_the_exchange_and_its_storing(make_world: MakeWorld) -> None:
    """The page says what happened and offers to start again, the hotel's old tokens work on, and the command that waits
    for the approval is told of the next one.
    """
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20")
    service, tab = made.start(), Http(made.base)
    hotel = made.connect()
    command = Process("cloudbeds_auth", "connect", "--connection", hotel, env=made.settings, cwd=made.folder)
    try:
        link = command.wait_for(r"http://localhost:\S+/connect/\S+")[0]
        callback = tab.get(tab.start(link).headers["Location"]).headers["Location"]
        killed_with_the_tokens_in_hand(made, service, tab, callback)
        made.start()
        page = tab.get(callback, follow=True)
        assert (page.status, page.headers["X-Cloudbeds-Auth-Code"]) == (400, "authorization_expired")
        assert "has led to no connection" in page.text
        assert "not started in this browser" not in page.text
        assert made.vendor.counts("authorization_code") == {"issued": 2}, "the spent code is not sent again"
        assert made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo").status == 200
        again = re.search(r'<a class="button" href="([^"]+)">Start again</a>', page.text)
        assert again, page.text
        assert tab.start(again[1], follow=True).status == 200
        command.wait_for("^connected$")
        command.wait_for(hotel)
        assert command.popen.wait(PATIENCE) == 0
    finally:
        command.stop()
    assert made.admin.get(f"/proxy/{hotel}/api/v1.3/userinfo").status == 200
    assert len(made.admin.get("/api/v1/connections").json["connections"]) == 1
