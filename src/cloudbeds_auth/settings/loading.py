"""Reads the settings from the environment, `.env` and secret files; all problems are reported together."""

from __future__ import annotations

import io
import os
import shlex
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv.parser import Binding, parse_stream
from pydantic import ValidationError

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import written_by_others
from cloudbeds_auth.rules.origins import is_vendors
from cloudbeds_auth.settings import secret_values, values
from cloudbeds_auth.settings.row import Need, rows
from cloudbeds_auth.settings.table import Settings
from cloudbeds_auth.settings.wrong_values import closest, found_in, problem

PREFIX = "CLOUDBEDS_"
OURS = "CLOUDBEDS_AUTH_"  # no other program's variables begin with this
NAMING_HOSTS = {
    "CLOUDBEDS_BASE_URL": "every credential would be sent there",
    "CLOUDBEDS_AUTHORIZE_URL": "every hotel would be sent there to approve",
}  # what a planted `.env` would do with them
ENV_FILE = "CLOUDBEDS_AUTH_ENV_FILE"  # names the file that is read instead of `.env`; read from the environment only
NO_SETTINGS = (
    "CLOUDBEDS_AUTH_APP_SECRET",
    "CLOUDBEDS_API_KEY",
    "CLOUDBEDS_CODE_VERIFIER",
    ENV_FILE,
)  # variables of ours all the same, read by commands
LARGEST_ENV_FILE = 1024 * 1024  # characters
LARGEST_SECRET_FILE = 64 * 1024  # bytes
OUR_TOKENS = ("cbat_", "cbauth_")  # Cloudbeds' API keys and this service's keys for callers begin so
READ = object()  # the validation context of settings that are read, which may lack everything


@dataclass(slots=True)
class Findings:
    """What was found while reading: problems prevent the start, warnings do not; `misspelt` has by the name that was
    probably meant the one that is no setting; `from_file` are the variables that came from `.env`.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    misspelt: dict[str, str] = field(default_factory=dict)
    from_file: tuple[str, ...] = ()

    def raise_problems(self) -> None:
        """Raises ConfigurationError with all problems, if there are any."""
        if self.problems:
            raise ConfigurationError(problems=tuple(self.problems))


def load(environ: Mapping[str, str], dotenv: Path | None, *, need: Need, named: bool = False) -> Settings:
    """The settings of an environment and a `.env` file, which may be None or missing.

    `named`: the operator named the file, so it has to exist, and is accepted whichever user may write it. Raises
    ConfigurationError with every problem; each names the variable, what is wrong and what to write.
    """
    findings = Findings()
    given = _merged(environ, dotenv, findings, named=named)
    _report_unknown(given, findings)
    settings, failed = _validated(_resolved(given, findings), findings)
    table = rows(Settings)
    unread = {attribute for attribute, row in table.items() if row.file_name in given}  # reported already
    for attribute, row in table.items():
        why = row.needed(settings, need)
        if why and not getattr(settings, attribute) and attribute not in failed | unread:
            findings.problems.append(problem(row.name, row, why, findings.misspelt.get(row.name)))
    findings.raise_problems()
    noted: dict[str, Any] = {"warnings": (*findings.warnings, *_risks(settings))}
    if dotenv is not None and findings.from_file:
        noted |= {"env_file": dotenv.absolute(), "from_env_file": findings.from_file}
    return settings.model_copy(update=noted)


def load_from_environment(need: Need = Need.APP, path: Path | str | None = None) -> Settings:
    """The settings of this process: its environment, then the file at `path`, else the one that the environment names,
    else `.env` in the current folder.
    """
    where, named = env_file() if path is None else (Path(path), True)
    return load(os.environ, where, need=need, named=named)


def env_file() -> tuple[Path, bool]:
    """The file that settings are read from beside the environment, and whether the operator named it."""
    named = os.environ.get(ENV_FILE, "").strip()
    return Path(named or ".env"), bool(named)


def written(path: Path, *, named: bool) -> dict[str, str]:
    """The variables in a file of settings, unchecked. Raises ConfigurationError if it cannot be read, or, unless it is
    `named` by the operator, if another user may have written it.
    """
    findings = Findings()
    found = _in_file(path, findings, named=named)
    findings.raise_problems()
    return found


def known() -> frozenset[str]:
    """Every variable name that has a meaning here."""
    table = rows(Settings).values()
    return frozenset({row.name for row in table} | {row.file_name for row in table if row.secret} | set(NO_SETTINGS))


def _merged(environ: Mapping[str, str], dotenv: Path | None, findings: Findings, *, named: bool) -> dict[str, str]:
    """Our variables from both sources; the environment wins, even with an empty value, which means "not set".

    A secret and its `_FILE` are two spellings of one variable: either in the environment hides both in `.env`. `named`:
    as in `_in_file`.
    """
    ours = {name: value.strip() for name, value in environ.items() if name.upper().startswith(PREFIX)}
    written = {} if dotenv is None else _in_file(dotenv, findings, named=named)
    hidden = {other for name in ours for other in (name, f"{name}_FILE", name.removesuffix("_FILE"))}
    taken = {name: value for name, value in written.items() if name not in hidden and value}
    findings.from_file = tuple(sorted(taken))
    for name, outcome in NAMING_HOSTS.items():
        if dotenv is not None and not named and name in taken and not _is_harmless(taken[name]):
            findings.problems.append(
                f"{name}: {dotenv.absolute()} names a host that is neither Cloudbeds' nor this machine, and {outcome}; "
                "if it is intended, set it in the environment"
            )
    return taken | {name: value for name, value in ours.items() if value}


def _is_harmless(url: str) -> bool:
    """Whether a file found in the current folder may name this host; an invalid URL is reported elsewhere."""
    try:
        return values.is_loopback(values.url(url).hostname or "") or is_vendors(url)
    except ValueError:
        return True


def _in_file(path: Path, findings: Findings, *, named: bool) -> dict[str, str]:
    """Our variables in a `.env`; none if there is no such file.

    `named`: the operator named it. Otherwise it was found in the current folder, where any user may have put it: raises
    ConfigurationError if it sets variables of ours and another user wrote it or may write it (A69).
    """
    if not named and not path.exists():
        return {}
    try:
        bindings, status = _read(path, named=named)
    except (OSError, ValueError) as error:
        findings.problems.append(f"{path}: cannot be read ({_why(error)}); make it a readable UTF-8 text file")
        return {}
    ours = _ours(bindings, path, findings)
    whole = path.absolute()
    wrong = written_by_others(whole, status) if ours and not named else None
    if wrong is not None:
        raise ConfigurationError(
            problems=(wrong,), next_step=f"read the file first; `--env-file {quoted(whole)}` accepts it as it is"
        )
    secrets = {row.name for row in rows(Settings).values() if row.secret}
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and secrets & ours.keys():
        findings.warnings.append(f"{path} holds secrets and others may read it; run `chmod 600 {quoted(path)}`")
    return ours


def _ours(bindings: Iterable[Binding], path: Path, findings: Findings) -> dict[str, str]:
    """Our variables in these lines; a line of ours that sets nothing is a problem, instead of using the default."""
    ours: dict[str, str] = {}
    for one in bindings:
        text = one.original.string.lstrip()
        if one.key is not None:
            if one.key.upper().startswith(PREFIX):
                ours[one.key] = (one.value or "").strip()
        elif text.removeprefix("export ").lstrip().upper().startswith(PREFIX):
            line = one.original.line + one.original.string.removesuffix(text).count("\n")
            findings.problems.append(f"{path}: line {line} sets nothing; write NAME=value")
    return ours


def _read(path: Path, *, named: bool) -> tuple[Sequence[Binding], os.stat_result]:
    """The lines of the file, and its status."""
    if not named and not path.is_file():  # a pipe would block us until a process writes into it
        raise OSError("not a file")
    with path.open(encoding="utf-8") as file:
        text = file.read(LARGEST_ENV_FILE + 1)
        if len(text) > LARGEST_ENV_FILE:  # a device that never ends, for one
            raise ValueError("too large")
        # Parsed, not interpolated: a `$` in a client secret is a dollar sign, and only this file is read.
        return tuple(parse_stream(io.StringIO(text))), os.fstat(file.fileno())


def _why(error: OSError | ValueError) -> str:
    """Why a file cannot be read: the system's message, or ours if it is not UTF-8 or not a valid path."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _resolved(given: Mapping[str, str], findings: Findings) -> dict[str, str]:
    """Values by attribute, including those from secret files."""
    resolved = {attribute: given[row.name] for attribute, row in rows(Settings).items() if row.name in given}
    for attribute, row in rows(Settings).items():
        if not row.secret or row.file_name not in given:
            continue
        if row.name in given:
            findings.problems.append(f"{row.name}: is given twice, also as {row.file_name}; set only one of them")
        elif (value := secret_file(row.file_name, Path(given[row.file_name]), findings)) is not None:
            resolved[attribute] = value
    return resolved


def secret_file(name: str, path: Path, findings: Findings) -> str | None:
    """The value in the secret file that `name` leads to; None if it cannot be used, which is added to `findings`."""
    shown = _shown(path)
    try:
        with path.open("rb") as file:
            value = file.read(LARGEST_SECRET_FILE + 1).decode("utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        findings.problems.append(
            f"{name}: {shown} cannot be read ({_why(error)}); write the path of a readable text file"
        )
        return None
    if not value or len(value) > LARGEST_SECRET_FILE:
        findings.problems.append(
            f"{name}: {shown} is empty or too large; write the path of a file with the value alone"
        )
        return None
    if mode & stat.S_IROTH:
        command = f"chmod 600 {quoted(path)}" if shown == str(path) else "chmod 600"
        findings.warnings.append(f"{name}: every user of this machine may read {shown}; run `{command}`")
    return value


def _shown(path: Path) -> str:
    """The path for people, if it is certainly one: by mistake it may be the secret itself, and a key in base64 or a
    database's URL has a `/`, too. So it, or the first folder that it names, has to exist.
    """
    written = str(path)
    is_token = any(one in written for one in OUR_TOKENS)
    parts = path.parts[1:] if path.is_absolute() else path.parts
    try:
        is_path = path.exists() or (len(parts) > 1 and Path(path.anchor, parts[0]).is_dir())
    except (OSError, ValueError):  # longer than a path may be, or with a byte that none holds
        is_path = False
    return written if is_path and not is_token else "the file"


def quoted(path: Path) -> str:
    """The path as a shell reads it, for commands that are shown to people."""
    return shlex.quote(str(path))


def _validated(resolved: Mapping[str, Any], findings: Findings) -> tuple[Settings, set[str]]:
    """The settings, and the attributes that are left at their defaults because their values are invalid."""
    rest, failed = dict(resolved), set[str]()
    while True:  # what fits a value that is left out may not fit the default in its place
        try:
            return Settings.model_validate(rest, context=READ), failed
        except ValidationError as error:
            found = found_in(error)
            if not found.keys() & rest.keys():
                raise
        for attribute, what in found.items():
            row = rows(Settings)[attribute]
            findings.problems.append(problem(row.name, row, what))
        rest = {name: value for name, value in rest.items() if name not in found}
        failed |= found.keys()


def _risks(settings: Settings) -> Iterable[str]:
    if secret_values.weak_keys(settings.encryption_keys):
        yield "CLOUDBEDS_AUTH_ENCRYPTION_KEYS has an older key that can be guessed; remove it when nothing needs it"
    for attribute, row in rows(Settings).items():
        if any(map(secret_values.is_patterned, row.drawn(getattr(settings, attribute)))):
            yield f"{row.name} repeats itself or counts up; generate a random one"
    if settings.is_plain_http:
        yield "CLOUDBEDS_AUTH_PUBLIC_URL is plain http: sign-in and connect links can be read in transit"
    if settings.hook_secret is not None and settings.hook is None:
        yield "CLOUDBEDS_AUTH_HOOK_SECRET subscribes nothing: CLOUDBEDS_AUTH_PUBLIC_URL is plain http"


def _report_unknown(given: Mapping[str, str], findings: Findings) -> None:
    """Report unknown names: a problem if one has our prefix, else a warning, because it may be the program's own."""
    ours = known()
    tails = {_tail(name): name for name in ours}
    for name in sorted(given.keys() - ours):
        close = closest(_tail(name), tails)
        meant = f"did you mean {tails[close]}?" if close else ""
        if name.upper().startswith(OURS):
            findings.problems.append(f"{name}: is not a setting; {meant or 'remove it, or correct the name'}")
        else:
            findings.warnings.append(f"{name} is not a setting and was ignored{meant and f'; {meant}'}")
            if close:
                findings.misspelt[tails[close]] = name


def _tail(name: str) -> str:
    """The part that distinguishes a name: with the common prefix, any two would look alike."""
    return name.upper().removeprefix(PREFIX).removeprefix("AUTH_")
