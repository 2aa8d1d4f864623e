"""`sign-in` as it is typed, over a real database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from tests.cli.fakes import Result, invoke

Typed = Callable[..., Result]
LINK = re.compile(r"https://auth\.example/x/sign-in#[A-Za-z0-9_-]{43}")


@pytest.fixture
def typed(settings: dict[str, str]) -> Typed:
    """Run `sign-in …`."""
    there = settings | {"CLOUDBEDS_AUTH_PUBLIC_URL": "https://auth.example/x"}
    return lambda *args: invoke("sign-in", *args, env=there)


def test_the_link_alone_is_printed(typed: Typed) -> None:
    """Another one each time, whose code is in the fragment."""
    links = [typed(), typed()]
    assert [one.status for one in links] == [0, 0], links
    assert all(LINK.fullmatch(one.out.strip()) for one in links)
    assert links[0].out != links[1].out
    assert "once, within ten minutes" in links[0].err
    assert links[0].out.strip() not in links[0].err


def test_for_programs(typed: Typed) -> None:
    """The link, and when it ends."""
    document = json.loads(typed("--json").out)
    assert LINK.fullmatch(document["url"])
    assert re.fullmatch(r"[0-9-]+T[0-9:]+Z", document["expires_at"])


def test_all_sessions_are_ended(typed: Typed) -> None:
    """How many there were; tests/app shows that browsers are signed out."""
    assert typed("--end-all").out == "0 sessions were ended\n"
    assert json.loads(typed("--end-all", "--json").out) == {"ended": 0}
