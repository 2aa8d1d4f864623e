"""Where values come from: the environment, `.env`, and files that hold one secret each."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

from cloudbeds_auth.settings.variables import FILES, PREFIX, TABLE

LARGEST_SECRET_FILE = 64 * 1024  # bytes


@dataclass(slots=True)
class Findings:
    """What was found while reading: problems stop the start, warnings do not."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def merged(environ: Mapping[str, str], dotenv: Path | None, findings: Findings) -> dict[str, str]:
    """Our variables from both sources; the environment wins, also with an empty value, which means "not set".

    A secret and its `_FILE` are two spellings of one variable: either in the environment hides both in `.env`.
    """
    ours = {name: value.strip() for name, value in environ.items() if name.upper().startswith(PREFIX)}
    written = _dotenv(dotenv, findings)
    hidden = {_other_spelling(name) for name in ours} | ours.keys()
    both = {name: value for name, value in written.items() if name not in hidden} | ours
    return {name: value for name, value in both.items() if value}


def _other_spelling(name: str) -> str:
    return FILES[name].name if name in FILES else f"{name}_FILE"


def _dotenv(path: Path | None, findings: Findings) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    try:
        # No interpolation: a `$` in a client secret is a dollar sign, and nothing but this file is read.
        found = dotenv_values(path, interpolate=False, encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        findings.problems.append(f"{path}: cannot be read ({type(error).__name__}); make it a readable UTF-8 text file")
        return {}
    ours = {name: (value or "").strip() for name, value in found.items() if name.upper().startswith(PREFIX)}
    secrets = {variable.name for variable in TABLE if variable.secret}
    if mode & (stat.S_IRGRP | stat.S_IROTH) and secrets & ours.keys():
        findings.warnings.append(f"{path} holds secrets and others may read it; run `chmod 600 {path}`")
    return ours


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
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        findings.problems.append(f"{name}: {path} cannot be read ({reason}); write the path of a readable text file")
        return None
    if not value or len(value) > LARGEST_SECRET_FILE:
        findings.problems.append(f"{name}: {path} is empty or too large; write the path of a file with only the value")
        return None
    if mode & stat.S_IROTH:
        findings.warnings.append(f"{name}: anybody on this machine may read {path}; run `chmod 600 {path}`")
    return value
