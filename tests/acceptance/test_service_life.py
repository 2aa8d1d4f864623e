"""The service starts, stops, is killed, and starts again: a refresh in hand is never lost."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Answer, Http, World


def in_background(made: World, path: str) -> tuple[threading.Thread, list[Answer | Exception]]:
    """A call on a thread of its own; what became of it."""
    found: list[Answer | Exception] = []

    def call() -> None:
        try:
            found.append(made.admin.get(path))
        except OSError as error:  # the service went away
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, found


def wait_for_refresh(made: World, fault: str, outcome: str) -> None:
    """Until the vendor has this refresh in this condition."""
    query = f"wait?target=token&fault={fault}&outcome={outcome}&answered=false&timeout=20"
    assert made.vendor.control(query, "GET")["entry"] is not None


@pytest.mark.row("F78")
def test_a_stop_lets_a_running_refresh_finish_and_commit(make_world: MakeWorld) -> None:
    """SIGTERM while the vendor takes its time: the caller is answered, the new pair is stored, exit status 0."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20")
    service = made.start()
    connection = made.connect()
    made.vendor.control("expire")
    made.vendor.control("faults", target="token", kind="delay", seconds=1.5)
    thread, found = in_background(made, f"/proxy/{connection}/api/v1.3/userinfo")
    wait_for_refresh(made, "delay", "pending")
    assert service.stop(signal.SIGTERM) == 0
    thread.join()
    assert isinstance(found[0], Answer)
    assert found[0].status == 200
    assert "an empty one is created" in service.output
    assert "an empty one is created" not in made.start().output
    assert made.admin.get(f"/api/v1/connections/{connection}").json["generation"] == 2
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert made.vendor.counts() == {"issued": 1}


@pytest.mark.parametrize("variant", ["V0/n", "V0/y", "V1/n", "V2/n", "V2/y", "V3/n", "V4/n", "V5/n", "V6"])
@pytest.mark.row("F04")
def test_a_kill_between_rotation_and_answer_loses_nothing(variant: str, make_world: MakeWorld) -> None:
    """kill -9 when the vendor has rotated and nobody has the pair: the next start heals, the hotel does nothing."""
    made = make_world("--auto-approve", "--variant", variant)
    service = made.start()
    connection = made.connect()
    made.vendor.control("expire")
    made.vendor.control("faults", target="token", kind="hang_after")
    thread, _ = in_background(made, f"/proxy/{connection}/api/v1.3/userinfo")
    wait_for_refresh(made, "hang_after", "issued")
    service.stop(signal.SIGKILL)
    thread.join()
    made.vendor.control("faults", "DELETE")
    made.start()
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    shown = made.admin.get(f"/api/v1/connections/{connection}").json
    assert (shown["id"], shown["state"]) == (connection, "fresh")


@pytest.mark.long  # without processes: tests/engine/test_reconnect.py
def test_a_hotel_that_reconnects_keeps_its_connection_id(make_world: MakeWorld) -> None:
    """A second approval of the same hotel: same id, next generation, the old grant replaced, one connection listed."""
    made = make_world("--auto-approve")
    made.start()
    first = made.connect(query="?reference=seaside")
    again = made.connect()
    assert again == first
    listed = made.admin.get("/api/v1/connections").json["connections"]
    assert [(one["id"], one["reference"], one["generation"], one["state"]) for one in listed] == [
        (first, "seaside", 2, "fresh")
    ]
    kinds = [event["kind"] for event in made.admin.get(f"/api/v1/connections/{first}/events").json["events"]]
    assert kinds.count("promoted") == 2
    assert kinds.count("superseded") == 1


def test_another_hotel_gets_a_connection_of_its_own(make_world: MakeWorld) -> None:
    """Two hotels, two connections; each property id finds its own, and neither sees the other's."""
    made = make_world("--auto-approve", "--hotels", "2")
    made.start()
    first = made.connect()
    made.vendor.control("choose", property_ids=["100002"])
    second = made.connect()
    assert first != second
    shown = made.admin.get("/api/v1/connections?property=100002").json["connections"]
    assert [one["id"] for one in shown] == [second]
    assert made.admin.get("/proxy/100001/api/v1.3/userinfo").json["user_id"] == "9001"
    assert made.admin.get("/proxy/100002/api/v1.3/userinfo").json["user_id"] == "9002"


@pytest.mark.long  # without processes: tests/engine/test_authorize.py
def test_a_one_time_link_connects_once_for_the_reference_it_was_made_for(make_world: MakeWorld) -> None:
    """POST /api/v1/authorizations gives a link; it may be opened twice, leads to one connection, and is then spent."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_OPEN_CONNECT="false")
    made.start()
    refused = Http(made.base).get("/connect")
    assert refused.status in {403, 404}
    asked = {"reference": "tenant-7", "return_to": "/connected", "expires_in": 600}
    made_link = made.admin.post("/api/v1/authorizations", json_body=asked)
    assert made_link.status == 201, made_link.text
    url = made_link.json["connect_url"]
    Http(made.base).get(url)  # a messenger's preview opens it first
    page = Http(made.base).start(url, follow=True)
    assert page.status == 200, page.text
    [shown] = made.admin.get("/api/v1/connections?reference=tenant-7").json["connections"]
    assert shown["state"] == "fresh"
    spent = Http(made.base).get(url)
    assert (spent.status, spent.headers["X-Cloudbeds-Auth-Code"]) == (400, "authorization_expired")


@pytest.mark.long  # without processes: tests/engine/test_disconnect.py
def test_disconnect_tells_the_vendor_and_then_forgets(make_world: MakeWorld) -> None:
    """DELETE: the app state is disabled at the vendor, the tokens are gone here, and callers get a 409."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    gone = made.admin.ask("DELETE", f"/api/v1/connections/{connection}")
    assert gone.status in {200, 204}
    log = made.vendor.control("requests", "GET")["requests"]
    assert [entry["outcome"] for entry in log if "postAppState" in entry["path"]] == ["accepted"]
    refused = made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo")
    assert (refused.status, refused.json["code"]) == (409, "connection_disconnected")
    assert made.admin.get(f"/api/v1/connections/{connection}").json["state"] == "disconnected"
    assert made.connect() == connection
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200


@pytest.mark.long  # without processes: tests/engine/test_disconnect.py
def test_disconnect_forgets_nothing_while_the_vendor_cannot_be_told(make_world: MakeWorld) -> None:
    """The vendor fails: 503 and everything stays; `?forget=true` insists."""
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    made.vendor.control("faults", target="postAppState", kind="status", status=500, times=2)
    refused = made.admin.ask("DELETE", f"/api/v1/connections/{connection}")
    assert refused.status == 503
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert made.admin.ask("DELETE", f"/api/v1/connections/{connection}?forget=true").status in {200, 204}
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 409


@pytest.mark.long
def test_several_workers_share_the_port_the_database_and_the_refresh(make_world: MakeWorld) -> None:
    """Two workers: callers with one dead token cost one refresh, the numbers of both are scraped, a stop is clean."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_WORKERS="2", CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20")
    service = made.start()
    connection = made.connect()
    made.vendor.control("expire")
    calls = [in_background(made, f"/proxy/{connection}/api/v1.3/userinfo") for _ in range(16)]
    for thread, _ in calls:
        thread.join()
    assert [answer.status for _, [answer] in calls if isinstance(answer, Answer)] == [200] * 16
    assert made.vendor.counts() == {"issued": 1}
    numbers = made.admin.get("/metrics").text
    exchanged = re.search(r"token_requests_total\{[^}]*issued[^}]*\} (\S+)", numbers)
    assert exchanged, numbers
    assert float(exchanged[1]) == 2.0
    assert service.stop() == 0


@pytest.mark.long
def test_a_worker_that_is_killed(make_world: MakeWorld) -> None:
    """Another one takes its place, and the log says which one ended, and how: the system kills what has no memory."""
    made = make_world(CLOUDBEDS_AUTH_WORKERS="2")
    service = made.start()
    assert made.admin.get("/api/v1/connections").status == 200, "a worker is up"
    main = service.popen.pid
    children = Path(f"/proc/{main}/task/{main}/children").read_text("ascii").split()
    workers = [one for one in children if b"--multiprocessing-fork" in Path(f"/proc/{one}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    service.wait_for(f".*the worker {workers[0]} ended with status -9; another is started")
    assert service.stop() == 0
