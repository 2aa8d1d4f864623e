"""What a leak would expose of this database: how much of each kind is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudbeds_auth.rules.model import CredentialKind
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, query_one, transaction


@dataclass(frozen=True, slots=True)
class Exposure:
    """Living credentials, and people. `hotels`: those with OAuth tokens, by app; `keyed`: with an API key that
    Cloudbeds made of their tokens; `pasted`: with one that they made. `people`: who approved, by name and address.
    `callers`: keys for callers that are good and were made by no other key. `apps`: registrations beside that of the
    settings.
    """

    hotels: Mapping[str, int]
    keyed: int
    pasted: int
    people: int
    callers: int
    apps: int


@transaction
def read_exposure(tx: Tx) -> Transaction[Exposure]:
    """Count all of it; this reads every hotel once."""
    found = yield from query("exposed_grants")
    oauth = {row["app"]: row["grants"] for row in found if row["kind"] == CredentialKind.OAUTH}
    keys = {bool(row["pasted"]): row["grants"] for row in found if row["kind"] == CredentialKind.API_KEY}
    rest = yield from query_one("exposed_rest", now=tx.wall)
    assert rest is not None  # noqa: S101 - a SELECT without FROM has one row
    return Exposure(oauth, keys.get(False, 0), keys.get(True, 0), rest["people"], rest["callers"], rest["apps"])
