"""Reads all settings and reports every problem at once, by the name of its variable."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import hooks
from cloudbeds_auth.settings.model import Settings
from cloudbeds_auth.settings.sources import Findings, in_file, merged, resolved
from cloudbeds_auth.settings.values import is_loopback, is_patterned, patterned_key, url, weak_keys
from cloudbeds_auth.settings.variables import BY_ATTRIBUTE, ENV_FILE, KNOWN, PREFIX

ALIKE = 0.75  # how close an unknown name must come to a known one to be called a slip

TOGETHER = (("webhook_secrets", "webhook_url"), ("hook_secret", "hook_header"), ("hook_header", "hook_secret"))
"""The first is required where the second is given."""


class Need(Enum):
    """What must be there."""

    NOTHING = "doctor and setup start without any"
    APP = "the client id and secret are required"


def load(environ: Mapping[str, str], dotenv: Path | None, *, need: Need, named: bool = False) -> Settings:
    """The settings of an environment and a `.env` file (None or missing: none).

    `named`: the operator named the file, so it is there, and is taken whoever may write it. Raises ConfigurationError
    with every problem; each names the variable, what is wrong and what to write.
    """
    findings = Findings()
    given = merged(environ, dotenv, findings, named=named)
    _unknown(given, findings)
    settings, failed = _validated(resolved(given, findings), findings)
    findings.problems += _contradictions(settings, failed | _unread(given), need)
    if findings.problems:
        raise ConfigurationError(problems=tuple(findings.problems))
    told: dict[str, Any] = {"warnings": (*findings.warnings, *_risks(settings))}
    if dotenv is not None and findings.from_file:
        told |= {"env_file": dotenv.absolute(), "from_env_file": findings.from_file}
    return settings.model_copy(update=told)


def load_from_environment(need: Need = Need.APP) -> Settings:
    """The settings of this process: its environment, then the file that it names, else `.env` in the current folder."""
    path, named = env_file()
    return load(os.environ, path, need=need, named=named)


def env_file() -> tuple[Path, bool]:
    """The file that settings are read from beside the environment, and whether the operator named it."""
    named = os.environ.get(ENV_FILE, "").strip()
    return Path(named or ".env"), bool(named)


def written(path: Path, *, named: bool) -> dict[str, str]:
    """What a file of settings says, as it is. Raises ConfigurationError where it cannot be read, and where nobody named
    it and another user may have written it.
    """
    findings = Findings()
    found = in_file(path, findings, named=named)
    if findings.problems:
        raise ConfigurationError(problems=tuple(findings.problems))
    return found


def _validated(values: Mapping[str, Any], findings: Findings) -> tuple[Settings, set[str]]:
    """The settings, and the attributes that had to be left at their defaults because their values are wrong."""
    try:
        return Settings.model_validate(values), set()
    except ValidationError as error:
        failures = [one for one in error.errors(include_url=False) if one["type"] != "default_factory_not_called"]
    failed: set[str] = set()
    for failure in failures:
        attribute = str(failure["loc"][0])
        if attribute not in failed:
            failed.add(attribute)
            findings.problems.append(_problem(attribute, failure["msg"]))
    rest = {name: value for name, value in values.items() if name not in failed}
    return Settings.model_validate(rest), failed


def _problem(attribute: str, what: str) -> str:
    variable = BY_ATTRIBUTE[attribute]
    what = what.removeprefix("Value error, ")
    return f"{variable.name}: {what[:1].lower()}{what[1:]}; write {variable.write}"


def _unread(given: Mapping[str, str]) -> set[str]:
    """Attributes that are given as a file: when it could not be read that is reported already."""
    return {name for name, variable in BY_ATTRIBUTE.items() if variable.file_name in given}


def _contradictions(settings: Settings, failed: set[str], need: Need) -> Iterable[str]:
    """What is wrong between settings, or missing; attributes that failed by themselves are not reported twice."""
    if need is Need.APP:
        for attribute in ("client_id", "client_secret"):
            if not getattr(settings, attribute) and attribute not in failed:
                yield _problem(attribute, "is not set")
    listens_wide = not settings.is_postgres and not is_loopback(settings.host)
    if settings.admin_token is None and listens_wide and "admin_token" not in failed:
        yield _problem("admin_token", "is required when CLOUDBEDS_AUTH_HOST is not this machine alone")
    if settings.is_postgres:
        # Many machines share the database: a file made beside it on one of them would help no other.
        for attribute in ("encryption_keys", "admin_token"):
            if not getattr(settings, attribute) and attribute not in failed:
                yield _problem(attribute, "is required with PostgreSQL")
    for attribute, other in TOGETHER:
        if getattr(settings, other) and not getattr(settings, attribute) and attribute not in failed:
            yield _problem(attribute, f"is required with {BY_ATTRIBUTE[other].name}")


def _risks(settings: Settings) -> Iterable[str]:
    if weak_keys(settings.encryption_keys):
        yield "CLOUDBEDS_AUTH_ENCRYPTION_KEYS holds an older key that can be guessed; remove it once nothing needs it"
    for attribute in _patterned(settings):
        yield f"{BY_ATTRIBUTE[attribute].name} repeats itself or counts up; make a random one"
    parts = url(settings.public_url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield "CLOUDBEDS_AUTH_PUBLIC_URL is plain http: sign-in and connect links can be read on their way"
        if settings.hook_secret is not None:
            yield "CLOUDBEDS_AUTH_HOOK_SECRET subscribes nothing: CLOUDBEDS_AUTH_PUBLIC_URL is plain http"


def _patterned(settings: Settings) -> Iterable[str]:
    """The secrets that were typed and not drawn by chance."""
    if patterned_key(settings.encryption_keys):
        yield "encryption_keys"
    for attribute in ("admin_token", "hook_secret"):
        found: Secret | None = getattr(settings, attribute)
        if found is not None and is_patterned(found.reveal()):
            yield attribute
    if any(is_patterned(hooks.signing_bytes(one).decode("latin-1")) for one in settings.webhook_secrets):
        yield "webhook_secrets"


def _unknown(given: Mapping[str, str], findings: Findings) -> None:
    """Names nobody knows: a slip when one of ours is close, else somebody else's."""
    tails = {_tail(name): name for name in KNOWN}
    for name in sorted(given.keys() - KNOWN):
        close = difflib.get_close_matches(_tail(name), tails, n=1, cutoff=ALIKE)
        if close:
            findings.problems.append(f"{name}: is not a setting; did you mean {tails[close[0]]}?")
        else:
            findings.warnings.append(f"{name} is not a setting and was ignored")


def _tail(name: str) -> str:
    """What distinguishes a name: the prefix that all share would make any two look alike."""
    return name.upper().removeprefix(PREFIX).removeprefix("AUTH_")
