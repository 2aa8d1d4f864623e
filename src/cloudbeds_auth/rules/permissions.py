"""Who may do what: a caller, the scopes it holds, and the one question everything asks, `may`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a credential of ours may be good for."""

    READ = "read"
    PROXY = "proxy"
    TOKEN = "token"
    CONNECT = "connect"
    METRICS = "metrics"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid credential. `connections`: the ids it is bound to; None means any."""

    name: str
    scopes: frozenset[Scope]
    connections: frozenset[str] | None = None


ADMIN = Caller("admin", frozenset(Scope))
METRICS = Caller("metrics", frozenset({Scope.METRICS}))


def may(caller: Caller, scope: Scope, connection_id: str | None = None) -> bool:
    """Whether the caller holds the scope, for this connection where one is concerned."""
    if scope not in caller.scopes:
        return False
    return connection_id is None or caller.connections is None or connection_id in caller.connections
