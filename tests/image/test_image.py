"""docs/deploy/Containerfile, built as its first lines say, and run: by buildah, with which podman builds.

The base image is made here, of Debian's packages, because no registry is asked. Build and run share the machine's
network and processes (`--isolation=chroot`), which goes inside of a container, too.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import Process
from tests.deploy.tools import DEPLOY, ROOT, program

__all__ = ["make_world"]
pytestmark = pytest.mark.timeout(500)  # the image is built in it

ADMIN = "an-admin-token-of-more-than-32-characters"
BASE = "localhost/python"
OF_DEBIAN = "python3,python3-venv,python-is-python3,ca-certificates"
LEFT_OUT = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
USER = 10001
OF_PIP = {"index-url", "extra-index-url", "find-links", "trusted-host", "cert"}
"""Its settings on this machine without which the build would ask elsewhere for packages, or nowhere."""
LIMITS = [
    f"--ulimit={name}={most}:{most}"  # buildah's own are more than a container's root may set
    for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    for most in [resource.getrlimit(kind)[1]]
]
WITHIN = ["--isolation=chroot", "--network=host", *LIMITS]


@dataclass(frozen=True)
class Buildah:
    """It, with images and containers in this folder and nowhere else."""

    folder: Path

    @property
    def command(self) -> Sequence[str]:
        """What each of its commands begins with."""
        places = f"--root={self.folder}/images", f"--runroot={self.folder}/run"
        return program("buildah"), *places, "--storage-driver=vfs"

    def __call__(self, *arguments: str, cwd: Path = ROOT) -> str:
        """What it says; it went well."""
        return told(*self.command, *arguments, cwd=cwd)

    def inside(self, *command: str) -> int:
        """The exit status of this command in the container."""
        whole = [*self.command, "run", "--isolation=chroot", "service", "--", *command]
        return subprocess.run(whole, capture_output=True, check=False).returncode


def told(*command: str, cwd: Path = ROOT) -> str:
    """Output and errors of a command that goes well."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def innermost(process: int) -> int:
    """The process that it runs, below those that are buildah's own."""
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if f"\nPPid:\t{process}\n" in (one / "status").read_text():
                return innermost(int(one.name))
    return process


def make_base(buildah: Buildah) -> None:
    """An image with what the build needs of `python:…-slim`."""
    archive, debian = buildah.folder / "base.tar", platform.freedesktop_os_release()["VERSION_CODENAME"]
    options = "--quiet", "--variant=minbase", f"--include={OF_DEBIAN}", *LEFT_OUT
    told(program("mmdebstrap"), *options, debian, str(archive))
    buildah("from", *WITHIN, "--name=base", "scratch")
    buildah("add", "--quiet", "base", str(archive), "/")
    buildah("commit", "--quiet", "--rm", "base", BASE)
    archive.unlink()


def clone(folder: Path) -> Path:
    """What the build looks at of a clone after `make dist`."""
    for name in ("requirements/service.txt", "docs/deploy/Containerfile"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, folder / name)
    told(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist"))
    return folder


def as_pip_is_set_up(folder: Path) -> list[str]:
    """Volumes of the build: a `pip.conf` with this machine's settings, and the files that those name."""
    read = re.findall(r"^[\w:]+\.([\w-]+)=(.*)$", told(sys.executable, "-m", "pip", "config", "list"), re.MULTILINE)
    settings = {name: str(literal_eval(value)) for name, value in read if name in OF_PIP}
    written = folder / "pip.conf"
    lines = [f"{name} = {' '.join(value.split())}" for name, value in settings.items()]
    written.write_text("\n".join(["[global]", *lines]), "utf-8")
    files = {one for value in settings.values() for one in value.split() if one.startswith("/")}
    return [f"--volume={written}:/etc/pip.conf:ro", *(f"--volume={one}:{one}:ro" for one in sorted(files))]


def documented() -> list[str]:
    """How the Containerfile says that it is built, without the folder."""
    (line,) = re.findall(r"podman build (.*) \.$", (DEPLOY / "Containerfile").read_text("utf-8"), re.MULTILINE)
    return shlex.split(line)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """With a container of the image, `service`."""
    made = Buildah(tmp_path_factory.mktemp("buildah"))
    try:
        make_base(made)
        options = [*WITHIN, *as_pip_is_set_up(made.folder), f"--build-arg=PYTHON={BASE}"]
        said = made("build", *options, *documented(), ".", cwd=clone(made.folder / "clone"))
        assert "level=warning" not in said, said
        made("from", *WITHIN, "--name=service", "localhost/cloudbeds-auth")
        yield made
    finally:
        shutil.rmtree(made.folder)  # a gigabyte


@pytest.fixture
def image(buildah: Buildah) -> dict[str, Any]:
    """What a runtime reads of it."""
    found: dict[str, Any] = json.loads(buildah("inspect", "service"))["Docker"]["config"]
    return found


def test_what_a_runtime_is_told(image: dict[str, Any]) -> None:
    """Whom to run it as, what to ask it, how to stop it, and where its volume is."""
    assert image["User"] == str(USER)
    assert image["StopSignal"] == "SIGTERM"
    assert list(image["Volumes"]) == ["/var/lib/cloudbeds-auth"]
    assert image["Healthcheck"]["Test"][0] == "CMD"


def test_it_serves_a_hotel(buildah: Buildah, image: dict[str, Any], make_world: MakeWorld) -> None:
    """Its command, with settings from the environment: the health check fails before and succeeds then, a hotel
    connects and is called, no root is in it, and SIGTERM ends it with status 0.
    """
    made = make_world(
        "--auto-approve", CLOUDBEDS_AUTH_ADMIN_TOKEN=ADMIN, CLOUDBEDS_AUTH_INSTANCE="image",
        CLOUDBEDS_AUTH_OPEN_CONNECT="true",
    )  # fmt: skip
    given = {name: value for name, value in made.settings.items() if name != "CLOUDBEDS_AUTH_DATABASE_URL"}
    asked = [part.replace(":7000", f":{made.port}") for part in image["Healthcheck"]["Test"][1:]]
    assert buildah.inside(*asked) == 1, "nothing listens yet"
    run = ["run", "--isolation=chroot", *(f"--env={name}={value}" for name, value in given.items()), "service", "--"]
    service = Process(*run, *image["Entrypoint"], *image["Cmd"], env={}, cwd=made.folder, command=buildah.command)
    try:
        service.wait_for("listening on http")
        process = innermost(service.popen.pid)
        assert buildah.inside(*asked) == 0
        assert Path(f"/proc/{process}").stat().st_uid == USER
        hotel = made.connect()
        assert made.admin.get(f"/proxy/{hotel}/api/v1.3/getHotels").status == 200
        os.kill(process, signal.SIGTERM)  # a runtime sends it to the process; buildah would end that otherwise
        assert service.popen.wait(40) == 0, service.output
    finally:
        service.stop()
