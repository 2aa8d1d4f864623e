"""PostgreSQL's own text: its named queries, its placeholders, and what it must say of itself before it is used."""

from __future__ import annotations

import re
from functools import cache

import psycopg
from psycopg import errors

from cloudbeds_auth.errors import ConfigurationError, Error, StoreUnavailable
from cloudbeds_auth.transactions.statements import load

PLACEHOLDER = re.compile(r"(?<![:\w]):([a-z_]+)")
OLDEST = 140_000  # PostgreSQL 14, as server_version_num counts

# Weaker than these, an answered COMMIT may be gone after a crash (F12); so are `local` and `remote_write`.
DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": ("on", "remote_apply"),
}
FACTS = """
SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit, current_setting('server_version_num') AS version,
    (SELECT system_identifier FROM pg_control_system()) AS system
"""
# What became of a transaction. A server that crashed gives the ids of what it forgot to new transactions: one that was
# started since, or whose counters began anew when a process of its was killed, may report on another transaction.
STATUS = """
SELECT pg_xact_status(CAST(%(xid)s AS xid8)) AS status, pg_postmaster_start_time()::text <> %(started)s
    OR coalesce(extract(epoch FROM pg_stat_get_bgwriter_stat_reset_time()) >= %(wall)s, false) AS crashed
"""

# What a person has to mend. An error before the session exists carries no SQLSTATE: libpq reports it in words only.
WRONG = (errors.InvalidCatalogName, errors.InvalidAuthorizationSpecification)
SIGNS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "could not translate host name")


@cache
def placeholders(sql: str) -> str:
    """`:name` as psycopg writes it, `%(name)s`; a percent sign beside placeholders is doubled."""
    if not PLACEHOLDER.search(sql):
        return sql
    return PLACEHOLDER.sub(r"%(\1)s", sql.replace("%", "%%"))


SQL = {name: placeholders(sql) for name, sql in load("postgres.sql").items()}


def not_connected(error: psycopg.Error) -> Error:
    """Whether a first connection failed for a wrong setting, which a person mends, or for the moment."""
    told = " ".join(str(error).split())[:300]
    if isinstance(error, WRONG) or any(sign in told for sign in SIGNS):
        return ConfigurationError(
            f"PostgreSQL refuses the connection: {told}",
            next_step="check user, password, host and database in CLOUDBEDS_AUTH_DATABASE_URL",
        )
    return StoreUnavailable(
        f"PostgreSQL cannot be reached: {told}",
        next_step="start the database, or check host and port in CLOUDBEDS_AUTH_DATABASE_URL",
    )
