"""Checks a PostgreSQL server before anything is stored there: it must be reachable, durable and new enough."""

from __future__ import annotations

import psycopg
from psycopg import errors
from psycopg.rows import dict_row

from cloudbeds_auth.errors import ConfigurationError, Error, StoreUnavailable

OLDEST = 140_000  # PostgreSQL 14, as server_version_num counts

# With anything weaker, such as `local` or `remote_write`, an answered COMMIT may be lost in a crash (F12).
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

# A person has to change something. An error before the session exists has no SQLSTATE: libpq reports only its text.
WRONG = (errors.InvalidCatalogName, errors.InvalidAuthorizationSpecification)
SIGNS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "could not translate host name")


# The role lacks a privilege. InvalidSchemaName is reported for a schema that the role may not use.
DENIED = (errors.InsufficientPrivilege, errors.InvalidSchemaName)


async def first_look(conninfo: str) -> dict[str, str]:
    """The server's settings, version and identity. Raises ConfigurationError where a person has to change something,
    StoreUnavailable for a temporary failure.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, row_factory=dict_row)
    except psycopg.Error as error:
        raise _not_connected(error) from error
    async with connection:
        try:
            (row,) = await (await connection.execute(FACTS)).fetchall()
        except psycopg.Error as error:
            raise StoreUnavailable(f"PostgreSQL cannot be asked what it is: {said(error)}") from error
    facts = {name: str(value) for name, value in row.items()}
    for setting, wanted in DURABLE.items():
        if facts[setting] not in wanted:
            raise ConfigurationError(
                f"PostgreSQL's {setting} is {facts[setting]!r}: a crash could lose a hotel",
                next_step=f"set {setting} = on for this database and role, then start again",
            )
    if int(facts["version"]) < OLDEST:
        raise ConfigurationError(f"PostgreSQL {int(facts['version']) // 10000} is too old; 14 or newer is needed")
    return facts


def _not_connected(error: psycopg.Error) -> Error:
    """The error for a failed first connection: ConfigurationError for a wrong setting, else StoreUnavailable."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, WRONG) or any(sign in text for sign in SIGNS):
        return ConfigurationError(
            f"PostgreSQL refuses the connection: {text}",
            next_step="check user, password, host and database in CLOUDBEDS_AUTH_DATABASE_URL",
        )
    return StoreUnavailable(
        f"PostgreSQL cannot be reached: {text}",
        next_step="start the database, or check host and port in CLOUDBEDS_AUTH_DATABASE_URL",
    )


def denied(error: BaseException) -> ConfigurationError:
    """The error for a role that may not create or use the tables."""
    return ConfigurationError(
        f"PostgreSQL does not let this role use its schema: {said(error)}",
        next_step="let the role of CLOUDBEDS_AUTH_DATABASE_URL own its tables, and make them: as a superuser `GRANT "
        "USAGE, CREATE ON SCHEMA public TO role`, and `ALTER TABLE … OWNER TO role` for each table that is there",
    )


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
