"""Faults that operators meet, each planted for real: `doctor` finds it, says what mends it, and after that all is well.

A fault is a generator: it plants, is sent what `doctor` says to do, does that, and ends.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import apsw
import httpx2
import psycopg
import pytest
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Process, Vendor, vendor_on_a_thread
from tests.cli.fakes import Result, invoke
from tests.docs.pages import text_of
from tests.support.keys import KEY_TEXT, OTHER_KEY_TEXT
from tests.support.ports import free_port

from cloudbeds_auth.database import copy
from cloudbeds_auth.settings import Need, load
from cloudbeds_auth.vault import TokenVault

ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"
PATIENCE = 30.0  # seconds

Fault = Generator[None, str, None]


@dataclass
class Installation:
    """An operator's settings, database and hotel, and the Cloudbeds that they are for."""

    folder: Path
    vendor: Vendor
    settings: dict[str, str]
    connection: str = ""

    @property
    def database(self) -> Path:
        return Path(self.settings["CLOUDBEDS_AUTH_DATABASE_URL"].removeprefix("sqlite:///"))

    def run(self, *args: str) -> Result:
        """One command, as the operator types it."""
        return invoke(*args, env=self.settings)

    def examined(self, apart: tuple[str, ...] = ()) -> tuple[int, list[dict[str, str]]]:
        """The exit status of `doctor`, and the problems that it found; `apart`: a program to run it by."""
        if apart:
            base = {name: value for name, value in self.settings.items() if value}
            done = subprocess.run([*apart, "doctor", "--json"], env=base, capture_output=True, text=True, check=False)
            status, text = done.returncode, done.stdout
        else:
            result = self.run("doctor", "--json")
            status, text = result.status, result.out
        return status, [one for one in json.loads(text)["checks"] if one["level"] == "problem"]

    def connect(self, connection_id: str | None = None) -> str:
        """A hotel approves, for the first time or again; its connection."""
        return asyncio.run(self._connect(connection_id))

    async def _connect(self, connection_id: str | None) -> str:
        async with TokenVault.open(load(self.settings, None, need=Need.APP)) as vault:
            begun = await vault.begin_authorization(connection_id=connection_id)
            async with httpx2.AsyncClient(trust_env=False) as browser:
                answer = await browser.get(begun.url)
            back = parse_qs(urlsplit(answer.headers["location"]).query)
            return (await vault.finish_authorization(code=back["code"][0], state=back["state"][0])).id

    def sql(self, statement: str, *values: object) -> None:
        """Behind the program's back."""
        with closing(apsw.Connection(str(self.database))) as connection:
            connection.execute(statement, values).fetchall()


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    """A simulator that approves by itself."""
    with vendor_on_a_thread("--auto-approve", redirect_uri="http://localhost:7000/callback") as found:
        yield found


@pytest.fixture
def installation(tmp_path: Path, vendor: Vendor) -> Installation:
    """With one hotel that is well."""
    port = free_port()
    uri = f"http://localhost:{port}/callback"
    vendor.control("apps", client_id=CLIENT_ID, client_secret=CLIENT_SECRET, redirect_uris=[uri])
    settings = {
        "CLOUDBEDS_CLIENT_ID": CLIENT_ID, "CLOUDBEDS_CLIENT_SECRET": CLIENT_SECRET, "CLOUDBEDS_BASE_URL": vendor.base,
        "CLOUDBEDS_REDIRECT_URI": uri, "CLOUDBEDS_AUTH_PORT": str(port), "CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "2",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path}/data/hotels.sqlite3", "CLOUDBEDS_AUTH_RATE_LIMIT": "0",
    }  # fmt: skip
    made = Installation(tmp_path, vendor, settings)
    made.connection = made.connect()
    return made


def as_told(mend: str) -> None:
    """Run the command that a finding names."""
    command = mend.partition("`")[2].partition("`")[0] or mend
    assert subprocess.run(shlex.split(command), check=False).returncode == 0, mend


# --- settings


def misspelt_variable(one: Installation) -> Fault:
    """A setting that does not exist."""
    one.settings["CLOUDBEDS_AUTH_WORKER"] = "2"
    mend = yield
    one.settings[mend.removeprefix("did you mean ").rstrip("?")] = one.settings.pop("CLOUDBEDS_AUTH_WORKER")


def plain_http_redirect(one: Installation) -> Fault:
    """A redirect URI on another machine that anybody on the way can read."""
    before = one.settings["CLOUDBEDS_REDIRECT_URI"]
    one.settings["CLOUDBEDS_REDIRECT_URI"] = "http://auth.example.com/callback"
    yield
    one.settings["CLOUDBEDS_REDIRECT_URI"] = before


def short_admin_token(one: Installation) -> Fault:
    """The admin token can be guessed."""
    one.settings["CLOUDBEDS_AUTH_ADMIN_TOKEN"] = "hotel"
    yield
    one.settings["CLOUDBEDS_AUTH_ADMIN_TOKEN"] = ADMIN_TOKEN


def others_write_settings(one: Installation) -> Fault:
    """A `.env` that any user of the machine may write."""
    file = one.folder / ".env"
    file.write_text("CLOUDBEDS_SCOPES=read:hotel\n", "utf-8")
    file.chmod(0o666)
    as_told((yield))


def public_host_not_allowed(one: Installation) -> Fault:
    """Requests for the host of the public URL are refused."""
    one.settings |= {
        "CLOUDBEDS_AUTH_PUBLIC_URL": "https://auth.example.com", "CLOUDBEDS_AUTH_TRUSTED_PROXIES": "127.0.0.1",
        "CLOUDBEDS_AUTH_ALLOWED_HOSTS": "localhost",
    }  # fmt: skip
    mend = yield
    one.settings["CLOUDBEDS_AUTH_ALLOWED_HOSTS"] += f",{mend.split()[1]}"


# --- this machine


def port_taken(one: Installation) -> Fault:
    """Another program listens where the service would."""
    with socket.create_server(("127.0.0.1", int(one.settings["CLOUDBEDS_AUTH_PORT"]))):
        yield


def others_read_database(one: Installation) -> Fault:
    """The database is open to every user of the machine."""
    one.database.chmod(0o644)
    as_told((yield))


def others_read_key(one: Installation) -> Fault:
    """The key file is open to every user of the machine."""
    one.database.with_name("hotels.sqlite3.key").chmod(0o644)
    as_told((yield))


def key_is_gone(one: Installation) -> Fault:
    """The key file was not moved with the database."""
    key = one.database.with_name("hotels.sqlite3.key")
    key.rename(one.folder / "backup.key")
    mend = yield
    assert str(key) in mend
    (one.folder / "backup.key").rename(key)


def another_key(one: Installation) -> Fault:
    """Two services use one database with different keys."""
    one.settings["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] = OTHER_KEY_TEXT
    yield
    key = one.database.with_name("hotels.sqlite3.key").read_text("ascii").strip()
    one.settings["CLOUDBEDS_AUTH_ENCRYPTION_KEYS"] = f"{OTHER_KEY_TEXT},{key}"


# --- the database


def restored_backup(one: Installation) -> Fault:
    """The database was replaced by a backup, which would refresh beside the original."""
    backup = one.folder / "restored" / "hotels.sqlite3"
    backup.parent.mkdir(mode=0o700)
    assert one.run("database", "backup", str(backup)).status == 0
    for ending in (".key", ".admin-token"):
        shutil.copy2(f"{one.database}{ending}", f"{backup}{ending}")
    one.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = f"sqlite:///{backup}"
    mend = yield
    assert "database adopt" in mend
    assert one.run("database", "adopt", "--yes").status == 0


def interrupted_copy(one: Installation) -> Fault:
    """`database copy` was interrupted, and nothing refreshes the hotels."""
    target = f"sqlite:///{one.folder}/data/moved.sqlite3"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy, "_until_nothing_is_under_way", _interrupted)
        assert one.run("database", "copy", "--to", target).status == 130
    mend = yield
    assert "database copy" in mend
    assert one.run("database", "copy", "--to", target).status == 0
    one.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = target


async def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def newer_schema(one: Installation) -> Fault:
    """A newer version has upgraded the database, and this one was started again."""
    one.sql("UPDATE meta SET value = '1' || value WHERE name = 'schema_version'")
    yield
    one.sql("UPDATE meta SET value = substr(value, 2) WHERE name = 'schema_version'")


def file_of_another_program(one: Installation) -> Fault:
    """The URL names another program's database."""
    before, other = one.settings["CLOUDBEDS_AUTH_DATABASE_URL"], one.folder / "other.sqlite3"
    with closing(apsw.Connection(str(other))) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    other.chmod(0o600)
    shutil.copy2(one.database.with_name("hotels.sqlite3.key"), f"{other}.key")
    one.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = f"sqlite:///{other}"
    yield
    one.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = before


def altered_row(one: Installation) -> Fault:
    """Another program wrote to the database."""
    one.sql("UPDATE connections SET reference = 'another tenant'")
    mend = yield
    assert "database accept" in mend
    assert one.run("database", "accept", one.connection, "--yes").status == 0


# --- Cloudbeds


def unreachable(one: Installation) -> Fault:
    """Nothing answers at the address of Cloudbeds."""
    one.settings["CLOUDBEDS_AUTHORIZE_URL"] = f"http://127.0.0.1:{free_port()}/api/v1.3/oauth"
    yield
    del one.settings["CLOUDBEDS_AUTHORIZE_URL"]


def another_origin(one: Installation) -> Fault:
    """The settings name another Cloudbeds than the one that issued the hotels' tokens."""
    before = one.settings["CLOUDBEDS_BASE_URL"]
    one.settings["CLOUDBEDS_BASE_URL"] = before.replace("127.0.0.1", "localhost")
    yield
    one.settings["CLOUDBEDS_BASE_URL"] = before


def another_client_id(one: Installation) -> Fault:
    """The settings hold the id of a registration that the hotels did not approve."""
    one.settings["CLOUDBEDS_CLIENT_ID"] = "another-app"
    yield
    one.settings["CLOUDBEDS_CLIENT_ID"] = CLIENT_ID


def refused_secret(one: Installation) -> Fault:
    """The client secret was reset at Cloudbeds, and not here."""
    one.vendor.control("apps", client_id=CLIENT_ID, client_secret="the secret after the reset")
    assert one.run("connections", "refresh", one.connection).status == 1
    mend = yield
    assert "CLOUDBEDS_CLIENT_SECRET" in mend
    one.settings["CLOUDBEDS_CLIENT_SECRET"] = "the secret after the reset"


# --- hotels


def hotel_left(one: Installation) -> Fault:
    """A hotel revoked its approval at Cloudbeds."""
    one.vendor.control("revoke", property="100001")
    assert one.run("connections", "refresh", one.connection).status == 1
    one.sql("UPDATE grants SET first_refused = first_refused - 60, not_before = NULL")  # a minute later
    assert one.run("connections", "refresh", one.connection).status == 1
    yield
    assert one.connect(one.connection) == one.connection


MOVE = ("connections", "migrate-to-api-key", "100001", "--app", "default", "--yes")


def kill_a_move(one: Installation, settings: dict[str, str]) -> None:
    """A move of the hotel, killed when Cloudbeds has issued the key and its answer has not come."""
    before = one.vendor.counts("refresh_token_exchange").get("issued", 0)
    one.vendor.control("faults", target="token", kind="hang_after")
    patient = settings | {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "60"}
    process = Process("cloudbeds_auth", *MOVE, env=patient, cwd=one.folder)
    try:
        until = time.monotonic() + PATIENCE
        while one.vendor.counts("refresh_token_exchange").get("issued", 0) == before:
            assert time.monotonic() < until, process.output
            time.sleep(0.05)
    finally:
        process.stop(signal.SIGKILL)
        one.vendor.control("faults", "DELETE")


def interrupted_move(one: Installation) -> Fault:
    """A move to an API key was killed, and the service does not have the client id that it was begun with."""
    uri = one.settings["CLOUDBEDS_REDIRECT_URI"]
    one.vendor.control("apps", client_id="app-of-the-move", client_secret="its secret", redirect_uris=[uri])
    other = one.settings | {"CLOUDBEDS_CLIENT_ID": "app-of-the-move", "CLOUDBEDS_CLIENT_SECRET": "its secret"}
    kill_a_move(one, other)
    mend = yield
    assert "migrate-to-api-key" in mend
    assert "with the client id and secret that it was begun with" in mend
    # The process that was killed is given up.
    one.sql("UPDATE grants SET lease_owner = NULL, lease_until = NULL, not_before = NULL")
    done = invoke(*MOVE, env=other)
    assert done.status == 0, done.out + done.err


def nothing_runs(one: Installation) -> Fault:
    """Upkeep has not run for two days."""
    one.sql("UPDATE grants SET due_at = ?, due_from = ?", time.time() - 2 * 86_400, time.time() - 3 * 86_400)
    mend = yield
    assert "cloudbeds-auth serve" in mend
    service = Process("cloudbeds_auth", "serve", env=one.settings, cwd=one.folder)
    try:
        service.wait_for("listening on http")
        until = time.monotonic() + PATIENCE
        while one.examined()[0]:
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        service.stop()


FAULTS: list[tuple[Callable[[Installation], Fault], str, str]] = [
    (misspelt_variable, "settings", "CLOUDBEDS_AUTH_WORKER: is not a setting"),
    (plain_http_redirect, "settings", "CLOUDBEDS_REDIRECT_URI: is plain http to another machine"),
    (short_admin_token, "settings", "CLOUDBEDS_AUTH_ADMIN_TOKEN: "),
    (others_write_settings, "settings", ".env may be written by others"),
    (public_host_not_allowed, "addresses", "auth.example.com of CLOUDBEDS_AUTH_PUBLIC_URL is not in"),
    (port_taken, "port", "is in use by"),
    (others_read_database, "database privacy", "other users of this machine may open"),
    (others_read_key, "database", "hotels.sqlite3.key is open to other users"),
    (key_is_gone, "database", "the key file"),
    (another_key, "database", "the encryption keys do not open this database"),
    (restored_backup, "database", "copy of another installation"),
    (interrupted_copy, "move", "held by a move to another database"),
    (newer_schema, "database", "the database has schema 1"),
    (file_of_another_program, "database", "not one of cloudbeds-auth"),
    (altered_row, "altered", "was altered"),
    (unreachable, "Cloudbeds", "does not answer"),
    (another_origin, "origins", "1 hotel"),
    (another_client_id, "origins", "1 hotel"),
    (refused_secret, "client secret", "Cloudbeds refuses its secret"),
    (refused_secret, "hotels", "our credentials are refused"),
    (hotel_left, "hotels", "reconnect needed"),
    (interrupted_move, "hotels", "healthy: migration_client_unknown; waits for the operator"),
    (nothing_runs, "upkeep", "kept alive for 48 h"),
]


@pytest.mark.parametrize(("fault", "check", "what"), FAULTS, ids=[row[0].__name__ for row in FAULTS])
def test_a_fault_is_found_and_mended(
    installation: Installation, fault: Callable[[Installation], Fault], check: str, what: str
) -> None:
    """Before it all is well; then the exit status is 1, and what is wrong and what mends it are named, for people and
    for programs; and once that is done all is well.
    """
    assert installation.examined() == (0, [])
    planted = fault(installation)
    next(planted)
    status, found = installation.examined()
    named = [one for one in found if one["check"] == check and what in one["what"]]
    assert (status, len(named) > 0) == (1, True), found
    assert named[0]["mend"]
    said = installation.run("doctor")
    assert (said.status, f"{named[0]['what']}; to fix it: {named[0]['mend']}" in said.out) == (1, True)
    with pytest.raises(StopIteration):
        planted.send(named[0]["mend"])
    assert installation.examined() == (0, [])


def test_the_page_has_each_fault() -> None:
    """The table of the page on operating says what each is, in the words of its docstring here."""
    page = text_of("docs/operating.md")
    assert not [fault.__name__ for fault, _, _ in FAULTS if f"| {(fault.__doc__ or '').rstrip('.')} |" not in page]


def test_a_move_that_only_upkeep_resumes(installation: Installation) -> None:
    """It was killed, and no service runs: a warning, in whatever state the hotel is."""
    kill_a_move(installation, installation.settings)
    said = installation.run("doctor")
    assert (said.status, "healthy: migration_under_way" in said.out) == (0, True), said.out
    installation.sql("UPDATE grants SET state = 'in_doubt', problem = 'no_answer'")
    said = installation.run("doctor")
    assert (said.status, "healthy, recovering: migration_under_way" in said.out) == (0, True), said.out


def test_a_full_disk(installation: Installation) -> None:
    """No file of the process may grow: the database opens, and is said not to take a write."""
    full = "from tests.crash.limits import fill_disk; fill_disk(); from cloudbeds_auth.cli.main import main; main()"
    root = str(Path(__file__).parents[2])
    installation.settings["PYTHONPATH"] = root
    status, found = installation.examined((sys.executable, "-c", full))
    assert status == 1
    (named,) = [one for one in found if one["check"] == "database"]
    assert "see that the disk has room" in named["mend"]
    assert installation.examined((sys.executable, "-m", "cloudbeds_auth")) == (0, [])


def test_postgresql_that_forgets_commits(installation: Installation, postgres_url: str) -> None:
    """A server that answers a commit before it is on the disk; set right, all is well."""
    installation.settings |= {
        "CLOUDBEDS_AUTH_DATABASE_URL": postgres_url, "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": KEY_TEXT,
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN_TOKEN,
    }  # fmt: skip
    name = urlsplit(postgres_url).path.lstrip("/")

    def alter(change: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" {change}'.encode())

    alter("SET synchronous_commit = off")
    status, found = installation.examined()
    assert status == 1
    (named,) = [one for one in found if one["check"] == "database"]
    assert "synchronous_commit" in named["what"] + named["mend"]
    alter("RESET synchronous_commit")
    assert installation.examined() == (0, [])


def test_histories_that_did_not_follow(installation: Installation) -> None:
    """Hotels were moved without them: `doctor` warns, and `database check` says it, until they have come."""
    target = f"sqlite:///{installation.folder}/data/moved.sqlite3"
    for ending in (".key", ".admin-token"):
        shutil.copy2(f"{installation.database}{ending}", installation.database.with_name(f"moved.sqlite3{ending}"))
    assert installation.run("database", "copy", "--to", target, "--history", "none").status == 0
    before = installation.settings["CLOUDBEDS_AUTH_DATABASE_URL"]
    installation.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = target
    warned = installation.run("doctor")
    assert (warned.status, "are not all copied" in warned.out) == (0, True)
    checked = installation.run("database", "check")
    assert (checked.status, "are not all copied" in checked.out) == (0, True)
    installation.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = before
    assert installation.run("database", "copy", "--to", target).status == 0
    installation.settings["CLOUDBEDS_AUTH_DATABASE_URL"] = target
    assert "are not all copied" not in installation.run("doctor").out + installation.run("database", "check").out
