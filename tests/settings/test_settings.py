"""Settings: every problem at once, by variable name, never with a secret in it."""

from __future__ import annotations

import base64
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from tests.docs.pages import drawer, text_of
from tests.support import keys

from cloudbeds_auth.errors import ConfigurationError, InvalidRequest
from cloudbeds_auth.rules.model import CredentialKind
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import (
    Need,
    Setting,
    Settings,
    further_app,
    is_loopback,
    key_bytes,
    known,
    load,
    loading,
    rows,
    secret_values,
)

APP = {"CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": "canary-client-secret"}
DIGITS = "9" * 30
HOOK_PATH, HOOK_HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"
KEY, WHSEC = keys.KEY_TEXT, keys.WEBHOOK_SECRET
TOKEN = "canary-admin-token-0123456789abcdef"


def read(**more: str) -> Settings:
    """Settings of an environment with an app and `more`, whose names lack `CLOUDBEDS_`."""
    return load(APP | {f"CLOUDBEDS_{name}": value for name, value in more.items()}, None, need=Need.APP)


def problems(environ: dict[str, str], dotenv: Path | None = None, need: Need = Need.NOTHING) -> tuple[str, ...]:
    """What `load` complains about."""
    with pytest.raises(ConfigurationError) as raised:
        load(environ, dotenv, need=need)
    return raised.value.problems


def test_defaults() -> None:
    """With only an app given, every setting has the contract's default."""
    settings = read()
    assert settings.client_level == "partner"
    assert settings.redirect_uri == "http://localhost:7000/callback"
    assert (settings.base_url, settings.api_version) == ("https://api.cloudbeds.com", "v1.3")
    assert settings.authorize_url == "https://api.cloudbeds.com/api/v1.3/oauth"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 7000, 1)
    assert settings.public_url == "http://localhost:7000"
    assert settings.allowed_hosts == ("127.0.0.1", "localhost")
    assert (settings.body_limit, settings.replay_limit) == (100 * 1024 * 1024, 1024 * 1024)
    assert settings.open_connect is True
    assert read(REDIRECT_URI="https://auth.example.com/callback").open_connect is False, "a proxy has it"
    assert settings.encryption_keys == settings.scopes == settings.return_origins == settings.trusted_proxies == ()
    assert (settings.admin_token, settings.instance, settings.client_secret_previous) == (None, None, None)
    assert (settings.log_format, settings.log_level, settings.token_timeout) == ("auto", "INFO", 20.0)
    assert settings.database_path.parts[-2:] == ("cloudbeds-auth", "cloudbeds-auth.sqlite3")
    assert settings.database_path.is_absolute()
    assert settings.warnings == ()


def test_everything_given() -> None:
    """Every variable reaches its attribute, in normal form."""
    settings = read(
        CLIENT_SECRET_PREVIOUS="old",
        CLIENT_LEVEL="property",
        REDIRECT_URI="https://app.example.com/cloudbeds/callback",
        SCOPES="read:hotel  write:guest",
        BASE_URL="HTTPS://API.example.com:443/",
        API_VERSION="v1.2",
        AUTHORIZE_URL="https://hotels.example.com/oauth?x=1",
        AUTH_DATABASE_URL="sqlite:////var/lib/x/db.sqlite3",
        AUTH_ENCRYPTION_KEYS=f"{KEY}, {KEY.rstrip('=')}",
        AUTH_ADMIN_TOKEN=TOKEN,
        AUTH_HOST="0.0.0.0",
        AUTH_PORT="0",
        AUTH_WORKERS="3",
        AUTH_PUBLIC_URL="https://auth.example.com/cb/",
        AUTH_TRUSTED_PROXIES="10.0.0.1, 10.1.2.3/16",
        AUTH_RETURN_ORIGINS="https://App.example.com:443/,http://localhost:3000",
        AUTH_BODY_LIMIT="1 MiB",
        AUTH_REPLAY_LIMIT="64KiB",
        AUTH_ALLOW_NETWORK_FS="yes",
        AUTH_INSTANCE="eu-1",
        AUTH_LOG_FORMAT="json",
        AUTH_LOG_LEVEL="debug",
        AUTH_TOKEN_TIMEOUT="0.5",
    )
    assert settings.client_secret_previous == Secret("old")
    assert settings.scopes == ("read:hotel", "write:guest")
    assert settings.base_url == "https://api.example.com"
    assert settings.authorize_url == "https://hotels.example.com/oauth?x=1"
    assert settings.database_path == Path("/var/lib/x/db.sqlite3")
    assert [key_bytes(key) for key in settings.encryption_keys] == [keys.KEY] * 2
    assert settings.admin_token == Secret(TOKEN)
    assert settings.port == 0
    assert settings.open_connect is False
    assert settings.public_url == "https://auth.example.com/cb"
    assert settings.allowed_hosts == ("0.0.0.0", "localhost", "127.0.0.1", "auth.example.com", "app.example.com")
    assert settings.trusted_proxies == ("10.0.0.1", "10.1.0.0/16")
    assert settings.return_origins == ("https://app.example.com", "http://localhost:3000")
    assert (settings.body_limit, settings.replay_limit) == (1048576, 65536)
    assert (settings.allow_network_fs, settings.instance) == (True, "eu-1")
    assert (settings.log_format, settings.log_level, settings.token_timeout) == ("json", "DEBUG", 0.5)
    app = settings.app()
    assert (app.id, app.client_id, app.level, app.scopes) == ("default", "client-1", "property", settings.scopes)
    assert app.secrets == (Secret("canary-client-secret"), Secret("old"))


def test_the_metrics_token_is_one_of_its_own() -> None:
    """Who may read numbers may not read everything: the admin token is refused in its place."""
    assert read(AUTH_ADMIN_TOKEN=TOKEN, AUTH_METRICS_TOKEN=TOKEN[::-1]).metrics_token == Secret(TOKEN[::-1])
    given = {"CLOUDBEDS_AUTH_ADMIN_TOKEN": TOKEN, "CLOUDBEDS_AUTH_METRICS_TOKEN": TOKEN}
    (problem,) = problems(given)
    assert problem.startswith("CLOUDBEDS_AUTH_METRICS_TOKEN: is the admin token; write 32 characters or more")
    assert TOKEN not in problem


@pytest.mark.row("A48")
def test_repr_shows_no_secret() -> None:
    """Neither the settings' repr nor a problem's text holds a secret or a database password."""
    settings = read(
        AUTH_ADMIN_TOKEN=TOKEN, AUTH_ENCRYPTION_KEYS=KEY, CLIENT_SECRET_PREVIOUS="canary-previous",
        AUTH_METRICS_TOKEN=f"{TOKEN}-of-metrics",
    )  # fmt: skip
    assert "canary" not in repr(settings) + str(settings)
    assert KEY not in repr(settings)
    wrong = {
        "CLOUDBEDS_CLIENT_SECRET": "canary\x07bell",
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": "canary-short",
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": "canary-key",
        "CLOUDBEDS_AUTH_DATABASE_URL": "postgresql://user:canary-password@db",
        "CLOUDBEDS_BASE_URL": "https://user:canary@api.cloudbeds.com",
    }
    found = problems(wrong)
    assert len(found) == len(wrong)
    assert "canary" not in "".join(found)


def test_postgresql_needs_what_a_file_would_hold() -> None:
    """Many machines share it: key and admin token come from the settings, and the URL's password is not shown."""
    url = "postgresql://user:canary-password@db.example/hotels?sslmode=verify-full"
    found = problems({"CLOUDBEDS_AUTH_DATABASE_URL": url})
    assert [problem.split(":")[0] for problem in found] == [
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS", "CLOUDBEDS_AUTH_ADMIN_TOKEN",
    ]  # fmt: skip
    for well in (url, "postgresql://one:5432,two:5433/hotels?target_session_attrs=read-write", "postgresql:///hotels"):
        assert read(AUTH_DATABASE_URL=well, AUTH_ADMIN_TOKEN=TOKEN, AUTH_ENCRYPTION_KEYS=KEY).is_postgres
    settings = read(AUTH_DATABASE_URL=url, AUTH_ADMIN_TOKEN=TOKEN, AUTH_ENCRYPTION_KEYS=KEY)
    assert "canary" not in repr(settings)


def test_what_fits_a_wrong_value_alone() -> None:
    """Beside the default that is tried in its place another value is wrong: both are named, and nothing else fails."""
    given = {
        "CLOUDBEDS_REDIRECT_URI": "http://example.com/cb",
        "CLOUDBEDS_AUTH_PUBLIC_URL": "http://localhost:8000/callback",
    }
    found = problems(given, need=Need.NOTHING)
    assert [one.split(":")[0] for one in found] == ["CLOUDBEDS_REDIRECT_URI", "CLOUDBEDS_AUTH_PUBLIC_URL"]


def test_every_problem_at_once() -> None:
    """Problems of single values, of what is missing and of contradictions come together, each naming its variable."""
    found = problems(
        {"CLOUDBEDS_AUTH_PORT": "70000", "CLOUDBEDS_AUTH_HOST": "0.0.0.0", "CLOUDBEDS_AUTH_BODY_LIMIT": "much"},
        need=Need.APP,
    )
    assert [one.split(":")[0] for one in found] == [
        "CLOUDBEDS_AUTH_PORT",
        "CLOUDBEDS_AUTH_BODY_LIMIT",
        "CLOUDBEDS_CLIENT_ID",
        "CLOUDBEDS_CLIENT_SECRET",
        "CLOUDBEDS_AUTH_ADMIN_TOKEN",
    ]
    assert all("; write " in one for one in found)


def test_keys_alone() -> None:
    """A database that is named is enough; but of client id and secret neither goes without the other."""
    database = {"CLOUDBEDS_AUTH_DATABASE_URL": "sqlite:////srv/hotels.sqlite3"}
    app = load(database, None, need=Need.APP).app()
    assert (app.client_id, app.secrets) == ("", ())
    for name in APP:
        (problem,) = problems(database | {name: APP[name]}, need=Need.APP)
        (other,) = APP.keys() - {name}
        assert problem.startswith(f"{other}: is not set; write ")
    enough = "is not set (with API keys only, CLOUDBEDS_AUTH_DATABASE_URL is enough)"
    assert [enough in one for one in problems({}, need=Need.APP)] == [True, True]


def test_nothing_needed() -> None:
    """doctor and setup start without an app."""
    settings = load({}, None, need=Need.NOTHING)
    assert settings.client_id == ""
    assert not settings.client_secret
    assert settings.app().secrets == ()


WRONG = {
    "CLOUDBEDS_AUTH_HOOK_SECRET": [
        "short",
        "p" * 40,
        "a/path/of/more/than/thirty-two/letters",
        "é" * 40,
    ],
    "CLOUDBEDS_AUTH_HOOK_HEADER": ["short", "h" * 40, "with a space and more than thirty-two letters"],
    "CLOUDBEDS_AUTH_SUBSCRIPTIONS": [
        "created",
        "reservation/",
        "reservation/created/again",
        "reservation:created",
        "none guest/created",
    ],
    "CLOUDBEDS_AUTH_SUBSCRIPTIONS_URL": ["http://10.0.0.5/hook", "hook", "https://user@app.example.com/hook"],
    "CLOUDBEDS_AUTH_SUBSCRIPTIONS_SECRET": ["short", "h" * 40, "with a space and more than thirty-two letters"],
    "CLOUDBEDS_AUTH_WEBHOOK_URL": ["http://10.0.0.5/hook", "hook", "https://user@app.example.com/hook"],
    "CLOUDBEDS_AUTH_WEBHOOK_SECRET": [
        "x",
        "whsec_!",
        "whsec_c2hvcnQ=",
        f"{WHSEC},x",
        f"whsec_{'A' * 100}",
        f"whsec_{'A' * 44}",
    ],
    "CLOUDBEDS_CREDENTIAL": ["key", "api_key"],
    "CLOUDBEDS_CREDENTIAL_HEADER": ["Authorization", "both"],
    "CLOUDBEDS_CLIENT_ID": ["tab\tinside", "hötel"],
    "CLOUDBEDS_CLIENT_LEVEL": ["hotel"],
    "CLOUDBEDS_AUTH_MARKETPLACE": ["yes", "claim"],
    "CLOUDBEDS_REDIRECT_URI": [
        "http://app.example.com/callback",
        "/callback",
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com/callback?x=1",
        "https://app.example.com/callback#x",
        "https://user@app.example.com/callback",
        "https://app.example.com/api/v1",
        "https://app.example.com/api/v1/callback",
        "https://app.example.com/proxy/x",
        "https://app.example.com/healthz",
        "https://app.example.com/readyz",
        "https://app.example.com/metrics",
        "https://app.example.com/connect",
        "https://app.example.com/connected",
        "https://app.example.com/session",
        "https://app.example.com/hooks/x",
        "https://app.example.com/static/x",
        "https://app.example.com:99999/callback",
        "https://[::1/callback",
        "ftp://app.example.com/callback",
        "https://app.example.com/call back",
        "https://app.example.com\\@evil/callback",
        "https://app.example.com/{a}{a}",
        "https://app.example.com/{x:nope}",
        'https://app.example.com/call"back',
        "https://app.example.com/./connect",
        "https://app.example.com/x/../y",
        "https://app.example.com/callback/..",
        "https://app.example.com//connect",
        "https://app.example.com/callback//",
        "https://app.example.com/%63onnect",
        "https://app.example.com/x/%2e%2E/y",
        "https://app.example.com/%zz",
    ],
    "CLOUDBEDS_SCOPES": ['read:"hotel"', "read\\hotel"],
    "CLOUDBEDS_BASE_URL": [
        "http://api.cloudbeds.com",
        "http://127.0.0.1.evil.com",
        "http://localhost.evil.com",
        "https://api.cloudbeds.com/api",
        "https://api.cloudbeds.com?x",
        "api.cloudbeds.com",
        "https://",
    ],
    "CLOUDBEDS_API_VERSION": ["../x", "v1/3"],
    "CLOUDBEDS_AUTHORIZE_URL": ["http://hotels.cloudbeds.com/oauth", "https://x/y#z"],
    "CLOUDBEDS_AUTH_DATABASE_URL": [
        "mysql://x",
        "sqlite://x",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "/x/y",
        "sqlite:////tmp/" + "x" * 300,
        "sqlite:////tmp/" + "ü" * 101 + "/x.db",
        "sqlite:////tmp" + "/folder" * 200,
        "postgresql://db",
        "postgres://db/",
        "postgresql://db:port/x",
    ],
    "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": [
        "not base64!",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        f"{KEY},short",
        base64.b64encode(bytes(32)).decode(),
        base64.b64encode(b"k" * 32).decode(),
        base64.b64encode(b"abcdefg" * 4 + b"abcd").decode(),
    ],
    "CLOUDBEDS_AUTH_ADMIN_TOKEN": [
        "an-admin-token-of-less-than-32",
        "an-admin-token of-more-than-32-characters",
        "a" * 40,
        "ab" * 20,
        "0" * 33 + "1234567",
    ],
    "CLOUDBEDS_AUTH_METRICS_TOKEN": ["a-metrics-token-of-less-than-32", "a" * 40],
    "CLOUDBEDS_AUTH_HOST": ["a..b", ".", ".a", "a" * 64, "a." * 127, "-x", "a b", "1:2:3", "x/y"],
    "CLOUDBEDS_AUTH_PORT": ["-1", "65536", "http", "7000.5", DIGITS, "1e400", "nan"],
    "CLOUDBEDS_AUTH_WORKERS": ["0", "-1", "two", DIGITS, "1025"],
    "CLOUDBEDS_AUTH_PUBLIC_URL": ["auth.example.com", "https://x?y", "https://x/#y"],
    "CLOUDBEDS_AUTH_ALLOWED_HOSTS": ["*", "https://x", "a:b:c"],
    "CLOUDBEDS_AUTH_TRUSTED_PROXIES": [
        "*",
        "proxy.example.com",
        "10.0.0.0/99",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.1, 0.0.0.0/1, 128.0.0.0/1",
        "::ffff:0:0/96",
        "::fff0:0:0/90",
        "64:ff9b::/96",
        "64:ff9b::/64",
        "2000::/7",
        "2002::/16",
        "11.0.0.0/8, 12.0.0.0/8",
        ",".join(f"{number}.0.0.0/8" for number in range(256)),
    ],
    "CLOUDBEDS_AUTH_RETURN_ORIGINS": ["https://x/y", "x", "https://x,*"],
    "CLOUDBEDS_AUTH_OPEN_CONNECT": ["maybe"],
    "CLOUDBEDS_AUTH_BODY_LIMIT": ["0", "-1", "1 zib", "x", DIGITS, "1e400", "nan", "9999999999TiB"],
    "CLOUDBEDS_AUTH_REPLAY_LIMIT": ["-1", "x", DIGITS],
    "CLOUDBEDS_AUTH_ALLOW_NETWORK_FS": ["perhaps"],
    "CLOUDBEDS_AUTH_INSTANCE": ["a b", "x" * 101],
    "CLOUDBEDS_AUTH_LOG_FORMAT": ["xml"],
    "CLOUDBEDS_AUTH_LOG_LEVEL": ["LOUD"],
    "CLOUDBEDS_AUTH_RATE_LIMIT": ["-1", "0.5", "nan", "inf", "fast", "1e300", "1e-400", "10001", "true"],
    "CLOUDBEDS_AUTH_RETENTION_DAYS": ["0", "-1", "1.5", "36501", "x", DIGITS],
    "CLOUDBEDS_AUTH_TOKEN_TIMEOUT": ["0", "-1", "nan", "inf", "601", "x", DIGITS],
}


@pytest.mark.row("A78", "A80")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_value_is_named(name: str, value: str) -> None:
    """A wrong value is one problem, which begins with the variable and ends with what to write."""
    (problem,) = problems({name: value})
    assert problem.startswith(f"{name}: ")
    assert "; write " in problem


def test_every_variable_has_a_wrong_value_here() -> None:
    """The table of wrong values covers every variable that can be wrong; secrets are any visible text."""
    unrestricted = {"CLOUDBEDS_CLIENT_SECRET", "CLOUDBEDS_CLIENT_SECRET_PREVIOUS"}
    assert {row.name for row in rows(Settings).values()} - unrestricted == WRONG.keys()


class Further(Settings):
    """One more setting: this row is all that it takes."""

    colour: Annotated[
        Literal["red", "blue"],
        Setting("CLOUDBEDS_AUTH_COLOUR", "`red` or `blue`", "what doors are painted in", secret=True),
    ] = "red"


def test_a_setting_is_one_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is read, also from a file where it is secret; a wrong value and a slip of its name are problems; it is on the
    page.
    """
    monkeypatch.setattr(loading, "Settings", Further)
    (tmp_path / "colour").write_text("blue")
    (tmp_path / "colour").chmod(0o600)
    for given in ({"AUTH_COLOUR": "blue"}, {"AUTH_COLOUR_FILE": str(tmp_path / "colour")}):
        found = read(**given)
        assert isinstance(found, Further)
        assert (found.colour, found.warnings) == ("blue", ())
    assert problems({"CLOUDBEDS_AUTH_COLOUR": "green"}) == (
        "CLOUDBEDS_AUTH_COLOUR: input should be 'red' or 'blue'; write `red` or `blue`",
    )
    assert "did you mean CLOUDBEDS_AUTH_COLOUR?" in problems({"CLOUDBEDS_AUTH_COLOR": "red"})[0]
    page = drawer("draw_settings").replaced(text_of("docs/settings.md"), Further)
    row = "| `CLOUDBEDS_AUTH_COLOUR` | `red` | secret | `red` or `blue` | what doors are painted in |"
    assert row in page.splitlines()


def test_every_field_is_a_row_but_what_reading_found() -> None:
    """A field without a row would be set by nobody."""
    assert Settings.model_fields.keys() - rows(Settings).keys() == {"warnings", "env_file", "from_env_file"}


@pytest.mark.row("A80")
def test_a_weak_key_that_only_opens_is_warned_about() -> None:
    """It may stay behind a new one for what it sealed; `doctor` says so until it is gone."""
    weak = base64.b64encode(b"k" * 32).decode()
    (warning,) = read(AUTH_ENCRYPTION_KEYS=f"{KEY},{weak}").warnings
    assert warning.startswith("CLOUDBEDS_AUTH_ENCRYPTION_KEYS")
    assert weak not in warning


PATTERNED = {
    "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": [
        base64.b64encode(b"0123456789abcdef" * 2).decode(),
        base64.b64encode(b"abcdefghi" * 3 + b"abcde").decode(),
        base64.b64encode(b"password" * 3 + b"passwor1").decode(),
        base64.b64encode(bytes(range(32))).decode(),
        base64.b64encode(bytes(range(224, 160, -2))).decode(),
    ],
    "CLOUDBEDS_AUTH_METRICS_TOKEN": ["change-me-" * 4],
    "CLOUDBEDS_AUTH_ADMIN_TOKEN": [
        "change-me-" * 4,
        "12345678901234567890123456789012",
        "passwordpasswordpasswordpassword1",
        "changeme-changeme-changeme-change",
        "password1password2password3password4",
        "abcdefghijklmnopqrstuvwxyz0123456789",
    ],
    "CLOUDBEDS_AUTH_HOOK_SECRET": ["0123456789012345678901234567890123"],
    "CLOUDBEDS_AUTH_WEBHOOK_SECRET": [f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"],
}


@pytest.mark.row("A80")
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in PATTERNED.items() for value in values])
def test_a_secret_that_was_typed_is_warned_about(name: str, value: str) -> None:
    """It repeats itself or counts up: taken, for a test's database needs no more, and `doctor` says so."""
    beside = {
        "CLOUDBEDS_AUTH_HOOK_SECRET": {"AUTH_HOOK_HEADER": HOOK_HEADER, "AUTH_PUBLIC_URL": "https://auth.example.com"},
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET": {"AUTH_WEBHOOK_URL": "https://app.example.com/hook"},
    }
    (warning,) = read(**{name.removeprefix("CLOUDBEDS_"): value}, **beside.get(name, {})).warnings
    assert warning.startswith(f"{name} ")
    assert value not in warning


@pytest.mark.row("A80")
@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.0/8", "192.168.1.7", "172.16.0.0/12", "fc00::/7", "2001:db8::/32", "::ffff:10.0.0.0/104",
        "64:ff9b::a00:0/104", "3.0.0.0/8", "10.0.0.0/8,127.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7,fe80::/10",
        "173.245.48.0/20,104.16.0.0/13,172.64.0.0/13,2400:cb00::/32,2606:4700::/32",
    ],
)  # fmt: skip
def test_networks_that_may_be_trusted(value: str) -> None:
    """Private ones, in whole, and those of a provider."""
    assert len(read(AUTH_TRUSTED_PROXIES=value).trusted_proxies) == value.count(",") + 1


@pytest.mark.row("A80")
def test_random_secrets_are_taken() -> None:
    """The shortest of each kind; a rule that refused one in a thousand would be found here."""
    dice = random.Random(80)
    for _ in range(2000):
        for one in (dice.randbytes(16).hex(), dice.randbytes(24).decode("latin-1")):
            assert not secret_values.is_guessable(one)
            assert not secret_values.is_patterned(one)


@pytest.mark.row("A80")
def test_a_long_token_of_few_letters_is_fine_where_they_are_mixed() -> None:
    """Hexadecimal digits, as `openssl rand -hex 32` gives them."""
    assert read(AUTH_ADMIN_TOKEN="0f1e2d3c4b5a69788796a5b4c3d2e1f0").admin_token is not None


@pytest.mark.parametrize(
    "value", ["http://127.0.0.1:9000", "http://localhost:1", "http://[::1]:80", "https://api.cloudbeds-stage.com"]
)
@pytest.mark.row("A31", "A54")
def test_plain_http_only_to_this_machine(value: str) -> None:
    """A loopback vendor may be plain http, any other must be https."""
    assert read(BASE_URL=value).base_url == value.removesuffix(":80")


def test_redirect_uri_beside_our_paths() -> None:
    """Only whole path segments collide."""
    assert read(REDIRECT_URI="https://x.example.com/apis/callback").redirect_uri.endswith("/apis/callback")


@pytest.mark.parametrize("path", ["", "/", "/keys", "/connections/callback", "/connect", "/connect/x"])
def test_redirect_uri_on_a_page_below_a_prefix(path: str) -> None:
    """A proxy that takes the public URL's path off makes it a page of the service, where no approval is taken."""
    here, prefix = f"https://x.example.com/auth{path}", "https://x.example.com/auth"
    (problem,) = problems(APP | {"CLOUDBEDS_REDIRECT_URI": here, "CLOUDBEDS_AUTH_PUBLIC_URL": f"{prefix}/"})
    assert problem.startswith("CLOUDBEDS_AUTH_PUBLIC_URL: has a path that turns CLOUDBEDS_REDIRECT_URI into a page")
    settings = read(REDIRECT_URI=f"{prefix}/callback", AUTH_PUBLIC_URL=prefix)
    with pytest.raises(InvalidRequest, match="redirect uri: its path belongs to this service"):
        further_app(
            settings, name="a", client_id="client-2", client_secret="hidden", level="property", redirect_uri=here
        )
    assert read(REDIRECT_URI=f"{prefix}enticate/keys", AUTH_PUBLIC_URL=prefix).public_url == prefix, "another path"


@pytest.mark.parametrize("path", ["/a%20b", "/hotel%2Fback", "/h%C3%B4tel/back/", "/a;b=1/c.d~e", "/.../x", "/%40"])
def test_redirect_uri_that_everybody_writes_the_same(path: str) -> None:
    """Escapes that are needed, and dots that lead nowhere else."""
    assert read(REDIRECT_URI=f"https://x.example.com{path}").redirect_uri.endswith(path)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]"])
def test_loopback_hosts(host: str) -> None:
    """These reach only this machine; no admin token is required."""
    assert is_loopback(host)
    assert read(AUTH_HOST=host).admin_token is None


@pytest.mark.row("A22")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.evil.com"])
def test_other_hosts_require_an_admin_token(host: str) -> None:
    """Listening beyond this machine without an admin token is a problem."""
    assert not is_loopback(host)
    (problem,) = problems({"CLOUDBEDS_AUTH_HOST": host})
    assert problem.startswith("CLOUDBEDS_AUTH_ADMIN_TOKEN: ")
    given = {"CLOUDBEDS_AUTH_HOST": host, "CLOUDBEDS_AUTH_ADMIN_TOKEN": TOKEN}
    assert load(given, None, need=Need.NOTHING).host == host


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("CLOUDBEDS_CLIENTID", "CLOUDBEDS_CLIENT_ID"),
        ("CLOUDBEDS_DATABASE_URL", "CLOUDBEDS_AUTH_DATABASE_URL"),
        ("CLOUDBEDS_REDIRECT_URL", "CLOUDBEDS_REDIRECT_URI"),
        ("cloudbeds_scopes", "CLOUDBEDS_SCOPES"),
        ("CLOUDBEDS_COLOUR", ""),
    ],
)
def test_an_unknown_name_that_may_be_the_programs_own(slip: str, meant: str) -> None:
    """It starts, with a warning; one close to a known name says which."""
    (warning,) = load(APP | {slip: "x"}, None, need=Need.APP).warnings
    assert warning == f"{slip} is not a setting and was ignored" + (f"; did you mean {meant}?" if meant else "")


def test_a_required_one_that_is_misspelt() -> None:
    """To rename what was probably meant to be it is the first thing to do."""
    problem, other = problems({"CLOUDBEDS_CLIENT_IDD": "x"}, need=Need.APP)
    assert problem.startswith("CLOUDBEDS_CLIENT_ID: is not set")
    assert "; rename CLOUDBEDS_CLIENT_IDD, or write the client id " in problem
    assert "rename" not in other


@pytest.mark.parametrize(
    ("slip", "said"),
    [
        ("CLOUDBEDS_AUTH_PROT", "did you mean CLOUDBEDS_AUTH_PORT?"),
        ("cloudbeds_auth_port", "did you mean CLOUDBEDS_AUTH_PORT?"),
        ("CLOUDBEDS_AUTH_COLOUR", "remove it"),
    ],
)
def test_an_unknown_name_that_is_ours(slip: str, said: str) -> None:
    """No other program's begins so: the start stops, and one close to a known name says which."""
    (problem,) = problems({slip: "x"})
    assert problem.startswith(f"{slip}: is not a setting; {said}")


def test_the_credential_of_new_connections() -> None:
    """OAuth unless a key is asked for, which travels as a bearer unless it is told otherwise; however it is cased."""
    assert (read().app().credential, read().credential_header) == (CredentialKind.OAUTH, "bearer")
    given = read(CREDENTIAL="API-Key", CREDENTIAL_HEADER="X-API-Key")
    assert (given.app().credential, given.credential_header) == (CredentialKind.API_KEY, "x-api-key")


def test_the_rate_limit_follows_the_client_level() -> None:
    """Ten requests a second for partners, five for property-level clients, unless a number is given."""
    assert (read().rate_limit, read(CLIENT_LEVEL="property").rate_limit) == (10.0, 5.0)
    limit = read(AUTH_RATE_LIMIT="20").limit
    assert limit is not None
    assert (limit.rate, limit.observed) == (rate_within(20), False)


def test_a_rate_limit_may_be_off_or_only_observed() -> None:
    """`0` keeps none; `observe` watches the vendor's own."""
    assert read(AUTH_RATE_LIMIT="0").limit is None
    limit = read(AUTH_RATE_LIMIT="Observe", CLIENT_LEVEL="property").limit
    assert limit is not None
    assert (limit.rate, limit.observed) == (rate_within(5), True)


@pytest.mark.parametrize(
    ("given", "property_level", "partner"),
    [
        ({}, 5, 10),
        ({"AUTH_RATE_LIMIT": "8"}, 5, 8),
        ({"AUTH_RATE_LIMIT": "20"}, 5, 10),
        ({"CLIENT_LEVEL": "property"}, 5, 10),
    ],
)
def test_the_rate_limits_of_further_apps(given: dict[str, str], property_level: float, partner: float) -> None:
    """The vendor's for their level, whatever the settings' own app is; a lower number that is given holds for all."""
    limits = read(**given).limits
    assert limits == {"property": Limit(rate_within(property_level)), "partner": Limit(rate_within(partner))}


def test_further_apps_are_watched_or_left_alone_as_the_settings_own() -> None:
    """`0` and `observe` are for every app."""
    assert read(AUTH_RATE_LIMIT="0").limits == {"property": None, "partner": None}
    assert read(AUTH_RATE_LIMIT="observe").limits["property"] == Limit(rate_within(5), observed=True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "Aurora"}, "name: must be at most 40 lower-case letters"),
        ({"name": ""}, "name: must be at most 40"),
        ({"client_id": ""}, "client id: "),
        ({"client_id": "cl\u00efent"}, "client id: contains a character"),
        ({"client_secret": ""}, "client secret: is empty"),
        ({"level": "hotel"}, "level: "),
        ({"redirect_uri": "http://elsewhere.example/callback/a"}, "redirect uri: is plain http"),
        ({"redirect_uri": "https://a.example/callback/a"}, "redirect uri: must be https if"),
        ({"redirect_uri": "https://a.example/apps/a"}, "redirect uri: has a path that belongs to this service"),
        ({"scopes": ("read hotel",)}, "scopes: "),
        ({"credential": "password"}, "credential: "),
    ],
)
def test_a_further_app_that_cannot_be(wrong: dict[str, object], words: str) -> None:
    """Every problem is named by its field, and no value is repeated: one of them is a secret."""
    usual: dict[str, object] = {
        "name": "aurora", "client_id": "client-2", "client_secret": "hidden", "level": "property",
        "redirect_uri": None, "scopes": None,
    }  # fmt: skip
    with pytest.raises(InvalidRequest) as raised:
        further_app(Settings(client_id="client-1"), **(usual | wrong))
    assert words in raised.value.detail
    assert "hidden" not in str(raised.value.diagnosis())


SECRETS: list[tuple[str, str, Callable[[Settings], object]]] = [
    ("CLOUDBEDS_CLIENT_SECRET", "s3cret", lambda settings: settings.client_secret),
    ("CLOUDBEDS_CLIENT_SECRET_PREVIOUS", "older", lambda settings: settings.client_secret_previous),
    ("CLOUDBEDS_AUTH_WEBHOOK_SECRET", WHSEC, lambda settings: settings.webhook_secrets[0]),
    ("CLOUDBEDS_AUTH_ADMIN_TOKEN", TOKEN, lambda settings: settings.admin_token),
    ("CLOUDBEDS_AUTH_METRICS_TOKEN", TOKEN, lambda settings: settings.metrics_token),
    ("CLOUDBEDS_AUTH_ENCRYPTION_KEYS", KEY, lambda settings: settings.encryption_keys[0]),
    ("CLOUDBEDS_AUTH_DATABASE_URL", "sqlite:///x.sqlite3", lambda settings: Secret(settings.database_url)),
]


@pytest.mark.parametrize(("name", "value", "attribute"), SECRETS)
def test_secret_from_a_file(name: str, value: str, attribute: Callable[[Settings], object], tmp_path: Path) -> None:
    """Every secret also comes as NAME_FILE, without the newline that editors add."""
    path = tmp_path / "secret"
    path.write_text(f"{value}\n")
    path.chmod(0o600)
    settings = load({f"{name}_FILE": str(path)}, None, need=Need.NOTHING)
    assert attribute(settings) == Secret(value)
    assert settings.warnings == ()


def test_secret_given_twice(tmp_path: Path) -> None:
    """Value and file together: nobody can know which is meant."""
    (problem,) = problems(APP | {"CLOUDBEDS_CLIENT_SECRET_FILE": str(tmp_path / "x")}, need=Need.APP)
    assert problem.startswith("CLOUDBEDS_CLIENT_SECRET: is given twice")


def test_secret_file_unreadable(tmp_path: Path) -> None:
    """A missing, empty or binary file is one problem each, and not also "is not set"."""
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing", tmp_path, empty, binary):
        given = {"CLOUDBEDS_CLIENT_ID": "x", "CLOUDBEDS_CLIENT_SECRET_FILE": str(path)}
        (problem,) = problems(given, need=Need.APP)
        assert problem.startswith("CLOUDBEDS_CLIENT_SECRET_FILE: ")


@pytest.mark.row("A78")
def test_the_path_of_a_secret_file_is_none(tmp_path: Path) -> None:
    """A byte that no path holds, which only a `.env` can bring: a problem like any other."""
    path = tmp_path / ".env"
    path.write_text("CLOUDBEDS_CLIENT_SECRET_FILE=a\0b\n")
    (problem,) = problems({}, path)
    assert problem.startswith("CLOUDBEDS_CLIENT_SECRET_FILE: ")


@pytest.mark.row("A56")
@pytest.mark.parametrize(
    "secret",
    [
        "canary-client-secret",
        "cbat_canary/0123",
        "cbauth_canary",
        "canary+base64/of/32+bytes=",
        "/canary+base64of32bytes=",
        "postgresql://auth:canary@db.example/hotels",
        f"/{'canary' * 100}",
        "/canary/" * 1000,
        "canary\0",
    ],
)
def test_a_secret_in_place_of_its_file_is_not_repeated(secret: str) -> None:
    """Only what is certainly a path is shown: a key in base64 and a database's URL have a `/`, too."""
    found = loading.Findings()
    assert loading.secret_file("CLOUDBEDS_CLIENT_SECRET_FILE", Path(secret), found) is None
    (problem,) = found.problems
    assert problem.startswith("CLOUDBEDS_CLIENT_SECRET_FILE: the file cannot be read (")
    assert "canary" not in problem


@pytest.mark.row("A56")
def test_a_folder_named_like_a_token_does_not_show_one(tmp_path: Path) -> None:
    """What begins like a token is not repeated, wherever it leads; nor is the command that would repeat it."""
    (tmp_path / "cbat_canary").write_text("s3cret")
    (tmp_path / "cbat_canary").chmod(0o644)
    given = {"CLOUDBEDS_CLIENT_SECRET_FILE": str(tmp_path / "cbat_canary")}
    (warning,) = load(given, None, need=Need.NOTHING).warnings
    assert warning.endswith("may read the file; run `chmod 600`")
    (tmp_path / "cbat_canary").write_text("")
    assert "canary" not in problems(given)[0]


def test_a_path_is_shown_though_its_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first folder that it names exists: no secret begins so. Or it is a folder itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secrets").mkdir()
    for path in (str(tmp_path / "no" / "folder" / "secret"), "secrets/hotel", "secrets"):
        (problem,) = problems({"CLOUDBEDS_CLIENT_SECRET_FILE": path})
        assert problem.startswith(f"CLOUDBEDS_CLIENT_SECRET_FILE: {path} cannot be read (")


@pytest.mark.row("A78")
@pytest.mark.parametrize("host", ["canary:0", "::canary", "[canary::1", "1:2:3:canary:5:6:7:8"])
def test_a_host_that_is_none_is_not_repeated(host: str) -> None:
    """A port behind it, or another value pasted there, is answered as any other host that is none."""
    (problem,) = problems({"CLOUDBEDS_AUTH_HOST": host})
    assert problem.startswith("CLOUDBEDS_AUTH_HOST: is neither an address nor a host name; write ")
    assert "canary" not in problem


@pytest.mark.row("A78")
def test_a_dotenv_without_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What an operator names by mistake, a device or a dump: no more of it is read than settings can have."""
    monkeypatch.setattr(loading, "LARGEST_ENV_FILE", 1000)
    path = tmp_path / "dump"
    path.write_text("CLOUDBEDS_CLIENT_ID=x\n" * 100)
    (problem,) = problems({}, path)
    assert str(path) in problem
    assert "too large" in problem


@pytest.mark.row("A56")
def test_world_readable_secret_file(tmp_path: Path) -> None:
    """A secret file that anybody may read is used, with a warning that says how to close it."""
    path = tmp_path / "secret"
    path.write_text("s3cret")
    path.chmod(0o644)
    (warning,) = load({"CLOUDBEDS_CLIENT_SECRET_FILE": str(path)}, None, need=Need.NOTHING).warnings
    assert f"chmod 600 {path}" in warning


def test_environment_wins_over_dotenv(tmp_path: Path) -> None:
    """The environment decides, also with an empty value, and a secret's other spelling in `.env` is hidden."""
    path = tmp_path / ".env"
    path.write_text(
        "CLOUDBEDS_CLIENT_ID=from-file\nCLOUDBEDS_CLIENT_SECRET_FILE=/nowhere\nCLOUDBEDS_SCOPES=a b\n"
        "export CLOUDBEDS_AUTH_PORT=7001\nOTHER=1\nCLOUDBEDS_AUTH_INSTANCE='$HOME'\nCLOUDBEDS_AUTH_HOST\n"
    )
    path.chmod(0o600)
    given = {"CLOUDBEDS_CLIENT_SECRET": "env", "CLOUDBEDS_SCOPES": "", "CLOUDBEDS_AUTH_INSTANCE": "x"}
    settings = load(given, path, need=Need.APP)
    assert (settings.client_id, settings.port, settings.scopes) == ("from-file", 7001, ())
    assert settings.client_secret == Secret("env")
    assert settings.warnings == ()


def test_dotenv_is_taken_literally(tmp_path: Path) -> None:
    """A dollar sign in a secret is a dollar sign."""
    path = tmp_path / ".env"
    path.write_text("CLOUDBEDS_CLIENT_SECRET=a${HOME}b\n")
    path.chmod(0o600)
    assert load({}, path, need=Need.NOTHING).client_secret == Secret("a${HOME}b")


def test_a_line_that_sets_nothing(tmp_path: Path) -> None:
    """Is a problem with its number, and what it holds is not shown; of other programs' lines nothing is said."""
    path = tmp_path / ".env"
    path.write_text("OTHER words\n\n\nCLOUDBEDS_CLIENT_SECRET shown\nexport CLOUDBEDS_CLIENT_ID: x\n# CLOUDBEDS_X y\n")
    path.chmod(0o600)
    assert problems({}, path) == (
        f"{path}: line 4 sets nothing; write NAME=value",
        f"{path}: line 5 sets nothing; write NAME=value",
    )


@pytest.mark.row("A56")
def test_world_readable_dotenv(tmp_path: Path) -> None:
    """A `.env` with secrets that others may read is a warning."""
    path = tmp_path / ".env"
    path.write_text("CLOUDBEDS_CLIENT_SECRET=x\n")
    path.chmod(0o644)
    (warning,) = load({}, path, need=Need.NOTHING).warnings
    assert f"chmod 600 {path}" in warning
    path.write_text("CLOUDBEDS_CLIENT_ID=x\n")
    assert load({}, path, need=Need.NOTHING).warnings == ()


@pytest.mark.parametrize("name", [".env", "secret"])
def test_the_command_for_an_open_file_does_what_it_says(name: str, tmp_path: Path) -> None:
    """Also in a folder with a space and a quote in its name: a shell that runs it closes this file."""
    path = tmp_path / "two hotels' $(touch made)" / name
    path.parent.mkdir()
    path.write_text("CLOUDBEDS_CLIENT_SECRET=x\n" if name == ".env" else "x")
    path.chmod(0o644)
    given = {} if name == ".env" else {"CLOUDBEDS_CLIENT_SECRET_FILE": str(path)}
    (warning,) = load(given, path if name == ".env" else None, need=Need.NOTHING).warnings
    command = warning.partition("run `")[2].removesuffix("`")
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "made").exists()


def test_dotenv_unreadable(tmp_path: Path) -> None:
    """A `.env` that is no text is a problem; a missing one is none."""
    path = tmp_path / ".env"
    path.write_bytes(b"CLOUDBEDS_CLIENT_ID=\xff\xfe\n")
    (problem,) = problems({}, path)
    assert str(path) in problem
    assert load({}, tmp_path / "missing", need=Need.NOTHING).client_id == ""


def test_from_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process's own environment and the `.env` of the current folder."""
    for name in known():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CLOUDBEDS_CLIENT_ID=from-file\n")
    monkeypatch.setenv("CLOUDBEDS_CLIENT_SECRET", "x")
    assert Settings.load().client_id == "from-file"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("CLOUDBEDS_CLIENT_ID=another\nCLOUDBEDS_CLIENT_SECRET=the environment wins\n")
    for named in (elsewhere, str(elsewhere)):
        found = Settings.load(env_file=named)
        assert (found.client_id, found.client_secret.reveal(), found.env_file) == ("another", "x", elsewhere)
    with pytest.raises(ConfigurationError, match="missing"):
        Settings.load(env_file=tmp_path / "missing")


def test_webhook_secrets_come_in_any_number() -> None:
    """Commas or spaces between; with the prefix or without; the URL and its query stay as they are."""
    url = "https://app.example.com/hook?key=1"
    settings = read(AUTH_WEBHOOK_URL=url, AUTH_WEBHOOK_SECRET=f"{WHSEC}, {WHSEC.removeprefix('whsec_')}")
    assert settings.webhook_url == url
    assert [one.reveal()[:6] for one in settings.webhook_secrets] == ["whsec_", "q83vEj"]
    assert "key=1" not in repr(settings)
    assert WHSEC not in repr(settings)


def test_a_webhook_needs_both() -> None:
    """An address without a secret is a problem; a secret without an address signs nothing, and does no harm."""
    (problem,) = problems({"CLOUDBEDS_AUTH_WEBHOOK_URL": "https://app.example.com/hook"})
    assert problem.startswith("CLOUDBEDS_AUTH_WEBHOOK_SECRET: is required")
    assert read(AUTH_WEBHOOK_SECRET=WHSEC).webhook_url is None
    with pytest.raises(ConfigurationError, match="is not a list"):
        Settings(webhook_secrets=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["HOOK_SECRET", "HOOK_HEADER"])
def test_a_hook_needs_both_of_its_secrets(given: str) -> None:
    """One without the other is a problem that names what is missing."""
    other = {"HOOK_SECRET": "HOOK_HEADER", "HOOK_HEADER": "HOOK_SECRET"}[given]
    (problem,) = problems({f"CLOUDBEDS_AUTH_{given}": HOOK_PATH})
    assert problem.startswith(f"CLOUDBEDS_AUTH_{other}: is required with CLOUDBEDS_AUTH_{given}")
    settings = read(AUTH_HOOK_SECRET=HOOK_PATH, AUTH_HOOK_HEADER=HOOK_HEADER)
    assert "aaaa" not in repr(settings)
    assert (settings.hook_secret, settings.hook_header) == (Secret(HOOK_PATH), Secret(HOOK_HEADER))


def test_plain_http_public_url_is_a_warning() -> None:
    """Links over plain http to another machine work, but are not private."""
    (warning,) = read(AUTH_PUBLIC_URL="http://10.0.0.5:7000").warnings
    assert "CLOUDBEDS_AUTH_PUBLIC_URL" in warning
    hooks = {"AUTH_HOOK_SECRET": HOOK_PATH, "AUTH_HOOK_HEADER": HOOK_HEADER}
    settings = read(AUTH_PUBLIC_URL="http://10.0.0.5:7000", **hooks)
    assert "CLOUDBEDS_AUTH_HOOK_SECRET subscribes nothing" in settings.warnings[1]
    assert settings.hook is None


def test_where_cloudbeds_posts_to() -> None:
    """The public URL with its prefix; over https, or on this machine where the simulator is on it, too."""
    hooks = {"AUTH_HOOK_SECRET": HOOK_PATH, "AUTH_HOOK_HEADER": HOOK_HEADER}
    assert read().hook is None
    nowhere = read(AUTH_PUBLIC_URL="http://localhost:7000", **hooks)
    assert nowhere.hook is None
    assert "CLOUDBEDS_AUTH_HOOK_SECRET subscribes nothing" in nowhere.warnings[0]
    here = {"BASE_URL": "http://localhost:9400"}
    for public_url, more in (("https://auth.example.com/prefix", {}), ("http://localhost:7000", here)):
        hook = read(AUTH_PUBLIC_URL=public_url, **hooks, **more).hook
        assert hook is not None
        assert (hook.url, hook.value) == (f"{public_url}/hooks/{HOOK_PATH}", Secret(HOOK_HEADER))
        assert "aaa" not in repr(hook)


SUBSCRIPTIONS = {
    "AUTH_SUBSCRIPTIONS": "reservation/created, guest/created reservation/created",
    "AUTH_SUBSCRIPTIONS_URL": "https://app.example.com/hotel-events", "AUTH_SUBSCRIPTIONS_SECRET": HOOK_HEADER,
}  # fmt: skip


def test_what_hotels_are_subscribed_to() -> None:
    """Each event once, at the program's own endpoint with its header; and our own hook, where there is one."""
    settings = read(**SUBSCRIPTIONS)
    assert settings.subscriptions == ("reservation/created", "guest/created")
    assert [one.event for one in settings.wanted] == ["reservation/created", "guest/created"]
    assert {(one.hook.url, one.hook.header) for one in settings.wanted} == {
        ("https://app.example.com/hotel-events", "X-Hook-Secret")
    }
    assert HOOK_HEADER not in repr(settings)
    public = {"AUTH_PUBLIC_URL": "https://auth.example.com"}
    both = read(AUTH_HOOK_SECRET=HOOK_PATH, AUTH_HOOK_HEADER=HOOK_HEADER, **public, **SUBSCRIPTIONS)
    assert both.wanted[0].event == "integration/appstate_changed"
    assert both.wanted[0].hook == both.hook
    assert (read().subscriptions, read().wanted) == (None, ())
    assert read(AUTH_SUBSCRIPTIONS="none").subscriptions == ()


@pytest.mark.parametrize("missing", ["AUTH_SUBSCRIPTIONS_URL", "AUTH_SUBSCRIPTIONS_SECRET"])
def test_subscriptions_need_an_address_and_a_secret(missing: str) -> None:
    """Either is required with the events."""
    given = {f"CLOUDBEDS_{name}": value for name, value in SUBSCRIPTIONS.items() if name != missing}
    (problem,) = problems(given)
    assert problem.startswith(f"CLOUDBEDS_{missing}: is required with CLOUDBEDS_AUTH_SUBSCRIPTIONS")


def test_settings_from_python() -> None:
    """Settings are also made directly, with Secrets and tuples, and never change."""
    settings = Settings(
        client_id="x", client_secret=Secret("y"), scopes=("a",), host="::1", encryption_keys=(Secret(KEY),)
    )
    assert settings.allowed_hosts[0] == "::1"
    assert settings.encryption_keys == (Secret(KEY),)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


@pytest.mark.parametrize("given", [{}, {"client_secret": Secret("y")}, {"client_id": ""}])
def test_settings_that_name_no_installation(given: dict[str, Any]) -> None:
    """Made by a program with neither a client id nor a database: refused, before one is made in the home folder."""
    with pytest.raises(ConfigurationError) as raised:
        Settings(**given)
    assert "Settings.load()" in raised.value.next_step
    assert Settings(**{**given, "client_id": "x"}).client_id == "x"
    assert Settings(**given, database_url="sqlite:////x/y").client_id == ""


def test_no_sqlite_file() -> None:
    """Asking for the SQLite file of another database is a configuration error."""
    with pytest.raises(ConfigurationError):
        _ = Settings(database_url="postgresql://x/y").database_path
