"""The numbers of what one caller may take are the program's."""

from __future__ import annotations

import pytest
from tests.docs.pages import text_of

from cloudbeds_auth.app import limits
from cloudbeds_auth.app.http_connections import RESERVED
from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.wire import upstream

LIMITS = Limits()
KIB = 1024
ROWS = {
    "connections of one address": f"{LIMITS.connections_per_address}",
    "connections in all": f"{LIMITS.connections:,}, or what the limit of open files leaves",
    "a request's head": f"{LIMITS.head:.0f} s, {limits.LARGEST_HEADERS // KIB} KiB, {limits.MOST_HEADERS} headers",
    "requests on a connection before earlier ones are answered": f"{LIMITS.pipelined}",
    "a body": f"{LIMITS.body:.0f} s of waiting for it, and one more for each {LIMITS.body_rate // KIB} KiB that came",
    "chunk extensions and trailers": f"{limits.LARGEST_EXTENSIONS // KIB} KiB",
    "the body of a request that is refused": f"{LIMITS.linger:.0f} s, {LIMITS.linger_bytes // KIB} KiB",
    f"an answer of which less than {LIMITS.reading_rate // KIB} KiB a second is read": f"{LIMITS.reading:.0f} s",
    "calls of one [key](callers.md) and its children, or of one address with the admin token, under way at Cloudbeds": (
        f"{LIMITS.calls_per_caller} of {upstream.MOST_CONNECTIONS}, "
        "each from its body's first byte to its answer's last"
    ),
    "wrong credentials of one address": f"{LIMITS.guesses}",
    "credentials of one address that wait": f"{LIMITS.guesses_waiting}",
}


@pytest.mark.parametrize("what", ROWS)
def test_what_one_caller_may_take(what: str) -> None:
    """Each row of the table of docs/operating.md."""
    assert f"| {what} | {ROWS[what]} |" in text_of("docs/operating.md")


def test_open_files() -> None:
    """How many the process asks for."""
    assert f"{LIMITS.connections + RESERVED:,} where it may" in text_of("docs/operating.md")
