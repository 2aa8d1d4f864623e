"""The settings as one frozen object; defaults and meaning are the public contract's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, PlainValidator

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.ports.vendor import Hook
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import hooks, values

MIB = 1024 * 1024
MOST_BYTES = MIB * MIB  # a TiB: a slip of the pen, not a limit
MOST_WORKERS = 1024
DATABASE_NAME = "cloudbeds-auth.sqlite3"
VENDORS_LIMITS = {"partner": 10.0, "property": 5.0}  # requests per second; CLOUDBEDS section 6

SecretText = Annotated[Secret, PlainValidator(values.secret)]
Strings = tuple[str, ...]


def default_database_url() -> str:
    """A SQLite file in the platform's user data folder."""
    return f"sqlite:///{user_data_path('cloudbeds-auth') / DATABASE_NAME}"


def _authorize_url(data: dict[str, Any]) -> str:
    return f"{data['base_url']}/api/{data['api_version']}/oauth"


def _public_url(data: dict[str, Any]) -> str:
    return values.origin(data["redirect_uri"])


def _allowed_hosts(data: dict[str, Any]) -> Strings:
    named = (values.url(data[name]).hostname or "" for name in ("public_url", "redirect_uri"))
    return tuple(dict.fromkeys((data["host"], "localhost", "127.0.0.1", *named)))


def _open_connect(data: dict[str, Any]) -> bool:
    return values.is_loopback(data["host"])


def _rate_limit(data: dict[str, Any]) -> float:
    return VENDORS_LIMITS[data["client_level"]]


class Settings(BaseModel):
    """Everything that an operator sets. Durations in seconds, limits in bytes; `repr` shows no secret.

    `rate_limit` is in requests per second, for every process together; 0: none; `observe`: the vendor's, told about
    and not kept. `token_timeout` is the deadline of one token exchange; every duration of the protocol scales with it.
    `credential`: what an approval asks for; `credential_header`: in which header an API key of Cloudbeds travels.
    `encryption_keys` is empty when the key file beside the database is meant. `warnings` are sentences for people
    about what was set without effect. `env_file`: the file that the variables `from_env_file` came from; None: all
    are the environment's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    client_id: Annotated[str, BeforeValidator(values.text)] = ""
    client_secret: SecretText = Field(default_factory=lambda: Secret(""))
    client_secret_previous: SecretText | None = None
    client_level: Literal["partner", "property"] = "partner"
    redirect_uri: Annotated[str, BeforeValidator(values.redirect_uri)] = "http://localhost:7000/callback"
    scopes: Annotated[Strings, BeforeValidator(values.scopes)] = ()
    base_url: Annotated[str, BeforeValidator(values.base_url)] = "https://api.cloudbeds.com"
    api_version: str = Field(default="v1.3", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    credential: Annotated[Literal["oauth", "api-key"], BeforeValidator(values.word)] = "oauth"
    credential_header: Annotated[Literal["bearer", "x-api-key"], BeforeValidator(values.word)] = "bearer"
    authorize_url: Annotated[str, BeforeValidator(values.authorize_url)] = Field(default_factory=_authorize_url)
    database_url: Annotated[str, BeforeValidator(values.database_url)] = Field(
        default_factory=default_database_url, repr=False
    )
    encryption_keys: Annotated[tuple[Secret, ...], PlainValidator(values.encryption_keys)] = ()
    admin_token: Annotated[Secret, PlainValidator(values.admin_token)] | None = None
    host: Annotated[str, BeforeValidator(values.host)] = "127.0.0.1"
    port: int = Field(default=7000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=MOST_WORKERS)
    public_url: Annotated[str, BeforeValidator(values.public_url)] = Field(default_factory=_public_url)
    allowed_hosts: Annotated[Strings, BeforeValidator(values.allowed_hosts)] = Field(default_factory=_allowed_hosts)
    trusted_proxies: Annotated[Strings, BeforeValidator(values.trusted_proxies)] = ()
    return_origins: Annotated[Strings, BeforeValidator(values.return_origins)] = ()
    open_connect: bool = Field(default_factory=_open_connect)
    marketplace: Literal["refuse", "park"] = "refuse"
    body_limit: ByteSize = Field(default=ByteSize(100 * MIB), ge=1, le=MOST_BYTES)
    replay_limit: ByteSize = Field(default=ByteSize(MIB), ge=0, le=MOST_BYTES)
    allow_network_fs: bool = False
    instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    log_format: Literal["auto", "console", "json"] = "auto"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(lambda value: str(value).upper())
    ] = "INFO"
    rate_limit: Annotated[float | Literal["observe"], BeforeValidator(values.rate_limit)] = Field(
        default_factory=_rate_limit
    )
    retention_days: int = Field(default=400, ge=1, le=36500)
    webhook_url: Annotated[str, BeforeValidator(hooks.webhook_url)] | None = Field(default=None, repr=False)
    webhook_secrets: Annotated[tuple[Secret, ...], PlainValidator(hooks.webhook_secrets)] = ()
    hook_secret: Annotated[Secret, PlainValidator(hooks.hook_secret)] | None = None
    hook_header: Annotated[Secret, PlainValidator(values.admin_token)] | None = None
    token_timeout: float = Field(default=20.0, gt=0, le=600, allow_inf_nan=False)
    warnings: Strings = ()
    env_file: Path | None = None
    from_env_file: Strings = ()

    def app(self) -> App:
        """The default app's registration. Without a client id or secret (Need.NOTHING) it is there but empty."""
        given = (self.client_secret, self.client_secret_previous)
        return App(
            id="default",
            client_id=self.client_id,
            secrets=tuple(secret for secret in given if secret),
            redirect_uri=self.redirect_uri,
            scopes=self.scopes,
            level=self.client_level,
            credential=CredentialKind.API_KEY if self.credential == "api-key" else CredentialKind.OAUTH,
        )

    @property
    def hook(self) -> Hook | None:
        """Where Cloudbeds posts to; None: nowhere, or where it cannot."""
        if self.hook_secret is None or self.hook_header is None or not hooks.reachable(self.public_url):
            return None
        return Hook(f"{self.public_url}/hooks/{self.hook_secret.reveal()}", hooks.HEADER, self.hook_header)

    @property
    def limit(self) -> Limit | None:
        """The rate limit as it is kept; None: none is."""
        if self.rate_limit == "observe":
            return Limit(rate_within(VENDORS_LIMITS[self.client_level]), observed=True)
        return Limit(rate_within(self.rate_limit)) if self.rate_limit else None

    @property
    def derived_hosts(self) -> bool:
        """Whether the allowed hosts follow from the addresses, those of further apps too, because none are set."""
        return "allowed_hosts" not in self.model_fields_set

    @property
    def limits(self) -> dict[str, Limit | None]:
        """The rate limits of further apps by their level: the vendor's, or less where less is set for all."""
        given = "rate_limit" in self.model_fields_set
        return {level: self._limit(rate, given=given) for level, rate in VENDORS_LIMITS.items()}

    def _limit(self, vendors: float, *, given: bool) -> Limit | None:
        if self.rate_limit == "observe":
            return Limit(rate_within(vendors), observed=True)
        if not self.rate_limit:
            return None
        return Limit(rate_within(min(vendors, self.rate_limit) if given else vendors))

    @property
    def is_postgres(self) -> bool:
        """Whether the database is a PostgreSQL server."""
        return not self.database_url.startswith("sqlite:///")

    @property
    def database_path(self) -> Path:
        """The SQLite file. Raises ConfigurationError when the database is another one."""
        if self.is_postgres:
            raise ConfigurationError("CLOUDBEDS_AUTH_DATABASE_URL names no SQLite file")
        return Path(self.database_url.removeprefix("sqlite:///"))
