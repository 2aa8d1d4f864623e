"""Full disks: by a limit of the process (RLIMIT_FSIZE), and, where this user may mount, a small tmpfs filled up."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Three megabytes, mounted on this folder."""
    folder.mkdir(exist_ok=True)
    if not _run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)):
        raise PermissionError("this user may not mount")
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder, mounted over itself and read-only: that binds root too."""
    if not _run("mount", "--bind", str(folder), str(folder)):
        raise PermissionError("this user may not mount")
    try:
        if not _run("mount", "-o", "remount,bind,ro", str(folder)):
            raise PermissionError("this user may not remount")
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def may_mount() -> bool:
    """Whether the tests that mount can run here; decided when tests are collected, so that none is ever skipped."""
    with TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk") as disk, read_only(disk):
                return True
        except OSError:
            return False


def fill(disk: Path) -> Path:
    """Write until nothing fits; the file that took it all."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 65536) == 65536:
                pass
            while file.write(b"x"):
                pass
    except OSError:
        return filler
    return filler


MOUNTS = may_mount()
