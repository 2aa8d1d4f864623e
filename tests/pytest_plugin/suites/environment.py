"""A user's tests of a program that reads its settings by itself; the user's own settings must not show through."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from cloudbeds_auth import ConfigurationError, Connection, Settings, sync


@pytest.fixture
def cloudbeds_redirect_uri() -> str:
    return "https://app.example/auth/callback"


@pytest.fixture
def cloudbeds_settings(cloudbeds_settings: Settings) -> Settings:
    return cloudbeds_settings.model_copy(update={"return_origins": ("https://a.example", "https://b.example")})


def test_the_program_finds_the_simulator(
    cloudbeds_environment: Mapping[str, str], cloudbeds_settings: Settings, cloudbeds_connection: Connection
) -> None:
    """What the program reads by itself is what the fixtures say."""
    with sync.TokenVault.open() as vault:
        assert vault.settings == cloudbeds_settings
        assert vault.settings.redirect_uri == "https://app.example/auth/callback"
        assert vault.call(cloudbeds_connection.id, "GET", "userinfo").json()["first_name"] == "Ada"


def test_so_does_a_child(cloudbeds_environment: Mapping[str, str], cloudbeds_connection: Connection) -> None:
    """Environment variables reach a process of its own."""
    command = [sys.executable, "-m", "cloudbeds_auth", "call", cloudbeds_connection.id, "GET", "userinfo"]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert '"first_name": "Ada"' in child.stdout, child.stderr


def test_without_the_fixture_the_users_own_settings_count() -> None:
    """The fixture changes nothing for tests that do not ask for it."""
    assert os.environ["CLOUDBEDS_CLIENT_ID"] == "the-users-own"
    with pytest.raises(ConfigurationError, match="CLOUDBEDS_AUTH_PORT"), sync.TokenVault.open():
        pass


def test_a_vault_of_the_fixtures_reads_neither(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection
) -> None:
    """Neither the user's variables nor the user's file."""
    assert cloudbeds_sync_vault.settings.client_id == "tested-app"
    assert cloudbeds_sync_vault.settings.scopes == ()
    assert cloudbeds_sync_vault.call(cloudbeds_connection.id, "GET", "userinfo").status_code == 200
