"""Checks of the database: it opens, can be written and is durable, the key is its key, only its owner can read it; of
PostgreSQL, by what the server says of itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cloudbeds_auth.doctor.examination import Finding, Subject, ok, problem, warning
from cloudbeds_auth.os_files import network_file_system
from cloudbeds_auth.transactions.runner import HISTORY_BEHIND
from cloudbeds_auth.transactions.seals import MANY_SEALS, MOST_SEALS, NEW_KEY, SEALS

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

SOUND_SQLITE = (3, 51, 3)  # older ones can corrupt a write-ahead log that several processes share
DURABLE = {("wal", "full"), ("delete", "extra")}  # journal mode and synchronous that survive a power cut
LOCAL = "move the database to a local disk that this user may write (CLOUDBEDS_AUTH_DATABASE_URL)"
SECRET_ENDINGS = ("", "-wal", "-shm", "-journal")
VERIFYING = {"verify-ca", "verify-full"}


async def opens(subject: Subject) -> Sequence[Finding]:
    """The vault opens, the database can be written, and the key opens the canary; or its first start can make it."""
    if subject.closed is not None:
        return problem(subject.closed.detail, subject.closed.next_step)
    if subject.unlocked is None:
        return _first_start(subject.settings)
    await subject.vault.check()
    report = await subject.vault.store_report()
    key = report["key_id"]
    found = ok(f"opens, can be written, and the key {key} fits") + seals(report)
    for path in subject.missing:
        found += ok(f"{path} will be made at the next start")
    return found


def seals(report: Mapping[str, str]) -> list[Finding]:
    """How many values each key has sealed; a warning where the one that seals has sealed half of what it may."""
    counts = {name.removeprefix(SEALS): int(count) for name, count in report.items() if name.startswith(SEALS)}
    found: list[Finding] = []
    for key_id, count in counts.items():
        said = f"the key {key_id} has sealed {count} of at most {MOST_SEALS} values"
        is_much = key_id == report["key_id"] and count >= MANY_SEALS
        found += warning(f"{said}; then no refresh is begun", NEW_KEY) if is_much else ok(said)
    return found


def _first_start(settings: Settings) -> list[Finding]:
    """Whether the files that are not there yet can be made; none is made here."""
    folder = settings.database_path.parent
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return problem(f"{there} cannot be written: the database cannot be made in {folder}", LOCAL)
    network = network_file_system(folder)
    if network is not None and not settings.allow_network_fs:
        return problem(f"{folder} is on a network file system ({network})", LOCAL)
    return ok(f"will be made at the first start in {folder}")


async def durability(subject: Subject) -> Sequence[Finding]:
    """What was committed survives a power cut: journal mode and synchronous as they are, read back."""
    report = await subject.vault.store_report()
    if "postgresql" in report:
        return server_durability(report)
    journal, synchronous = report["journal_mode"], report["synchronous"]
    found = f"journal_mode {journal}, synchronous {synchronous}, read back from {report['file']}"
    if (journal, synchronous) not in DURABLE:
        return problem(f"{found}: a power cut could lose a hotel", LOCAL)
    return ok(found)


async def histories(subject: Subject) -> Sequence[Finding]:
    """Of hotels that were moved here, the histories have come, too (`database copy`)."""
    if HISTORY_BEHIND not in await subject.vault.store_report():
        return ok("all are here")
    return warning(
        "the histories of the hotels that were moved here have not all come; hotels are served without them",
        "run the same `cloudbeds-auth database copy` again, with the former CLOUDBEDS_AUTH_DATABASE_URL",
    )


async def permissions(subject: Subject) -> Sequence[Finding]:
    """Only the owner can read the database file and what lies beside it; or what is sent to its server."""
    if subject.settings.is_postgres:
        return encryption(subject.settings)
    path = subject.settings.database_path
    files = [Path(f"{path}{ending}") for ending in SECRET_ENDINGS]
    found: list[Finding] = []
    for file in files:
        if file.exists() and file.stat().st_mode & 0o077:
            found += problem(f"others on this machine may open {file}", f"chmod 600 {file}")
    folder = path.parent
    mode = folder.stat().st_mode if folder.exists() else 0
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        found += problem(f"anybody may replace files in {folder}", f"chmod o-w {folder}")
    return found or ok(
        f"{path} is its owner's alone" if path.exists() else f"nobody else can replace files in {folder}"
    )


async def sqlite_version(subject: Subject) -> Sequence[Finding]:
    """The SQLite in use is one without the write-ahead log's corruption bug."""
    import apsw

    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < SOUND_SQLITE:
        return warning(f"SQLite {version} is older than 3.51.3", "pip install --upgrade apsw")
    return ok(version)


# --- PostgreSQL


def server_durability(report: Mapping[str, str]) -> list[Finding]:
    """What was committed survives a crash of the server, and a failover."""
    facts = ", ".join(f"{name} {report[name]}" for name in ("fsync", "full_page_writes", "synchronous_commit"))
    found = f"PostgreSQL {report['postgresql']}, {facts}"
    if report["role"] != "primary":
        return problem(f"{found}: this server is a standby, nothing can be written", "name the primary in the URL")
    if report["asynchronous_standbys"] != "0":
        number = report["asynchronous_standbys"]
        return warning(
            f"{found}; {number} standbys follow asynchronously: a failover can lose the last pairs",
            "name a standby in synchronous_standby_names, or accept that its hotels approve again after a failover",
        )
    return ok(found)


def encryption(settings: Settings) -> Sequence[Finding]:
    """The way to the server is encrypted, and the server is who it says, unless it is this machine."""
    from cloudbeds_auth.settings import is_loopback

    parts = urlsplit(settings.database_url)
    mode = parse_qs(parts.query).get("sslmode", ["prefer"])[0]
    if parts.hostname is None or is_loopback(parts.hostname) or parts.hostname.startswith("/"):
        return ok("the server is on this machine")
    if mode in VERIFYING:
        return ok(f"sslmode={mode}")
    return warning(
        f"sslmode={mode}: somebody on the way can be taken for the server",
        "add ?sslmode=verify-full to CLOUDBEDS_AUTH_DATABASE_URL (and sslrootcert= for a certificate of your own)",
    )
