"""The transactions of apps: their registrations, and which of their secrets Cloudbeds refuses (F35, F36).

Registrations are changed by one transaction at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from cloudbeds_auth.ports import Place, SealBroken, Sealer
from cloudbeds_auth.rules.audit import AuditAction
from cloudbeds_auth.rules.inputs import LARGEST
from cloudbeds_auth.rules.model import App, CredentialKind, moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.audit import audit
from cloudbeds_auth.transactions.authorizations import link_over
from cloudbeds_auth.transactions.origins import bind
from cloudbeds_auth.transactions.rows import behind, listed
from cloudbeds_auth.transactions.statements import (
    Row,
    Transaction,
    Tx,
    as_keys,
    query,
    query_one,
    transaction,
)


class AppConflict(Enum):
    """What another registration already has, as a sentence for an error."""

    NAME = "there is an app of this name already"
    CLIENT_ID = "another app has this client id already"
    REDIRECT_PATH = "another app has a redirect URI with this path already"


CHANGES = "changes of apps"


def secret_place(name: str, generation: int) -> Place:
    """The place that a client secret is sealed for: its app, and the generation that it came with."""
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
    """The apps in the order of their names, at most `limit` after the one named `after`, each with its issuer."""
    rows = yield from query("apps", after=after, limit=limit)
    return [_app_of(row, tx.sealer) for row in rows]


@transaction
def read_names(tx: Tx, client_ids: Sequence[str]) -> Transaction[Mapping[str, str]]:
    """The names of the apps with these client ids, by client id; no secret is opened."""
    rows = yield from query("names_of_clients", client_ids=as_keys(client_ids))
    return {row["client_id"]: row["name"] for row in rows}


@dataclass(frozen=True, slots=True)
class RedirectUris:
    """The redirect URI of each app, by name; `version` changes whenever they do."""

    version: str = ""
    by_app: Mapping[str, str] = field(default_factory=dict)


@transaction
def read_redirect_uris(tx: Tx, known: RedirectUris) -> Transaction[RedirectUris]:
    """The redirect URIs: `known`, unless an app was added or removed since it was read; no secret is opened."""
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
    """Note that an app was added or removed; one transaction at a time does this."""
    row = yield from query_one("meta", name="apps_version")
    yield from query("set_meta", name="apps_version", value="1" if row is None else str(int(row["value"]) + 1))


@dataclass(frozen=True, slots=True)
class Registrations:
    """What is stored about some apps: their registrations, the origins that they are bound to, and the fingerprints of
    the secrets that Cloudbeds refused.
    """

    apps: Mapping[str, App]
    issuers: Mapping[str, str]
    refused: Mapping[str, Collection[str]]


@transaction
def read_registrations(tx: Tx, names: Sequence[str]) -> Transaction[Registrations]:
    """What is stored about these apps, in three queries however many they are."""
    apps = yield from query("apps_named", names=as_keys(names))
    issuers = yield from query("issuers_of", names=as_keys(names))
    refused: dict[str, set[str]] = {}
    for row in (yield from query("circuits_of", names=as_keys(names))):
        refused.setdefault(row["app"], set()).add(row["fingerprint"])
    found = {row["name"]: _app_of(row, tx.sealer) for row in apps}
    return Registrations(found, {row["app"]: row["issuer"] for row in issuers}, refused)


@transaction
def add_app(tx: Tx, app: App, link_hash: str | None = None) -> Transaction[AppConflict | None]:
    """Store a registration with its first secret, which is for `app.issuer`. AppConflict: nothing was written.

    `link_hash`: of the one-time link by which a hotel brought it; raises AuthorizationExpired if that link registers no
    app, or not any more. From then on the link connects a hotel under this app.
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
    """The first conflict of this registration with another one; None: there is none."""
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
    """Store a new secret; the current one becomes the previous one, replacing any before. False: no such app."""
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
    """Delete all secrets but the current one. False: no such app."""
    yield from query("one_at_a_time", work=CHANGES)
    row = yield from query_one("app", name=name)
    if row is None:
        return False
    yield from query("drop_previous_secret", name=name)
    yield from audit(tx, AuditAction.APP_SECRET_DROPPED, name, {})
    return True


@transaction
def remove_app(tx: Tx, name: str) -> Transaction[int | None]:
    """Delete the registration unless living connections use it; returns how many do (0: deleted). None: no such app."""
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
    """The app in this row. A secret that does not open is left out: it affects one app; `database check` names it."""
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
    """Refused secrets by fingerprint, with the seconds until a trial; below zero: a trial has been due for so long.

    Minus infinity if the clock was set back since, or is another one: the trial is due.
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
    """Record that the vendor refused this secret, or claim a trial: no process tries it for `trial_after` seconds."""
    yield from query(
        "open_circuit", app=app, fingerprint=fingerprint, trial_at=tx.steady + trial_after, now=tx.steady,
        clock_id=tx.clock_id,
    )  # fmt: skip


@transaction
def close_circuit(tx: Tx, app: str, fingerprint: str) -> Transaction[None]:
    """Record that the vendor accepted this secret."""
    yield from query("close_circuit", app=app, fingerprint=fingerprint)
