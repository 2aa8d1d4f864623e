"""`doctor`: each check finds what it is for, and one that breaks hides nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.cli.fakes import ADA, FakeVault, invoke

from cloudbeds_auth import Page, errors
from cloudbeds_auth.database import opening
from cloudbeds_auth.doctor import CHECKS, database, hotels, installation
from cloudbeds_auth.doctor.examination import Finding, Level, Report, Subject, examine, ok
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.origins import Foreign
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Need, Settings, load
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.vault import TokenVault

ADMIN = "an-admin-token-of-more-than-32-characters"


def subject(tmp_path: Path, vault: FakeVault | None = None, **values: Any) -> Subject:
    values.setdefault("database_url", f"sqlite:///{tmp_path / 'db.sqlite3'}")
    return Subject(SystemClock(), Settings(**values), unlocked=vault)


def levels(found: Sequence[Finding]) -> list[Level]:
    return [one.level for one in found]


@asynccontextmanager
async def vendor(answer: Callable[[str], bytes]) -> AsyncIterator[str]:
    """A vendor that answers every request with what `answer` makes of its first line."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "secret" not in head.lower()
        writer.write(answer(head))
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, content_type: str, body: str = "{}", extra: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{extra}{length}\r\n{body}".encode()


async def test_the_settings_speak_for_themselves() -> None:
    """Every problem is a finding of its own; what needs settings is skipped."""

    def read(need: Need) -> Settings:
        return load({"CLOUDBEDS_AUTH_PORT": "x", "CLOUDBEDS_BASE_URL": "ftp://y"}, None, need=need)

    report = dict((await examine(read, SystemClock(), CHECKS)).checks)
    named = " ".join(one.what for one in report["settings"])
    for variable in ("CLOUDBEDS_AUTH_PORT", "CLOUDBEDS_BASE_URL", "CLOUDBEDS_CLIENT_ID", "CLOUDBEDS_CLIENT_SECRET"):
        assert variable in named
    assert levels(report["redirect URI"]) == [Level.SKIPPED]
    assert levels(report["database"]) == [Level.SKIPPED]


@pytest.mark.parametrize(("length", "level"), [(0, Level.OK), (10, Level.OK), (11, Level.WARNING)])
async def test_a_long_list_of_refresh_tokens(tmp_path: Path, length: int, level: Level) -> None:
    """More than ten refreshes that nobody saw to work are worth a look, and the hotel is named."""
    vault = FakeVault()
    vault.report |= {"longest_token_list": str(length), "longest_token_list_of": "con_long"}
    (found,) = await hotels.kept_tokens(subject(tmp_path, vault))
    assert found.level is level
    assert (level is Level.OK) != found.what.startswith("con_long")


async def test_redirect_uri_and_port_disagree(tmp_path: Path) -> None:
    """A redirect to this machine has to end where `serve` listens; without a client id, the links to our pages."""
    there: dict[str, Any] = {"redirect_uri": "http://localhost:7100/callback", "client_id": "app-1"}
    assert levels(await installation.redirect_uri(subject(tmp_path, **there))) == [Level.WARNING]
    assert levels(await installation.redirect_uri(subject(tmp_path, **there, port=7100))) == [Level.OK]
    assert levels(await installation.redirect_uri(subject(tmp_path, port=7100))) == [Level.WARNING]
    assert levels(await installation.redirect_uri(subject(tmp_path, port=7000))) == [Level.OK]
    public = subject(tmp_path, port=7100, public_url="https://auth.example.com")
    assert levels(await installation.redirect_uri(public)) == [Level.OK]


PUBLIC = {"public_url": "https://auth.example.com", "client_id": "app-1"}
CALLBACK = "https://back.example.com/callback"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [Level.OK]),
        (PUBLIC, [Level.WARNING]),
        (PUBLIC | {"trusted_proxies": "127.0.0.1"}, [Level.OK]),
        (PUBLIC | {"trusted_proxies": "127.0.0.1", "redirect_uri": CALLBACK}, [Level.OK]),
        (PUBLIC | {"allowed_hosts": "auth.example.com", "redirect_uri": CALLBACK}, [Level.PROBLEM, Level.WARNING]),
        ({"allowed_hosts": "auth.example.com", "public_url": "https://auth.example.com"}, [Level.WARNING]),
    ],
)
async def test_addresses_that_hotels_come_to(tmp_path: Path, values: dict[str, Any], expected: list[Level]) -> None:
    """Each is let in, the redirect URI's where there is an app; a reverse proxy that is not trusted is worth a look."""
    assert levels(await installation.addresses(subject(tmp_path, **values))) == expected


@pytest.mark.parametrize(
    ("overdue", "level"), [(0.0, Level.OK), (3600.0, Level.OK), (7200.0, Level.WARNING), (90_000.0, Level.PROBLEM)]
)
async def test_how_long_a_hotel_has_been_due(tmp_path: Path, overdue: float, level: Level) -> None:
    """After an outage a large fleet takes its time; a day is longer than that."""
    vault = FakeVault()
    vault.overdue = overdue
    (found,) = await hotels.looked_after(subject(tmp_path, vault))
    assert (found.level, bool(found.mend)) == (level, level is not Level.OK)


async def test_clock(tmp_path: Path) -> None:
    """Against the vendor's own, where it was heard."""
    here = subject(tmp_path)
    assert levels(await installation.clock(here)) == [Level.OK]
    here.skew = 3600.0
    assert "ahead" in (await installation.clock(here))[0].what


async def test_an_unexpected_failure_while_opening_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named by its class, because its message may hold a password; what needs no database is examined."""

    def fails(settings: Settings) -> object:
        raise RuntimeError("canary-password")

    monkeypatch.setattr(opening, "missing_files", fails)
    checks = {name: CHECKS[name] for name in ("database", "durability", "SQLite")}
    found = (await examine(reader(tmp_path), SystemClock(), checks)).checks
    assert found["database"] == [
        Finding(Level.PROBLEM, "the database does not open: RuntimeError", "report this as a bug")
    ]
    assert found["durability"][0].what == "the database has to open first"
    assert levels(found["SQLite"]) == [Level.OK]


async def test_a_vault_that_does_not_open(tmp_path: Path) -> None:
    """Its own diagnosis is the finding."""
    here = subject(tmp_path)
    here.closed = errors.ConfigurationError("wrong key", next_step="bring the right one")
    assert await database.opens(here) == [Finding(Level.PROBLEM, "wrong key", "bring the right one")]


@pytest.mark.row("A50")
async def test_how_much_each_key_has_sealed(tmp_path: Path) -> None:
    """A key that seals is warned of from half of what it may; one that only opens seals no more."""
    vault = FakeVault()
    here = subject(tmp_path, vault)
    vault.report |= {"seals:ab12": str(2**31 - 1), "seals:cd34": str(2**31)}
    assert await database.opens(here) == [
        *ok("opens, can be written, and the key ab12 fits"),
        *ok("the key ab12 has sealed 2147483647 of at most 4294967296 values"),
        *ok("the key cd34 has sealed 2147483648 of at most 4294967296 values"),
    ]
    vault.report |= {"seals:ab12": str(2**31)}
    found = (await database.opens(here))[1]
    assert found.level is Level.WARNING
    assert "refreshes stop" in found.what
    assert "put a new key first" in found.mend


async def test_a_database_that_is_well(tmp_path: Path) -> None:
    """It was written to, the key that fits is named, and how durable it is was read back."""
    vault = FakeVault()
    here = subject(tmp_path, vault)
    assert await database.opens(here) == ok("opens, can be written, and the key ab12 fits")
    assert vault.asked == [("check",)]
    assert await database.durability(here) == ok("journal_mode wal, synchronous full, read back from /db")


@pytest.mark.parametrize(
    ("journal", "synchronous", "level"),
    [("delete", "extra", Level.OK), ("wal", "normal", Level.PROBLEM), ("delete", "full", Level.PROBLEM)],
)
async def test_durability(tmp_path: Path, journal: str, synchronous: str, level: Level) -> None:
    """Whatever could lose a commit at a power cut is a problem."""
    vault = FakeVault()
    vault.report = {**vault.report, "journal_mode": journal, "synchronous": synchronous}
    assert levels(await database.durability(subject(tmp_path, vault))) == [level]


def reader(tmp_path: Path, **more: str) -> Callable[[Need], Settings]:
    """Settings of an app whose database is in a folder of its own."""
    given = {
        "CLOUDBEDS_CLIENT_ID": "app-1",
        "CLOUDBEDS_CLIENT_SECRET": "hidden-secret",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path / 'data' / 'db.sqlite3'}",
        **more,
    }
    return lambda need: load(given, None, need=need)


def everything(tmp_path: Path) -> set[str]:
    return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}


async def found_in(tmp_path: Path) -> Mapping[str, Sequence[Finding]]:
    names = ("database", "durability", "database privacy", "SQLite", "hotels", "calls", "kept tokens")
    checks = {name: CHECKS[name] for name in names}
    return (await examine(reader(tmp_path), SystemClock(), checks)).checks


async def test_before_the_first_start(tmp_path: Path) -> None:
    """No database yet is well; neither it nor a key, a token or a folder is made by looking."""
    found = await found_in(tmp_path)
    assert found["database"] == ok(f"will be created in {tmp_path / 'data'} at the first start")
    assert levels(found["durability"]) == levels(found["hotels"]) == [Level.SKIPPED]
    assert found["hotels"][0].what == "there is no database yet"
    assert levels(found["database privacy"]) == [Level.OK]
    assert everything(tmp_path) == set()


async def test_an_empty_database_file(tmp_path: Path) -> None:
    """Nothing is in it yet: the same, and it stays empty."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "db.sqlite3").touch(0o600)
    assert "first start" in (await found_in(tmp_path))["database"][0].what
    assert everything(tmp_path) == {"data", "data/db.sqlite3"}


@pytest.mark.parametrize("blocked", ["file", "mode"])
async def test_a_folder_that_cannot_be_written(tmp_path: Path, blocked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start would fail: said now."""
    if blocked == "file":
        (tmp_path / "data").write_text("not a folder")
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    (found,) = (await found_in(tmp_path))["database"]
    assert (found.level, "is not writable" in found.what) == (Level.PROBLEM, True)


async def test_a_first_start_on_a_network_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused by `serve`, unless it was allowed: said now."""
    monkeypatch.setattr(database, "network_file_system", lambda path: "nfs4")
    assert levels(await database.opens(subject(tmp_path))) == [Level.PROBLEM]
    assert levels(await database.opens(subject(tmp_path, allow_network_fs=True))) == [Level.OK]


async def test_a_database_without_an_admin_token_file(tmp_path: Path) -> None:
    """The database is opened and checked; the token file is named, and not made."""
    async with TokenVault.open(reader(tmp_path)(Need.APP)):
        pass
    token = tmp_path / "data" / "db.sqlite3.admin-token"
    token.unlink()
    before = everything(tmp_path)
    found = await found_in(tmp_path)
    assert [one.what for one in found["database"]][2:] == [f"{token} will be created at the next start"]
    assert levels(found["durability"]) == levels(found["hotels"]) == [Level.OK]
    assert everything(tmp_path) == before


async def test_a_database_without_its_key(tmp_path: Path) -> None:
    """A problem, and no new key over old data."""
    async with TokenVault.open(reader(tmp_path)(Need.APP)):
        pass
    (tmp_path / "data" / "db.sqlite3.key").unlink()
    before = everything(tmp_path)
    found = await found_in(tmp_path)
    assert levels(found["database"]) == [Level.PROBLEM]
    assert "key file" in found["database"][0].what
    assert found["hotels"][0].what == "the database has to open first"
    assert everything(tmp_path) == before


async def test_database_permissions(tmp_path: Path) -> None:
    """A file that others may read, beside one that they may not."""
    path = tmp_path / "db.sqlite3"
    path.touch(mode=0o600)
    here = subject(tmp_path)
    assert levels(await database.permissions(here)) == [Level.OK]
    (tmp_path / "db.sqlite3-wal").touch(mode=0o644)
    found = await database.permissions(here)
    assert levels(found) == [Level.PROBLEM]
    assert found[0].mend == f"chmod 600 {path}-wal"


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
async def test_a_side_file_that_may_not_be_written(tmp_path: Path, ending: str) -> None:
    """Left by a command while the database was read-only, it blocks everything when the database no longer is."""
    path = tmp_path / "db.sqlite3"
    path.touch(mode=0o600)
    beside = tmp_path / f"db.sqlite3{ending}"
    beside.touch(mode=0o400)
    (found,) = await database.permissions(subject(tmp_path))
    assert (found.level, str(beside) in found.what, found.mend) == (Level.PROBLEM, True, f"chmod 600 {beside}")
    beside.chmod(0o600)
    assert levels(await database.permissions(subject(tmp_path))) == [Level.OK]


async def test_commands_for_paths_with_a_space(tmp_path: Path) -> None:
    """As a shell reads them: one word each."""
    folder = tmp_path / "two hotels"
    folder.mkdir()
    folder.chmod(0o777)
    path = folder / "db.sqlite3"
    path.touch(mode=0o644)
    path.chmod(0o644)
    found = await database.permissions(subject(tmp_path, database_url=f"sqlite:///{path}"))
    assert [shlex.split(one.mend) for one in found] == [["chmod", "600", str(path)], ["chmod", "o-w", str(folder)]]


async def test_vendor_that_answers(tmp_path: Path) -> None:
    """An API with JSON, on a clock of its own."""
    date = "Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
    async with vendor(lambda head: http("400 Bad Request", "application/json", extra=date)) as url:
        here = subject(tmp_path, base_url=url)
        assert levels(await installation.vendor_reachable(here)) == [Level.OK]
        assert levels(await installation.token_endpoint(here)) == [Level.OK]
        assert here.skew is not None


async def test_a_wrong_path_gets_a_web_page(tmp_path: Path) -> None:
    """The marketing site's 404 is not the token endpoint."""
    async with vendor(lambda head: http("404 Not Found", "text/html", "<html>")) as url:
        found = await installation.token_endpoint(subject(tmp_path, base_url=url))
        assert levels(found) == [Level.PROBLEM]
        assert "CLOUDBEDS_API_VERSION" in found[0].mend


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
async def test_an_approval_page_that_does_not_exist(tmp_path: Path, status: str) -> None:
    """Something answers there, and every hotel that is sent there ends at a web page."""
    async with vendor(lambda head: http(status, "text/html", "<html>")) as url:
        here = subject(tmp_path, authorize_url=f"{url}/nope")
        (found,) = await installation.vendor_reachable(here)
    assert (found.level, found.what) == (
        Level.PROBLEM, f"{url}/nope answers {status[:3]}: there is no approval page",
    )  # fmt: skip
    assert "CLOUDBEDS_AUTHORIZE_URL" in found.mend


async def test_a_token_endpoint_that_does_not_exist(tmp_path: Path) -> None:
    """A gateway's 404 is in JSON, too."""
    async with vendor(lambda head: http("404 Not Found", "application/json")) as url:
        (found,) = await installation.token_endpoint(subject(tmp_path, base_url=url))
    assert (found.level, "CLOUDBEDS_API_VERSION" in found.mend) == (Level.PROBLEM, True)
    assert found.what.endswith("/access_token answers 404")


@pytest.mark.row("A57")
async def test_a_service_on_the_port_may_be_another_installations(tmp_path: Path) -> None:
    """What has our header may be a service of any installation, or imitate one: no more is claimed, and nothing secret
    is sent there to find out.
    """

    def answer(head: str) -> bytes:
        assert "authorization" not in head.lower()
        assert ADMIN not in head
        if head.startswith("GET /readyz "):
            return http("200 OK", "application/json")
        return http("401 Unauthorized", "application/json", extra="X-Cloudbeds-Auth-Code: unauthenticated\r\n")

    async with vendor(answer) as url:
        here = subject(tmp_path, port=int(url.rpartition(":")[2]), admin_token=Secret(ADMIN))
        (found,) = await installation.listening_port(here)
    assert found.level is Level.OK
    assert found.what.startswith("a service of cloudbeds-auth is ready on 127.0.0.1:")
    assert "that it belongs to this installation is not verified" in found.what


async def test_a_service_on_the_port_that_is_not_ready(tmp_path: Path) -> None:
    """As one whose database file was deleted under it: a problem, with the code of what failed."""

    def answer(_: str) -> bytes:
        code = "X-Cloudbeds-Auth-Code: store_unavailable\r\n"
        return http("503 Service Unavailable", "application/problem+json", extra=code)

    async with vendor(answer) as url:
        (found,) = await installation.listening_port(subject(tmp_path, port=int(url.rpartition(":")[2])))
    assert found.level is Level.PROBLEM
    assert found.what.endswith("is not ready: store_unavailable")
    assert "restart it" in found.mend


@pytest.mark.parametrize(("refused", "level"), [(False, Level.OK), (True, Level.PROBLEM)])
async def test_the_client_secret_of_the_settings(tmp_path: Path, refused: bool, level: Level) -> None:
    """A refusal of it is known from then on; before, nobody claims that it is right."""
    (vault := FakeVault()).secret_refused = refused
    here = subject(tmp_path, vault)
    vault.apps.found[0] = replace(vault.apps.found[0], secrets=(Secret("a-client-secret"),))
    (found,) = await hotels.client_secret(here)
    assert (found.level, "not sent from here" in found.what) == (level, not refused)


async def test_vendor_out_of_order_or_away(tmp_path: Path) -> None:
    """A 503 is a warning; nobody there is a problem."""
    async with vendor(lambda head: http("503 Unavailable", "text/html")) as url:
        assert levels(await installation.vendor_reachable(subject(tmp_path, base_url=url))) == [Level.WARNING]
    gone = subject(tmp_path, base_url=url)
    assert levels(await installation.vendor_reachable(gone)) == [Level.PROBLEM]
    assert levels(await installation.token_endpoint(gone)) == [Level.PROBLEM]


NOT_TAKEN = (Level.PROBLEM, "not a callback")
AURORA = App("aurora", "client-2", (Secret("hidden"),), "http://localhost:7000/callback/aurora")


@pytest.mark.parametrize(
    ("wrong", "settings", "level", "word"),
    [
        ({}, {}, Level.OK, "exactly like this"),
        ({"secrets": ()}, {}, Level.PROBLEM, "does not open"),
        ({"client_id": "client-1"}, {}, Level.PROBLEM, "client id of the app in the settings"),
        ({"redirect_uri": "http://127.0.0.1:7000/callback"}, {}, Level.PROBLEM, "same path as CLOUDBEDS_REDIRECT_URI"),
        ({"redirect_uri": "http://localhost:7000/audit"}, {}, *NOT_TAKEN),
        ({"redirect_uri": "http://localhost:7000/live/aurora"}, {}, *NOT_TAKEN),
        *(
            ({"redirect_uri": f"http://localhost:7000/a{path}"}, {"public_url": "http://localhost:7000/a"}, *NOT_TAKEN)
            for path in ("", "/", "/keys", "/live/aurora")
        ),
        ({"redirect_uri": "http://localhost:7000/audits"}, {}, Level.OK, "exactly like this"),
        ({"redirect_uri": "http://[::1]:7000/x"}, {"allowed_hosts": "localhost"}, Level.PROBLEM, "::1"),
        ({"redirect_uri": "http://[::1]:7000/x"}, {}, Level.OK, "exactly like this"),
        ({"redirect_uri": "https://a.example/x"}, {}, Level.PROBLEM, "must be https if"),
        ({"redirect_uri": "http://localhost:7009/x"}, {}, Level.WARNING, "leads to port 7009"),
    ],
)
async def test_a_further_app(
    tmp_path: Path, wrong: dict[str, Any], settings: dict[str, Any], level: Level, word: str
) -> None:
    """What keeps its hotels from connecting or being refreshed; the settings may have changed since it was added."""
    here = subject(tmp_path, FakeVault(Settings(client_id="client-1")), client_id="client-1", **settings)
    cast(FakeVault, here.vault).apps.found.append(replace(AURORA, **wrong))
    (found,) = await hotels.further_apps(here)
    assert (found.level, word in found.what, bool(found.mend)) == (level, True, level is not Level.OK)
    assert "hidden" not in str(found)


async def test_very_many_further_apps(tmp_path: Path) -> None:
    """Those that are well are counted; of those that are not the first are named, and how many more there are."""
    vault = FakeVault(Settings(client_id="client-1"))
    here = subject(tmp_path, vault, client_id="client-1")
    vault.apps.found += [replace(AURORA, id=f"aurora-{number}") for number in range(5)]
    assert len(await hotels.further_apps(here)) == 5
    vault.apps.found += [replace(AURORA, id=f"wrong-{number}", secrets=()) for number in range(53)]
    vault.apps.found.append(replace(AURORA, id="aurora-6"))
    *named, more, well = await hotels.further_apps(here)
    assert levels(named) == [Level.PROBLEM] * 50
    assert (more.level, more.what[:2], bool(more.mend)) == (Level.PROBLEM, "3 ", True)
    assert (well.level, well.what[:6]) == (Level.OK, "6 apps")


async def test_no_further_app(tmp_path: Path) -> None:
    """The settings' own is checked as such."""
    assert await hotels.further_apps(subject(tmp_path, FakeVault())) == ok("only the one in the settings")


@pytest.mark.row("F92")
async def test_what_came_from_elsewhere(tmp_path: Path) -> None:
    """One finding for each cause, with its next step."""
    vault = FakeVault()
    assert levels(await hotels.where_from(subject(tmp_path, vault))) == [Level.OK]
    vault.apps.strange = [Foreign("60 hotels: their tokens were issued by one, and another is set", "set it back")]
    assert await hotels.where_from(subject(tmp_path, vault)) == [
        Finding(Level.PROBLEM, vault.apps.strange[0].what, "set it back")
    ]


async def test_a_large_healthy_fleet_needs_nobody(tmp_path: Path) -> None:
    """A page on which no hotel looks refused says nothing of the next one."""
    vault = FakeVault()
    vault.pages = [Page((), None), Page((), "more"), Page((), None)]
    assert levels(await hotels.need_a_person(subject(tmp_path, vault))) == [Level.OK]


async def test_hotels_that_need_a_person(tmp_path: Path) -> None:
    """Each with its next step."""
    vault = FakeVault()
    lost = replace(ADA, state=State.REAUTHORIZATION_REQUIRED, problem="refused", next_step="send the link")
    unnamed = replace(ADA, state=State.IN_DOUBT, problem="hotel_scope_missing", next_step="ask for the scope")
    doubted = replace(unnamed, problem="property_unknown")
    stuck = replace(unnamed, problem="migration_client_unknown", next_step="go on with it")
    aside = replace(ADA, state=State.PARKED, problem="property_mismatch", next_step="claim it")
    vault.pages = [Page((lost,), "more"), Page((), None), Page((aside,), "more"), Page((doubted, unnamed, stuck), None)]
    vault.pages.append(Page((), None))
    found = await hotels.need_a_person(subject(tmp_path, vault))
    assert [(one.level, one.mend) for one in found] == [
        (Level.PROBLEM, "send the link"),
        (Level.PROBLEM, "cloudbeds-auth connections list --state reauthorization_required"),
        (Level.WARNING, "claim it"),
        (Level.WARNING, "cloudbeds-auth connections list --state parked"),
        (Level.PROBLEM, "ask for the scope"),
        (Level.PROBLEM, "go on with it"),
    ]
    assert levels(await hotels.need_a_person(subject(tmp_path, vault))) == [Level.OK]


STATES = (State.IN_DOUBT, State.REFRESHING, State.BACKING_OFF, State.FRESH, State.STALE)


@pytest.mark.parametrize("state", STATES)
async def test_a_move_that_was_interrupted(tmp_path: Path, state: State) -> None:
    """In every state of a hotel that is served: a problem if only the command can resume it, else a warning, also where
    the problem shown is that of the last attempt; and no other check names it again.
    """
    vault = FakeVault()
    known = replace(ADA, state=state, problem="migration_under_way", moving_under="client-1")
    hidden = replace(known, problem="no_answer") if state is State.IN_DOUBT else known
    unknown = replace(known, problem="migration_client_unknown", next_step="with that client id")
    before = [Page((), None)] * (3 + min(STATES.index(state), 3))
    vault.pages = [*before, Page((known, hidden, unknown), None), Page((), None)]
    problem, *warnings = await hotels.need_a_person(subject(tmp_path, vault))
    assert (problem.level, problem.mend) == (Level.PROBLEM, "with that client id")
    assert "migration_client_unknown; waits for the operator" in problem.what
    assert levels(warnings) == [Level.WARNING] * 2
    assert all("migration_under_way" in one.what and "migrate-to-api-key" in one.mend for one in warnings)
    vault.pages = [Page((known, unknown), None)]
    assert levels(await hotels.calls_refused(subject(tmp_path, vault))) == [Level.OK]


async def test_hotels_whose_calls_are_refused(tmp_path: Path) -> None:
    """Connected, and yet something is missing: a warning each, over all pages; a hotel without one is none."""
    vault = FakeVault()
    scope = replace(ADA, problem="missing_scope", next_step="send the link")
    vault.pages = [Page((ADA, scope), "more"), Page((scope,), None), Page((), None)]
    found = await hotels.calls_refused(subject(tmp_path, vault))
    assert levels(found) == [Level.WARNING] * 2
    assert ("missing_scope" in found[0].what, found[0].mend) == (True, "send the link")
    vault.pages = [Page((ADA,), None), Page((), None)]
    assert levels(await hotels.calls_refused(subject(tmp_path, vault))) == [Level.OK]


async def test_very_many_hotels_whose_calls_are_refused(tmp_path: Path) -> None:
    """The newest are named; the rest would say the same."""
    vault = FakeVault()
    scope = replace(ADA, problem="missing_scope")
    vault.pages = [Page((scope,) * 40, "more"), Page((scope,) * 40, "more"), Page((), None)]
    assert len(await hotels.calls_refused(subject(tmp_path, vault))) == hotels.MOST


async def test_a_broken_check_hides_nothing() -> None:
    """The checks after it still run."""

    async def broken(_: Subject) -> Sequence[Finding]:
        raise RuntimeError("oops")

    async def refused(_: Subject) -> Sequence[Finding]:
        raise errors.StoreUnavailable("disk full")

    async def fine(_: Subject) -> Sequence[Finding]:
        return ok("fine")

    def nothing(need: Need) -> Settings:
        raise errors.ConfigurationError("none")

    report = await examine(nothing, SystemClock(), {"b": broken, "r": refused, "f": fine})
    assert [levels(found) for found in report.checks.values()] == [[Level.PROBLEM], [Level.PROBLEM], [Level.OK]]
    assert not report.healthy
    assert Report({"f": [Finding(Level.WARNING, "x")]}).healthy


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command(tmp_path: Path, as_json: bool) -> None:
    """Exit 1 on a problem; the secret is nowhere; --json is one document."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        environment = {
            "CLOUDBEDS_CLIENT_ID": "app-1",
            "CLOUDBEDS_CLIENT_SECRET": "hidden-secret",
            "CLOUDBEDS_BASE_URL": f"http://127.0.0.1:{sock.getsockname()[1]}",
            "CLOUDBEDS_AUTH_PORT": "0",
        }
        result = invoke("doctor", *(["--json"] if as_json else []), env=environment)
    assert result.status == 1
    assert "hidden-secret" not in result.out + result.err
    if as_json:
        found = {one["check"]: one["level"] for one in json.loads(result.out)["checks"]}
        assert (found["settings"], found["database"], found["Cloudbeds"]) == ("ok", "ok", "problem")
    else:
        assert "PROBLEM" in result.out
