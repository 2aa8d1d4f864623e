"""What is published: built twice it is the same bytes, its metadata is whole, and it installs from the lock."""

from __future__ import annotations

import email
import email.message
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import pytest
from tests.release.build import ROOT, SERVICE, SUMS, build, direct_dependencies, export, main, moment_of
from trove_classifiers import classifiers

from cloudbeds_auth.version import VERSION

pytestmark = pytest.mark.timeout(300)
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", re.MULTILINE)
LATER, EARLIER = 1_900_000_000, 1_100_000_000  # Unix seconds


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what `make dist` makes of the commit that is checked out."""
    folder = tmp_path_factory.mktemp("dist")
    main(folder)
    return folder


def only(folder: Path, pattern: str) -> Path:
    """The one file there of this pattern."""
    (found,) = folder.glob(pattern)
    return found


def metadata(wheel: Path) -> email.message.Message:
    """`METADATA` of a wheel."""
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (one for one in packed.namelist() if one.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(packed.read(name))


def aged(place: Path, seconds: int, mask: int) -> Path:
    """The exported commit as if it had been written at that time, by somebody with this umask."""
    tree = export("HEAD", place)
    for path in tree.rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
        os.utime(path, (seconds, seconds))
    return tree


def test_built_twice_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two folders, of files of two times and two umasks, in two time zones, with two seeds of hashes."""
    folders = []
    for zone, seconds, mask, seed in (("UTC", EARLIER, 0o022, "1"), ("Asia/Tokyo", LATER, 0o077, "2")):
        place = tmp_path / f"of-{seed}"
        tree, folder = aged(place, seconds, mask), place / "dist"
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        for target in ("sdist", "wheel"):
            build(tree, target, folder, moment_of("HEAD"))
        folders.append(folder)
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert len(one) == 2
    assert one == other


def test_another_date_is_seen(tmp_path: Path) -> None:
    """The comparison can fail: a build that took the time of day would be another one each time."""
    tree = export("HEAD", tmp_path)
    for folder, moment in (("now", moment_of("HEAD")), ("later", str(LATER))):
        build(tree, "wheel", tmp_path / folder, moment)
    one, other = (only(tmp_path / folder, "*.whl").read_bytes() for folder in ("now", "later"))
    assert one != other


def test_the_wheel_of_the_sdist_is_the_wheel(published: Path, tmp_path: Path) -> None:
    """Whoever builds from the sdist, as distributions do, gets what is published."""
    with tarfile.open(only(published, "*.tar.gz")) as packed:
        packed.extractall(tmp_path, filter="data")
    build(only(tmp_path, "cloudbeds_auth-*"), "wheel", tmp_path / "again", moment_of("HEAD"))
    assert only(tmp_path / "again", "*.whl").read_bytes() == only(published, "*.whl").read_bytes()


def test_the_whole_is_the_same(published: Path, tmp_path: Path) -> None:
    """SBOM and checksums, too; and `sha256sum` agrees with them."""
    main(tmp_path)
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in (published, tmp_path))
    assert one == other
    assert len(one) == 4
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=published, check=True)


def test_the_registry_would_take_it(published: Path) -> None:
    """`twine check --strict`: metadata are well-formed, and the README can be shown."""
    files = [str(only(published, pattern)) for pattern in ("*.whl", "*.tar.gz")]
    checked = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_metadata_are_whole(published: Path) -> None:
    """Name, version, licence and its file, who it is for, README, Python; each extra is there."""
    said = metadata(only(published, "*.whl"))
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("cloudbeds-auth", VERSION, "MIT")
    assert said["License-File"] == "LICENSE"
    assert said["Description-Content-Type"] == "text/markdown"
    assert str(said.get_payload()).startswith("# cloudbeds-auth")
    assert said["Requires-Python"] == ">=3.11"
    for name in ("Summary", "Author", "Keywords"):
        assert said[name], name
    named = set(said.get_all("Classifier", []))
    assert named <= set(classifiers)
    assert {"Typing :: Typed", "Development Status :: 4 - Beta"} <= named
    assert not [one for one in named if one.startswith("License ::")], "the expression says it (PEP 639)"
    assert {"server", "postgres", "otel", "pytest", "httpx", "requests", "sdk", "fastapi", "flask", "django"} <= set(
        said.get_all("Provides-Extra", [])
    )


def test_the_version_is_in_the_changelog() -> None:
    """It has its heading, below what is not released yet."""
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert VERSION in headings[1:]


def test_the_bill_of_materials_has_every_package_that_is_locked(published: Path) -> None:
    """Each with its version and a hash; and it says what it is of."""
    bill = json.loads(only(published, "*.cdx.json").read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    whole = bill["metadata"]["component"]
    assert (whole["name"], whole["version"], whole["type"]) == ("cloudbeds-auth", VERSION, "application")
    locked = set(PINNED.findall((ROOT / SERVICE).read_text("utf-8")))
    assert {(one["name"], one["version"]) for one in bill["components"]} == locked
    assert len(locked) > 20
    assert not [one["name"] for one in bill["components"] if "sha256" not in json.dumps(one).lower().replace("-", "")]
    assert "timestamp" not in bill["metadata"]
    names = {one["bom-ref"]: one["name"] for one in bill["components"]}
    (root,) = (one for one in bill["dependencies"] if one["ref"] == whole["bom-ref"])
    assert {names[ref] for ref in root["dependsOn"]} == direct_dependencies(ROOT)


def test_it_installs_from_the_lock(published: Path, tmp_path: Path) -> None:
    """As the Containerfile does it: every package by its hash, then the wheel and nothing else; nothing is missing."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    ours = partial(subprocess.run, check=True, cwd=tmp_path, capture_output=True, text=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    ours([*pip, "install", "--quiet", "--require-hashes", "-r", str(ROOT / SERVICE)])
    ours([*pip, "install", "--quiet", "--no-deps", "--no-index", str(only(published, "*.whl"))])
    ours([*pip, "check"])
    extras = "import fastapi, psycopg, opentelemetry.trace, cloudbeds_auth.app.server"
    ours([python, "-c", extras])
    assert VERSION in ours([python, "-m", "cloudbeds_auth", "--version"]).stdout
