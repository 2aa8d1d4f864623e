"""Webhooks out of a real service that is killed: every message arrives, under one id, with a signature."""

from __future__ import annotations

import signal
from contextlib import closing

import apsw
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import World
from tests.acceptance.receiver import receiving
from tests.support.keys import WEBHOOK_SECRET
from tests.support.ports import free_port


def with_webhooks(make_world: MakeWorld, port: int) -> World:
    """A world whose service posts to this port."""
    return make_world(
        "--auto-approve",
        CLOUDBEDS_AUTH_WEBHOOK_URL=f"http://127.0.0.1:{port}/hook",
        CLOUDBEDS_AUTH_WEBHOOK_SECRET=WEBHOOK_SECRET,
    )


@pytest.mark.long
def test_a_kill_between_the_change_and_its_delivery(make_world: MakeWorld) -> None:
    """The receiver is away when the hotel connects; the service is killed, starts again, and tells."""
    port = free_port()
    made = with_webhooks(make_world, port)
    service = made.start()
    hotel = made.connect()
    service.stop(signal.SIGKILL)
    with receiving(port) as receiver:
        made.start()
        ((_, told),) = receiver.wait_for(1)
    assert (told["type"], told["data"]["connection"]["id"]) == ("connection.connected", hotel)


@pytest.mark.long
def test_a_kill_between_delivery_and_its_mark(make_world: MakeWorld) -> None:
    """The receiver took it, and nobody wrote that down: it comes once more, the same."""
    port = free_port()
    made = with_webhooks(make_world, port)
    with receiving(port) as receiver:
        receiver.silent = True
        service = made.start()
        made.connect()
        receiver.wait_for(1)
        service.stop(signal.SIGKILL)
        receiver.silent = False
        with closing(apsw.Connection(str(made.folder / "hotels.sqlite3"))) as database:
            database.execute("UPDATE outbox SET due_at = 0")  # the dead process's minute is over
        made.start()
        first, second = receiver.wait_for(2)
    assert first == second


@pytest.mark.long
def test_the_command_line_changes_and_the_service_tells(make_world: MakeWorld) -> None:
    """A process without upkeep writes the message in its transaction; the service beside it sends it."""
    port = free_port()
    made = with_webhooks(make_world, port)
    with receiving(port) as receiver:
        made.start()
        hotel = made.connect()
        receiver.wait_for(1)
        done = made.run("connections", "disconnect", hotel, "--yes")
        assert done.returncode == 0, done.stderr
        _, (_, told) = receiver.wait_for(2)
    assert told["type"] == "connection.disconnected"
    assert told["data"]["connection"]["state"] == "disconnected"


def test_a_secret_is_in_no_line_of_the_log(make_world: MakeWorld) -> None:
    """Neither the secret nor a signature."""
    port = free_port()
    made = with_webhooks(make_world, port)
    with receiving(port) as receiver:
        service = made.start()
        made.connect()
        receiver.wait_for(1)
        service.wait_for("webhook_delivered")
        service.stop()
    assert WEBHOOK_SECRET.removeprefix("whsec_") not in service.output
    assert "v1," not in service.output
