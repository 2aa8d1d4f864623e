"""The table of settings: one row a setting. Parsing, problems, docs/settings.md and `doctor` are drawn from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, PlainValidator

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.redirects import written_origin
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import APP_STATE, Hook, Wanted
from cloudbeds_auth.settings import secret_values, values
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


def _for_an_app(settings: Settings, need: Need) -> str | None:
    """The client id and secret: both, or neither where a database is named: hotels give API keys alone there."""
    either = settings.client_id or settings.client_secret
    if need is Need.NOTHING or (settings.names_database and not either):
        return None
    return "is not set" if either else "is not set (for API keys alone, CLOUDBEDS_AUTH_DATABASE_URL is enough)"


def _with_postgres(settings: Settings, need: Need) -> str | None:
    """Many machines share the database: a file made beside it on one of them would help no other."""
    return "is required with PostgreSQL" if settings.is_postgres else None


def _beyond_this_machine(settings: Settings, need: Need) -> str | None:
    wide = "is required when CLOUDBEDS_AUTH_HOST is not this machine alone"
    return _with_postgres(settings, need) or (None if values.is_loopback(settings.host) else wide)


def _with(attribute: str) -> Callable[[Settings, Need], str | None]:
    def needed(settings: Settings, need: Need) -> str | None:
        given = getattr(settings, attribute)
        return f"is required with {rows(type(settings))[attribute].name}" if given else None

    return needed


class Settings(BaseModel):
    """Everything that an operator sets. Durations in seconds, limits in bytes; `repr` shows no secret.

    `rate_limit` is in requests per second, for every process together; 0: none; `observe`: the vendor's, reported
    and not enforced. `encryption_keys` is empty when the key file beside the database is meant. `warnings` are
    sentences for people about what was set without effect. `env_file`: the file that the variables `from_env_file` came
    from; None: all are the environment's.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # The order is the page's and that of problems; a default that is computed reads only what is above it.
    # fmt: off
    client_id: Annotated[str, BeforeValidator(values.text), Setting(
        "CLOUDBEDS_CLIENT_ID", "the client id from the app's page at Cloudbeds",
        "the app's registration", default="none; required unless hotels give API keys alone",
        needed=_for_an_app)] = ""
    client_secret: Annotated[SecretText, Setting(
        "CLOUDBEDS_CLIENT_SECRET", "the client secret from the app's page at Cloudbeds",
        "what proves that a request is the app's", secret=True, default="none; required with a client id",
        needed=_for_an_app,
    )] = Field(default_factory=lambda: Secret(""))
    client_secret_previous: Annotated[SecretText | None, Setting(
        "CLOUDBEDS_CLIENT_SECRET_PREVIOUS", "the secret before a reset",
        "while a reset is under way: tried when the current one is refused", secret=True)] = None
    client_level: Annotated[Level, Setting(
        "CLOUDBEDS_CLIENT_LEVEL", "`partner` or `property`",
        "`property`: a client that a single property made for itself; it has no app state, so a disconnect cannot be "
        "reported to Cloudbeds")] = "partner"
    redirect_uri: Annotated[RedirectUri, Setting(
        "CLOUDBEDS_REDIRECT_URI", "the URI as registered, like `https://app.example.com/callback`",
        "where Cloudbeds sends browsers back to; its path becomes the callback route")] = "http://localhost:7000/callback"
    scopes: Annotated[Scopes, Setting(
        "CLOUDBEDS_SCOPES", "scopes with spaces between, like `read:hotel read:guest`",
        "what a hotel is asked to approve, sent as given")] = ()
    base_url: Annotated[str, BeforeValidator(values.base_url), Setting(
        "CLOUDBEDS_BASE_URL", "scheme and host, like `https://api.cloudbeds.com`",
        "Cloudbeds' address; plain http only to this machine")] = "https://api.cloudbeds.com"
    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"), Setting(
        "CLOUDBEDS_API_VERSION", "a version like `v1.3`",
        "endpoints are `{base}/api/{version}/access_token`, `…/userinfo`, and so on")] = "v1.3"
    credential: Annotated[Credential, Setting(
        "CLOUDBEDS_CREDENTIAL", "`oauth` or `api-key`",
        "what an approval is exchanged for: OAuth tokens, or an API key")] = "oauth"
    credential_header: Annotated[Literal["bearer", "x-api-key"], BeforeValidator(values.word), Setting(
        "CLOUDBEDS_CREDENTIAL_HEADER", "`bearer` or `x-api-key`",
        "how API keys travel: `Authorization: Bearer`, or `x-api-key`")] = "bearer"
    authorize_url: Annotated[str, BeforeValidator(values.guarded_url), Setting(
        "CLOUDBEDS_AUTHORIZE_URL", "a URL like `https://hotels.cloudbeds.com/api/v1.3/oauth`",
        "the approval page, where the app's page at Cloudbeds names another host",
        default="`{base}/api/{version}/oauth`",
    )] = Field(default_factory=lambda data: f"{data['base_url']}/api/{data['api_version']}/oauth")

    database_url: Annotated[str, BeforeValidator(values.database_url), Setting(
        "CLOUDBEDS_AUTH_DATABASE_URL", "`sqlite:////absolute/path`, or `postgresql://user:password@host/database`",
        "where everything is stored; a file's path has at most 900 bytes, each name in it 200", secret=True,
        default="a SQLite file in the user data folder",
    )] = Field(
        default_factory=lambda: f"sqlite:///{user_data_path('cloudbeds-auth') / 'cloudbeds-auth.sqlite3'}", repr=False)
    encryption_keys: Annotated[tuple[Secret, ...], PlainValidator(secret_values.encryption_keys), Setting(
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS",
        "32 random bytes in base64 (`openssl rand -base64 32`), several with commas between",
        "the first seals, all open", secret=True, needed=_with_postgres, drawn=secret_values.sealing,
        default="a key file beside the database, made once, 0600; required with PostgreSQL")] = ()
    allow_network_fs: Annotated[bool, Setting(
        "CLOUDBEDS_AUTH_ALLOW_NETWORK_FS", "`true` or `false`",
        "whether a SQLite file on NFS, SMB and the like is opened all the same")] = False
    instance: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$"), Setting(
        "CLOUDBEDS_AUTH_INSTANCE", "a name of letters, digits, `.`, `_` and `-`",
        "names this installation, instead of the mark file `DATABASE.instance`: a database restored or moved under the "
        "same name is its own. One that is there already opens read-only when it is named, as a copy does, until "
        "`database adopt`")] = None

    admin_token: Annotated[Token | None, Setting(
        "CLOUDBEDS_AUTH_ADMIN_TOKEN", "32 characters or more (`openssl rand -hex 32`)",
        "what opens everything; must be set when the service listens beyond this machine", secret=True,
        default="a file beside the database, made once, 0600; required with PostgreSQL",
        needed=_beyond_this_machine, drawn=secret_values.itself)] = None
    metrics_token: Annotated[Annotated[Secret, PlainValidator(secret_values.metrics_token)] | None, Setting(
        "CLOUDBEDS_AUTH_METRICS_TOKEN", "32 characters or more (`openssl rand -hex 32`), not the admin token",
        "what opens `/metrics` and nothing else, for a scraper that need not hold the admin token", secret=True,
        default="none; the admin token opens it, too", drawn=secret_values.itself)] = None
    host: Annotated[str, BeforeValidator(values.host), Setting(
        "CLOUDBEDS_AUTH_HOST", "an address to listen on, like `127.0.0.1`",
        "the address `serve` listens on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), Setting(
        "CLOUDBEDS_AUTH_PORT", "a port from 1 to 65535, or 0 for a free one",
        "the port `serve` listens on")] = 7000
    workers: Annotated[int, Field(ge=1, le=1024), Setting(
        "CLOUDBEDS_AUTH_WORKERS", "a number of processes from 1 to 1024",
        "processes of the service")] = 1
    public_url: Annotated[str, BeforeValidator(values.public_url), Setting(
        "CLOUDBEDS_AUTH_PUBLIC_URL", "the service's address, like `https://auth.example.com`",
        "what links to the service are built from; may carry a path prefix", default="the redirect URI's origin",
    )] = Field(default_factory=lambda data: written_origin(values.url(data["redirect_uri"])))
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(values.allowed_hosts), Setting(
        "CLOUDBEDS_AUTH_ALLOWED_HOSTS", "host names with commas between, without port",
        "host names that may be asked for; any other is answered 421",
        default="the listen address, `localhost`, `127.0.0.1`, and the hosts of the public URL and the redirect URIs, "
        "those of further apps as soon as they are added",
    )] = Field(default_factory=_allowed_hosts)
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(values.trusted_proxies), Setting(
        "CLOUDBEDS_AUTH_TRUSTED_PROXIES", "addresses or networks with commas between",
        "whose `X-Forwarded-*` headers count")] = ()
    return_origins: Annotated[tuple[str, ...], BeforeValidator(values.return_origins), Setting(
        "CLOUDBEDS_AUTH_RETURN_ORIGINS", "origins like `https://app.example.com`, with commas",
        "origins that `return_to` may name")] = ()
    open_connect: Annotated[bool, Setting(
        "CLOUDBEDS_AUTH_OPEN_CONNECT", "`true` or `false`",
        "whether a bare `/connect` starts a connection, or only a one-time link does",
        default="`true` where listen address and public URL are loopback, else `false`",
    )] = Field(default_factory=lambda data: values.is_local(data["host"], data["public_url"]))
    marketplace: Annotated[Literal["refuse", "park"], Setting(
        "CLOUDBEDS_AUTH_MARKETPLACE", "`refuse` or `park`",
        "an approval that a hotel began in Cloudbeds' Marketplace, which comes back without a state of ours: not "
        "exchanged, or exchanged and kept until it is claimed")] = "refuse"
    body_limit: Annotated[ByteSize, Field(ge=1, le=MOST_BYTES), Setting(
        "CLOUDBEDS_AUTH_BODY_LIMIT", "bytes, like `104857600` or `100MiB`",
        "largest proxied body, at most 1 TiB")] = ByteSize(100 * MIB)
    replay_limit: Annotated[ByteSize, Field(ge=0, le=MOST_BYTES), Setting(
        "CLOUDBEDS_AUTH_REPLAY_LIMIT", "bytes, like `1048576` or `1MiB`",
        "largest body kept in memory so that it can be sent again after a 401")] = ByteSize(MIB)
    log_format: Annotated[Literal["auto", "console", "json"], Setting(
        "CLOUDBEDS_AUTH_LOG_FORMAT", "`console`, `json`, or nothing to choose by the terminal",
        "how the log is written", default="`console` on a terminal, else `json`")] = "auto"
    log_level: Annotated[LogLevel, Setting(
        "CLOUDBEDS_AUTH_LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`",
        "the least that is logged")] = "INFO"

    rate_limit: Annotated[float | Literal["observe"], BeforeValidator(values.rate_limit), Setting(
        "CLOUDBEDS_AUTH_RATE_LIMIT", "requests per second from 1 to 10000, 0 for no limit, or `observe`",
        "requests that all processes together make at Cloudbeds for one client id",
        default="10, or 5 for a property-level client",
    )] = Field(default_factory=lambda data: VENDORS_LIMITS[data["client_level"]])
    retention_days: Annotated[int, Field(ge=1, le=36500), Setting(
        "CLOUDBEDS_AUTH_RETENTION_DAYS", "days from 1 on, like `400`",
        "how long a connection's history is kept, and who approved a connection after it has ended")] = 400
    token_timeout: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False), Setting(
        "CLOUDBEDS_AUTH_TOKEN_TIMEOUT", "seconds above 0 and at most 600, like `20`",
        "the deadline of one token exchange; every duration of the protocol scales with it")] = 20.0

    webhook_url: Annotated[Annotated[str, BeforeValidator(values.guarded_url)] | None, Setting(
        "CLOUDBEDS_AUTH_WEBHOOK_URL", "an https URL that takes a POST",
        "where messages about connections are posted")] = Field(default=None, repr=False)
    webhook_secrets: Annotated[tuple[Secret, ...], PlainValidator(secret_values.webhook_secrets), Setting(
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET",
        "`whsec_` and 24 to 64 random bytes in base64 (`echo whsec_$(openssl rand -base64 32)`)",
        "what messages are signed with, with each of several that have commas or spaces between", secret=True,
        default="none; required with an address", needed=_with("webhook_url"), drawn=secret_values.signing)] = ()
    hook_secret: Annotated[Annotated[Secret, PlainValidator(secret_values.hook_secret)] | None, Setting(
        "CLOUDBEDS_AUTH_HOOK_SECRET", "32 to 256 letters, digits, `_` and `-` (`openssl rand -hex 32`)",
        "the path at which Cloudbeds reports that a hotel disconnected, `/hooks/SECRET`", secret=True,
        default="none; required with the other", needed=_with("hook_header"), drawn=secret_values.itself)] = None
    hook_header: Annotated[Token | None, Setting(
        "CLOUDBEDS_AUTH_HOOK_HEADER", "32 characters or more (`openssl rand -hex 32`)",
        f"what Cloudbeds sends in the header `{HOOK_HEADER}`", secret=True,
        default="none; required with the other", needed=_with("hook_secret"))] = None
    subscriptions: Annotated[Annotated[tuple[str, ...], BeforeValidator(values.events)] | None, Setting(
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS",
        "events as `object/action` with spaces between, like `reservation/created`, or `none`",
        "the webhooks of Cloudbeds that every property of every hotel is kept subscribed to; `none` ends them",
        default="none is made and none ended")] = None
    subscriptions_url: Annotated[Annotated[str, BeforeValidator(values.guarded_url)] | None, Setting(
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_URL", "an https URL of your own that takes a POST",
        "where Cloudbeds posts them, never through this service", default="none; required with events",
        needed=_with("subscriptions"))] = Field(default=None, repr=False)
    subscriptions_secret: Annotated[Token | None, Setting(
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_SECRET", "32 characters or more (`openssl rand -hex 32`)",
        f"what Cloudbeds sends with each of them, in the header `{HOOK_HEADER}`", secret=True,
        default="none; required with events", needed=_with("subscriptions"), drawn=secret_values.itself)] = None
    # fmt: on

    warnings: tuple[str, ...] = ()
    env_file: Path | None = None
    from_env_file: tuple[str, ...] = ()

    @classmethod
    def load(cls, env_file: Path | str | None = None) -> Settings:
        """Those of this process: its environment, then `env_file`; None: the file that `CLOUDBEDS_AUTH_ENV_FILE` names,
        else `.env` in the current folder. Raises ConfigurationError with every problem by variable name.
        """
        from cloudbeds_auth.settings.loading import load_from_environment

        return load_from_environment(path=env_file)

    def model_post_init(self, context: object, /) -> None:
        """Refuses what a program made with neither of the two, instead of a new database in the home folder; `context`
        is given where settings are read, which may lack everything. Raises ConfigurationError.
        """
        if context is None and not self.client_id and not self.names_database:
            raise ConfigurationError(
                "these settings name neither a client id nor a database",
                next_step="Settings.load() reads the environment and `.env`; else give client_id= or database_url=",
            )

    def app(self) -> App:
        """The default app's registration; with an empty client id where hotels give API keys alone."""
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
        """Where Cloudbeds posts to: over https, or to this machine, where the simulator is too; None: nowhere."""
        if self.hook_secret is None or self.hook_header is None or self.is_plain_http:
            return None
        if values.url(self.public_url).scheme == "http" and values.url(self.base_url).scheme == "https":
            return None  # Cloudbeds reaches nothing on this machine
        return Hook(f"{self.public_url}/hooks/{self.hook_secret.reveal()}", HOOK_HEADER, self.hook_header)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """What every hotel is to be subscribed to: to our own hook, and to the events for a program's endpoint."""
        ours = () if self.hook is None else (Wanted(APP_STATE, self.hook),)
        if self.subscriptions_url is None or self.subscriptions_secret is None:
            return ours
        theirs = Hook(self.subscriptions_url, HOOK_HEADER, self.subscriptions_secret)
        return (*ours, *(Wanted(event, theirs) for event in self.subscriptions or ()))

    @property
    def is_plain_http(self) -> bool:
        """Whether the public URL can be read on its way."""
        parts = values.url(self.public_url)
        return parts.scheme == "http" and not values.is_loopback(parts.hostname or "")

    @property
    def limit(self) -> Limit | None:
        """The rate limit as it is kept; None: none is."""
        return self._limit(VENDORS_LIMITS[self.client_level] if self.rate_limit == "observe" else self.rate_limit)

    @property
    def limits(self) -> dict[str, Limit | None]:
        """The rate limits of further apps by their level: the vendor's, or less where less is set for all."""
        given = self.rate_limit if "rate_limit" in self.model_fields_set else math.inf
        most = math.inf if given == "observe" else given
        return {level: self._limit(min(rate, most)) for level, rate in VENDORS_LIMITS.items()}

    def _limit(self, rate: float) -> Limit | None:
        return Limit(rate_within(rate), observed=self.rate_limit == "observe") if self.rate_limit else None

    @property
    def derived_hosts(self) -> bool:
        """Whether the allowed hosts follow from the addresses, those of further apps too, because none are set."""
        return "allowed_hosts" not in self.model_fields_set

    @property
    def names_database(self) -> bool:
        """Whether the database is named, and not the one in the user data folder for want of another."""
        return "database_url" in self.model_fields_set

    @property
    def is_postgres(self) -> bool:
        """Whether the database is a PostgreSQL server."""
        return not self.database_url.startswith("sqlite:///")

    def require(self, attribute: str) -> None:
        """Raises ConfigurationError where this one has to be set: settings that Python made were not asked."""
        row = rows(type(self))[attribute]
        if why := row.needed(self, Need.NOTHING):
            raise ConfigurationError(f"{row.name} {why}")

    @property
    def database_path(self) -> Path:
        """The SQLite file. Raises ConfigurationError when the database is another one."""
        if self.is_postgres:
            raise ConfigurationError("CLOUDBEDS_AUTH_DATABASE_URL names no SQLite file")
        return Path(self.database_url.removeprefix("sqlite:///"))


def kind_of(credential: str) -> CredentialKind:
    """What the settings' word for a credential is in the rules."""
    return CredentialKind.API_KEY if credential == "api-key" else CredentialKind.OAUTH
