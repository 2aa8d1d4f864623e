"""Many processes, many callers, one dead token."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.acceptance.processes import Http, World, world
from tests.support.keys import KEY_TEXT

from cloudbeds_auth import TokenVault
from cloudbeds_auth.settings import Need, load

pytestmark = pytest.mark.long  # processes that live for seconds

PROCESSES, CALLERS = 8, 200
SCRIPT = Path(__file__).with_name("herd_process.py")


async def connected(made: World) -> str:
    """Approve without a service: the library alone."""
    async with TokenVault.open(load(made.settings, None, need=Need.APP)) as vault:
        begun = await vault.begin_authorization()
        answer = await asyncio.to_thread(Http().get, begun.url)
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
        return (await vault.finish_authorization(code=back["code"][0], state=back["state"][0])).id


def spawn(made: World, connection: str, skew: float, where: Sequence[str]) -> subprocess.Popen[str]:
    """One process of the herd, its clock wrong by `skew` seconds, begun by the command `where`."""
    return subprocess.Popen(
        [*where, sys.executable, str(SCRIPT), connection, str(CALLERS), str(skew)],
        env={**os.environ, **made.settings},
        cwd=made.folder,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize("variant", ["V2/n", "V0/n", "V6"])
def test_eight_processes_of_two_hundred_callers_cost_one_refresh(variant: str, tmp_path: Path) -> None:
    """1,600 callers in 8 processes on one SQLite file name the same dead token: the vendor sees one refresh."""
    with world(tmp_path, "--auto-approve", "--variant", variant, CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20") as made:
        stampede(made, asyncio.run(connected(made)), [(0.0, ())] * PROCESSES)


@pytest.mark.row("F45", "F50")
@pytest.mark.parametrize("variant", ["V2/n", "V0/n"])
def test_two_machines_whose_clocks_differ_by_two_hours(variant: str, tmp_path: Path, postgres_url: str) -> None:
    """The same on PostgreSQL, eight processes an hour ahead, eight behind: leases and expiry go by the server's."""
    settings = {
        "CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "20",
        "CLOUDBEDS_AUTH_DATABASE_URL": postgres_url,
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": KEY_TEXT,
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": "an-admin-token-of-more-than-32-characters",
    }
    with world(tmp_path, "--auto-approve", "--variant", variant, **settings) as made:
        stampede(made, asyncio.run(connected(made)), [(3600.0, ()), (-3600.0, ())] * PROCESSES)


def stampede(made: World, connection: str, places: Sequence[tuple[float, Sequence[str]]]) -> None:
    """Everybody holds the token, the vendor ends it, everybody asks: one refresh, all are served."""
    herd = [spawn(made, connection, skew, where) for skew, where in places]
    try:
        for process in herd:
            assert process.stdout
            assert process.stdout.readline() == "holding 1\n"
        made.vendor.control("expire")
        for process in herd:
            assert process.stdin
            process.stdin.write("now\n")
            process.stdin.flush()
        results = [process.communicate(timeout=60) for process in herd]
    finally:
        for process in herd:
            process.kill()
            process.wait()
    assert [out for out, _ in results] == [f"served {CALLERS} generation 2 status 200\n"] * len(herd), results
    assert made.vendor.counts() == {"issued": 1}
