"""Checks of the database: it opens, it can be written, the key is its key, nobody else can read it."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from cloudbeds_auth.doctor.findings import Check, Finding, Level, ok, problem, warning
from cloudbeds_auth.doctor.subject import Subject

SOUND_SQLITE = (3, 51, 3)  # older ones can corrupt a write-ahead log that several processes share
SECRET_ENDINGS = ("", "-wal", "-shm", "-journal")


async def opens(subject: Subject) -> Sequence[Finding]:
    """The vault opens, the database can be written, and the key opens the canary."""
    if subject.closed is not None:
        diagnosis = subject.closed.diagnosis()
        return problem(diagnosis.what, diagnosis.next_step)
    assert subject.vault is not None  # noqa: S101 - open or closed with a reason
    await subject.vault.check()
    return ok("opens, can be written, and the key fits")


async def permissions(subject: Subject) -> Sequence[Finding]:
    """Nobody but the owner can read the database file and what lies beside it."""
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
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
    return found or ok(f"{path} is its owner's alone")


async def sqlite_version(subject: Subject) -> Sequence[Finding]:
    """The SQLite in use is one without the write-ahead log's corruption bug."""
    import apsw

    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < SOUND_SQLITE:
        return warning(f"SQLite {version} is older than 3.51.3", "pip install --upgrade apsw")
    return ok(version)


CHECKS = (
    Check("database", opens),
    Check("database permissions", permissions),
    Check("SQLite", sqlite_version, needs_settings=False),
)
