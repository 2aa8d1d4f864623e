"""The page about coming from an old script does what it says, line by line, against a simulator."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path

from tests.acceptance.test_import import Import, approved_long_ago
from tests.docs.pages import block, first_cells, text_of
from tests.support.simulator import vendor

from cloudbeds_auth.cli.import_reader import COLUMNS
from cloudbeds_auth.rules.imports import Outcome

PAGE = text_of("docs/migrating.md")


async def run(name: str, given: Import) -> tuple[int, str]:
    """The command of this block: its exit status and output."""
    _, *arguments = shlex.split(block(name))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cloudbeds_auth", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=given.environment,
        cwd=given.file.parent,
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_page_as_it_is_read(tmp_path: Path) -> None:
    """The list as shown, with a token that lives: looked at, nothing sent; imported, sent once."""
    file = tmp_path / "hotels.csv"
    async with vendor() as cloud:
        token = approved_long_ago(cloud.simulator.model, "100001", cloud.simulator.clock.now())
        file.write_text(block("docs/migrating.md#list").replace("eyJhbGciOi...", token), "utf-8")
        given = Import(cloud, file, f"sqlite:///{tmp_path / 'vault.sqlite3'}", "")
        status, told = await run("docs/migrating.md#dry run", given)
        assert (status, "would be connected" in told) == (0, True), told
        assert cloud.token_requests() == []
        assert [one.name for one in tmp_path.iterdir()] == ["hotels.csv"]  # not even a database
        status, told = await run("docs/migrating.md#import", given)
        assert (status, "1 connected" in told, "The old script must stay stopped" in told) == (0, True, True), told
        assert [entry.refresh_token for entry in cloud.token_requests()] == [token]


def test_every_column_and_every_outcome_is_told() -> None:
    """The tables name what there is and nothing else."""
    named = {name.strip("` ") for row in first_cells(PAGE) for name in row[0].split(",")}
    assert named == {*COLUMNS, *(outcome.value for outcome in Outcome)}
