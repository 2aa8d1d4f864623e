"""The sockets that the service listens on, and who has the port when somebody else does."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloudbeds_auth.errors import ConfigurationError

BACKLOG = 2048
_LISTEN = "0A"  # the state's number in /proc/net/tcp
_SOCKET = re.compile(r"socket:\[(\d+)]\Z")


def bind(host: str, port: int) -> list[socket.socket]:
    """Bound sockets for every address of `host`; port 0: a free one, the same for all of them.

    Raises ConfigurationError naming who holds the port, where that can be found out.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _refused(f"CLOUDBEDS_AUTH_HOST={host} is no address of this machine ({error.strerror})") from None
    bound: list[socket.socket] = []
    last: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            bound.append(_bind_one(family, kind, protocol, (str(address[0]), port, *address[2:])))
            port = bound[0].getsockname()[1]
        except OSError as error:
            last = error
            if error.errno == errno.EADDRINUSE:
                break
    if bound and (last is None or last.errno != errno.EADDRINUSE):
        return bound
    for one in bound:
        one.close()
    raise _unavailable(host, port, last)


def address_of(sockets: Sequence[socket.socket]) -> str:
    """The address to tell people: `http://127.0.0.1:7000`."""
    name, port = sockets[0].getsockname()[:2]
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def holder_of(port: int, proc: Path = Path("/proc")) -> str | None:
    """`python3 (pid 4711)`: who listens on the port. None where /proc does not say (another user's, another system)."""
    inodes = set(_listening_inodes(port, proc))
    if not inodes:
        return None
    for process in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if any(_inode(handle) in inodes for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _bind_one(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.set_inheritable(True)
    except BaseException:
        one.close()
        raise
    return one


def _unavailable(host: str, port: int, error: OSError | None) -> ConfigurationError:
    if error is None or error.errno != errno.EADDRINUSE:
        why = "no address was found" if error is None else error.strerror
        return _refused(f"cannot listen on {host}:{port}: {why}")
    holder = holder_of(port)
    return _refused(f"port {port} is in use" + (f" by {holder}" if holder else ""))


def _refused(detail: str) -> ConfigurationError:
    return ConfigurationError(
        detail, next_step="stop the other program, or set CLOUDBEDS_AUTH_PORT (CLOUDBEDS_AUTH_HOST) to move this one"
    )


def _listening_inodes(port: int, proc: Path) -> Iterator[int]:
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield int(fields[9])


def _inode(handle: Path) -> int | None:
    with contextlib.suppress(OSError):
        found = _SOCKET.match(str(handle.readlink()))
        return int(found[1]) if found else None
    return None
