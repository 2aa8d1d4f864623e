"""The machine: the only wall clock, sleep and dice, which process this is, who holds a port, and private files."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.ports.entropy import Entropy

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # base 32 without I, L, O, U: https://github.com/ulid/spec
PROC = Path("/proc")
UNKNOWN = "unknown"
_LISTEN = "0A"  # the state's number in /proc/net/tcp (proc(5))
OUR_FOLDER = "cloudbeds-auth"  # the name of every folder that this product makes for itself
NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre"}
)
NETWORK_FILE_SYSTEMS |= {"ncpfs", "nfs", "nfs4", "ocfs2", "smb", "smb2", "smb3", "smbfs"}
NETWORK_FILE_SYSTEMS |= {"fuse.ceph", "fuse.cephfs", "fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone"}
NETWORK_FILE_SYSTEMS |= {"fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs"}

if sys.platform == "darwin":
    _STEADY = time.CLOCK_MONOTONIC_RAW  # runs while the machine sleeps, as CLOCK_BOOTTIME does on Linux
else:
    _STEADY = time.CLOCK_BOOTTIME


class SystemClock:
    """ports.clock.Clock of this machine."""

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()

    def steady(self) -> float:
        """Seconds since some moment of this boot, also while the machine sleeps; the same in every process."""
        return time.clock_gettime(_STEADY)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """ports.entropy.Entropy from the operating system's generator."""

    def token(self) -> str:
        """43 URL-safe characters, 256 bits."""
        return secrets.token_urlsafe(32)

    def identifier(self, prefix: str) -> str:
        """`prefix` and a ULID: 48 bits of milliseconds and 80 random ones, so ids sort by time."""
        number = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | secrets.randbits(80)
        return prefix + "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))

    def unit(self) -> float:
        """A number in [0, 1) with 53 bits."""
        return secrets.randbits(53) / (1 << 53)


def random_bytes(count: int) -> bytes:
    """Bytes from the operating system's generator, for keys and nonces."""
    return secrets.token_bytes(count)


@cache
def boot_id() -> str:
    """Which boot of this machine it is; steady times of another boot cannot be compared. Empty when unknown."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603  # no input of anybody's
    with suppress(OSError):
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return ""


class Process(NamedTuple):
    """A process as `/proc/PID/stat` tells it: state letter, threads, start in clock ticks after boot (proc(5))."""

    state: str
    threads: int
    start: str


def _process(pid: int) -> Process | None:
    """None when it cannot be read, which does not mean that it is gone."""
    try:
        if int(str((PROC / "self").readlink())) != os.getpid():  # /proc shows another pid namespace than ours
            return None
        # The name in parentheses may hold spaces and parentheses itself: count from the last one.
        fields = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return Process(fields[0].decode(), int(fields[17]), fields[19].decode())
    except (OSError, ValueError, IndexError):
        return None


def _namespace() -> str:
    """Which pid namespace our process ids belong to: containers have one each."""
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
    """A name for one holder of leases: the process and a random part, so that two in one process differ."""
    return f"{process_identity()}/{entropy.identifier('')}"


def is_dead(identity: str, boot: str) -> bool:
    """Whether the process of a `process_identity` or `lease_owner`, recorded under boot id `boot`, surely runs no more.

    A process of another boot of this machine is dead (ROTATION rule 6: one host shares a SQLite file). Of this boot,
    only one of our own pid namespace can be judged. Whatever is unknown: False.
    """
    if boot and boot_id() and boot != boot_id():
        return True
    namespace, _, rest = identity.partition("/")
    pid, _, rest = rest.partition("/")
    start = rest.partition("/")[0]
    if namespace == UNKNOWN or namespace != _namespace() or not (pid.isascii() and pid.isdigit() and int(pid) > 0):
        return False
    try:
        os.kill(int(pid), 0)  # unlike /proc, not blinded by hidepid
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False if (process := _process(int(pid))) is None else _ended(process, start)
    return (process := _process(int(pid))) is not None and _ended(process, start)


def _ended(process: Process, start: str) -> bool:
    """Whether the pid belongs to a later process, or to one that only waits for its parent to take note."""
    reused = UNKNOWN not in (start, process.start) and start.isdigit() and start != process.start
    return reused or (process.state in "ZX" and process.threads <= 1)


def take_port(host: str, port: int) -> list[socket.socket]:
    """Bound sockets for every address of `host`; port 0: a free one, the same for all. Raises OSError, none bound.

    A machine may have a name for ::1 without having IPv6: one address is enough, unless another is in use.
    """
    bound: list[socket.socket] = []
    failure: OSError | None = None
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound.append(_bound(family, kind, protocol, (str(address[0]), port, *address[2:])))
            port = bound[0].getsockname()[1]
        except OSError as error:
            failure = failure if failure and error.errno == errno.EADDRNOTAVAIL else error
            if error.errno == errno.EADDRINUSE:
                break
    if failure is None or (bound and failure.errno != errno.EADDRINUSE):
        return bound
    for one in bound:
        one.close()
    raise failure


def _bound(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except BaseException:
        one.close()
        raise
    return one


def holder_of(port: int, proc: Path = PROC) -> str | None:
    """`python3 (pid 4711)`: who listens on the port. None where /proc does not say (another user's, another system)."""
    sockets = set(_listening_sockets(port, proc))
    for process in proc.glob("[0-9]*") if sockets else ():
        with suppress(OSError):  # gone meanwhile, or another user's
            if any(_target(handle) in sockets for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _listening_sockets(port: int, proc: Path) -> Iterator[str]:
    """The sockets that listen on the port, as `/proc/PID/fd` shows them."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield f"socket:[{fields[9]}]"


def _target(handle: Path) -> str:
    with suppress(OSError):  # closed meanwhile
        return str(handle.readlink())
    return ""


def private_folder(path: Path) -> None:
    """Make sure that `path` is a folder where secrets may rest.

    A missing one is made with mode 0700; one of ours (named `cloudbeds-auth`) that others may enter is closed to them.
    Raises ConfigurationError when it cannot be made, or when anybody may replace files in it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigurationError(f"{path} is not a folder")
        if path.name == OUR_FOLDER and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            path.chmod(0o700)
            found = path.stat()
    except OSError as error:
        raise ConfigurationError(f"the folder {path} cannot be used: {error.strerror}") from None
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise ConfigurationError(f"anybody may replace files in {path}; run `chmod o-w {path}`")


def write_private(path: Path, data: bytes, exclusive: bool) -> None:
    """Write a file that only its owner may read (0600): complete and synced, or not at all.

    An existing file, or a symbolic link in its place, is replaced, never written through. With `exclusive` it must not
    exist (FileExistsError); of several processes one wins. Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_new(draft, data)
        if exclusive:
            _publish(draft, path, data)
        else:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _write_new(path: Path, data: bytes) -> None:
    """A file that was not there, synced; raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, path: Path, data: bytes) -> None:
    """Give the finished draft its name, only if nobody has it."""
    try:
        os.link(draft, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links: not atomic, but still only if nobody has the name.
        _write_new(path, data)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def network_file_system(path: Path, mountinfo: Path = PROC / "self/mountinfo") -> str | None:
    """The name of the network file system that `path` is on, else None (also where it cannot be told; proc(5))."""
    target = path.resolve()
    best, kind = Path(), ""
    with suppress(OSError, UnicodeDecodeError):
        for line in mountinfo.read_text().splitlines():
            left, _, right = line.partition(" - ")
            mounted = Path(_unescaped(left.split()[4]))
            # Of several mounts on one folder the last covers the others.
            if target.is_relative_to(mounted) and len(mounted.parts) >= len(best.parts):
                best, kind = mounted, right.split()[0]
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _unescaped(text: str) -> str:
    for code, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, letter)
    return text
