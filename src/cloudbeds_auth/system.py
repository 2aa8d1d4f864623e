"""The machine: the only wall clock, sleep and randomness, and the identity of this process and boot. Its files and
ports are in `os_files`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cloudbeds_auth.ports import Entropy
from cloudbeds_auth.rules.audit import TAIL, ulid

PROC = Path("/proc")
UNKNOWN = "unknown"
PR_SET_DUMPABLE = 4  # prctl(2)


if sys.platform == "darwin":
    _STEADY = time.CLOCK_MONOTONIC_RAW  # runs while the machine sleeps, as CLOCK_BOOTTIME does on Linux
else:
    _STEADY = time.CLOCK_BOOTTIME


class SystemClock:
    """ports.Clock of this machine."""

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    def steady(self) -> float:
        """Seconds since some moment of this boot, sleep of the machine included; the same in every process."""
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """ports.Entropy from the operating system's generator."""

    def token(self) -> str:
        """43 URL-safe characters, 256 bits."""
        return secrets.token_urlsafe(32)

    def identifier(self, prefix: str) -> str:
        """`prefix` and a ULID: 48 bits of milliseconds and 80 random bits, so ids sort by time."""
        return prefix + ulid(time.time_ns() // 1_000_000, secrets.randbits(TAIL))

    def unit(self) -> float:
        """A number in [0, 1) with 53 bits."""
        return secrets.randbits(53) / (1 << 53)


def keep_memory_private() -> None:
    """Keep this process's memory out of core dumps and from the other processes of its user (A66).

    Root can still read it. On systems other than Linux, only core dumps are prevented.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # children inherit it
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)  # lasts until another program is executed


def random_bytes(count: int) -> bytes:
    """Bytes from the operating system's generator, for keys and nonces."""
    return secrets.token_bytes(count)


@cache
def boot_id() -> str:
    """Identifies this boot of the machine; steady times of different boots cannot be compared. Empty when unknown."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={}).stdout.strip()  # noqa: S603  # no outside input
    with suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


class Process(NamedTuple):
    """A process as `/proc/PID/stat` shows it: state letter, threads, start in clock ticks after boot (proc(5))."""

    state: str
    threads: int
    start: str


def _process(pid: int) -> Process | None:
    """None when it cannot be read, which does not mean that the process is gone."""
    try:
        if int(str((PROC / "self").readlink())) != os.getpid():  # /proc shows another pid namespace
            return None
        # The name in parentheses may contain spaces and parentheses: count from the last parenthesis.
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return Process(fields[0].decode(), int(fields[17]), fields[19].decode())
    except (OSError, ValueError, IndexError):
        return None


def _namespace() -> str:
    """The pid namespace of this process: each container has its own."""
    if sys.platform == "darwin":
        return "host"
    with suppress(OSError):
        return (PROC / "self/ns/pid").readlink().name.removeprefix("pid:[").rstrip("]")
    return UNKNOWN


def process_identity() -> str:
    """This process as `namespace/pid/start`; not cached, because a fork changes it."""
    process = _process(os.getpid())
    return f"{_namespace()}/{os.getpid()}/{process.start if process else UNKNOWN}"


def lease_owner(entropy: Entropy) -> str:
    """A name for one holder of leases: process, boot, and a random part that tells two in one process apart."""
    return f"{process_identity()}/{boot_id()}/{entropy.identifier('')}"


def is_dead(identity: str, boot: str) -> bool:
    """Whether the process of a `process_identity` or `lease_owner`, recorded under boot id `boot`, has certainly ended.

    A process of another boot of this machine is dead (rule-6: one host shares a SQLite file). Of this boot, only a
    process in the same pid namespace can be judged. Where anything is unknown: False.
    """
    if boot and boot_id() and boot != boot_id():
        return True
    namespace, _, rest = identity.partition("/")
    pid, _, rest = rest.partition("/")
    start = rest.partition("/")[0]
    if namespace == UNKNOWN or namespace != _namespace() or not (pid.isascii() and pid.isdigit() and int(pid) > 0):
        return False
    try:
        os.kill(int(pid), 0)  # unlike /proc, not affected by hidepid
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False if (process := _process(int(pid))) is None else _ended(process, start)
    return (process := _process(int(pid))) is not None and _ended(process, start)


def is_dead_here(owner: str, clock_id: str) -> bool:
    """As `is_dead`, for a `lease_owner` on a server where other machines take leases, too: only an owner of this boot
    of this machine can be judged. `clock_id`, the clock that the lease goes by, says nothing about that.
    """
    boot = owner.split("/")[3:4]
    return bool(boot_id()) and boot == [boot_id()] and is_dead(owner, boot_id())


def _ended(process: Process, start: str) -> bool:
    """Whether the pid belongs to a later process, or to a zombie, which only waits for its parent."""
    reused = UNKNOWN not in (start, process.start) and start.isdigit() and start != process.start
    return reused or (process.state in "ZX" and process.threads <= 1)
