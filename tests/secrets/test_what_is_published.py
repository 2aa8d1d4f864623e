"""What is public holds no secret: each line of the history, and each file of wheel and sdist (A65).

Looked for is what `detect-secrets` knows by its form, and our own forms: API keys of Cloudbeds, and keys for callers
whose checksum is right. What it finds by entropy or by a word beside it is left out: tests are full of both.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.plugins.base import RegexBasedDetector

from cloudbeds_auth.rules.caller_keys import id_of, write

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"IPPublicDetector"}  # an address is no secret
OURS = re.compile(r"cbat_[A-Za-z0-9]{32,}|cbauth_[0-9A-Z]+_[0-9A-Za-z]{28}")
PRIVATE_FILES = re.compile(r"(?:^|/)\.env(?:$|\.)|\.(?:sqlite3?|db|pem|key|p12)(?:$|[.-])|admin-token", re.IGNORECASE)

EXAMPLES = re.compile(
    r"canary(?:-password|%\w+)?|password|pw?|\{(?:vendor|CANARY)\}.*|p%C3%A9|s%40cret|s3cr%40et%25p%2Fw|s3cret%pw"
)
"""Passwords in addresses that a test or a page made up."""

pytestmark = pytest.mark.row("A65")


@cache
def detectors() -> list[RegexBasedDetector]:
    """Those that know a secret by its form."""
    kinds: Any = get_mapping_from_secret_type_to_class().values()
    return [kind() for kind in kinds if issubclass(kind, RegexBasedDetector) and kind.__name__ not in LEFT_OUT]


def secrets_in(lines: Iterable[str]) -> dict[str, set[str]]:
    """What was found, by its kind."""
    found: dict[str, set[str]] = {}
    for line in {*lines}:
        for detector in detectors():
            for secret in detector.analyze_string(line):
                found.setdefault(detector.secret_type, set()).add(secret)
        for ours in OURS.findall(line):
            if ours.startswith("cbat_") or id_of(ours):
                found.setdefault("ours", set()).add(ours)
    real = {kind: {one for one in values if not EXAMPLES.fullmatch(one)} for kind, values in found.items()}
    return {kind: values for kind, values in real.items() if values}


def git(*arguments: str) -> Iterator[str]:
    """The output of git, line by line."""
    with subprocess.Popen(
        ["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    ) as run:
        assert run.stdout is not None
        yield from run.stdout
    assert run.returncode == 0


def built(place: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the wheel and of the sdist, as they are published."""
    for target in ("wheel", "sdist"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(place)], cwd=ROOT, check=True
        )
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as packed:
        yield from ((name, packed.read(name)) for name in packed.namelist() if not name.endswith("/"))
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            if (file := archive.extractfile(member)) is not None:
                yield member.name, file.read()


def test_every_line_of_the_history() -> None:
    """Of every branch that the clone has, also of what was deleted; commit messages too."""
    if subprocess.run(["git", "rev-parse", "--git-dir"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("this copy has no history: only a clone has one")
    assert "".join(git("rev-parse", "--is-shallow-repository")).strip() == "false", "fetch the whole history first"
    lines = (line[1:] for line in git("log", "--all", "--patch", "--text", "--no-renames", "--unified=0", "--no-color"))
    assert secrets_in(lines) == {}


def test_every_file_that_was_ever_committed() -> None:
    """None is a database, a key, a token or a file of settings."""
    if subprocess.run(["git", "rev-parse", "--git-dir"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("this copy has no history: only a clone has one")
    names = {name.strip() for name in git("log", "--all", "--name-only", "--format=", "--no-renames")}
    assert {name for name in names if PRIVATE_FILES.search(name)} == set()


def test_what_is_built(tmp_path: Path) -> None:
    """Wheel and sdist, their metadata included."""
    files = dict(built(tmp_path))
    assert len(files) > 300
    assert {name for name in files if PRIVATE_FILES.search(name)} == set()
    lines = (line for data in files.values() for line in data.decode("utf-8", "replace").splitlines())
    assert secrets_in(lines) == {}


@pytest.mark.row("A65", control=True)
@pytest.mark.parametrize(
    "line",
    [
        "-----BEGIN RSA " + "PRIVATE KEY-----", "aws = 'AKIA" + "IOSFODNN7EXAMPLO'", "token: ghp_" + "a1B2c3D4e5F6" * 3,
        "postgresql://hotels:" + "Tr0ub4dor@db.internal/x", "cbat_" + "a1B2c3D4" * 5,
        write("key_01J9Z3NDEKTSV4RRFFQ69G5FAV", "random"),
    ],
    ids=["private key", "aws", "github", "password in an address", "an API key", "a caller's key"],
)  # fmt: skip
def test_a_secret_is_found(line: str) -> None:
    """Of each kind that somebody might commit by mistake."""
    assert secrets_in([f"x = {line}"]) != {}
    assert secrets_in(["nothing = of('that', kind)"]) == {}
