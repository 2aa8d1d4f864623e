"""The same with a key for a caller and what Node brings, nothing installed."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.processes import PATIENCE, Process, world
from tests.deploy.tools import program
from tests.docs.pages import block


def test_the_program_of_the_page_calls_with_a_key(tmp_path: Path) -> None:
    """As it is written in docs/callers.md, but for the port."""
    with world(tmp_path, "--auto-approve") as made:
        made.start()
        made.connect()
        key = made.run("keys", "create", "website", "--scope", "proxy").stdout.strip()
        (tmp_path / "hotels.mjs").write_text(block("docs/callers.md#node").replace("7000", str(made.port)), "utf-8")
        node = Process("hotels.mjs", env={"OUR_KEY": key}, cwd=tmp_path, command=(program("node"),))
        try:
            status = node.popen.wait(PATIENCE)
        finally:
            node.stop()
        assert (status, node.lines) == (0, ["Hotel Aurora"])
