"""docs/deploy/cloudbeds-auth.service: systemd's own checker takes it, and the service runs as it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Process, World
from tests.deploy.tools import DEPLOY, program
from tests.docs.pages import block

from cloudbeds_auth.settings import known

__all__ = ["make_world"]

UNIT = DEPLOY / "cloudbeds-auth.service"
MOST_EXPOSED = 13  # tenths of a point of `systemd-analyze security`, where 96 is a service without any protection
STOP = 40  # seconds that a stop may take, docs/operating.md
ANOTHER = 65534  # a user that is not this one


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


@dataclass(frozen=True)
class Installed:
    """The example's files in the places of a test: `folders` has what stands for which folder."""

    world: World
    folders: dict[str, Path]

    def here(self, command: str) -> list[str]:
        """The words of a command of the unit or of a page, with the program and the folders of the test."""
        words = shlex.split(command)
        words[0] = program(Path(words[0]).name)
        for written, folder in self.folders.items():
            words = [word.replace(written, str(folder)) for word in words]
        return words

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, as the service's user, with nothing but its arguments."""
        command, env = [*self.limited, *words], {"PATH": os.environ["PATH"]}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")

    @property
    def limited(self) -> list[str]:
        """What takes from root the right to read the files of others; an ordinary user has none."""
        return [program("setpriv"), "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.fixture
def example(make_world: MakeWorld, tmp_path: Path) -> Installed:
    """`service.env` and the secret's file, 0400, as the unit says. In the place of the account at Cloudbeds are the
    simulator and its app.
    """
    made = make_world("--auto-approve")
    etc, state = tmp_path / "etc", tmp_path / "state"
    etc.mkdir()
    state.mkdir(mode=0o700)
    there = Installed(made, {"/etc/cloudbeds-auth": etc, "/var/lib/cloudbeds-auth": state})
    given = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "service.env").read_text("utf-8"), re.MULTILINE))
    assert given.keys() <= known()
    kept = {"CLOUDBEDS_AUTH_DATABASE_URL", "CLOUDBEDS_CLIENT_SECRET"}
    given |= {name: value for name, value in made.settings.items() if name not in kept}
    text = "".join(f"{name}={value}\n" for name, value in given.items())
    for written, folder in there.folders.items():
        text = text.replace(written, str(folder))
    for name, content in (("service.env", text), ("client-secret", f"{CLIENT_SECRET}\n")):
        (etc / name).write_text(content, "utf-8")
        (etc / name).chmod(0o400)
    return there


@pytest.fixture
def service(example: Installed) -> Iterator[Process]:
    """As the unit starts it."""
    (start,) = values("ExecStart")
    given: dict[str, str] = {}
    running = Process(*example.here(start), env=given, cwd=Path("/"), command=example.limited)
    try:
        running.wait_for("listening on http")
        example.world.extra["CLOUDBEDS_AUTH_ADMIN_TOKEN"] = (
            (example.folders["/var/lib/cloudbeds-auth"] / "hotels.sqlite3.admin-token").read_text("utf-8").strip()
        )
        yield running
    finally:
        running.stop()


def test_every_setting_is_in_the_file() -> None:
    """None is in the unit, where commands would not see it; the client secret has a file of its own."""
    assert not values("Environment") + values("EnvironmentFile") + values("LoadCredential")
    assert not re.findall(r"^\w*(?:SECRET|TOKEN|KEYS?)=", (DEPLOY / "service.env").read_text("utf-8"), re.MULTILINE)


def test_it_runs_with_its_settings(example: Installed, service: Process) -> None:
    """A hotel connects and is called, nothing is warned about, and SIGTERM ends it with 0."""
    hotel = example.world.connect()
    assert example.world.admin.get(f"/proxy/{hotel}/api/v1.3/getHotels").status == 200
    assert service.stop() == 0
    assert (example.folders["/var/lib/cloudbeds-auth"] / "hotels.sqlite3").exists()
    assert '"event": "proxied"' in service.output
    assert "warning" not in service.output


@pytest.mark.usefixtures("service")
def test_a_command_has_the_same_settings(example: Installed) -> None:
    """As the page says, with nothing of them in the environment; sudo has made it the service's user by then."""
    words = shlex.split(block("docs/operating.md#as-the-service"))
    assert words[:3] == ["sudo", "-u", *values("User")]
    command = example.here(shlex.join(words[3:]))
    assert command[0] == example.here(values("ExecStart")[0])[0]
    hotel = example.world.connect()
    done = example.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "settings" in done.stdout
    assert hotel in example.run(*command[:-1], "connections").stdout


@pytest.mark.usefixtures("service")
def test_a_secret_that_is_changed_is_read_by_itself(example: Installed) -> None:
    """The app's secret is reset at Cloudbeds and written into its file: the running service refreshes with it."""
    hotel = example.world.connect()
    example.world.vendor.control("apps", client_id=CLIENT_ID, client_secret="the secret after the reset")
    assert example.world.admin.post(f"/api/v1/connections/{hotel}/refresh").status == 503
    secret = example.folders["/etc/cloudbeds-auth"] / "client-secret"
    secret.chmod(0o600)
    secret.write_text("the secret after the reset\n", "utf-8")
    assert example.world.admin.post(f"/api/v1/connections/{hotel}/refresh").status == 200


def test_a_command_of_another_user_reads_nothing(example: Installed) -> None:
    """It stops, and says which file it is."""
    file = example.folders["/etc/cloudbeds-auth"] / "service.env"
    if os.geteuid() == 0:
        os.chown(file, ANOTHER, ANOTHER)
    else:
        file.chmod(0)
    done = example.run(*example.here(values("ExecStart")[0])[:-1], "connections")
    assert done.returncode == 2
    assert f"'{file}' is not readable" in done.stderr
