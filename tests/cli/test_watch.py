"""`connections watch`: lines, JSON lines, a table in its place; and its end."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from tests.acceptance.processes import Process
from tests.cli.fakes import invoke
from tests.support.installation import opened, settings
from tests.support.terminal import at_terminal

from cloudbeds_auth.transactions.connections import disconnect


def end(url: str, *ids: str) -> None:
    """These hotels are disconnected, by another process."""

    async def work() -> None:
        async with opened(settings(url)) as store:
            for one in ids:
                await store.write(disconnect(one))

    asyncio.run(work())


def test_lines(url: str, hotels: dict[str, str], tmp_path: Path) -> None:
    """A hotel that is named as it is, then each change as a line; Ctrl-C is how it ends, with 0."""
    watched = Process("cloudbeds_auth", "connections", "watch", "1000", "con_1", env=hotels, cwd=tmp_path)
    try:
        watched.wait_for(r"Z  healthy  con_1  1001$")
        end(url, "con_1", "con_2")
        watched.wait_for(r"Z  disconnected  con_1  1001  connect the hotel again")
    finally:
        status = watched.stop(signal.SIGINT)
    assert status == 0
    assert "con_2" not in watched.output
    assert "Traceback" not in watched.output


def test_json_lines(url: str, hotels: dict[str, str], tmp_path: Path) -> None:
    """Of all hotels the changes alone, each a document in a line."""
    watched = Process("cloudbeds_auth", "connections", "watch", "--json", env=hotels, cwd=tmp_path)
    try:
        watched.wait_for("watching every hotel; 0 are not well now")
        end(url, "con_2")
        found = json.loads(watched.wait_for(r"^\{.*con_2.*")[0])
    finally:
        assert watched.stop(signal.SIGINT) == 0
    assert (found["id"], found["state"]) == ("con_2", "disconnected")
    assert found["at"].endswith("Z")


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_at_a_terminal(url: str, hotels: dict[str, str], tmp_path: Path, term: str) -> None:
    """A table that is drawn again in its place, and at a dumb terminal lines."""
    with at_terminal("connections", "watch", "con_1", settings=hotels, folder=tmp_path, columns=120, TERM=term) as ran:
        ran.wait_for("✓ healthy")
        end(url, "con_1")
        ran.wait_for("\N{EN DASH} disconnected")
        ran.type("\x03")
        assert ran.end() == 0
    assert ("\x1b" in ran.sent, "what to do" in ran.text) == (term != "dumb", term != "dumb")
    assert "Traceback" not in ran.text


def test_a_hotel_that_there_is_not(hotels: dict[str, str]) -> None:
    """It is said at once."""
    found = invoke("connections", "watch", "con_9", env=hotels)
    assert (found.status, "con_9" in found.err) == (1, True)
