"""What a start imports, in a process of its own: a program pays for a library or a layer when it uses it.

The rule of each start is its line in `STARTS`: which of `HEAVY`, and which of our own layers. Time is not measured: a
busy machine would decide.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.simulator import CLIENT, SECRET, vendor

from cloudbeds_auth import TokenVault

HEAVY = {
    "aiohttp", "apsw", "asyncio", "click", "cryptography", "email", "fastapi", "httpx2", "jinja2", "opentelemetry",
    "prometheus_client", "psycopg", "pydantic", "rich", "ssl", "starlette", "uvicorn",
}  # fmt: skip
AT_THE_END = "import atexit, json, sys; atexit.register(lambda: print(json.dumps([*sys.modules]), file=sys.stderr)); "
COMMAND = "import sys; from cloudbeds_auth.cli.main import run; run(sys.argv[1:])"
LIBRARY = {"errors", "rules", "vault"}
BLOCKING = LIBRARY | {"engine", "loop_thread", "ports", "program_vault", "sync", "threads", "transactions"}
STARTS: dict[str, tuple[list[str], set[str], set[str]]] = {
    "the package": (["import cloudbeds_auth"], set(), set()),
    "TokenVault": (["from cloudbeds_auth import TokenVault"], set(), LIBRARY),
    "its blocking twin": (["import cloudbeds_auth.sync"], {"asyncio", "ssl", "email"}, BLOCKING),
    "--version": ([COMMAND, "--version"], {"click"}, {"cli", "version"}),
}


def imported(script: str, *arguments: str, **environment: str) -> tuple[set[str], set[str], str]:
    """What the script imported: of `HEAVY`, and of our layers; and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END + script, *arguments],
        capture_output=True, text=True, check=True, env=os.environ | environment,
    )  # fmt: skip
    names: list[str] = json.loads(done.stderr.splitlines()[-1])
    ours = {name.split(".")[1] for name in names if name.startswith("cloudbeds_auth.")}
    return HEAVY.intersection(names), ours, done.stdout


@pytest.mark.parametrize("start", STARTS)
def test_a_start_imports_what_it_uses(start: str) -> None:
    """These libraries and these layers, and no other."""
    arguments, heavy, layers = STARTS[start]
    assert imported(*arguments)[:2] == (heavy, layers)


async def test_a_fresh_token_on_the_command_line(tmp_path: Path) -> None:
    """The database is opened and the token printed; nothing that sends or serves is imported."""
    async with vendor() as cloudbeds, TokenVault.open(cloudbeds.settings(tmp_path)) as vault:
        connection = await cloudbeds.connect(vault)
        token = await vault.access_token(connection.id)
    environment = {
        "CLOUDBEDS_CLIENT_ID": CLIENT,
        "CLOUDBEDS_CLIENT_SECRET": SECRET,
        "CLOUDBEDS_BASE_URL": cloudbeds.base,
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path / 'vault.sqlite3'}",
    }
    heavy, _, printed = imported(COMMAND, "access-token", connection.id, **environment)
    assert printed == f"{token.reveal()}\n"
    assert heavy == {"apsw", "asyncio", "click", "cryptography", "email", "pydantic", "ssl"}
