"""Conversion between rows and data classes: the one place that knows both the columns and `rules.model`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime

from cloudbeds_auth.ports import Place, Sealer
from cloudbeds_auth.rules.audit import UNASKED
from cloudbeds_auth.rules.authentic import Chain, event_mac
from cloudbeds_auth.rules.lifecycle import ALTERED, MIGRATION_UNDER_WAY, PROPERTY_MISMATCH, State, seen
from cloudbeds_auth.rules.lifecycle import LifecycleEvent as LifecycleEvent
from cloudbeds_auth.rules.model import (
    Connection,
    CredentialKind,
    Event,
    Grant,
    Migration,
    Role,
    StoredToken,
    User,
    end_moment,
    moment,
)
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.risks import NOT_RENEWABLE, first_of
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Subscription, problem_in
from cloudbeds_auth.transactions.audit import audit
from cloudbeds_auth.transactions.authentic import is_genuine, is_linked, read_chains, set_chains
from cloudbeds_auth.transactions.statements import Instant, Row, Rows, Transaction, Tx, query, query_one

STANDS_STILL = 600.0  # seconds for which a process that wrote an intent is waited for


def access_place(grant_id: str, generation: int) -> Place:
    """The place that a grant's access token is sealed for."""
    return Place("grants", grant_id, 0, generation)


def token_place(grant_id: str, position: int, generation: int) -> Place:
    """The place that one refresh token of a grant is sealed for."""
    return Place("tokens", grant_id, position, generation)


def behind(row: Row, now: Instant) -> float:
    """Seconds by which the clock was set back, at least, since this row was last written under the same clock."""
    return 0.0 if row["measured_at"] is None else max(0.0, row["measured_at"] - now.steady)


def is_sending(row: Row, now: Instant) -> bool:
    """Whether a process may have a pair of this grant in hand: until it is stored, the grant must not move. One that
    wrote its intent long ago and said nothing since is taken to have ended, as is one that wrote it by another clock:
    the machine has started anew since, or this is a copy of its database.
    """
    since = ago(row["intent_at"], row, now) if row["clock_id"] == now.clock_id else None
    return left(row["lease_until"], row, now) > 0 or (since is not None and since < STANDS_STILL)


def left(moment_at: float | None, row: Row, now: Instant) -> float:
    """Seconds until a steady moment of this row; 0 if it is over or was measured by another clock.

    Never more than when the row was written: if the clock was set back since, the time is counted from the write.
    """
    if moment_at is None or row["clock_id"] != now.clock_id:
        return 0.0
    return max(0.0, moment_at - now.steady - behind(row, now))


def ago(moment_at: float | None, row: Row, now: Instant) -> float | None:
    """Seconds since a steady moment of this row; None if there is none, 0 if another clock measured it."""
    if moment_at is None:
        return None
    return max(0.0, now.steady + behind(row, now) - moment_at) if row["clock_id"] == now.clock_id else 0.0


def grant_of(row: Row, tokens: Rows, tx: Tx) -> Grant:
    """The grant as a coordinator reads it; raises SealBroken if one of its secrets does not open. For a row of
    `current`, its connection is verified, too.
    """
    grant_id, generation, sealed, sealer = row["id"], row["generation"], row["access_sealed"], tx.sealer
    same_clock = row["clock_id"] == tx.clock_id
    return Grant(
        id=grant_id,
        connection_id=row["c_id"] if "c_id" in row else row["connection_id"],
        app=row["app"],
        kind=CredentialKind(row["kind"]),
        role=Role(row["role"]),
        state=State(row["state"]),
        generation=generation,
        access=sealer.open(sealed, access_place(grant_id, generation)) if sealed is not None else Secret(""),
        expires_at=row["expires_at"],
        lifetime=row["lifetime"],
        # A wall clock that was set back must not stretch a token's life.
        valid_for=min(row["expires_at"] - tx.wall, row["lifetime"]) if sealed is not None else 0.0,
        stale_in=row["stale_at"] - tx.wall,
        tokens=tuple(_token_of(grant_id, token, sealer) for token in tokens),
        property_ids=properties_in(row),
        proven=bool(row["proven"]),
        intent=row["intent_position"],
        sent_ago=sent_ago(row, tx),
        unresolved_age=_unresolved_ago(row, tx),
        held_back=left(row["not_before"], row, tx),
        lease_left=left(row["lease_until"], row, tx),
        attempts=row["attempts"],
        refusals=row["refusals"] if same_clock else 0,
        refused_ago=ago(row["first_refused"], row, tx) if same_clock else None,
        refused_as=row["first_reason"] if same_clock else None,
        reprieves=row["reprieves"],
        denied=row["denied"],
        braked=left(row["brake_until"], row, tx),
        problem=row["problem"],
        reauth=row["reauth"],
        latched=bool(row["latched"]),
        said_of=row["said_of"],
        migration=Migration(row["migration"]) if row["migration"] else None,
        migration_client=row["migration_client"],
        source=source_of(row),
        pasted=is_pasted(row),
        authorization=row["authorization_id"],
        genuine=is_linked(tx, row) if "c_id" in row else is_genuine(tx, "grants", row),
    )


def sent_ago(row: Row, now: Instant) -> float | None:
    """Seconds since the newest sending began whose answer nobody has seen; None: there is none."""
    return _least(ago(row["intent_at"], row, now), ago(row["unresolved_at"], row, now))


def _unresolved_ago(row: Row, now: Instant) -> float | None:
    """As `sent_ago`, of those sendings after which no later pair was seen to work."""
    lost = None if row["unresolved_generation"] is None else ago(row["unresolved_at"], row, now)
    return _least(ago(row["intent_at"], row, now), lost)


def _least(one: float | None, other: float | None) -> float | None:
    return min((age for age in (one, other) if age is not None), default=None)


def _token_of(grant_id: str, row: Row, sealer: Sealer) -> StoredToken:
    place = token_place(grant_id, row["position"], row["generation"])
    return StoredToken(row["position"], sealer.open(row["sealed"], place))


def connection_of(row: Row, now: Tx) -> Connection:
    """A connection as people see it, from the joined row of `current`."""
    genuine = is_linked(now, row)
    if row["id"] is None:  # no grant at all: its only candidate was dropped
        return Connection(
            row["c_id"], row["c_app"], row["reference"], State.DISCONNECTED, "oauth", (), None, (), None, None, None,
            None, None, problem="never_connected" if genuine else ALTERED, registration=row["c_app"],
            reference_trusted=bool(row["reference_trusted"]), genuine=genuine,
        )  # fmt: skip
    state = seen(State(row["state"]), stale=row["stale_at"] <= now.wall, circuit_open=False, read_only=False)
    gone = row["role"] == Role.DISCONNECTED
    in_use = row["role"] == Role.ACTIVE and row["reauth"] is None  # else Cloudbeds has probably deleted them
    subscriptions = subscriptions_of(row["subscriptions"]) if in_use else ()
    risks: dict[str, str] = json.loads(row["risks"]) if in_use else {}
    return Connection(
        id=row["c_id"],
        app=row["c_app"],
        reference=row["reference"],
        state=state,
        credential=row["kind"],
        property_ids=properties_in(row),
        authorizing_user=User(row["user_id"], row["user_name"], row["user_email"]) if row["user_id"] else None,
        scopes=tuple(json.loads(row["scopes"])),
        generation=row["generation"],
        connected_at=_moment(row["connected_at"]),
        expires_at=None if gone else end_moment(row["expires_at"]),
        refreshed_at=_moment(row["refreshed_at"]),
        used_at=_moment(row["used_at"]),
        problem=(None if genuine else ALTERED)
        or (NOT_RENEWABLE if NOT_RENEWABLE in risks else None)  # says more than the refusal that caused it
        or row["problem"]
        or (PROPERTY_MISMATCH if row["role"] == Role.SET_ASIDE else None)
        or (MIGRATION_UNDER_WAY if row["migration"] and not gone else None)
        or problem_in(subscriptions)
        or first_of(risks),
        source=source_of(row),
        registration=row["app"],
        subscriptions=subscriptions,
        risks=risks,
        pasted=is_pasted(row),
        reference_trusted=bool(row["reference_trusted"]),
        genuine=genuine,
        moving_under=row["migration_client"] if row["migration"] and not gone else None,
    )


def properties_in(row: Row) -> tuple[str, ...]:
    """The property ids in a grant's row; empty if the column was altered so that it is no list."""
    try:
        return tuple(str(one) for one in json.loads(row["property_ids"]))
    except (ValueError, TypeError, RecursionError):
        return ()


def subscriptions_of(text: str) -> tuple[Subscription, ...]:
    """Subscriptions from the text of their column."""
    return tuple(Subscription(**one) for one in json.loads(text))


def subscriptions_text(subscriptions: Sequence[Subscription]) -> str:
    """Subscriptions as the text of their column."""
    return json.dumps([asdict(one) for one in subscriptions], separators=(",", ":"))


def is_pasted(row: Row) -> bool:
    """Whether this is an API key that a hotel created itself: only those have a hash to be recognized by."""
    return row["kind"] == CredentialKind.API_KEY and row["imported_hash"] is not None


def source_of(row: Row) -> Source:
    """Where a grant came from; a `sourced` row without an issuer has the one that its app is bound to."""
    return Source(row["issuer"] or row.get("bound_issuer"), row["client_id"])


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def event_of(row: Row, cursor: str) -> Event:
    """One event of a history."""
    return Event(
        sequence=row["sequence"],
        at=moment(row["at"]),
        kind=row["kind"],
        actor=row["actor"],
        grant_id=row["grant_id"],
        generation=row["generation"],
        data=json.loads(row["data"]),
        cursor=cursor,
    )


def calls_event_of(row: Row, sequence: int, cursor: str) -> Event:
    """One line of counted calls, as the part of a history that follows the event with number `sequence`."""
    first, last = row["first_us"] / 1e6, row["last_us"] / 1e6
    return Event(
        sequence=sequence,
        at=moment(first),
        kind="calls",
        actor="caller",
        grant_id=row["grant_id"],
        generation=row["generation"],
        data={
            "first": first,
            "last": last,
            "count": row["count"],
            "refused": row["refused"],
            "methods": json.loads(row["methods"]),
        },
        cursor=cursor,
    )


def listed(values: Iterable[str]) -> str:
    """Strings as the JSON text of a column."""
    return json.dumps(list(values), separators=(",", ":"))


def lasting(until: float) -> float | None:
    """The end of a token as the history shows it: None for infinity, which JSON does not have."""
    return None if math.isinf(until) else until


def add_event(
    tx: Tx,
    row: Row,
    kind: LifecycleEvent | str,
    *,
    generation: int | None = None,
    actor: str = "vault",
    **data: object,
) -> Transaction[None]:
    """Write one line of history about the grant in `row`, in the transaction that made it true, under the connection's
    lock.

    The line is written even if earlier lines were altered: what happened matters more than an intact history.
    """
    home: str = row["connection_id"]
    if home not in tx.chains:
        tx.chains[home] = (yield from read_chains([home])).get(home, Chain())
    chain = tx.chains[home]
    event = {
        "sequence": chain.last + 1,
        "at": tx.wall,
        "kind": str(kind),
        "actor": actor,
        "grant_id": row["id"],
        "generation": row["generation"] if generation is None else generation,
        "data": json.dumps(data, separators=(",", ":"), sort_keys=True),
    }
    mac = event_mac(tx.mac_key, home, chain.last_mac, event)
    yield from query("add_event", connection_id=home, mac=mac, **event)
    tx.chains[home] = chain.changed(tx.mac_key, home, last=event["sequence"], last_mac=mac)
    yield from set_chains({home: tx.chains[home]})
    if actor not in UNASKED:
        yield from audit(tx, kind, home, data, tx.acting.of(actor))


def carry_sendings(now: Instant, former: Grant, grant_id: str) -> Transaction[None]:
    """The tokens of `former` are those of this grant now: what was sent of them may still arrive, and the next sending
    is held back for as long as before.
    """
    yield from query(
        "carry_sendings",
        grant_id=grant_id,
        now=now.steady,
        not_before=now.steady + former.held_back if former.held_back > 0 else None,
        unresolved_at=None if former.sent_ago is None else now.steady - former.sent_ago,
        open=int(former.unresolved_age is not None),
    )


def locked(tx: Tx, grant_id: str) -> Transaction[Row | None]:
    """The grant's row, locked for writing, with its steady moments converted to this store's clock. No other
    transaction writes to its connection until this one ends.
    """
    row = yield from query_one("grant_locked", grant_id=grant_id)
    if row is None:
        return None
    tx.chains.setdefault(row["connection_id"], Chain.parse(row["chain"]))
    if row["clock_id"] != tx.clock_id:
        yield from query("rebase", grant_id=grant_id, clock_id=tx.clock_id, now=tx.steady)
    elif behind(row, tx) > 0:
        yield from query("set_back", grant_id=grant_id, behind=behind(row, tx), now=tx.steady)
    else:
        return row
    return (yield from query_one("grant", grant_id=grant_id))
