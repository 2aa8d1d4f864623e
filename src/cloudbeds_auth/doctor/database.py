"""Checks of the database: it opens, is writable and durable, the key belongs to it, and only its owner can read it. For
PostgreSQL they rely on what the server reports.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from cloudbeds_auth.database import copy
from cloudbeds_auth.doctor.examination import Finding, SkipCheck, Subject, ok, problem, warning
from cloudbeds_auth.os_files import network_file_system
from cloudbeds_auth.transactions.runner import HISTORY_BEHIND
from cloudbeds_auth.transactions.seals import MANY_SEALS, MOST_SEALS, NEW_KEY, SEALS
from cloudbeds_auth.transactions.statements import Statement, Transaction, Tx, query_one, transaction

if TYPE_CHECKING:
    from cloudbeds_auth.errors import ConfigurationError
    from cloudbeds_auth.settings import Settings

SOUND_SQLITE = (3, 51, 3)  # older versions can corrupt a write-ahead log shared by several processes
DURABLE = {("wal", "full"), ("delete", "extra")}  # journal mode and synchronous that survive a power cut
LOCAL = "move the database to a local disk where this user may write (CLOUDBEDS_AUTH_DATABASE_URL)"
SECRET_ENDINGS = ("", "-wal", "-shm", "-journal")
LATE = "SELECT COUNT(DISTINCT connection_id) AS hotels FROM grants WHERE latched < 4"
VERIFYING = {"verify-ca", "verify-full"}


async def opens(subject: Subject) -> Sequence[Finding]:
    """The vault opens, the database is writable, and the key opens the canary; or the first start can create it."""
    if subject.closed is not None:
        return problem(subject.closed.detail, subject.closed.next_step)
    if subject.unlocked is None:
        return _first_start(subject.settings)
    if (unfinished := await half_copied(subject)) is not None:
        return problem(unfinished.detail, unfinished.next_step)
    await subject.vault.check()
    report = await subject.vault.store_report()
    key = report["key_id"]
    found = ok(f"opens, can be written, and the key {key} fits") + seals(report)
    for path in subject.missing:
        found += ok(f"{path} will be created at the next start")
    return found


async def half_copied(subject: Subject) -> ConfigurationError | None:
    """What to do about a database that a `database copy` has not filled yet; None if it is whole."""
    db = subject.vault.engine.world.db
    return await db.browse(_half_copied()) if db.read_only else None


@transaction
def _half_copied(tx: Tx) -> Transaction[ConfigurationError | None]:
    return (yield from copy.unfinished())


def seals(report: Mapping[str, str]) -> list[Finding]:
    """How many values each key has sealed; a warning if the one in use has sealed half of what it may."""
    counts = {name.removeprefix(SEALS): int(count) for name, count in report.items() if name.startswith(SEALS)}
    found: list[Finding] = []
    for key_id, count in counts.items():
        said = f"the key {key_id} has sealed {count} of at most {MOST_SEALS} values"
        is_much = key_id == report["key_id"] and count >= MANY_SEALS
        found += warning(f"{said}; at the limit, refreshes stop", NEW_KEY) if is_much else ok(said)
    return found


def _first_start(settings: Settings) -> list[Finding]:
    """Whether the missing files can be created; none is created here."""
    folder = settings.database_path.parent
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return problem(f"{there} is not writable: the database cannot be created in {folder}", LOCAL)
    network = network_file_system(folder)
    if network is not None and not settings.allow_network_fs:
        return problem(f"{folder} is on a network file system ({network})", LOCAL)
    return ok(f"will be created in {folder} at the first start")


async def durability(subject: Subject) -> Sequence[Finding]:
    """Committed data survives a power cut: journal mode and synchronous, as read back from the database."""
    report = await subject.vault.store_report()
    if "postgresql" in report:
        return server_durability(report)
    journal, synchronous = report["journal_mode"], report["synchronous"]
    found = f"journal_mode {journal}, synchronous {synchronous}, read back from {report['file']}"
    if (journal, synchronous) not in DURABLE:
        return problem(f"{found}: a power cut could lose a hotel", LOCAL)
    return ok(found)


async def histories(subject: Subject) -> Sequence[Finding]:
    """The histories of hotels that were moved here have been copied, too (`database copy`)."""
    if HISTORY_BEHIND not in await subject.vault.store_report():
        return ok("complete")
    return warning(
        "the histories of hotels that were moved here are not all copied; the hotels are served without them",
        "run `cloudbeds-auth database copy` again, without `--history none`, with the former "
        "CLOUDBEDS_AUTH_DATABASE_URL",
    )


async def moving(subject: Subject) -> Sequence[Finding]:
    """No hotel is held by a move to another database (`database copy`), which nothing refreshes here."""
    hotels, target, late = await subject.vault.engine.world.db.browse(_held())
    if target is not None and late:
        return problem(
            f"{late} hotel(s) were connected here after the others had moved to {target}, which does not have them",
            "stop the program that connects hotels here, and let them approve again with the other database",
        )
    if not hotels:
        return ok("no hotel is being moved to another database")
    if target is not None:
        return problem(
            f"{hotels} hotel(s) were moved to {target}, and are not refreshed here",
            "set CLOUDBEDS_AUTH_DATABASE_URL to it; if the move was interrupted, run the same `cloudbeds-auth database "
            "copy` again with this one; if that database is gone for good, `cloudbeds-auth database adopt`",
        )
    return problem(
        f"{hotels} hotel(s) are held by a move to another database that did not end, and are not refreshed",
        "repeat the same `cloudbeds-auth database copy`, or run `cloudbeds-auth database adopt` to abandon the move",
    )


@transaction
def _held(tx: Tx) -> Transaction[tuple[int, str | None, int]]:
    held = yield from query_one("held_by_a_copy")
    moved = yield from query_one("meta", name="moved_to")
    (late,) = yield Statement("hotels_not_held", LATE, {})
    return (0 if held is None else held["hotels"]), (None if moved is None else moved["value"]), late["hotels"]


async def permissions(subject: Subject) -> Sequence[Finding]:
    """Only the owner can read the database file and its side files, and this user can write them; for PostgreSQL, what
    is sent to the server.
    """
    if subject.settings.is_postgres:
        return encryption(subject.settings)
    path = subject.settings.database_path
    files = [Path(f"{path}{ending}") for ending in SECRET_ENDINGS]
    found: list[Finding] = []
    for file in files:
        if not file.exists():
            continue
        mend = f"chmod 600 {shlex.quote(str(file))}"
        if file.stat().st_mode & 0o077:
            found += problem(f"other users of this machine may open {file}", mend)
        # SQLite gives a side file the database's mode, which it keeps when that is changed. To root any is writable.
        elif not (file.stat().st_mode & stat.S_IWUSR and os.access(file, os.W_OK)):
            found += problem(f"this user, or its owner, may not write {file}, so nothing can be stored", mend)
    folder = path.parent
    mode = folder.stat().st_mode if folder.exists() else 0
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        found += problem(f"every user may replace files in {folder}", f"chmod o-w {shlex.quote(str(folder))}")
    return found or ok(
        f"only the owner can open {path}" if path.exists() else f"other users cannot replace files in {folder}"
    )


async def sqlite_version(subject: Subject) -> Sequence[Finding]:
    """The SQLite version in use does not have the bug that corrupts a write-ahead log."""
    import apsw

    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < SOUND_SQLITE:
        return warning(f"SQLite {version} is older than 3.51.3", "pip install --upgrade apsw")
    return ok(version)


# --- PostgreSQL


def server_durability(report: Mapping[str, str]) -> list[Finding]:
    """Committed data survives a crash of the server, and a failover."""
    facts = ", ".join(f"{name} {report[name]}" for name in ("fsync", "full_page_writes", "synchronous_commit"))
    found = f"PostgreSQL {report['postgresql']}, {facts}"
    if report["role"] != "primary":
        return problem(f"{found}: this server is a read-only standby", "name the primary in the URL")
    if report["asynchronous_standbys"] != "0":
        number = report["asynchronous_standbys"]
        return warning(
            f"{found}; {number} standbys follow asynchronously: a failover can lose the last pairs",
            "name a standby in synchronous_standby_names, or accept that its hotels approve again after a failover",
        )
    return ok(found)


def encryption(settings: Settings) -> Sequence[Finding]:
    """The connection to the server is encrypted, and the server is authenticated, unless it is on this machine."""
    try:
        from psycopg import pq
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise SkipCheck("the driver for PostgreSQL has to be installed first") from None
    given = {name: str(value) for name, value in conninfo_to_dict(settings.database_url).items()}
    usual = {one.keyword.decode(): os.fsdecode(one.val) for one in pq.Conninfo.get_defaults() if one.val is not None}
    options = usual | given  # the usual ones are libpq's, from PGHOST and its like, and the service file of PGSERVICE
    mode = options.get("sslmode", "prefer")
    if "service" not in given and all(map(_is_here, _servers(options))):
        return ok("the server is on this machine")
    if mode in VERIFYING:
        return ok(f"sslmode={mode}")
    if "service" in given:
        return warning(
            "host and sslmode may come from the service file of libpq, which is not read here",
            "write the host and sslmode=verify-full in CLOUDBEDS_AUTH_DATABASE_URL, too",
        )
    return warning(
        f"sslmode={mode}: an attacker in the network can impersonate the server",
        "add sslmode=verify-full to the query of CLOUDBEDS_AUTH_DATABASE_URL (and sslrootcert= for a certificate of "
        "your own)",
    )


def _servers(options: Mapping[str, str]) -> list[str]:
    """The servers that libpq tries in turn: addresses come before names; one that is empty is its own default."""
    named = (options.get(name, "").split(",") for name in ("host", "hostaddr"))
    return [address or host for host, address in zip_longest(*named, fillvalue="")]


def _is_here(server: str) -> bool:
    """Whether it is this machine: a socket in a folder, an abstract one, libpq's default, or loopback."""
    from cloudbeds_auth.settings import is_loopback

    return not server or server.startswith(("/", "@")) or is_loopback(server)
