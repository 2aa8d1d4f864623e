"""Brings a database to this version's schema: numbered files, each applied in one transaction together with its number.

A kill between two files leaves a complete earlier schema, and the next start continues from there (F89).
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.transactions.statements import Instant, Statement, Transaction, query, query_one

WORK = "migrate"  # only one process does it at a time


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Every migration as its number and its SQL, in order; read once."""
    folder = resources.files("cloudbeds_auth.transactions").joinpath("migrations")
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((int(name.split("_", 1)[0]), folder.joinpath(name).read_text("utf-8")) for name in files)


def statements(sql: str) -> list[str]:
    """The statements of a migration; our files hold no semicolon inside one."""
    lines = [line for line in sql.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def beyond(version: int) -> list[tuple[int, str]]:
    """The migrations that a database with this schema still needs, in order."""
    return [(number, sql) for number, sql in migrations() if number > version]


def step(now: Instant, *, number: int, sql: str) -> Transaction[None]:
    """Apply one migration, unless another process has done so meanwhile."""
    yield from query("one_at_a_time", work=WORK)
    if (yield from version(now)) >= number:
        return
    for position, statement in enumerate(statements(sql)):
        yield Statement(f"migration_{number}_{position}", statement, {})
    yield from query("set_meta", name="schema_version", value=str(number))


def version(now: Instant) -> Transaction[int]:
    """The number of the database's newest migration (0: none); raises ConfigurationError if this program has none so
    new.
    """
    names = yield from query("tables")
    row = (yield from query_one("meta", name="schema_version")) if any(one["name"] == "meta" for one in names) else None
    found = int(row["value"]) if row else 0
    newest = migrations()[-1][0]
    if found > newest:
        raise ConfigurationError(
            f"the database has schema {found}, this version of cloudbeds-auth knows {newest}",
            next_step="upgrade cloudbeds-auth on this machine, or restore a backup made before the upgrade",
        )
    return found
