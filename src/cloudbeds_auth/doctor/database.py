"""Checks of the database: it opens, can be written and is durable, the key is its key, nobody else can read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloudbeds_auth.doctor import postgres
from cloudbeds_auth.doctor.findings import Check, Finding, Level, ok, problem, warning
from cloudbeds_auth.doctor.subject import Subject
from cloudbeds_auth.errors import StoreReadOnly
from cloudbeds_auth.os_files import network_file_system

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

SOUND_SQLITE = (3, 51, 3)  # older ones can corrupt a write-ahead log that several processes share
DURABLE = {("wal", "full"), ("delete", "extra")}  # journal mode and synchronous that survive a power cut
LOCAL = "move the database to a local disk that this user may write (CLOUDBEDS_AUTH_DATABASE_URL)"
SECRET_ENDINGS = ("", "-wal", "-shm", "-journal")


async def opens(subject: Subject) -> Sequence[Finding]:
    """The vault opens, the database can be written, and the key opens the canary; or its first start can make it."""
    if subject.closed is not None:
        diagnosis = subject.closed.diagnosis()
        return problem(diagnosis.what, diagnosis.next_step)
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
    if subject.vault is None:
        return _first_start(subject.settings)
    try:
        await subject.vault.check()
    except StoreReadOnly as error:
        return problem(error.detail, error.next_step)
    key = (await subject.vault.store_report())["key_id"]
    found = ok(f"opens, can be written, and the key {key} fits")
    return found + [finding for path in subject.missing for finding in ok(f"{path} will be made at the next start")]


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
    assert subject.vault is not None  # noqa: S101 - the registry skips us without a vault
    told = await subject.vault.store_report()
    if "postgresql" in told:
        return postgres.durability(told)
    found = f"journal_mode {told['journal_mode']}, synchronous {told['synchronous']}, read back from {told['file']}"
    if (told["journal_mode"], told["synchronous"]) not in DURABLE:
        return problem(f"{found}: a power cut could lose a hotel", LOCAL)
    return ok(found)


async def permissions(subject: Subject) -> Sequence[Finding]:
    """Nobody but the owner can read the database file and what lies beside it; or what is sent to its server."""
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
    if subject.settings.is_postgres:
        return await postgres.encryption(subject)
    path = subject.settings.database_path
    files = [Path(f"{path}{ending}") for ending in SECRET_ENDINGS]
    open_ones = [file for file in files if file.exists() and file.stat().st_mode & 0o077]
    found = [
        Finding(Level.PROBLEM, f"others on this machine may open {file}", f"chmod 600 {file}") for file in open_ones
    ]
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


CHECKS = (
    Check("database", opens),
    Check("durability", durability, needs_vault=True),
    Check("database privacy", permissions),
    Check("SQLite", sqlite_version, needs_settings=False),
)
