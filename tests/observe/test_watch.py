"""The watch over what all tests let our code tell: it finds a secret, in whatever form."""

from __future__ import annotations

import base64
import gc
import logging
import subprocess
import sys

import pytest
from prometheus_client import Info
from tests.support.watch import Watch, configured, printed

from cloudbeds_auth.observe import LogObserver, metrics
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import User
from cloudbeds_auth.rules.secret import Secret

TOKEN = "9vHq2Yk0mT7c1XbLr4WpZs8aN0q1G2dK"


@pytest.mark.row("A46", control=True)
@pytest.mark.parametrize(
    "shown",
    [
        TOKEN, TOKEN[:8], TOKEN[-8:], f"x{TOKEN}x", TOKEN.encode().hex(), base64.b64encode(TOKEN.encode()).decode(),
        f"https://x.example/?t={TOKEN}", f"{{'t': '{TOKEN[:12]}…'}}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["message", "fact", "traceback"])
def test_a_secret_that_is_logged_is_found(watched: Watch, shown: str, how: str) -> None:
    """Whole or in part, encoded or not, where a redaction by shapes knows none."""
    secret = Secret(TOKEN)
    logging.getLogger("cloudbeds_auth").debug("nothing of %s", secret)
    assert watched.found() == []
    if how == "message":
        logging.getLogger("cloudbeds_auth.x").debug("told %s", shown)
    elif how == "fact":
        LogObserver().happened(Happening.CLAIMED, connection_id=shown)
    else:
        try:
            raise ValueError(shown)
        except ValueError:
            logging.getLogger("cloudbeds_auth.x").debug("failed", exc_info=True)
    assert {value for value, _ in watched.found()} == {TOKEN}
    watched.begin()


@pytest.mark.row("A46")
def test_what_redaction_hides_is_no_finding(watched: Watch) -> None:
    """The line counts as the service would write it."""
    Secret(TOKEN)
    logging.getLogger("any.library").debug("GET /x Authorization: Bearer %s", TOKEN)
    assert watched.found() == []


@pytest.mark.row("A46")
def test_an_address_is_no_finding(watched: Watch) -> None:
    """Of hexadecimal digits a part that may be of anything is none; twice as many are."""
    secret = Secret(TOKEN[::-1].encode().hex()).reveal()
    watched.see(f"<object at 0x7fc6{secret[:8]}>")
    assert watched.found() == []
    watched.see(f"0x{secret[:16]}")
    assert {value for value, _ in watched.found()} == {secret}
    watched.begin()


@pytest.mark.row("A46", control=True)
@pytest.mark.parametrize("where", ["output", "arguments", "metric", "object"])
def test_a_secret_that_is_shown_is_found(watched: Watch, where: str) -> None:
    """By a command, in the list of processes, as a label, by an object's repr; one of the environment counts, too."""
    configured({"CLOUDBEDS_AUTH_ADMIN_TOKEN": TOKEN})
    shown: list[User] = []
    if where == "output":
        printed(("doctor",), f"the token is {TOKEN}")
    elif where == "arguments":
        subprocess.run([sys.executable, "-m", "cloudbeds_auth", "--version", TOKEN], check=True)
    elif where == "metric":
        counts = metrics.Metrics()
        Info("planted", "x", registry=counts._registry).info({"token": TOKEN})
        counts.render()
    else:
        shown.append(User("1000", TOKEN, "ada@example.com"))
        watched.see_objects()
        shown.clear()
        gc.collect()
    assert {value for value, _ in watched.found()} == {TOKEN}
    watched.begin()


@pytest.mark.row("A46")
def test_what_is_to_be_printed_is_no_finding(watched: Watch) -> None:
    """The command that is asked for a token prints it."""
    Secret(TOKEN)
    printed(("access-token", "1000"), TOKEN)
    assert watched.found() == []
