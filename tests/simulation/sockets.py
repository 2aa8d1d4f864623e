"""Which requests share a connection, and where an answer goes that comes twice (F18).

As an HTTP/1.1 client keeps them: a socket carries one request at a time; it is kept for the next one when the answer
was read to its end and nobody said `Connection: close`; an idle one on which bytes arrive is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.network import Exchange


@dataclass(slots=True, eq=False)
class Socket:
    """One connection; `waiting` is the request whose answer is due on it."""

    pool: tuple[str, str]
    waiting: Exchange | None = None
    closed: bool = False


class Sockets:
    """The connections of all machines: one pool for our own requests and one for the callers', as in production."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[Socket]] = {}

    def take(self, exchange: Exchange) -> Socket:
        """A connection for this request."""
        pool = (exchange.machine, "callers" if exchange.call_id else "ours")
        idle = self._idle.get(pool)
        socket = idle.pop() if idle and _keeps(exchange) else Socket(pool)
        socket.waiting = exchange
        return socket

    def end(self, exchange: Exchange) -> None:
        """The request is over: its answer was read, or given up."""
        socket = exchange.socket
        if socket is None or socket.waiting is not exchange:
            return
        socket.waiting = None
        if exchange.read and _keeps(exchange):
            self._idle.setdefault(socket.pool, []).append(socket)
        else:
            socket.closed = True

    def stray(self, socket: Socket) -> Exchange | None:
        """Bytes come that nobody asked for: the request that takes them for its answer, None when nobody does."""
        if socket.waiting is None and not socket.closed:
            socket.closed = True
            self._idle[socket.pool].remove(socket)
        return socket.waiting


def _keeps(exchange: Exchange) -> bool:
    return exchange.call.headers.get("Connection", "").lower() != "close"
