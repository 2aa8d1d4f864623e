"""The transactions of outgoing webhooks: a message is written with the change that it reports (`rules.webhooks`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloudbeds_auth.ports import Message
from cloudbeds_auth.rules.schedule import PULLED
from cloudbeds_auth.rules.webhooks import NOTICES, SHOWN, UNTRIED, Notice, Standing, message_body, message_id, standing
from cloudbeds_auth.transactions.rows import connection_of
from cloudbeds_auth.transactions.statements import (
    Row,
    Rows,
    Transaction,
    Tx,
    as_keys,
    query,
    query_one,
    transaction,
)

MOST = 100_000


@dataclass(frozen=True, slots=True)
class Outbox:
    """How many messages wait, and for how many seconds the oldest has waited; how many were given up, with the problem
    of the newest and how many seconds ago. At most MOST are counted.
    """

    waiting: int
    oldest: float
    given_up: int
    problem: str | None
    given_up_ago: float = 0.0


def announce(tx: Tx, connection_id: str, before: Standing, after: Standing) -> Transaction[None]:
    """Write the message that reports this change, if there is one; the last statement of its transaction."""
    notice = NOTICES.get((before, after))
    if notice is not None:
        yield from send(tx, connection_id, notice)


def send(tx: Tx, connection_id: str, notice: Notice) -> Transaction[None]:
    """Write this message about the connection as it is now; it reports the last line of the history."""
    yield from _sweep(tx)
    row = yield from query_one("current", connection_ids=as_keys([connection_id]))
    last = yield from query_one("last_sequence", connection_id=connection_id)
    assert row is not None and last is not None  # noqa: S101, PT018 - it was just changed
    sequence = last["sequence"]
    yield from query(
        "add_message", id=message_id(notice, connection_id, sequence, tx.wall), connection_id=connection_id,
        sequence=sequence, kind=notice.value, at=tx.wall,
        body=message_body(notice, tx.wall, sequence, connection_of(row, tx)),
    )  # fmt: skip


def announce_grant(tx: Tx, row: Row, reauth: str | None) -> Transaction[None]:
    """Write the message, if any, that reports the change of a grant's mark from that in `row` to `reauth`."""
    before, after = standing(row["role"], row["reauth"]), standing(row["role"], reauth)
    yield from announce(tx, row["connection_id"], before, after)


def standing_of(connection: Row, grants: Rows) -> Standing:
    """The standing of a connection, according to the grant that its pointer names."""
    pointed = next((row for row in grants if row["id"] == connection["active_grant"]), None)
    return Standing.AWAY if pointed is None else standing(pointed["role"], pointed["reauth"])


def _sweep(tx: Tx) -> Transaction[None]:
    yield from query("sweep_outbox", untried=tx.wall - UNTRIED, shown=tx.wall - SHOWN)


@transaction
def claim_messages(tx: Tx, limit: int, hold: float) -> Transaction[Sequence[Message]]:
    """At most `limit` messages that are due, oldest first; no other process gets them for `hold` seconds."""
    yield from _sweep(tx)
    yield from query("pull_messages", now=tx.wall, limit=PULLED)
    rows = yield from query("claim_messages", now=tx.wall, until=tx.wall + hold, limit=limit)
    in_order = sorted(rows, key=lambda row: (row["at"], row["connection_id"], row["sequence"]))
    return [Message(row["id"], row["connection_id"], row["kind"], row["body"], row["attempts"]) for row in in_order]


@transaction
def next_message(tx: Tx) -> Transaction[float | None]:
    """Seconds until a message is due (0: one is); None if none waits."""
    row = yield from query_one("next_message", now=tx.wall)
    return None if row is None or row["due_at"] is None else max(0.0, row["due_at"] - tx.wall)


@transaction
def message_delivered(tx: Tx, message_id: str) -> Transaction[None]:
    """Delete a message that the receiver has accepted."""
    yield from query("message_delivered", id=message_id)


@transaction
def message_failed(tx: Tx, message_id: str, problem: str, again_in: float | None) -> Transaction[None]:
    """Record a failed attempt. The next one is due in `again_in` seconds; None: the message is given up, and kept for
    people to see.
    """
    due_at = None if again_in is None else tx.wall + again_in
    yield from query("message_failed", id=message_id, problem=problem, due_at=due_at, now=tx.wall)


@transaction
def read_outbox(tx: Tx) -> Transaction[Outbox]:
    """The state of the outbox."""
    (row,) = yield from query("outbox_depth", most=MOST)
    last = yield from query_one("last_given_up")
    oldest = 0.0 if row["oldest"] is None else max(0.0, tx.wall - row["oldest"])
    if last is None:
        return Outbox(row["waiting"], oldest, row["given_up"], None)
    ago = max(0.0, tx.wall - last["due_from"])
    return Outbox(row["waiting"], oldest, row["given_up"], last["problem"], ago)
