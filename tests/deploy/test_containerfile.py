"""docs/deploy/Containerfile, as far as it goes without a container runtime: its files, user, settings and commands.

That it builds and runs, tests/image shows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld, make_world
from tests.deploy.tools import DEPLOY, ROOT, program

from cloudbeds_auth.settings import known

__all__ = ["make_world"]

TOKEN = "an-admin-token-of-more-than-32-characters"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its words, continued lines joined."""
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, words) for name, _, words in (line.partition(" ") for line in joined.splitlines() if line)]


def last_stage() -> dict[str, list[str]]:
    """What the image is made of, by instruction."""
    every = instructions()
    begun = max(at for at, (name, _) in enumerate(every) if name == "FROM")
    found: dict[str, list[str]] = {}
    for name, words in every[begun:]:
        found.setdefault(name, []).append(words)
    return found


def environment() -> dict[str, str]:
    """The variables that the image sets."""
    (words,) = last_stage()["ENV"]
    return dict(one.split("=", 1) for one in words.split())


def test_its_stages() -> None:
    """What builds stays behind: the image has the environment and nothing else of it."""
    stages = [words for name, words in instructions() if name == "FROM"]
    assert stages == ["${PYTHON} AS build", "${PYTHON}"]
    assert last_stage()["COPY"] == ["--from=build /opt/cloudbeds-auth /opt/cloudbeds-auth"]


def test_what_it_copies_is_there() -> None:
    """The lock in a clone, and the wheel after `make dist`."""
    (words,) = [words for name, words in instructions() if name == "COPY" and "--from" not in words]
    assert words == "requirements/service.txt dist/*.whl ./"
    assert (ROOT / "requirements" / "service.txt").exists()


def test_it_is_not_root() -> None:
    """By number, so that an orchestrator can see that; the user is the one that it made, and owns the volume."""
    stage = last_stage()
    (user,), (made,) = stage["USER"], stage["RUN"]
    assert user.isdigit()
    assert int(user) > 0
    assert f"--uid {user} " in made
    (volume,), (place,) = stage["VOLUME"], stage["WORKDIR"]
    assert volume == place
    assert f"--home-dir {volume} " in made
    assert environment()["CLOUDBEDS_AUTH_DATABASE_URL"].startswith(f"sqlite:///{volume}/")


def test_its_settings_are_settings() -> None:
    """Each is known; the port is the one that is exposed."""
    ours = {name for name in environment() if name != "PATH"}
    assert ours <= known()
    assert last_stage()["EXPOSE"] == [environment()["CLOUDBEDS_AUTH_PORT"]]


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_signals_reach_the_service(name: str) -> None:
    """No shell is in between: the process that SIGTERM is sent to is ours."""
    (words,) = last_stage()[name]
    assert json.loads(words)
    assert last_stage()["STOPSIGNAL"] == ["SIGTERM"]


def test_it_serves_as_it_says(make_world: MakeWorld, tmp_path: Path) -> None:
    """With its settings and its command the service answers its health check, and SIGTERM ends it with status 0."""
    (check,) = last_stage()["HEALTHCHECK"]
    question = json.loads(check.partition(" CMD ")[2])
    made = make_world(CLOUDBEDS_AUTH_ADMIN_TOKEN=TOKEN)
    for name, value in environment().items():
        if name not in {"PATH", "CLOUDBEDS_AUTH_PORT"}:
            made.extra[name] = value.replace("/var/lib/cloudbeds-auth", str(tmp_path))
    asked = [part.replace(":7000", f":{made.port}") for part in question]
    assert asked != question
    assert asked[0] == "python"
    asked[0] = sys.executable
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 1, "nothing listens yet"
    (entry,), (command,) = last_stage()["ENTRYPOINT"], last_stage()["CMD"]
    assert program(*json.loads(entry)).endswith("/bin/cloudbeds-auth")
    assert json.loads(command) == ["serve"]
    service = made.start()
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
    assert service.stop() == 0
