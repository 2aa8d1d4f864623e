"""A connected hotel for each test, its clients, and a short list of authorities for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest
from tests.contrib.clients import CLIENTS
from tests.contrib.hotel import Hotel, connected


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trust store of one certificate."""
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("trust") / "one.pem"
    path.write_text(Path(certifi.where()).read_text("utf-8").partition(end)[0] + end, "utf-8")
    return path


@pytest.fixture(autouse=True)
def few_authorities(one_authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every new client of theirs reads its trust store, which takes longer than most calls; no call here is TLS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))


@pytest.fixture
def hotel(tmp_path: Path) -> Iterator[Hotel]:
    """The simulator, a vault and a connection; all end with the test."""
    with connected(tmp_path) as made:
        yield made


@pytest.fixture(params=CLIENTS)
def ask(request: pytest.FixtureRequest, hotel: Hotel) -> Iterator[Callable[[Hotel, str], None]]:
    """One of the clients; a fault that it did not meet is not left to the next."""
    yield CLIENTS[request.param]
    hotel.made.vendor.control("faults", "DELETE")
