"""Which process listens on a port, where the system tells (Linux, and only of processes this user may look into)."""

from __future__ import annotations

from pathlib import Path

LISTENING = "0A"
PROC = Path("/proc")


def holder(port: int) -> str:
    """The process as "python3 (pid 123)", else "another program"."""
    inodes = _listening_inodes(port)
    for process in PROC.glob("[0-9]*"):
        if inodes and _holds(process, inodes):
            return f"{_name(process)} (pid {process.name})"
    return "another program"


def _listening_inodes(port: int) -> set[str]:
    """The kernel's numbers of sockets that listen on the port."""
    found: set[str] = set()
    for table in (PROC / "net" / "tcp", PROC / "net" / "tcp6"):
        for row in _lines(table)[1:]:
            fields = row.split()
            if len(fields) > 9 and fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except OSError:
        return []


def _holds(process: Path, inodes: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in inodes for link in (process / "fd").iterdir())
    except OSError:
        return False  # another user's, or gone in the meantime


def _name(process: Path) -> str:
    return "".join(_lines(process / "comm")[:1]) or "a program"
