"""The same in PHP with its curl extension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.acceptance.processes import PATIENCE, Process, World, world
from tests.deploy.tools import program
from tests.docs.pages import block
from tests.node.test_axios import at_the_vendor, behind_the_proxy


def ran(made: World, connection: str, place: Callable[[World, str], dict[str, str]]) -> tuple[int, list[str]]:
    """The exit status of the page's program, called in this place, and what it printed."""
    (made.folder / "hotel.php").write_text(block("docs/clients.md#php"), "utf-8")
    php = Process("hotel.php", env=place(made, connection), cwd=made.folder, command=(program("php"),))
    try:
        status = php.popen.wait(PATIENCE)
    finally:
        php.stop()
    return status, php.lines


def test_the_program_of_the_page_runs_in_both_places(tmp_path: Path) -> None:
    """As it is written in docs/clients.md: at the vendor, and behind the proxy with another base URL."""
    with world(tmp_path, "--auto-approve") as made:
        made.start()
        connection = made.connect()
        assert ran(made, connection, at_the_vendor) == (0, ["Ada"])
        assert ran(made, connection, behind_the_proxy) == (0, ["Ada"])


def test_a_hotel_that_has_to_approve_again(tmp_path: Path) -> None:
    """The program says what to do next, and fails."""
    with world(tmp_path, "--auto-approve") as made:
        made.start()
        connection = made.connect()
        assert made.run("connections", "disconnect", connection, "--yes").returncode == 0
        assert ran(made, connection, behind_the_proxy) == (1, ["connect the hotel again if it wishes"])
