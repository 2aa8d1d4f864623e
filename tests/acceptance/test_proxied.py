"""The proxy and the vendor's rate limit over real processes, as operators and callers see them."""

from __future__ import annotations

import json
import signal
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
from tests.acceptance.processes import World, world

from cloudbeds_auth.rules.rate_limit import WINDOW


def echoes(made: World) -> int:
    """How many of callers' requests reached the vendor."""
    log = made.vendor.control("requests", "GET")["requests"]
    return sum("/echo" in one["path"] for one in log)


@pytest.mark.long
@pytest.mark.row("F20", "F75")
def test_a_kill_forgets_no_429(tmp_path: Path) -> None:
    """The 429 is passed on as it came; killed and started again, the service sends nothing until the pause is over,
    and neither does the command line beside it.
    """
    with world(tmp_path, "--auto-approve", CLOUDBEDS_AUTH_RATE_LIMIT="10") as made:
        service = made.start()
        connection = made.connect()
        path = f"/proxy/{connection}/api/v1.3/echo/x"
        assert made.admin.get(path).status == 200
        made.vendor.control("faults", target="resource", kind="rate_limited", retry_after="1000000000")
        busy = made.admin.get(path)
        assert (busy.status, busy.headers["Retry-After"]) == (429, "1000000000")
        assert busy.headers["X-Cloudbeds-Auth-Code"] is None
        sent = echoes(made)
        service.stop(signal.SIGKILL)
        made.start()
        answer = made.admin.get(path)
        assert (answer.status, answer.json["code"], answer.json["connection_id"]) == (503, "rate_limited", connection)
        assert 30 < int(answer.headers["Retry-After"]) <= 60, "the wait is capped at a minute"
        called = made.run("call", connection, "GET", "echo/x")
        assert called.returncode == 1
        assert "too many requests at once" in called.stderr.lower()
        assert echoes(made) == sent


def test_the_log_names_the_vendors_request(tmp_path: Path) -> None:
    """Each proxied call is a line with the `X-Request-ID` that came back with it: what Cloudbeds' support asks for."""
    with world(tmp_path, "--auto-approve") as made:
        service = made.start()
        answer = made.admin.get(f"/proxy/{made.connect()}/api/v1.3/getHotels")
        assert answer.status == 200
        told = json.loads(service.wait_for(r'^\{.*"event": "proxied".*$')[0])
        assert (told["level"], told["facts"]["status"]) == ("info", 200)
        assert told["facts"]["vendor_request_id"] == answer.headers["X-Request-ID"]
        assert told["facts"]["request_id"] == answer.headers["X-Cloudbeds-Auth-Request-ID"]


@pytest.mark.long
def test_a_kill_forgets_no_turn(tmp_path: Path) -> None:
    """Of a limit of one, each request has a turn of its own in the database, a window after the one before, whichever
    process sends it: a turn is not synced, and is there after a SIGKILL all the same.
    """
    with world(tmp_path, "--auto-approve", CLOUDBEDS_AUTH_RATE_LIMIT="1") as made:
        service = made.start()
        path = f"/proxy/{made.connect()}/api/v1.3/echo/x"
        turns, statuses = [last_turn(made)], []
        for _ in range(3):
            statuses.append(made.admin.get(path).status)
            service.stop(signal.SIGKILL)
            turns.append(last_turn(made))
            service = made.start()
        assert statuses == [200, 200, 200]
        steps = [later - earlier for earlier, later in pairwise(turns)]
        assert all(step >= WINDOW - 1e-6 for step in steps), json.dumps(turns)


def last_turn(made: World) -> float:
    """The moment of the newest turn that was given."""
    with sqlite3.connect(f"file:{made.folder}/hotels.sqlite3?mode=ro", uri=True) as database:
        ((given,),) = database.execute("SELECT given FROM budgets").fetchall()
    database.close()
    return float(json.loads(given)[-1])
