"""Settings of an application's own configuration, and the session for one hotel: what neither may give away."""

from __future__ import annotations

import traceback
from contextlib import closing
from pathlib import Path

import pytest
from tests.contrib.hotel import Hotel

from cloudbeds_auth import ConfigurationError
from cloudbeds_auth.contrib.blocking_pages import BlockingPages, settings_of
from cloudbeds_auth.contrib.hotel_session import HotelSession
from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.rules.secret import Secret

SECRET = "a-client-secret-0123456789"


def test_a_secret_is_taken_as_what_it_holds() -> None:
    """`Secret` in the framework's configuration, alone and in a list."""
    found = settings_of({
        "CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": Secret(SECRET),
        "CLOUDBEDS_SCOPES": "read:hotel", "CLOUDBEDS_BASE_URL": "http://127.0.0.1:1",
    }.get)  # fmt: skip
    assert found.client_secret is not None
    assert found.client_secret.reveal() == SECRET


def test_a_file_of_the_environment_gives_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One secret is spelled in two ways: what the framework's configuration says hides either in the environment."""
    (tmp_path / "secret").write_text("from-a-file-0123456789")
    monkeypatch.setenv("CLOUDBEDS_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    given = {"CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_BASE_URL": "http://127.0.0.1:1"}
    for config, expected in (({"CLOUDBEDS_CLIENT_SECRET": SECRET}, SECRET), ({}, "from-a-file-0123456789")):
        found = settings_of((given | config).get)
        assert found.client_secret is not None
        assert found.client_secret.reveal() == expected


def test_no_frame_of_a_refusal_holds_a_value() -> None:
    """A page for developers, or what collects errors, shows the local variables of every frame."""
    config = {"CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": SECRET, "CLOUDBEDS_AUTH_PORT": "x"}
    with pytest.raises(ConfigurationError) as caught:
        settings_of(config.get)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)][1:]  # but for this test's own
    assert frames
    for frame in frames:
        assert SECRET not in repr(frame.f_locals)
    assert caught.value.__suppress_context__


def test_a_redirect_is_an_answer(hotel: Hotel) -> None:
    """Also where the caller says that it should be followed: a failure behind it would be reported as the write's."""
    hotel.fault("getHotels", "redirect", location="/api/v1.3/getHotelDetails")
    with HotelSession(hotel.settings, RequestsAuth(hotel.vault, hotel.id)) as session:
        assert session.get("getHotels", allow_redirects=True).status_code in {301, 302, 303, 307, 308}
    assert len(hotel.statuses()) == 1


def test_a_secret_that_was_reset_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a restart, as everywhere else: the application's configuration and the environment as they are then; but
    where they name no client id for a moment, the one that is known stays.
    """
    config = {
        "CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": SECRET, "CLOUDBEDS_BASE_URL": "http://127.0.0.1:1",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path}/vault.db",
    }  # fmt: skip
    pages = BlockingPages(config.get, "/callback", "/callback")
    with closing(pages.vault) as vault:
        world = vault._here().engine.world
        config["CLOUDBEDS_CLIENT_SECRET"] = "the-secret-after-the-reset"
        world.reread_apps()
        del config["CLOUDBEDS_CLIENT_ID"], config["CLOUDBEDS_CLIENT_SECRET"]
        world.reread_apps()
        assert [one.reveal() for one in world.apps["default"].secrets] == ["the-secret-after-the-reset"]
