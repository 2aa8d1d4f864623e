"""The server is away for a while, silent or gone: callers whose token and property are in memory are served on."""

from __future__ import annotations

import secrets
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest
import requests
from tests.acceptance.processes import PATIENCE, World, world
from tests.support.postgres import PostgresServer

from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.sync import TokenVault

pytestmark = pytest.mark.long

SECONDS = 15.0  # that the server is away
USERINFO = "/api/v1.3/userinfo"


@contextmanager
def silent(server: PostgresServer) -> Iterator[None]:
    """Stopped as by SIGSTOP: connections stay open, new ones come about, and nothing answers."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def gone(server: PostgresServer) -> Iterator[None]:
    """Shut down, and started again: connections end, and new ones are refused."""
    server.stop(signal.SIGINT)
    try:
        yield
    finally:
        server.start()


AWAY = pytest.mark.parametrize("away", [silent, gone], ids=["silent", "gone"])
Away = Callable[[PostgresServer], AbstractContextManager[None]]


@pytest.fixture
def two_hotels(tmp_path: Path, own_server: PostgresServer) -> Iterator[World]:
    """A simulator with two hotels, and what a service over this server is set to; ten requests a second."""
    settings = {
        "CLOUDBEDS_AUTH_DATABASE_URL": own_server.url,
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": secrets.token_hex(32),
        "CLOUDBEDS_AUTH_RATE_LIMIT": "10",
    }
    with world(tmp_path, "--auto-approve", "--hotels", "2", **settings) as made:
        yield made


def asked(made: World, hotel: str) -> tuple[int, str]:
    """Status and code of one proxied call."""
    answer = made.admin.get(f"/proxy/{hotel}{USERINFO}")
    return answer.status, answer.headers.get("X-Cloudbeds-Auth-Code", "")


def served_again(made: World, hotel: str) -> None:
    """Once it is back: at once, but for the moment in which that is noticed."""
    until = time.monotonic() + PATIENCE
    while asked(made, hotel)[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.2)


@AWAY
@pytest.mark.row("F110")
def test_a_service_whose_database_is_away(away: Away, two_hotels: World, own_server: PostgresServer) -> None:
    """Callers in a row are all served, beyond the share that one process has alone `rate_limited`; a hotel whose token
    is not in memory, and a token that Cloudbeds rejects, wait for the database: 503, and all heals with it.
    """
    made = two_hotels
    made.start()
    made.connect()
    made.vendor.control("choose", property_ids=["100002"])
    made.connect()
    assert asked(made, "100001") == (200, "")
    with away(own_server), ThreadPoolExecutor(20) as crowd:
        began = time.monotonic()
        in_a_row = []
        while time.monotonic() < began + SECONDS / 2:
            in_a_row.append(asked(made, "100001"))
        at_once = list(crowd.map(lambda _: asked(made, "100001"), range(20)))
        cold = asked(made, "100002")
        made.vendor.control("expire")
        rejected = asked(made, "100001")
        time.sleep(max(0.0, began + SECONDS - time.monotonic()))
    assert set(in_a_row) == {(200, "")}
    assert len(in_a_row) >= 3
    assert set(at_once) == {(200, ""), (503, "rate_limited")}
    assert cold == rejected == (503, "store_unavailable")
    for hotel in ("100001", "100002"):
        served_again(made, hotel)
    assert made.vendor.counts() == {"issued": 2}


@AWAY
@pytest.mark.row("F110")
def test_auth_objects_while_the_database_is_away(
    away: Away, two_hotels: World, own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of httpx2 and of requests: calls by the id of the property go on."""
    made = two_hotels
    made.start()
    made.connect()
    made.services[0].stop()
    for name, value in made.settings.items():
        monkeypatch.setenv(name, value)
    with TokenVault.open(Settings.load()) as vault:
        url = f"{vault.base_url}{USERINFO}"
        with httpx2.Client(auth=vault.auth("100001")) as client, requests.Session() as session:
            session.auth = RequestsAuth(vault, "100001")
            assert client.get(url).status_code == session.get(url).status_code == 200
            with away(own_server):
                until, served, refused = time.monotonic() + SECONDS, 0, 0
                while time.monotonic() < until:
                    for get in (client.get, session.get):
                        try:
                            assert get(url).status_code == 200
                            served += 1
                        except RateLimited:
                            refused += 1
            assert served >= 4
            assert refused == 0
            assert client.get(url).status_code == 200
