"""Where values come from: the environment, `.env`, and files that hold one secret each."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import written_by_others
from cloudbeds_auth.rules.origins import is_vendors
from cloudbeds_auth.settings.values import is_loopback, origin, url
from cloudbeds_auth.settings.variables import FILES, PREFIX, TABLE

BASE_URL = "CLOUDBEDS_BASE_URL"
LARGEST_ENV_FILE = 1024 * 1024  # characters
LARGEST_SECRET_FILE = 64 * 1024  # bytes


@dataclass(slots=True)
class Findings:
    """What was found while reading: problems stop the start, warnings do not; `from_file` are the variables that came
    from `.env`.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    from_file: tuple[str, ...] = ()


def merged(environ: Mapping[str, str], dotenv: Path | None, findings: Findings, *, named: bool) -> dict[str, str]:
    """Our variables from both sources; the environment wins, also with an empty value, which means "not set".

    A secret and its `_FILE` are two spellings of one variable: either in the environment hides both in `.env`. `named`:
    as `in_file`. Raises ConfigurationError as `in_file`.
    """
    ours = {name: value.strip() for name, value in environ.items() if name.upper().startswith(PREFIX)}
    written = {} if dotenv is None else in_file(dotenv, findings, named=named)
    hidden = {_other_spelling(name) for name in ours} | ours.keys()
    taken = {name: value for name, value in written.items() if name not in hidden and value}
    findings.from_file = tuple(sorted(taken))
    if dotenv is not None and not named and BASE_URL in taken and not _is_harmless(taken[BASE_URL]):
        findings.problems.append(
            f"{BASE_URL}: {dotenv.absolute()} names a host that is neither Cloudbeds' nor this machine, and every "
            "credential would be sent there; write it in the environment if it is meant"
        )
    return taken | {name: value for name, value in ours.items() if value}


def _is_harmless(base_url: str) -> bool:
    """Whether a file that was found in the current folder may name this host; what is no URL is found elsewhere."""
    try:
        return is_loopback(url(base_url).hostname or "") or is_vendors(origin(base_url))
    except ValueError:
        return True


def _other_spelling(name: str) -> str:
    return FILES[name].name if name in FILES else f"{name}_FILE"


def in_file(path: Path, findings: Findings, *, named: bool) -> dict[str, str]:
    """Our variables of a `.env`; none where there is no such file.

    `named`: the operator named it. Otherwise it was found in the current folder, where anybody may have put it: raises
    ConfigurationError where another user wrote or may write it, and it holds anything of ours (A69).
    """
    if not named and not path.exists():
        return {}
    try:
        found, status = _read(path, named=named)
    except (OSError, ValueError) as error:
        findings.problems.append(f"{path}: cannot be read ({_why(error)}); make it a readable UTF-8 text file")
        return {}
    ours = {name: (value or "").strip() for name, value in found.items() if name.upper().startswith(PREFIX)}
    whole = path.absolute()
    wrong = written_by_others(whole, status) if ours and not named else None
    if wrong is not None:
        raise ConfigurationError(
            problems=(wrong,), next_step=f"read what it says before; `--env-file {whole}` takes it as it is"
        )
    secrets = {variable.name for variable in TABLE if variable.secret}
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and secrets & ours.keys():
        findings.warnings.append(f"{path} holds secrets and others may read it; run `chmod 600 {path}`")
    return ours


def _read(path: Path, *, named: bool) -> tuple[Mapping[str, str | None], os.stat_result]:
    """What the file says, and the file that said it."""
    if not named and not path.is_file():  # a pipe would hold us until somebody writes into it
        raise OSError("not a file")
    with path.open(encoding="utf-8") as file:
        # No interpolation: a `$` in a client secret is a dollar sign, and nothing but this file is read.
        text = file.read(LARGEST_ENV_FILE + 1)
        if len(text) > LARGEST_ENV_FILE:  # a device that never ends, for one
            raise ValueError("too large")
        return dotenv_values(stream=io.StringIO(text), interpolate=False), os.fstat(file.fileno())


def _why(error: OSError | ValueError) -> str:
    """Why a file cannot be read: the system's words, the decoder's in ours, those about a path that is none."""
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def resolved(given: Mapping[str, str], findings: Findings) -> dict[str, str]:
    """Values by attribute, secret files read."""
    values = {variable.attribute: given[variable.name] for variable in TABLE if variable.name in given}
    for name, variable in FILES.items():
        if name not in given:
            continue
        if variable.name in given:
            findings.problems.append(f"{variable.name}: is given twice, also as {name}; write only one of them")
        elif (value := secret_file(name, Path(given[name]), findings)) is not None:
            values[variable.attribute] = value
    return values


def secret_file(name: str, path: Path, findings: Findings) -> str | None:
    """What a file holds that `name` led to; None when it is no secret's file, which is found."""
    try:
        with path.open("rb") as file:
            value = file.read(LARGEST_SECRET_FILE + 1).decode("utf-8").strip()
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        findings.problems.append(
            f"{name}: {path} cannot be read ({_why(error)}); write the path of a readable text file"
        )
        return None
    if not value or len(value) > LARGEST_SECRET_FILE:
        findings.problems.append(f"{name}: {path} is empty or too large; write the path of a file with only the value")
        return None
    if mode & stat.S_IROTH:
        findings.warnings.append(f"{name}: anybody on this machine may read {path}; run `chmod 600 {path}`")
    return value
