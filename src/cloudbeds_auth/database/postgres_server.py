"""What a PostgreSQL server must be before anything is stored there: reached, durable and new enough."""

from __future__ import annotations

import psycopg
from psycopg import errors
from psycopg.rows import dict_row

from cloudbeds_auth.errors import ConfigurationError, Error, StoreUnavailable

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

# What a person has to mend. An error before the session exists carries no SQLSTATE: libpq reports it in words only.
WRONG = (errors.InvalidCatalogName, errors.InvalidAuthorizationSpecification)
SIGNS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "could not translate host name")


# What the role may not do, whatever it asks for; the second is said of a schema that it may not use.
DENIED = (errors.InsufficientPrivilege, errors.InvalidSchemaName)


async def first_look(conninfo: str) -> dict[str, str]:
    """What the server says of itself. Raises ConfigurationError where a person has to mend something, StoreUnavailable
    for the moment.
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
    """Whether a first connection failed for a wrong setting, which a person mends, or for the moment."""
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
    """The error about a role that may not make or use the tables."""
    return ConfigurationError(
        f"PostgreSQL does not let this role use its schema: {said(error)}",
        next_step="let the role of CLOUDBEDS_AUTH_DATABASE_URL own its tables, and make them: as a superuser `GRANT "
        "USAGE, CREATE ON SCHEMA public TO role`, and `ALTER TABLE … OWNER TO role` for each table that is there",
    )


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
