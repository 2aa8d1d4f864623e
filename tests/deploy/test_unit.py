"""docs/deploy/cloudbeds-auth.service: systemd's own checker takes it, and the service runs as it says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import CLIENT_SECRET
from tests.deploy.tools import DEPLOY, program

from cloudbeds_auth.settings import known

__all__ = ["make_world"]

UNIT = DEPLOY / "cloudbeds-auth.service"
MOST_EXPOSED = 13  # tenths of a point of `systemd-analyze security`, where 96 is a service without any protection
STOP = 40  # seconds that a stop may take, docs/operating.md


def values(name: str) -> list[str]:
    """What the unit sets for this directive."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as it is, but for where the program is: here."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text("utf-8")
    assert "/opt/cloudbeds-auth/bin/cloudbeds-auth" in text
    unit.write_text(text.replace("/opt/cloudbeds-auth/bin/cloudbeds-auth", program("cloudbeds-auth")), "utf-8")
    return unit


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says."""
    command = [program("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_takes_the_unit(installed: Path) -> None:
    """Every directive is known, every value well-formed, and the program is there."""
    done = analyzed("verify", "--recursive-errors=no", str(installed))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_slip_is_found(installed: Path) -> None:
    """The checker is asked for what it would find."""
    installed.write_text(installed.read_text("utf-8").replace("ProtectHome=yes", "ProtectHomes=yes"), "utf-8")
    assert "ProtectHomes" in analyzed("verify", "--recursive-errors=no", str(installed)).stderr


def test_it_is_shut_in(installed: Path) -> None:
    """By systemd's own measure: below 1.3 of ten points."""
    done = analyzed("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(installed))
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_waits_for_a_stop() -> None:
    """SIGKILL comes after the service has had the time that a stop may take."""
    (seconds,) = values("TimeoutStopSec")
    assert int(seconds) > STOP


def test_the_service_runs_with_its_environment(make_world: MakeWorld, tmp_path: Path) -> None:
    """The settings that it names are ours: the secret is read from systemd's credential, the log is JSON, and SIGTERM
    ends it with status 0.
    """
    credentials, state = tmp_path / "credentials", tmp_path / "state"
    state.mkdir()
    credentials.mkdir()
    (credentials / "client-secret").write_text(f"{CLIENT_SECRET}\n")
    given = dict(one.split("=", 1) for one in values("Environment"))
    assert {name.removesuffix("_FILE") for name in given} <= known()
    made = make_world("--auto-approve")
    folders = {"%d": str(credentials), "/var/lib/cloudbeds-auth": str(state)}
    for name, value in given.items():
        for written, folder in folders.items():
            value = value.replace(written, folder)
        made.extra[name] = value
    made.extra["CLOUDBEDS_CLIENT_SECRET"] = ""
    made.extra["CLOUDBEDS_AUTH_ADMIN_TOKEN"] = "an-admin-token-of-more-than-32-characters"
    service = made.start()
    hotel = made.connect()
    assert made.admin.get(f"/proxy/{hotel}/api/v1.3/getHotels").status == 200
    assert service.stop() == 0
    assert (state / "hotels.sqlite3").exists()
    assert '"event": "proxied"' in service.output
