"""The transactions of apps: their registrations, which of their secrets Cloudbeds refuses (F35, F36), and the origin
that each is for.

One transaction at a time changes any registration. An origin is bound once, kept, and moved on an operator's word only.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from cloudbeds_auth.ports import Place, SealBroken, Sealer
from cloudbeds_auth.rules.audit import AuditAction
from cloudbeds_auth.rules.inputs import LARGEST
from cloudbeds_auth.rules.lifecycle import ORIGIN_MOVED
from cloudbeds_auth.rules.model import App, CredentialKind, moment
from cloudbeds_auth.rules.origins import Foreign, Source, foreign, foreign_secret, of_hotels, origins_of, same_service
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.audit import audit
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.authorizations import link_over
from cloudbeds_auth.transactions.rows import add_event, behind, listed, locked
from cloudbeds_auth.transactions.statements import (
    Instant,
    Row,
    Rows,
    Transaction,
    Tx,
    as_keys,
    query,
    query_one,
    transaction,
)


class AppConflict(Enum):
    """What another registration has already; the words complete a sentence."""

    NAME = "there is an app of this name already"
    CLIENT_ID = "another app has this client id already"
    REDIRECT_PATH = "another app has a redirect URI with this path already"


CHANGES = "changes of apps"


def secret_place(name: str, generation: int) -> Place:
    """Where a client secret belongs: to its app, and to the generation that it came with."""
    return Place("apps", name, 0, generation)


def sealed_secrets(row: Row) -> Iterator[tuple[bytes, Place]]:
    """An app's sealed secrets with their places, the current one first."""
    yield row["secret_sealed"], secret_place(row["name"], row["generation"])
    if row["previous_sealed"] is not None:
        yield row["previous_sealed"], secret_place(row["name"], row["generation"] - 1)


@transaction
def read_app(tx: Tx, name: str) -> Transaction[App | None]:
    """The registration, with those of its secrets that open."""
    row = yield from query_one("app", name=name)
    return None if row is None else _app_of(row, tx.sealer)


@transaction
def read_apps(tx: Tx, after: str = "", limit: int = LARGEST) -> Transaction[Sequence[App]]:
    """All of them, or at most `limit` behind the one of this name, by name, each with its issuer."""
    rows = yield from query("apps", after=after, limit=limit)
    return [_app_of(row, tx.sealer) for row in rows]


@dataclass(frozen=True, slots=True)
class RedirectUris:
    """Where Cloudbeds may send browsers for each app, by name; `version` changes as soon as they do."""

    version: str = ""
    by_app: Mapping[str, str] = field(default_factory=dict)


@transaction
def read_redirect_uris(tx: Tx, known: RedirectUris) -> Transaction[RedirectUris]:
    """`known`, unless an app came or went since it was read; no secret is opened for it."""
    version = yield from _version()
    if version == known.version:
        return known
    rows = yield from query("redirect_uris")
    return RedirectUris(version, {row["name"]: row["redirect_uri"] for row in rows})


def _version() -> Transaction[str]:
    row = yield from query_one("apps_version")
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return f"{row['changes']} {row['newest']}"


def _changed() -> Transaction[None]:
    """An app came or went; one transaction at a time does this."""
    row = yield from query_one("meta", name="apps_version")
    yield from query("set_meta", name="apps_version", value="1" if row is None else str(int(row["value"]) + 1))


@dataclass(frozen=True, slots=True)
class Registrations:
    """Of some apps: those of them that the store has, the origins that they are bound to, and the fingerprints of the
    secrets of each that Cloudbeds refused.
    """

    apps: Mapping[str, App]
    issuers: Mapping[str, str]
    refused: Mapping[str, Collection[str]]


@transaction
def read_registrations(tx: Tx, names: Sequence[str]) -> Transaction[Registrations]:
    """What is known of these apps, however many they are."""
    apps = yield from query("apps_named", names=as_keys(names))
    issuers = yield from query("issuers_of", names=as_keys(names))
    refused: dict[str, set[str]] = {}
    for row in (yield from query("circuits_of", names=as_keys(names))):
        refused.setdefault(row["app"], set()).add(row["fingerprint"])
    found = {row["name"]: _app_of(row, tx.sealer) for row in apps}
    return Registrations(found, {row["app"]: row["issuer"] for row in issuers}, refused)


@transaction
def add_app(tx: Tx, app: App, link_hash: str | None = None) -> Transaction[AppConflict | None]:
    """Remember a registration with its first secret, which is for `app.issuer`. AppConflict: nothing was written.

    `link_hash`: of the one-time link by which a hotel brought it; raises AuthorizationExpired where that registers
    nothing, or nothing any more. It connects hotels of this app from then on.
    """
    yield from query("one_at_a_time", work=CHANGES)
    if link_hash is not None:
        link = yield from query_one("link", hash=link_hash, now=tx.wall)
        if link is None or link["registration"] is None:
            raise link_over()
    taken = yield from _taken(app)
    if taken is not None:
        return taken
    yield from query("link_registered", hash=link_hash)
    yield from query(
        "add_app", name=app.id, client_id=app.client_id, level=app.level, redirect_uri=app.redirect_uri,
        redirect_path=app.redirect_path, scopes=listed(app.scopes), credential=app.credential,
        secret_sealed=tx.sealer.seal(app.secrets[0], secret_place(app.id, 1)), now=tx.wall,
    )  # fmt: skip
    yield from bind(tx, app.id, app.issuer)
    yield from _changed()
    yield from audit(tx, AuditAction.APP_ADDED, app.id, {"client_id": app.client_id, "level": app.level})
    return None


@transaction
def read_conflict(tx: Tx, app: App) -> Transaction[AppConflict | None]:
    """What another registration has already of what this one would have; None: nothing."""
    return (yield from _taken(app))


def _taken(app: App) -> Transaction[AppConflict | None]:
    rows = yield from query("taken", name=app.id, client_id=app.client_id, redirect_path=app.redirect_path)
    for column, value, taken in (
        ("name", app.id, AppConflict.NAME),
        ("client_id", app.client_id, AppConflict.CLIENT_ID),
        ("redirect_path", app.redirect_path, AppConflict.REDIRECT_PATH),
    ):
        if any(row[column] == value for row in rows):
            return taken
    return None


@transaction
def rotate_secret(tx: Tx, name: str, secret: Secret) -> Transaction[bool]:
    """A new secret; the one until now stays as the previous one, in place of any before. False: no such app."""
    yield from query("one_at_a_time", work=CHANGES)
    row = yield from query_one("app", name=name)
    if row is None:
        return False
    generation = row["generation"] + 1
    sealed = tx.sealer.seal(secret, secret_place(name, generation))
    yield from query("rotate_secret", name=name, secret_sealed=sealed, generation=generation, now=tx.wall)
    yield from audit(tx, AuditAction.APP_SECRET_ROTATED, name, {})
    return True


@transaction
def drop_previous_secret(tx: Tx, name: str) -> Transaction[bool]:
    """Only the current secret is left. False: no such app."""
    yield from query("one_at_a_time", work=CHANGES)
    row = yield from query_one("app", name=name)
    if row is None:
        return False
    yield from query("drop_previous_secret", name=name)
    yield from audit(tx, AuditAction.APP_SECRET_DROPPED, name, {})
    return True


@transaction
def remove_app(tx: Tx, name: str) -> Transaction[int | None]:
    """Forget the registration unless connections live by it: how many do (0: it is gone). None: no such app."""
    yield from query("one_at_a_time", work=CHANGES)
    if (yield from query_one("app", name=name)) is None:
        return None
    yield from query("one_at_a_time", work=f"approvals of {name}")
    living = yield from query_one("living_connections", name=name)
    assert living is not None  # noqa: S101 - a count has one row
    if not living["connections"]:
        yield from query("forget_circuits", name=name)
        yield from query("forget_issuer", app=name)
        yield from query("remove_app", name=name)
        yield from _changed()
        yield from audit(tx, AuditAction.APP_REMOVED, name, {})
    return int(living["connections"])


def _app_of(row: Row, sealer: Sealer) -> App:
    """The noun. A secret that does not open is left out: it is one app's trouble, and `database check` names it."""
    return App(
        id=row["name"],
        client_id=row["client_id"],
        secrets=tuple(_opened(row, sealer)),
        redirect_uri=row["redirect_uri"],
        scopes=tuple(json.loads(row["scopes"])),
        level=row["level"],
        credential=CredentialKind(row["credential"]),
        created_at=moment(row["created_at"]),
        rotated_at=None if row["rotated_at"] is None else moment(row["rotated_at"]),
        issuer=row.get("issuer"),
    )


def _opened(row: Row, sealer: Sealer) -> Iterator[Secret]:
    for sealed, place in sealed_secrets(row):
        try:
            yield sealer.open(sealed, place)
        except SealBroken:
            continue


@transaction
def open_circuits(tx: Tx, app: str) -> Transaction[Mapping[str, float]]:
    """Refused secrets by fingerprint, and seconds until a trial; below zero where it is due, and for how long.

    Minus infinity where the clock was set back since, or is another one: the trial is due.
    """
    rows = yield from query("circuits", app=app)
    return {
        row["fingerprint"]: row["trial_at"] - tx.steady
        if row["clock_id"] == tx.clock_id and behind(row, tx) == 0
        else -math.inf
        for row in rows
    }


@transaction
def open_circuit(tx: Tx, app: str, fingerprint: str, *, trial_after: float) -> Transaction[None]:
    """The vendor refused this secret; also claims a trial: no other process tries before `trial_after` seconds."""
    yield from query(
        "open_circuit", app=app, fingerprint=fingerprint, trial_at=tx.steady + trial_after, now=tx.steady,
        clock_id=tx.clock_id,
    )  # fmt: skip


@transaction
def close_circuit(tx: Tx, app: str, fingerprint: str) -> Transaction[None]:
    """The vendor accepted this secret."""
    yield from query("close_circuit", app=app, fingerprint=fingerprint)


@transaction
def read_issuer(tx: Tx, app: str) -> Transaction[str | None]:
    """The vendor's origin that the client secret of this app is for; None: it is not bound to one yet."""
    row = yield from query_one("issuer", app=app)
    return None if row is None else str(row["issuer"])


def bind(now: Instant, app: str, issuer: str | None) -> Transaction[None]:
    """From now on this app's secret is for this origin, if it was not for one before."""
    if issuer is not None:
        yield from query("bind_issuer", app=app, issuer=issuer, now=now.wall)


def sourced(row: Row) -> Transaction[Row]:
    """A grant's row. One from before issuers were stored gets the issuer that its app is bound to."""
    if row["issuer"] is not None:
        return row
    bound = yield from query_one("issuer", app=row["app"])
    return row if bound is None else {**row, "bound_issuer": bound["issuer"]}


def all_sourced(rows: Rows) -> Transaction[Rows]:
    """As `sourced`, of many rows at the cost of one more read."""
    if all(row["issuer"] is not None for row in rows):
        return rows
    found = yield from query("issuers_of", names=as_keys(row["app"] for row in rows if row["app"] is not None))
    bound = {row["app"]: row["issuer"] for row in found}
    return [{**row, "bound_issuer": bound.get(row["app"])} for row in rows]


@transaction
def read_foreign(tx: Tx, here: str, own: Mapping[str, str | None]) -> Transaction[Sequence[Foreign]]:
    """What may not be used where everything is sent to the origin `here`, because it came from another origin or client
    id (rule-11): one finding for each cause. `own`: the client ids of the settings' apps, by name.
    """
    rows = yield from query("sources")
    found = yield from query("bound_elsewhere", origins=as_keys(origins_of(here)))
    bound = {row["app"]: row["issuer"] for row in found}
    found = yield from query("client_ids", names=as_keys([*bound, *(row["app"] for row in rows)]))
    clients = {**{row["name"]: row["client_id"] for row in found}, **own}
    hotels: Counter[Foreign] = Counter()
    elsewhere: set[str] = set()  # apps of which tokens are for another origin: their secret needs no finding of its own
    for row in rows:
        app, issuer = row["app"], row["issuer"] or bound.get(row["app"])
        why = foreign(Source(issuer, row["client_id"]), Source(here, clients.get(app)), app, own=app in own)
        if why is not None:
            hotels[why] += yield from _hotels_of(row)
        if issuer and not same_service(issuer, here):
            elsewhere.add(app)
    secrets = (foreign_secret(bound[app], here, app) for app in bound if app in clients and app not in elsewhere)
    return [of_hotels(count, why) for why, count in hotels.items()] + [why for why in secrets if why is not None]


def _hotels_of(source: Row) -> Transaction[int]:
    row = yield from query_one("hotels_of_source", **source)
    assert row is not None  # noqa: S101 - an aggregate has one row
    return int(row["hotels"])


@transaction
def move_grants(
    tx: Tx, app: str, former: str, issuer: str, *, after: str, limit: int
) -> Transaction[tuple[str | None, int]]:
    """Of the next `limit` grants of this app behind the id `after`, those that came from `former`, or from another
    origin of the same service, belong to `issuer` from now on; each has a line of history.

    The last id, None when there are no more; and how many were moved.
    """
    rows = yield from query("issued_after", app=app, after=after, limit=limit)
    moved = 0
    for found in rows:
        row = yield from locked(tx, found["id"])
        if row is not None and same_service(row["issuer"], former):
            mac = changed_mac(tx, "grants", row, issuer=issuer)
            yield from query("move_grant", grant_id=row["id"], issuer=issuer, mac=mac)
            moving = {"from": row["issuer"], "to": issuer}
            yield from add_event(tx, row, ORIGIN_MOVED, actor=tx.acting.name, **moving)
            moved += 1
    return (rows[-1]["id"] if len(rows) == limit else None), moved


@transaction
def move_app(tx: Tx, app: str, former: str, issuer: str) -> Transaction[None]:
    """The client secret of this app is for `issuer` from now on, if it was for `former`."""
    bound = yield from read_issuer(app)(tx)
    if bound is not None and same_service(bound, former):
        yield from query("move_issuer", app=app, issuer=issuer, now=tx.wall)
