"""What is published of one commit: sdist, wheel, SBOM and their checksums.

    python -m tests.release.build FOLDER [COMMIT]

The bytes follow from the commit and from the lock alone: files are exported from it, and each date is the commit's.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from io import BytesIO
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SUMS = "SHA256SUMS"
SERVICE = "requirements/service.txt"  # the lock of what runs: the library with these extras
EXTRAS = ("server", "postgres", "otel")


def main(folder: Path, commit: str = "HEAD") -> None:
    """Build them there, in place of what a build before left."""
    folder.mkdir(exist_ok=True)
    for pattern in ("*.whl", "*.tar.gz", "*.cdx.json", SUMS):
        for left in folder.glob(pattern):
            left.unlink()
    with tempfile.TemporaryDirectory() as place:
        tree = export(commit, Path(place))
        for target in ("sdist", "wheel"):
            build(tree, target, folder, moment_of(commit))
        bill_of_materials(tree, folder)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (folder / SUMS).write_text("".join(lines), "utf-8")


def export(commit: str, place: Path) -> Path:
    """The files of the commit, in a folder below `place`; what is not committed has no part in a release."""
    archive = _run("git", "archive", "--format=tar", commit, cwd=ROOT)
    with tarfile.open(fileobj=BytesIO(archive)) as packed:
        packed.extractall(place / "tree", filter="data")
    return place / "tree"


def moment_of(commit: str) -> str:
    """When it was committed, in Unix seconds."""
    return _run("git", "log", "-1", "--format=%ct", commit, cwd=ROOT).decode().strip()


def build(tree: Path, target: str, folder: Path, moment: str) -> None:
    """The wheel or the sdist of these files, with the build back end of the lock."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder.resolve()))
    _run(*command, cwd=tree, SOURCE_DATE_EPOCH=moment)


def bill_of_materials(tree: Path, folder: Path) -> None:
    """CycloneDX, of every package that the service may install, with its hashes; without a date and a serial number."""
    (wheel,) = folder.glob("*.whl")
    name, version = wheel.name.split("-")[:2]
    made = _run(
        sys.executable, "-m", "cyclonedx_py", "requirements", SERVICE, "--pyproject", "pyproject.toml",
        "--mc-type", "application", "--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON",
        cwd=tree, PYTHONWARNINGS="ignore::UserWarning",  # that what a lock has no word of is missing: see below
    )  # fmt: skip
    bill = json.loads(made)
    whole, direct = bill["metadata"]["component"], direct_dependencies(tree)
    whole["version"] = version  # which pyproject.toml says is read from the source
    refs = sorted(one["bom-ref"] for one in bill["components"] if one["name"] in direct)
    (root,) = (one for one in bill["dependencies"] if one["ref"] == whole["bom-ref"])
    root["dependsOn"] = refs
    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    (folder / f"{name}-{version}.cdx.json").write_text(text, "utf-8")


def direct_dependencies(tree: Path) -> set[str]:
    """The names of what pyproject.toml asks for by itself."""
    project = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (project["optional-dependencies"][extra] for extra in EXTRAS)
    asked = [*project["dependencies"], *(one for extra in extras for one in extra)]
    return {canonicalize_name(Requirement(one).name) for one in asked}


def _run(*command: str, cwd: Path, **environment: str) -> bytes:
    """Its output; raises CalledProcessError."""
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, env=os.environ | environment).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
