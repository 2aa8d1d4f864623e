"""What a leak of this database would expose: how many credentials and people of each kind are in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudbeds_auth.rules.model import CredentialKind
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, query_one, transaction


@dataclass(frozen=True, slots=True)
class Exposure:
    """Living credentials, and people. `hotels`: hotels with OAuth tokens, by app; `keyed`: with an API key that
    Cloudbeds issued for their tokens; `pasted`: with an API key that they created themselves. `people`: those who
    approved, with name and email address. `callers`: valid keys for callers that no other key created. `apps`:
    registrations besides the one in the settings.
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
