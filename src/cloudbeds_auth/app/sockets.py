"""The sockets that the service listens on, and which process holds the port when it is taken."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import holder_of, open_files, take_port

BACKLOG = 2048
RESERVED = 300  # open files for everything but callers: 200 connections to Cloudbeds, the database, logs


def bind(host: str, port: int) -> list[socket.socket]:
    """Bound sockets for every address of `host`, for us and our workers; port 0: a free one, the same for all of them.

    Raises ConfigurationError naming who holds the port, where that can be found out.
    """
    try:
        bound = take_port(host, port)
    except socket.gaierror as error:
        raise _refused(f"CLOUDBEDS_AUTH_HOST={host} is no address of this machine ({error.strerror})") from None
    except OSError as error:
        raise _unavailable(host, port, error) from None
    for one in bound:
        one.set_inheritable(True)
    return bound


def room(connections: int) -> int:
    """How many connections the machine's limit of open files leaves room for, `connections` at most.

    Without such a bound the listening socket itself fails when the files run out, for every caller.
    """
    return max(1, min(connections, open_files(connections + RESERVED) - RESERVED))


def address_of(sockets: Sequence[socket.socket]) -> str:
    """The address to show: `http://127.0.0.1:7000`."""
    name, port = sockets[0].getsockname()[:2]
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _unavailable(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno != errno.EADDRINUSE:
        return _refused(f"cannot listen on {host}:{port}: {error.strerror}")
    holder = holder_of(port)
    return _refused(f"port {port} is in use" + (f" by {holder}" if holder else ""))


def _refused(detail: str) -> ConfigurationError:
    return ConfigurationError(
        detail, next_step="stop the other program, or set CLOUDBEDS_AUTH_PORT (CLOUDBEDS_AUTH_HOST) to move this one"
    )
