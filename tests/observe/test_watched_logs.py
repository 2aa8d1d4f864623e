"""The watch over the logs of all tests: it finds a secret that is logged, in whatever form."""

from __future__ import annotations

import base64
import logging

import pytest
from tests.support.watched_logs import WatchedLogs

from cloudbeds_auth.observe import LogObserver
from cloudbeds_auth.rules.happenings import Happening
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
def test_a_secret_that_is_logged_is_found(watched: WatchedLogs, shown: str, how: str) -> None:
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
def test_what_redaction_hides_is_no_finding(watched: WatchedLogs) -> None:
    """The line counts as the service would write it."""
    Secret(TOKEN)
    logging.getLogger("any.library").debug("GET /x Authorization: Bearer %s", TOKEN)
    assert watched.found() == []
