"""Where a request comes from, as limits count it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import Scope

LONGEST = 64  # characters of something that is no address


def address_of(scope: Scope) -> str:
    """The caller's: the one that a trusted proxy forwarded, else the connection's own."""
    client = scope.get("client")
    return counted(client[0]) if client else "local"


@lru_cache(maxsize=4096)
def counted(host: str) -> str:
    """What shares a limit: an IPv4 address, or an IPv6 network of the 64 bits that one customer is given (RFC 6177)."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:LONGEST]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


class Networks:
    """Addresses and networks, as the settings have them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(name, strict=False) for name in names]

    def __contains__(self, host: object) -> bool:
        try:
            found = ipaddress.ip_address(str(host))
        except ValueError:
            return False
        return any(found in network for network in self._networks)
