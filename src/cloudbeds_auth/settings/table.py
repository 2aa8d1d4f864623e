"""The table of settings, one row each. Parsing, problems, docs/settings.md and `doctor` are derived from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from platformdirs import user_data_path
from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.redirects import written_origin
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import APP_STATE, Hook, Wanted
from cloudbeds_auth.settings import needs, secret_values, values, wrong_values
from cloudbeds_auth.settings.row import Need, Setting, rows

MIB = 1024 * 1024
MOST_BYTES = MIB * MIB  # a TiB: a slip of the pen, not a limit
HOOK_HEADER = "X-Hook-Secret"  # that Cloudbeds sends with each of its webhooks
VENDORS_LIMITS = {"partner": 10.0, "property": 5.0}  # requests per second; cloudbeds-facts.md section 6

Level = Literal["partner", "property"]
RedirectUri = Annotated[str, BeforeValidator(values.redirect_uri)]
Scopes = Annotated[tuple[str, ...], BeforeValidator(values.scopes)]
Credential = Annotated[Literal["oauth", "api-key"], BeforeValidator(values.word)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(lambda value: str(value).upper())
]
SecretText = Annotated[Secret, PlainValidator(values.secret)]
Token = Annotated[Secret, PlainValidator(secret_values.admin_token)]


def _allowed_hosts(data: dict[str, Any]) -> tuple[str, ...]:
    named = (values.url(data[name]).hostname or "" for name in ("public_url", "redirect_uri"))
    return tuple(dict.fromkeys((data["host"], "localhost", "127.0.0.1", *named)))


class Settings(BaseModel):
    """Everything that an operator sets. Durations are in seconds, sizes in bytes; `repr` shows no secret.

    `rate_limit` is in requests per second, for all processes together; 0 means no limit, `observe` reports the vendor's
    limit without enforcing it. `encryption_keys` is empty if the key file beside the database is used. `warnings` are
    sentences about risky or ignored settings. `env_file` is the file that the variables in `from_env_file` came from;
    None if all came from the environment.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # The page and the problems follow this order; a computed default may read only the fields above it.
    # fmt: off
    client_id: Annotated[str, BeforeValidator(values.text), Setting(
        "CLOUDBEDS_CLIENT_ID", "the client id from the app's page at Cloudbeds",
        "identifies the app at Cloudbeds", default="none; required unless all hotels use API keys",
        needed=needs.for_an_app)] = ""
    client_secret: Annotated[SecretText, Setting(
        "CLOUDBEDS_CLIENT_SECRET", "the client secret from the app's page at Cloudbeds",
        "authenticates the app at Cloudbeds", secret=True, default="none; required with a client id",
        needed=needs.for_an_app,
    )] = Field(default_factory=lambda: Secret(""))
    client_secret_previous: Annotated[SecretText | None, Setting(
        "CLOUDBEDS_CLIENT_SECRET_PREVIOUS", "the secret from before the reset",
        "for use during a secret reset: tried when the current secret is refused", secret=True)] = None
    client_level: Annotated[Level, Setting(
        "CLOUDBEDS_CLIENT_LEVEL", "`partner` or `property`",
        "the kind of client; `property` is one that a single property created for itself: it has no app state, so a "
        "disconnect cannot be reported to Cloudbeds")] = "partner"
    redirect_uri: Annotated[RedirectUri, Setting(
        "CLOUDBEDS_REDIRECT_URI", "the URI exactly as registered, like `https://app.example.com/callback`",
        "where Cloudbeds sends browsers back; its path becomes the callback route")] = "http://localhost:7000/callback"
    scopes: Annotated[Scopes, Setting(
        "CLOUDBEDS_SCOPES", "scopes separated by spaces, like `read:hotel read:guest`",
        "the scopes that a hotel is asked to approve, sent as given")] = ()
    base_url: Annotated[str, BeforeValidator(values.base_url), Setting(
        "CLOUDBEDS_BASE_URL", "scheme and host, like `https://api.cloudbeds.com`",
        "Cloudbeds' address; plain http only to this machine")] = "https://api.cloudbeds.com"
    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"), Setting(
        "CLOUDBEDS_API_VERSION", "a version like `v1.3`",
        "the version in endpoint URLs: `{base}/api/{version}/access_token`, `…/userinfo`, and so on")] = "v1.3"
    credential: Annotated[Credential, Setting(
        "CLOUDBEDS_CREDENTIAL", "`oauth` or `api-key`",
        "what an approval is exchanged for: OAuth tokens or an API key")] = "oauth"
    credential_header: Annotated[Literal["bearer", "x-api-key"], BeforeValidator(values.word), Setting(
        "CLOUDBEDS_CREDENTIAL_HEADER", "`bearer` or `x-api-key`",
        "the header that carries API keys: `Authorization: Bearer` or `x-api-key`")] = "bearer"
    authorize_url: Annotated[str, BeforeValidator(values.guarded_url), Setting(
        "CLOUDBEDS_AUTHORIZE_URL", "a URL like `https://hotels.cloudbeds.com/api/v1.3/oauth`",
        "the approval page, if the app's page at Cloudbeds names another host",
        default="`{base}/api/{version}/oauth`",
    )] = Field(default_factory=lambda data: f"{data['base_url']}/api/{data['api_version']}/oauth")

    database_url: Annotated[str, BeforeValidator(values.database_url), Setting(
        "CLOUDBEDS_AUTH_DATABASE_URL", "`sqlite:////absolute/path`, or `postgresql://user:password@host/database`",
        "the database; a file's path may have at most 900 bytes, and each name in it 200", secret=True,
        default="a SQLite file in the user data folder",
    )] = Field(
        default_factory=lambda: f"sqlite:///{user_data_path('cloudbeds-auth') / 'cloudbeds-auth.sqlite3'}", repr=False)
    encryption_keys: Annotated[tuple[Secret, ...], PlainValidator(secret_values.encryption_keys), Setting(
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS",
        "32 random bytes in base64 (`openssl rand -base64 32`), several separated by commas",
        "the keys for stored secrets: the first seals, all open", secret=True, needed=needs.with_postgres,
        drawn=secret_values.sealing,
        default="a key file (mode 0600) beside the database, created once; required with PostgreSQL")] = ()
    allow_network_fs: Annotated[bool, Setting(
        "CLOUDBEDS_AUTH_ALLOW_NETWORK_FS", "`true` or `false`",
        "whether to open a SQLite file even on NFS, SMB or another network file system")] = False
    instance: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$"), Setting(
        "CLOUDBEDS_AUTH_INSTANCE", "a name of letters, digits, `.`, `_` and `-`",
        "the name of this installation, in place of the file `DATABASE.instance`: a database restored or moved under "
        "the same name still belongs to it. When a name is first given to an existing database, it opens read-only, as "
        "a copy does, until `database adopt`")] = None

    admin_token: Annotated[Token | None, Setting(
        "CLOUDBEDS_AUTH_ADMIN_TOKEN", "32 characters or more (`openssl rand -hex 32`)",
        "a token with every permission; must be set if the service listens beyond this machine", secret=True,
        default="a file (mode 0600) beside the database, created once; required with PostgreSQL",
        needed=needs.beyond_this_machine, drawn=secret_values.itself)] = None
    metrics_token: Annotated[Annotated[Secret, PlainValidator(secret_values.metrics_token)] | None, Setting(
        "CLOUDBEDS_AUTH_METRICS_TOKEN", "32 characters or more (`openssl rand -hex 32`), not the admin token",
        "a token for `/metrics` and nothing else, so that a scraper need not hold the admin token", secret=True,
        default="none; the admin token is accepted, too", drawn=secret_values.itself)] = None
    host: Annotated[str, BeforeValidator(values.host), Setting(
        "CLOUDBEDS_AUTH_HOST", "an address to listen on, like `127.0.0.1`",
        "the address `serve` listens on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), Setting(
        "CLOUDBEDS_AUTH_PORT", "a port from 1 to 65535, or 0 for a free one",
        "the port `serve` listens on")] = 7000
    workers: Annotated[int, Field(ge=1, le=1024), Setting(
        "CLOUDBEDS_AUTH_WORKERS", "a number of processes from 1 to 1024",
        "how many processes `serve` runs")] = 1
    public_url: Annotated[str, BeforeValidator(values.public_url), Setting(
        "CLOUDBEDS_AUTH_PUBLIC_URL", "the service's address, like `https://auth.example.com`",
        "the base of all links to the service; may have a path prefix", default="the redirect URI's origin",
    )] = Field(default_factory=lambda data: written_origin(values.url(data["redirect_uri"])))
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(values.allowed_hosts), Setting(
        "CLOUDBEDS_AUTH_ALLOWED_HOSTS", "host names separated by commas, without ports",
        "the values of the `Host` header that are accepted; any other is answered 421",
        default="the listen address, `localhost`, `127.0.0.1`, and the hosts of the public URL and of all redirect "
        "URIs, also of apps added later",
    )] = Field(default_factory=_allowed_hosts)
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(values.trusted_proxies), Setting(
        "CLOUDBEDS_AUTH_TRUSTED_PROXIES", "addresses or networks separated by commas",
        "the proxies whose `X-Forwarded-*` headers are trusted")] = ()
    return_origins: Annotated[tuple[str, ...], BeforeValidator(values.return_origins), Setting(
        "CLOUDBEDS_AUTH_RETURN_ORIGINS", "origins like `https://app.example.com`, separated by commas",
        "the origins that `return_to` may name")] = ()
    open_connect: Annotated[bool, Setting(
        "CLOUDBEDS_AUTH_OPEN_CONNECT", "`true` or `false`",
        "whether a bare `/connect` starts a connection, or only a one-time link",
        default="`true` if the listen address and the public URL are loopback, else `false`",
    )] = Field(default_factory=lambda data: values.is_local(data["host"], data["public_url"]))
    marketplace: Annotated[Literal["refuse", "park"], Setting(
        "CLOUDBEDS_AUTH_MARKETPLACE", "`refuse` or `park`",
        "what to do with an approval that a hotel began in Cloudbeds' Marketplace, which comes back without a state of "
        "this service: not exchange it, or exchange it and park it until it is claimed")] = "refuse"
    body_limit: Annotated[ByteSize, Field(ge=1, le=MOST_BYTES), Setting(
        "CLOUDBEDS_AUTH_BODY_LIMIT", "bytes, like `104857600` or `100MiB`",
        "the largest proxied body, at most 1 TiB")] = ByteSize(100 * MIB)
    replay_limit: Annotated[ByteSize, Field(ge=0, le=MOST_BYTES), Setting(
        "CLOUDBEDS_AUTH_REPLAY_LIMIT", "bytes, like `1048576` or `1MiB`",
        "the largest body kept in memory so that it can be sent again after a 401")] = ByteSize(MIB)
    log_format: Annotated[Literal["auto", "console", "json"], Setting(
        "CLOUDBEDS_AUTH_LOG_FORMAT", "`console` or `json`, or leave it unset to choose by the terminal",
        "the format of the log", default="`console` on a terminal, else `json`")] = "auto"
    log_level: Annotated[LogLevel, Setting(
        "CLOUDBEDS_AUTH_LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`",
        "the lowest level that is logged")] = "INFO"

    rate_limit: Annotated[float | Literal["observe"], BeforeValidator(values.rate_limit), Setting(
        "CLOUDBEDS_AUTH_RATE_LIMIT", "requests per second from 1 to 10000, 0 for no limit, or `observe`",
        "the rate at which all processes together may call Cloudbeds for one client id",
        default="10, or 5 for a property-level client",
    )] = Field(default_factory=lambda data: VENDORS_LIMITS[data["client_level"]])
    retention_days: Annotated[int, Field(ge=1, le=36500), Setting(
        "CLOUDBEDS_AUTH_RETENTION_DAYS", "a number of days from 1 to 36500, like `400`",
        "how long a connection's history is kept, and, once the connection has ended, who approved it")] = 400
    token_timeout: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False), Setting(
        "CLOUDBEDS_AUTH_TOKEN_TIMEOUT", "seconds above 0 and at most 600, like `20`",
        "the deadline of one token request; the other durations of the protocol are in proportion to it")] = 20.0

    webhook_url: Annotated[Annotated[str, BeforeValidator(values.guarded_url)] | None, Setting(
        "CLOUDBEDS_AUTH_WEBHOOK_URL", "an https URL that accepts POST requests",
        "where messages about connections are posted")] = Field(default=None, repr=False)
    webhook_secrets: Annotated[tuple[Secret, ...], PlainValidator(secret_values.webhook_secrets), Setting(
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET",
        "`whsec_` and 24 to 64 random bytes in base64 (`echo whsec_$(openssl rand -base64 32)`)",
        "signs the messages; several, separated by commas or spaces, each sign every message", secret=True,
        default="none; required with a webhook URL", needed=needs.beside("webhook_url"),
        drawn=secret_values.signing)] = ()
    hook_secret: Annotated[Annotated[Secret, PlainValidator(secret_values.hook_secret)] | None, Setting(
        "CLOUDBEDS_AUTH_HOOK_SECRET", "32 to 256 letters, digits, `_` and `-` (`openssl rand -hex 32`)",
        "the secret in `/hooks/SECRET`, the path at which Cloudbeds reports that a hotel disconnected", secret=True,
        default="none; required with the hook header", needed=needs.beside("hook_header"),
        drawn=secret_values.itself)] = None
    hook_header: Annotated[Token | None, Setting(
        "CLOUDBEDS_AUTH_HOOK_HEADER", "32 characters or more (`openssl rand -hex 32`)",
        f"the secret that Cloudbeds sends there in the header `{HOOK_HEADER}`", secret=True,
        default="none; required with the hook secret", needed=needs.beside("hook_secret"))] = None
    subscriptions: Annotated[Annotated[tuple[str, ...], BeforeValidator(values.events)] | None, Setting(
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS",
        "events as `object/action`, separated by spaces, like `reservation/created`; or `none`",
        "the Cloudbeds webhooks that every property of every hotel is kept subscribed to; `none` ends them",
        default="no subscription is created or ended")] = None
    subscriptions_url: Annotated[Annotated[str, BeforeValidator(values.guarded_url)] | None, Setting(
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_URL", "an https URL of your own that accepts POST requests",
        "where Cloudbeds posts these events, never through this service", default="none; required with events",
        needed=needs.beside("subscriptions"))] = Field(default=None, repr=False)
    subscriptions_secret: Annotated[Token | None, Setting(
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_SECRET", "32 characters or more (`openssl rand -hex 32`)",
        f"the secret that Cloudbeds sends with each of these events in the header `{HOOK_HEADER}`", secret=True,
        default="none; required with events", needed=needs.beside("subscriptions"), drawn=secret_values.itself)] = None
    # fmt: on

    warnings: tuple[str, ...] = ()
    env_file: Path | None = None
    from_env_file: tuple[str, ...] = ()

    @classmethod
    def load(cls, env_file: Path | str | None = None) -> Settings:
        """The settings of this process: its environment, then `env_file`, which by default is the file named by
        `CLOUDBEDS_AUTH_ENV_FILE`, else `.env` in the current folder. Raises ConfigurationError, which lists every
        problem by variable name.
        """
        from cloudbeds_auth.settings.loading import load_from_environment

        return load_from_environment(path=env_file)

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, given: Any, check: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """Raise ConfigurationError with every problem of settings that a program made. Those of settings that are read,
        which have a `context`, name variables: see `loading`.
        """
        try:
            return check(given)
        except ValidationError as error:
            if info.context is not None:
                raise
            raise wrong_values.in_python(error, cls) from None

    def model_post_init(self, context: object, /) -> None:
        """Refuse settings that a program made without client id and database: a new database would appear in the home
        folder. Settings that are read have a `context`, and may lack everything. Raises ConfigurationError.
        """
        if context is None and not self.client_id and not self.names_database:
            raise ConfigurationError(
                "these settings name neither a client id nor a database",
                next_step="Settings.load() reads the environment and `.env`; else give client_id= or database_url=",
            )

    def app(self) -> App:
        """The default app's registration; its client id is empty if all hotels use API keys."""
        given = (self.client_secret, self.client_secret_previous)
        return App(
            id="default",
            client_id=self.client_id,
            secrets=tuple(secret for secret in given if secret),
            redirect_uri=self.redirect_uri,
            scopes=self.scopes,
            level=self.client_level,
            credential=kind_of(self.credential),
        )

    @property
    def hook(self) -> Hook | None:
        """Where Cloudbeds posts to: over https, or to this machine if the simulator is on it; None: nowhere."""
        if self.hook_secret is None or self.hook_header is None or self.is_plain_http:
            return None
        if values.url(self.public_url).scheme == "http" and values.url(self.base_url).scheme == "https":
            return None  # Cloudbeds reaches nothing on this machine
        return Hook(f"{self.public_url}/hooks/{self.hook_secret.reveal()}", HOOK_HEADER, self.hook_header)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """What every hotel is subscribed to: our own hook, and the events for a program's endpoint."""
        ours = () if self.hook is None else (Wanted(APP_STATE, self.hook),)
        if self.subscriptions_url is None or self.subscriptions_secret is None:
            return ours
        theirs = Hook(self.subscriptions_url, HOOK_HEADER, self.subscriptions_secret)
        return (*ours, *(Wanted(event, theirs) for event in self.subscriptions or ()))

    @property
    def is_plain_http(self) -> bool:
        """Whether requests to the public URL travel unencrypted."""
        parts = values.url(self.public_url)
        return parts.scheme == "http" and not values.is_loopback(parts.hostname or "")

    @property
    def limit(self) -> Limit | None:
        """The rate limit of the default app; None: no limit."""
        return self._limit(VENDORS_LIMITS[self.client_level] if self.rate_limit == "observe" else self.rate_limit)

    @property
    def limits(self) -> dict[str, Limit | None]:
        """The rate limits of further apps by their level: the vendor's, or the one in the settings if it is lower."""
        given = self.rate_limit if "rate_limit" in self.model_fields_set else math.inf
        most = math.inf if given == "observe" else given
        return {level: self._limit(min(rate, most)) for level, rate in VENDORS_LIMITS.items()}

    def _limit(self, rate: float) -> Limit | None:
        return Limit(rate_within(rate), observed=self.rate_limit == "observe") if self.rate_limit else None

    @property
    def derived_hosts(self) -> bool:
        """Whether no allowed hosts are set, so that they follow from the addresses, also those of further apps."""
        return "allowed_hosts" not in self.model_fields_set

    @property
    def names_database(self) -> bool:
        """Whether the database is set, instead of the default one in the user data folder."""
        return "database_url" in self.model_fields_set

    @property
    def is_postgres(self) -> bool:
        """Whether the database is a PostgreSQL server."""
        return not self.database_url.startswith("sqlite:///")

    def require(self, attribute: str) -> None:
        """Raises ConfigurationError if this setting is required and missing: those made in Python are not checked."""
        row = rows(type(self))[attribute]
        if why := row.needed(self, Need.NOTHING):
            raise ConfigurationError(f"{row.name} {why}")

    @property
    def database_path(self) -> Path:
        """The SQLite file. Raises ConfigurationError if the database is another one."""
        if self.is_postgres:
            raise ConfigurationError("CLOUDBEDS_AUTH_DATABASE_URL names no SQLite file")
        return Path(self.database_url.removeprefix("sqlite:///"))


def kind_of(credential: str) -> CredentialKind:
    """The rules' kind of credential for the word in the settings."""
    return CredentialKind.API_KEY if credential == "api-key" else CredentialKind.OAUTH
