"""The table of variables: name, attribute, and what to write; documentation and problems are worded from it."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "CLOUDBEDS_"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. `write` completes the sentence "write …"; a secret one may also come as `NAME_FILE`."""

    name: str
    attribute: str
    write: str
    secret: bool = False

    @property
    def file_name(self) -> str:
        """The variable that names a file with the value."""
        return f"{self.name}_FILE"


TABLE = (
    Variable("CLOUDBEDS_CLIENT_ID", "client_id", "the client id from the app's page at Cloudbeds"),
    Variable("CLOUDBEDS_CLIENT_SECRET", "client_secret", "the client secret from the app's page at Cloudbeds", True),
    Variable("CLOUDBEDS_CLIENT_SECRET_PREVIOUS", "client_secret_previous", "the secret before a reset", True),
    Variable("CLOUDBEDS_CLIENT_LEVEL", "client_level", "`partner` or `property`"),
    Variable(
        "CLOUDBEDS_REDIRECT_URI", "redirect_uri", "the URI as registered, like `https://app.example.com/callback`"
    ),
    Variable("CLOUDBEDS_SCOPES", "scopes", "scopes with spaces between, like `read:hotel read:guest`"),
    Variable("CLOUDBEDS_BASE_URL", "base_url", "scheme and host, like `https://api.cloudbeds.com`"),
    Variable("CLOUDBEDS_API_VERSION", "api_version", "a version like `v1.3`"),
    Variable("CLOUDBEDS_CREDENTIAL", "credential", "`oauth` or `api-key`"),
    Variable("CLOUDBEDS_CREDENTIAL_HEADER", "credential_header", "`bearer` or `x-api-key`"),
    Variable("CLOUDBEDS_AUTHORIZE_URL", "authorize_url", "a URL like `https://hotels.cloudbeds.com/api/v1.3/oauth`"),
    Variable(
        "CLOUDBEDS_AUTH_DATABASE_URL",
        "database_url",
        "`sqlite:////absolute/path`, or `postgresql://user:password@host/database`",
        True,
    ),
    Variable(
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS",
        "encryption_keys",
        "32 random bytes in base64 (`openssl rand -base64 32`), several with commas between",
        True,
    ),
    Variable("CLOUDBEDS_AUTH_ADMIN_TOKEN", "admin_token", "32 characters or more (`openssl rand -hex 32`)", True),
    Variable("CLOUDBEDS_AUTH_HOST", "host", "an address to listen on, like `127.0.0.1`"),
    Variable("CLOUDBEDS_AUTH_PORT", "port", "a port from 1 to 65535, or 0 for a free one"),
    Variable("CLOUDBEDS_AUTH_WORKERS", "workers", "a number of processes from 1 to 1024"),
    Variable("CLOUDBEDS_AUTH_PUBLIC_URL", "public_url", "the service's address, like `https://auth.example.com`"),
    Variable("CLOUDBEDS_AUTH_ALLOWED_HOSTS", "allowed_hosts", "host names with commas between, without port"),
    Variable("CLOUDBEDS_AUTH_TRUSTED_PROXIES", "trusted_proxies", "addresses or networks with commas between"),
    Variable("CLOUDBEDS_AUTH_RETURN_ORIGINS", "return_origins", "origins like `https://app.example.com`, with commas"),
    Variable("CLOUDBEDS_AUTH_OPEN_CONNECT", "open_connect", "`true` or `false`"),
    Variable("CLOUDBEDS_AUTH_MARKETPLACE", "marketplace", "`refuse` or `park`"),
    Variable("CLOUDBEDS_AUTH_BODY_LIMIT", "body_limit", "bytes, like `104857600` or `100MiB`"),
    Variable("CLOUDBEDS_AUTH_REPLAY_LIMIT", "replay_limit", "bytes, like `1048576` or `1MiB`"),
    Variable("CLOUDBEDS_AUTH_ALLOW_NETWORK_FS", "allow_network_fs", "`true` or `false`"),
    Variable("CLOUDBEDS_AUTH_INSTANCE", "instance", "a name of letters, digits, `.`, `_` and `-`"),
    Variable("CLOUDBEDS_AUTH_LOG_FORMAT", "log_format", "`console`, `json`, or nothing to choose by the terminal"),
    Variable("CLOUDBEDS_AUTH_LOG_LEVEL", "log_level", "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`"),
    Variable(
        "CLOUDBEDS_AUTH_RATE_LIMIT", "rate_limit", "requests per second from 1 to 10000, 0 for no limit, or `observe`"
    ),
    Variable("CLOUDBEDS_AUTH_RETENTION_DAYS", "retention_days", "days from 1 on, like `400`"),
    Variable("CLOUDBEDS_AUTH_WEBHOOK_URL", "webhook_url", "an https URL that takes a POST"),
    Variable(
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET",
        "webhook_secrets",
        "`whsec_` and 24 to 64 random bytes in base64 (`echo whsec_$(openssl rand -base64 32)`)",
        True,
    ),
    Variable(
        "CLOUDBEDS_AUTH_HOOK_SECRET",
        "hook_secret",
        "32 to 256 letters, digits, `_` and `-` (`openssl rand -hex 32`)",
        True,
    ),
    Variable("CLOUDBEDS_AUTH_HOOK_HEADER", "hook_header", "32 characters or more (`openssl rand -hex 32`)", True),
    Variable("CLOUDBEDS_AUTH_TOKEN_TIMEOUT", "token_timeout", "seconds above 0 and at most 600, like `20`"),
)

ENV_FILE = "CLOUDBEDS_AUTH_ENV_FILE"
"""Names the file that settings are read from instead of `.env`; of the environment only."""

FOR_COMMANDS = ("CLOUDBEDS_AUTH_APP_SECRET", ENV_FILE)
"""Variables that are no settings."""

BY_ATTRIBUTE = {variable.attribute: variable for variable in TABLE}
FILES = {variable.file_name: variable for variable in TABLE if variable.secret}
KNOWN = frozenset({variable.name for variable in TABLE} | FILES.keys() | set(FOR_COMMANDS))
