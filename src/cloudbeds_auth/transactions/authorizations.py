"""The transactions that begin an approval: one-time links, and states."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum

from cloudbeds_auth.errors import AuthorizationExpired, InvalidRequest, RateLimited
from cloudbeds_auth.rules.audit import AuditAction
from cloudbeds_auth.rules.links import AppRequest
from cloudbeds_auth.rules.redirects import MOST_OF_ONE_KEY, MOST_OF_ONE_LINK, MOST_PENDING
from cloudbeds_auth.rules.schedule import REMEMBERED
from cloudbeds_auth.transactions.audit import audit
from cloudbeds_auth.transactions.rows import listed
from cloudbeds_auth.transactions.statements import Instant, Row, Transaction, Tx, query, query_one, transaction


@dataclass(frozen=True, slots=True)
class Authorization:
    """The authorization of a spent state. `earlier`: the connection that it already led to.

    `expected`: the approval has to cover one of these properties; empty: any. `found`: the properties that Cloudbeds
    named, once they were compared with the expected ones.
    """

    id: str
    app: str
    reference: str | None
    return_to: str | None
    connection_id: str | None
    earlier: str | None = None
    expected: tuple[str, ...] = ()
    found: tuple[str, ...] = ()


def link_over() -> AuthorizationExpired:
    """The error for a one-time link that is not valid."""
    return AuthorizationExpired(
        "this connect link was used, has expired, or was never issued",
        next_step="ask for a new link from where this one came",
    )


def app_first() -> InvalidRequest:
    """The error for a one-time link whose app is not registered yet."""
    return InvalidRequest(
        "this link takes the client id and secret of an app first",
        next_step="open the link as it was sent, and enter them there",
    )


class Spending(Enum):
    """Why a state was not spent."""

    UNKNOWN = "never issued, or another browser's"
    EXPIRED = "older than its lifetime"
    SPENT = "used before, with another code"
    UNFINISHED = "used before, with this code, and no connection came of it so far"
    FULL = "as many approvals wait as may"


@dataclass(frozen=True, slots=True)
class NewAuthorization:
    """A state about to be issued; only hashes are stored.

    `browser_hash` is None for flows without a browser (Python, command line). `parked`: the hotel began in the
    Marketplace; its approval waits to be claimed. `trusted`: the reference came by a link or from an authenticated
    caller, not from a URL that anyone could have made. `expected` and `challenge` are as in `NewLink`.
    """

    id: str
    app: str
    state_hash: str
    browser_hash: str | None
    reference: str | None
    return_to: str | None
    connection_id: str | None
    link_hash: str | None
    lifetime: float
    parked: bool = False
    trusted: bool = False
    expected: tuple[str, ...] = ()
    challenge: str | None = None


@dataclass(frozen=True, slots=True)
class NewLink:
    """A one-time link about to be issued; only its hash is stored.

    `expected`: the approval has to cover one of these properties; empty: any. `challenge`: the hash of the secret that
    has to finish the approval (RFC 7636); None: no secret is needed. `registration`: the app that has to be registered
    with the link first; None: none, or it has been.
    """

    hash: str
    app: str
    reference: str | None
    return_to: str | None
    connection_id: str | None
    lifetime: float
    expected: tuple[str, ...] = ()
    challenge: str | None = None
    registration: AppRequest | None = None


COME_AGAIN = 3600.0  # seconds after which to ask for a link again if too many links of a key wait
SWEPT = 100  # expired rows that are deleted when one is added: more than come in, but never a long transaction


@transaction
def add_link(tx: Tx, link: NewLink, *, asked: bool = True) -> Transaction[None]:
    """Store a link by its hash, and delete some that expired long ago. `asked`: the acting caller asked for it.

    Raises RateLimited if that caller is a key and the number of its unused links is at the limit. A link that is shown
    with a connection counts for no key: there is one for each connection and process.
    """
    yield from query("sweep_links", before=tx.wall - REMEMBERED, limit=SWEPT)
    key = (yield from _bounded(tx)) if asked else None
    if key is not None:
        yield from _must_have_room(key, tx)
    yield from query(
        "add_link", hash=link.hash, app=link.app, reference=link.reference, return_to=link.return_to,
        connection_id=link.connection_id, expires_at=tx.wall + link.lifetime,
        expected_properties=written(link.expected), challenge=link.challenge,
        registration=None if link.registration is None else json.dumps(asdict(link.registration)),
        made_by=tx.acting.name, counts_for=key,
    )  # fmt: skip
    if asked:
        yield from audit(tx, AuditAction.LINK_CREATED, link.connection_id or link.app, {"reference": link.reference})


def _bounded(tx: Tx) -> Transaction[str | None]:
    """The key to whose limit a new link counts: its children share it. None: the acting caller is not a key."""
    row = yield from query_one("caller_key", id=tx.acting.name)
    return None if row is None else row["parent"] or row["id"]


def _must_have_room(key: str, now: Instant) -> Transaction[None]:
    row = yield from query_one("links_waiting", counts_for=key, now=now.wall, most=MOST_OF_ONE_KEY)
    if row is not None and row["waiting"] >= MOST_OF_ONE_KEY:
        raise RateLimited(
            f"{MOST_OF_ONE_KEY} links of this key, and of the keys that it made, wait to be used: it can make no more",
            next_step="a link that is used or expires makes room for the next; ask for a shorter `expires_in`",
            retry_after=COME_AGAIN,
        )


@transaction
def read_link(tx: Tx, link_hash: str) -> Transaction[NewLink | None]:
    """The link if it is known, unexpired and has not led to a connection yet."""
    row = yield from query_one("link", hash=link_hash, now=tx.wall)
    if row is None:
        return None
    return NewLink(
        row["hash"], row["app"], row["reference"], row["return_to"], row["connection_id"], row["expires_at"] - tx.wall,
        ids_of(row["expected_properties"]), row["challenge"], _registration(row["registration"]),
    )  # fmt: skip


def _registration(column: str | None) -> AppRequest | None:
    if column is None:
        return None
    parts = json.loads(column)
    return AppRequest(**(parts | {"scopes": tuple(parts["scopes"])}))


def ids_of(column: str | None) -> tuple[str, ...]:
    """The property ids of a column that may be null."""
    return () if column is None else tuple(json.loads(column))


def written(property_ids: Iterable[str]) -> str | None:
    """Property ids as a column has them: null if there are none."""
    return listed(property_ids) if property_ids else None


@transaction
def read_link_outcome(tx: Tx, link_hash: str) -> Transaction[str | Authorization | None]:
    """The connection that the link led to, else the last approval by it that was turned down; None if there is neither,
    or it is longer ago than states are kept.
    """
    row = yield from query_one("link_outcome", link_hash=link_hash)
    if row is not None:
        return str(row["outcome"])
    turned_down = yield from query_one("turned_down", link_hash=link_hash)
    return None if turned_down is None else authorization_of(turned_down)


@transaction
def add_authorization(tx: Tx, new: NewAuthorization) -> Transaction[Spending | None]:
    """Store a state, and delete some that have expired.

    FULL: too many states already wait to come back: of its link, or of all that were begun without a link and are
    equally trusted.
    """
    yield from sweep_states(tx, SWEPT)
    if (yield from _is_full(tx, new)):
        return Spending.FULL
    yield from insert_authorization(tx, new)
    return None


def _is_full(now: Instant, new: NewAuthorization) -> Transaction[bool]:
    """Whether too many states wait: of one link, else of all that were begun in the same way. So a flood of anonymous
    states stops no link and no program.
    """
    if new.link_hash is not None:
        row = yield from query_one("pending_of_link", link_hash=new.link_hash, now=now.wall, most=MOST_OF_ONE_LINK)
        return row is not None and row["pending"] >= MOST_OF_ONE_LINK
    row = yield from query_one("pending", trusted=int(new.trusted), now=now.wall, most=MOST_PENDING)
    return row is not None and row["pending"] >= MOST_PENDING


def sweep_states(now: Instant, limit: int) -> Transaction[int]:
    """Delete at most `limit` states that expired unspent, and `limit` that were spent long ago; returns how many."""
    pending = yield from query("sweep_pending", now=now.wall, limit=limit)
    spent = yield from query("sweep_spent", before=now.wall - REMEMBERED, limit=limit)
    return len(pending) + len(spent)


def insert_authorization(now: Instant, new: NewAuthorization) -> Transaction[None]:
    """Store a state by its hash."""
    yield from query(
        "add_authorization", id=new.id, app=new.app, state_hash=new.state_hash, browser_hash=new.browser_hash,
        link_hash=new.link_hash, reference=new.reference, return_to=new.return_to, connection_id=new.connection_id,
        expires_at=now.wall + new.lifetime, parked=int(new.parked), trusted=int(new.trusted),
        expected_properties=written(new.expected), challenge=new.challenge, made_by=now.acting.name,
    )  # fmt: skip


@transaction
def spend_state(
    tx: Tx, state_hash: str, browser_hash: str | None, code_hash: str
) -> Transaction[Authorization | Spending]:
    """Spend a state once; the same code from the same browser gets the earlier result."""
    settled = yield from settled_state(state_hash, browser_hash, code_hash)(tx)
    if settled is not None:
        return settled
    row = yield from query_one("spend_state", state_hash=state_hash, now=tx.wall, code_hash=code_hash)
    return authorization_of(row) if row is not None else Spending.SPENT


@transaction
def settled_state(
    tx: Tx, state_hash: str, browser_hash: str | None, code_hash: str
) -> Transaction[Authorization | Spending | None]:
    """The result for a state that cannot be spent, or no longer; None if it can. Only reads."""
    row = yield from query_one("authorization_by_state", state_hash=state_hash)
    if row is None or row["browser_hash"] != browser_hash:
        return Spending.UNKNOWN
    if row["spent_at"] is None and (yield from link_is_used(row)):
        return Spending.SPENT
    if row["spent_at"] is not None and row["code_hash"] == code_hash:
        return authorization_of(row) if row["outcome"] or row["found_properties"] else Spending.UNFINISHED
    if row["spent_at"] is not None:
        return Spending.SPENT
    return Spending.EXPIRED if row["expires_at"] <= tx.wall else None


@transaction
def read_challenge(tx: Tx, state_hash: str) -> Transaction[str | None]:
    """The code challenge that this state was issued with; None: there is none, or the state is unknown."""
    row = yield from query_one("authorization_by_state", state_hash=state_hash)
    return None if row is None else row["challenge"]


@transaction
def read_authorization(tx: Tx, authorization_id: str) -> Transaction[Authorization | None]:
    """The authorization as it is now; None: it was deleted."""
    row = yield from query_one("authorization", id=authorization_id)
    return None if row is None else authorization_of(row)


def link_is_used(begun: Row) -> Transaction[bool]:
    """Whether the link of this authorization has led to a connection already: a link is good for one."""
    if begun["link_hash"] is None:
        return False
    link = yield from query_one("link_by_hash", hash=begun["link_hash"])
    return link is not None and link["used_at"] is not None


def authorization_of(row: Row) -> Authorization:
    """The authorization in this row."""
    return Authorization(
        row["id"], row["app"], row["reference"], row["return_to"], row["connection_id"], row["outcome"],
        ids_of(row["expected_properties"]), ids_of(row["found_properties"]),
    )  # fmt: skip
