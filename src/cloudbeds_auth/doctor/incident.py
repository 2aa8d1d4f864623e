"""After a leak: what to rotate, in which order, and what each step would do here. Nothing is changed.

The first steps keep an attacker from reading more, the others make what was read worthless. Each step names the leaks
after which it is needed; a new step is a row of `STEPS`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cloudbeds_auth.rules.time_words import duration
from cloudbeds_auth.transactions.exposure import Exposure, read_exposure

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.vault import TokenVault

SHOWN = (
    "user", "host", "hostaddr", "port", "dbname", "target_session_attrs", "sslmode", "sslrootcert", "sslcert", "sslkey",
    "passfile", "service",
)  # fmt: skip
"""Parameters of a database's URL that hold no secret."""
OF_ONE = 2  # requests to Cloudbeds that a refresh costs: the new pair, and its proof


class Leak(StrEnum):
    """What others may have obtained."""

    DATABASE = "database"
    ENCRYPTION_KEY = "encryption-key"
    ADMIN_TOKEN = "admin-token"
    CALLER_KEY = "caller-key"
    CLIENT_SECRET = "client-secret"
    WEBHOOK_SECRET = "webhook-secret"
    METRICS_TOKEN = "metrics-token"
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Situation:
    """What there is to rotate here. `rates`: requests per second, by app, for apps with a limit."""

    settings: Settings
    exposure: Exposure
    rates: dict[str, float]

    @property
    def hotels(self) -> int:
        """The number of hotels with OAuth tokens."""
        return sum(self.exposure.hotels.values())

    @property
    def seconds(self) -> float | None:
        """How long it takes to refresh them all at the rate limit, all apps in parallel; None: there is no limit."""
        limited = [OF_ONE * count / self.rates[app] for app, count in self.exposure.hotels.items() if app in self.rates]
        return max(limited, default=None)


@dataclass(frozen=True, slots=True)
class IncidentStep:
    """One step: what to do and why, the commands for it, and what it would do here."""

    name: str
    why: str
    here: str
    commands: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"step": self.name, "why": self.why, "here": self.here, "commands": list(self.commands)}


async def situation_of(vault: TokenVault) -> Situation:
    """The situation, as counted now."""
    settings, exposure = vault.settings, await vault.engine.world.db.browse(read_exposure())
    rates: dict[str, float] = {}
    for app in await vault.apps.list():
        limit = settings.limit if app.id == "default" else settings.limits[app.level]
        if limit is not None:
            rates[app.id] = limit.rate.most / limit.rate.window
    return Situation(settings, exposure, rates)


def incident_steps(leak: Leak, here: Situation) -> list[IncidentStep]:
    """What to do, in order."""
    return [step(here) for step, leaks in STEPS.items() if leak in leaks or leak is Leak.EVERYTHING]


def counted(number: int, what: str, none: str = "there is none here") -> str:
    """`3 hotels`; or `none` if there are none."""
    return none if number == 0 else f"{number} {what}{'s' if number > 1 else ''}"


# --- the steps


def _evidence(here: Situation) -> IncidentStep:
    asked = "; pg_dump takes a password from PGPASSWORD or a password file, or asks for it"
    return IncidentStep(
        "preserve the evidence",
        "the audit log and a copy of the database as it is now: the next steps change both",
        f"entries are kept for {here.settings.retention_days} days; look for actors and addresses that you do not know"
        + (asked if here.settings.is_postgres else ""),
        ("cloudbeds-auth audit --limit 200 --json", *_backup(here)),
    )


def _backup(here: Situation) -> tuple[str, ...]:
    if not here.settings.is_postgres:
        return ("cloudbeds-auth database backup incident.sqlite3",)
    where = shlex.quote(_without_password(here.settings.database_url))
    return (f"(umask 077 && pg_dump --format=custom --file=incident.dump {where})",)


def _without_password(url: str) -> str:
    """Where libpq finds the database: other users of the machine can read what a command is given."""
    try:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError:
        return "DATABASE"
    given = conninfo_to_dict(url)
    return make_conninfo(**{name: str(given[name]) for name in SHOWN if name in given})


def _admin_token(here: Situation) -> IncidentStep:
    if here.settings.admin_token is not None:
        how, commands = "CLOUDBEDS_AUTH_ADMIN_TOKEN is set: set another one", ("openssl rand -hex 32",)
    else:
        path = f"{here.settings.database_path}.admin-token"
        how, commands = f"it is in {path}: the next start creates another one", (f"rm {shlex.quote(path)}",)
    return IncidentStep(
        "a new admin token",
        "it can read and change everything, get every access token and create keys; the service reads it only at the "
        "start, so restart it",
        f"{how}; the old one is refused from then on",
        commands,
    )


def _sessions(here: Situation) -> IncidentStep:
    return IncidentStep(
        "end every session",
        "an attacker may have signed in with the admin token; a session outlives the token",
        "all browsers are signed out at once, and unused links become void",
        ("cloudbeds-auth sign-in --end-all",),
    )


def _caller_keys(here: Situation) -> IncidentStep:
    callers = here.exposure.callers
    return IncidentStep(
        "revoke keys for callers",
        "revoke the one that leaked, and those that you do not know; only hashes are stored, so the database reveals "
        "none of them. A revoked key is refused within a second, and so are its children; keys created by a key with "
        "the scope `admin` have no parent and remain valid: revoke them, too",
        counted(callers, "key", "no key is valid here") + (" in use, and their children" if callers else ""),
        ("cloudbeds-auth keys", "cloudbeds-auth keys revoke ID", "cloudbeds-auth keys list --created-by ID"),
    )


def _metrics_token(here: Situation) -> IncidentStep:
    is_set = here.settings.metrics_token is not None
    return IncidentStep(
        "a new token for /metrics",
        "it gives access to the metrics, and nothing else",
        "set another CLOUDBEDS_AUTH_METRICS_TOKEN, restart, and update the scraper" if is_set else "none is set here",
        ("openssl rand -hex 32",) if is_set else (),
    )


def _encryption_key(here: Situation) -> IncidentStep:
    given = bool(here.settings.encryption_keys)
    where = "CLOUDBEDS_AUTH_ENCRYPTION_KEYS is set" if given else f"it is in {here.settings.database_path}.key"
    return IncidentStep(
        "a new encryption key",
        "put the new one first, CLOUDBEDS_AUTH_ENCRYPTION_KEYS=NEW,OLD, restart, seal everything again, and remove the "
        "old one. Copies and backups still open with the old one: delete them",
        f"{where}; tokens of {counted(here.hotels + here.exposure.keyed + here.exposure.pasted, 'hotel', 'no hotel')} "
        f"and secrets of {counted(here.exposure.apps, 'app', 'no app')} are sealed again",
        ("openssl rand -base64 32", "cloudbeds-auth database rekey"),
    )


def _client_secret(here: Situation) -> IncidentStep:
    hotels = here.exposure.hotels.get("default", 0)
    return IncidentStep(
        "a new client secret",
        "reset it on the app's page at Cloudbeds. While CLOUDBEDS_CLIENT_SECRET_PREVIOUS has the old one, it does not "
        "matter when Cloudbeds begins to accept the new one; remove the old one afterwards",
        f"{counted(hotels, 'hotel', 'no hotel')} of {here.settings.client_id or 'no client id'}; "
        "no hotel has to approve again",
        ("CLOUDBEDS_CLIENT_SECRET=NEW (or NEW in its file) CLOUDBEDS_CLIENT_SECRET_PREVIOUS=OLD, then restart",),
    )


def _app_secrets(here: Situation) -> IncidentStep:
    further = sum(count for app, count in here.exposure.hotels.items() if app != "default")
    return IncidentStep(
        "new client secrets of further apps",
        "they are sealed in the database: reset each at Cloudbeds, then enter it here; the former one is kept as a "
        "fallback until it is dropped",
        counted(here.exposure.apps, "app", "there are none here")
        + (f" with {counted(further, 'hotel', 'no hotel')}" if here.exposure.apps else ""),
        ("cloudbeds-auth apps rotate-secret NAME", "cloudbeds-auth apps rotate-secret NAME --drop-previous"),
    )


def _refresh(here: Situation) -> IncidentStep:
    took = "" if here.seconds is None else f", at least {duration(max(1.0, here.seconds))} at the rate limit"
    return IncidentStep(
        "refresh every hotel",
        "the former access token dies at Cloudbeds immediately, and the former refresh token at the first use of the "
        "new access token, which follows immediately",
        counted(here.hotels, "hotel", "no hotel has OAuth tokens here") + (took if here.hotels else ""),
        ("cloudbeds-auth connections refresh --all",),
    )


def _api_keys(here: Situation) -> IncidentStep:
    return IncidentStep(
        "new API keys of hotels",
        "an API key does not rotate: a hotel that created its own creates and pastes another one, and deletes the old "
        "one at Cloudbeds; a hotel whose key came from a move has to be disconnected and approve again",
        f"{counted(here.exposure.pasted, 'key', 'none')} created by hotels, "
        f"{counted(here.exposure.keyed, 'key', 'none')} from a move",
        ("cloudbeds-auth connections add-key --connection ID --link", "cloudbeds-auth connections disconnect ID"),
    )


def _reconnect(here: Situation) -> IncidentStep:
    return IncidentStep(
        "reconnect hotels whose tokens were used",
        "an attacker who used a refresh token before it died has tokens that our refresh does not end. If the refresh "
        "of a hotel was refused, or its history has calls that you do not know, disconnect it, which ends every "
        "session at Cloudbeds, and let it approve again",
        "hotels that `refresh --all` reports as refused; a connection keeps its id",
        ("cloudbeds-auth connections disconnect ID", "cloudbeds-auth connect --connection ID"),
    )


def _webhook_secret(here: Situation) -> IncidentStep:
    is_set = bool(here.settings.webhook_secrets)
    return IncidentStep(
        "a new webhook secret",
        "with the old one an attacker can sign messages that your receivers accept. Set NEW,OLD: every message is "
        "signed with both; when every receiver has the new one, remove the old one",
        "CLOUDBEDS_AUTH_WEBHOOK_SECRET=NEW,OLD, then restart" if is_set else "none is set here",
        ("echo whsec_$(openssl rand -base64 32)",) if is_set else (),
    )


def _hook_secrets(here: Situation) -> IncidentStep:
    named = {
        "CLOUDBEDS_AUTH_HOOK_SECRET, CLOUDBEDS_AUTH_HOOK_HEADER": here.settings.hook_secret,
        "CLOUDBEDS_AUTH_SUBSCRIPTIONS_SECRET": here.settings.subscriptions_secret,
    }
    there = [name for name, value in named.items() if value is not None]
    return IncidentStep(
        "new secrets of Cloudbeds' webhooks",
        "with them an attacker can post in Cloudbeds' name; this service treats such posts only as hints, and deletes "
        "nothing because of them. Subscriptions are renewed within a day after the restart",
        f"set new ones: {', '.join(there)}" if there else "none is set here",
        ("openssl rand -hex 32",) if there else (),
    )


def _people(here: Situation) -> IncidentStep:
    return IncidentStep(
        "notify the people whose data leaked",
        "names and e-mail addresses of those who approved are not sealed in the database, and the API shows them; "
        "if the GDPR applies, notify the authority within 72 hours (article 33)",
        counted(here.exposure.people, "named approval", "no name is stored here"),
    )


def _examine(here: Situation) -> IncidentStep:
    return IncidentStep(
        "check that all is well",
        "settings, keys, database and hotels",
        "exits with 0 if nothing is left to fix",
        ("cloudbeds-auth doctor", "cloudbeds-auth audit"),
    )


L = Leak
STEPS: dict[Callable[[Situation], IncidentStep], Sequence[Leak]] = {
    _evidence: tuple(Leak),
    _admin_token: (L.ADMIN_TOKEN,),
    _sessions: (L.ADMIN_TOKEN,),
    _caller_keys: (L.CALLER_KEY, L.ADMIN_TOKEN),
    _metrics_token: (L.METRICS_TOKEN,),
    _encryption_key: (L.ENCRYPTION_KEY,),
    _client_secret: (L.CLIENT_SECRET,),
    _app_secrets: (L.DATABASE, L.ENCRYPTION_KEY, L.CLIENT_SECRET),
    _webhook_secret: (L.WEBHOOK_SECRET,),
    _hook_secrets: (L.WEBHOOK_SECRET,),
    _refresh: (L.DATABASE, L.ENCRYPTION_KEY, L.ADMIN_TOKEN, L.CALLER_KEY),
    _api_keys: (L.DATABASE, L.ENCRYPTION_KEY, L.ADMIN_TOKEN, L.CALLER_KEY),
    _reconnect: (L.DATABASE, L.ENCRYPTION_KEY, L.ADMIN_TOKEN, L.CALLER_KEY),
    _people: (L.DATABASE, L.ADMIN_TOKEN, L.CALLER_KEY),
    _examine: tuple(Leak),
}
"""In order; each with the leaks after which it is needed. After `everything`, all of them."""
