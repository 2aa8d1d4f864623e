"""The workshop itself: locks, addresses, paths, and what the repository may not hold."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "requirements").glob("*.txt")))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def tracked_files() -> list[Path]:
    """Every file that a clone gets."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name]
    return [ROOT / name for name in names] or [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]


def wanted() -> list[Requirement]:
    """What pyproject.toml asks for, the build back end included."""
    extras = [*PROJECT["project"]["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()]
    optional = [text for extra in extras for text in extra]
    asked = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"], *optional]
    return [Requirement(text) for text in asked if not text.startswith("cloudbeds-auth")]


@pytest.mark.row("A64")
@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_requirement_is_locked_within_its_bound(requirement: Requirement) -> None:
    """The lock names each dependency of pyproject.toml, the build back end too, at a version that it allows."""
    found = re.search(rf"^{re.escape(canonicalize_name(requirement.name))}==(\S+)", LOCK, re.MULTILINE)
    assert found, f"{requirement.name} is not locked: run `make lock`"
    assert found[1] in requirement.specifier


@pytest.mark.row("A64")
def test_every_locked_version_carries_hashes_and_no_address() -> None:
    """pip installs only files whose hash was seen when the lock was made, from wherever this machine gets packages."""
    blocks = re.split(r"\n(?=\S)", LOCK.strip())
    bare = [block.split("\n")[0] for block in blocks if not block.startswith("#") and "--hash=sha256:" not in block]
    assert not bare
    assert not re.search(r"https?://|--index-url|--find-links|file:", LOCK)


def test_no_file_names_a_path_of_a_machine() -> None:
    """A clone works anywhere: no absolute path of whoever wrote it is committed."""
    pattern = re.compile(rb"/(?:home|Users)/[a-z]+/|/root/|/work/")
    here = Path(__file__)
    found = [
        str(path) for path in tracked_files() if path != here and path.is_file() and pattern.search(path.read_bytes())
    ]
    assert not found


def test_every_dependency_bound_has_its_reason() -> None:
    """Beside each dependency stands why it is there."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    block = text[text.index("\ndependencies = [") : text.index("\ndev = [")]
    lines = [line for line in block.splitlines() if re.match(r'^  "', line)]
    assert lines
    assert not [line for line in lines if "#" not in line]
