"""A PostgreSQL URL that libpq would misread or refuse: a problem that repeats no part of it, whoever is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from cloudbeds_auth.database import maintenance
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.settings import Need, Settings, load

NAME = "CLOUDBEDS_AUTH_DATABASE_URL"
REFUSED = {
    "postgresql://auth:canary%pw@127.0.0.1:1/hotels": "%25",
    "postgresql://auth:canary%2@127.0.0.1:1/hotels": "%25",
    "postgresql://auth:canary%00@127.0.0.1:1/hotels": "%25",
    "postgresql://127.0.0.1:1/hotels?password=canary%": "%25",
    "postgresql://auth:canary@canarytail@127.0.0.1:1/hotels": "%40",
    "postgresql://auth:12/canary@127.0.0.1:1/hotels": "%40",
    "postgresql://auth:12/3#canary@127.0.0.1:1/hotels": "%40",
    "postgresql://auth:canary/tail@127.0.0.1:1/hotels": "%2F",
    "postgresql://auth:canary?tail@127.0.0.1:1/hotels": "%3F",
    "postgresql://auth:canary#tail@127.0.0.1:1/hotels": "%23",
    "postgresql://127.0.0.1:1/hotels?pasword=canary": "an unknown parameter (did you mean `password`?)",
    "postgresql://127.0.0.1:1/hotels?canarycanarycanary": "an unknown parameter",
    "postgresql://127.0.0.1:1/hotels?password=canary=": "not a URL that PostgreSQL understands",
    "postgresql://auth:canary%ff@127.0.0.1:1/hotels": "not a URL that PostgreSQL understands",
}
"""Each with what the problem says to do, or what is wrong."""


@pytest.mark.row("A56", "A78")
@pytest.mark.parametrize(("url", "said"), REFUSED.items())
def test_a_url_that_libpq_would_misread_is_refused_and_not_repeated(url: str, said: str) -> None:
    """As a setting: one problem, which names the variable."""
    with pytest.raises(ConfigurationError) as raised:
        load({NAME: url}, None, need=Need.NOTHING)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{NAME}: ")
    assert said in problem
    assert "canary" not in str(raised.value.diagnosis())


@pytest.mark.row("A56", "A78")
@pytest.mark.parametrize(("url", "said"), REFUSED.items())
async def test_the_target_of_a_move_is_checked_alike(url: str, said: str, tmp_path: Path) -> None:
    """`database copy --to` has the same words, before either database is opened."""
    with pytest.raises(ConfigurationError) as raised:
        await maintenance.copy(Settings(database_url=f"sqlite:///{tmp_path}/hotels.db"), url, lambda *_: None)
    assert raised.value.detail.startswith("--to ")
    assert said in raised.value.detail
    assert "canary" not in str(raised.value.diagnosis())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "host", "password"),
    [
        ("postgresql://auth:s3cr%40et%25p%2Fw@db.example/hotels", "db.example", "s3cr@et%p/w"),
        ("postgresql://auth:p%C3%A9@a.example,b.example:5433/hotels?sslmode=verify-full", "a.example,b.example", "pé"),
        ("postgres:///hotels?host=%2Frun%2Fpostgresql&password=a@b", "/run/postgresql", "a@b"),
        ("postgresql://auth@[::1]:5432/hotels?ssl=true", "::1", None),
    ],
)
def test_a_url_that_is_escaped_is_accepted(url: str, host: str, password: str | None) -> None:
    """It is kept as it was given, and libpq reads what was meant."""
    settings = Settings(database_url=url)
    assert settings.database_url == url
    read = conninfo_to_dict(settings.database_url)
    assert (read["host"], read.get("password")) == (host, password)


def test_without_the_driver_what_can_be_seen_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is an extra: without it, opening the database says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    unknown = "postgresql://db.example/hotels?pasword=x"
    assert Settings(database_url=unknown).database_url == unknown
    with pytest.raises(ConfigurationError, match="%25"):
        Settings(database_url="postgresql://auth:s3cret%pw@db.example/hotels")
