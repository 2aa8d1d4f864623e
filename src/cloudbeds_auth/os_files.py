"""This machine: its id, its files and ports, which folders may hold secrets, and which process listens."""

from __future__ import annotations

import errno
import fcntl
import grp
import hashlib
import hmac
import os
import pwd
import re
import resource
import socket
import stat
import struct
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.system import PROC, random_bytes

_LISTEN = "0A"  # the state's number in /proc/net/tcp (proc(5))
OUR_FOLDER = "cloudbeds-auth"  # the name of every folder that this product creates for itself
NETWORK_FILE_SYSTEMS = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "smb", "smb2", "smb3", "smbfs", "fuse.ceph", "fuse.cephfs", "fuse.davfs", "fuse.gcsfuse",
    "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.smbnetfs", "fuse.sshfs",
))  # fmt: skip
IMAGE_FILE_SYSTEMS = {"aufs", "fuse.fuse-overlayfs", "overlay"}  # of containers: shared by all containers of an image
MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
MACHINE_ID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")  # 128 bits; macOS writes hyphens


def machine_id(files: tuple[Path, ...] = MACHINE_ID_FILES, mountinfo: Path = PROC / "self/mountinfo") -> str:
    """A name of this machine that stays the same across boots; empty if there is none.

    It is derived from the machine's id, which is confidential (machine-id(5)). An id in a container's image identifies
    no machine: every container of that image has the same one.
    """
    for found in _machine_ids(files, mountinfo):
        if MACHINE_ID.fullmatch(found):
            return hmac.new(found.lower().encode(), OUR_FOLDER.encode(), hashlib.sha256).hexdigest()[:32]
    return ""


def _machine_ids(files: tuple[Path, ...], mountinfo: Path) -> Iterator[str]:
    if sys.platform == "darwin":
        command = ["/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, env={}).stdout  # noqa: S603  # no outside input
        yield from re.findall(r'"IOPlatformUUID" = "([^"]+)"', shown)
        return
    for path in files:
        with suppress(OSError, UnicodeDecodeError):
            if _file_system(path, mountinfo) not in IMAGE_FILE_SYSTEMS:
                yield path.read_text("ascii").strip()


def open_files(wanted: int) -> int:
    """Raise this process's limit of open files to `wanted`, as far as the machine allows; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if raised > soft:
        with suppress(OSError, ValueError):  # the kernel's actual limit is below the one it reports (macOS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            return raised
    return soft


def take_port(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for every address of `host`; port 0: a free one, the same for all. On OSError, none remains bound.

    A host name may resolve to ::1 on a machine without IPv6: one address is enough, unless another is in use.
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


def unsent(connection: int) -> int:
    """Bytes that a TCP connection's other side has not acknowledged; 0 where the system does not say.

    `connection` is its file descriptor (SIOCOUTQ in tcp(7); the number is TIOCOUTQ's).
    """
    size = array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(connection, termios.TIOCOUTQ, size)
    return size[0]


def reset_when_closed(connection: int) -> None:
    """Make closing a TCP connection a reset for the other side, not an orderly end; unsent data is dropped.

    `connection` is its file descriptor (SO_LINGER in socket(7)).
    """
    with suppress(OSError), socket.fromfd(connection, socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def holder_of(port: int, proc: Path = PROC) -> str | None:
    """The process that listens on the port, as `python3 (pid 4711)`.

    None if /proc does not show it (another user's process, another system).
    """
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
    """Make sure that `path` is a folder where secrets may be stored.

    A missing folder is created with mode 0700; one named `cloudbeds-auth` is ours, and is closed to others if they may
    enter it. Raises ConfigurationError when it cannot be created, or when any user may replace files in it.
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
        raise ConfigurationError(f"any user may replace files in {path}; run `chmod o-w {path}`")


def written_by_others(path: Path, found: os.stat_result) -> str | None:
    """What is wrong with a settings file that another user wrote or may write, and what to run; None: nothing.

    `found` is the status of the file itself, as it was opened. A file of root's is as good as ours, and the owner's
    private group may write it. The owner of a symbolic link counts, too: the link could lead to a file of ours that was
    meant for another place.
    """
    us = os.geteuid()
    for owner in (os.lstat(path).st_uid, found.st_uid):
        if owner not in {us, 0}:
            return f"{path} belongs to another user ({_user(owner)}); run `chown {_user(us)} {path}` if it is yours"
    by_group = found.st_mode & stat.S_IWGRP and not is_private_group(found.st_gid, found.st_uid)
    if by_group or found.st_mode & stat.S_IWOTH:
        return f"{path} may be written by others; run `chmod go-w {path}`"
    return None


def is_private_group(group: int, owner: int) -> bool:
    """Whether a group is a user's private one: the primary group, with the user's name, and without other members."""
    try:
        user, found = pwd.getpwuid(owner), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


def _user(number: int) -> str:
    """A user's name; the number where it has none."""
    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def write_private(path: Path, data: bytes, exclusive: bool, beside: Path | None = None) -> None:
    """Write a file that only its owner may read (0600): complete and synced, or not at all.

    An existing file, or a symbolic link in its place, is replaced, never written through. With `exclusive`, the file
    must not exist (FileExistsError); of several processes, one wins. What root writes is given to the owner of the file
    `beside`, who has to read it. Raises OSError.
    """
    if exclusive and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))  # on a full disk, too
    draft = path.with_name(f".{path.name}.{random_bytes(8).hex()}")
    try:
        _write_new(draft, data, beside)
        if exclusive:
            _publish(draft, path, data, beside)
        else:
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def _write_new(path: Path, data: bytes, beside: Path | None) -> None:
    """Write a new file, and sync it; raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        if beside is not None and os.geteuid() == 0:
            with suppress(OSError):  # it does not exist yet, or this root may not change owners
                found = beside.lstat()
                os.fchown(handle, found.st_uid, found.st_gid)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _publish(draft: Path, path: Path, data: bytes, beside: Path | None) -> None:
    """Give the finished draft its name, only if no file has it."""
    try:
        os.link(draft, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without hard links: not atomic, but still only if no file has the name.
        _write_new(path, data, beside)


def sync(path: Path) -> None:
    """Sync a file's content, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def network_file_system(path: Path, mountinfo: Path = PROC / "self/mountinfo") -> str | None:
    """The name of the network file system that `path` is on; None if it is on none, or that is unknown (proc(5))."""
    kind = _file_system(path, mountinfo)
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def _file_system(path: Path, mountinfo: Path) -> str:
    """The name of the file system that `path` is on; empty where the system does not say."""
    target = path.resolve()
    best, kind = Path(), ""
    with suppress(OSError, UnicodeDecodeError):
        for line in mountinfo.read_text().splitlines():
            left, _, right = line.partition(" - ")
            mounted = Path(_unescaped(left.split()[4]))
            # Of several mounts on one folder the last covers the others.
            if target.is_relative_to(mounted) and len(mounted.parts) >= len(best.parts):
                best, kind = mounted, right.split()[0]
    return kind


def _unescaped(text: str) -> str:
    for code, letter in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        text = text.replace(code, letter)
    return text
