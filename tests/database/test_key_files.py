"""Key file and admin token file: made once, private, never made again over data."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.keys import KEY

from cloudbeds_auth.database import key_files
from cloudbeds_auth.database.key_files import admin_token_file, ensure_admin_token, key_file, load_keys
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a database in a folder that does not exist yet."""
    return Settings(database_url=f"sqlite:///{tmp_path}/data/x.sqlite3")


def test_made_once(settings: Settings) -> None:
    """The first start makes a private key beside the database, every later one reads it."""
    (made,) = load_keys(settings, database_has_rows=False)
    path = key_file(settings.database_path)
    assert len(made) == 32
    assert path.name == "x.sqlite3.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_keys(settings, database_has_rows=True) == (made,)
    assert load_keys(settings, database_has_rows=False) == (made,)


def test_settings_come_first(settings: Settings) -> None:
    """Keys in the settings are used in their order, and no file is made."""
    given = tuple(Secret(base64.urlsafe_b64encode(key).decode()) for key in (KEY, KEY[::-1]))
    settings = settings.model_copy(update={"encryption_keys": given})
    assert load_keys(settings, database_has_rows=True) == (KEY, KEY[::-1])
    assert not settings.database_path.parent.exists()


@pytest.mark.row("F67")
def test_missing_over_data(settings: Settings) -> None:
    """A missing key file beside a database with sealed rows stops the start; no new key is made."""
    with pytest.raises(ConfigurationError, match="is missing") as raised:
        load_keys(settings, database_has_rows=True)
    assert "CLOUDBEDS_AUTH_ENCRYPTION_KEYS" in str(raised.value.diagnosis())
    assert not key_file(settings.database_path).exists()


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file as somebody else might have."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.row("F67")
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"not base64!\n", base64.b64encode(bytes(31)), base64.b64encode(bytes(64)), b"\xff" * 44]
)
def test_not_a_key(settings: Settings, content: bytes) -> None:
    """A key file that holds no key of 32 bytes stops the start and is left as it is."""
    path = key_file(settings.database_path)
    put(path, content)
    with pytest.raises(ConfigurationError, match=r"x\.sqlite3\.key"):
        load_keys(settings, database_has_rows=False)
    assert path.read_bytes() == content


@pytest.mark.row("F59")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o666, 0o610])
def test_open_to_others(settings: Settings, mode: int) -> None:
    """A key or admin token that others may touch is refused, with the command that closes it."""
    put(key_file(settings.database_path), base64.b64encode(KEY), mode)
    put(admin_token_file(settings.database_path), b"a-token-that-nobody-guesses-0123456789-abcd", mode)
    with pytest.raises(ConfigurationError) as raised:
        load_keys(settings, database_has_rows=True)
    assert f"chmod 600 {key_file(settings.database_path)}" in str(raised.value.diagnosis())
    with pytest.raises(ConfigurationError) as raised:
        ensure_admin_token(settings)
    assert f"chmod 600 {admin_token_file(settings.database_path)}" in str(raised.value.diagnosis())


@pytest.mark.row("F59")
def test_belongs_to_somebody_else(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key file of another user than this one or root is refused."""
    path = key_file(settings.database_path)
    put(path, base64.b64encode(KEY))
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        load_keys(settings, database_has_rows=True)


@pytest.mark.row("A56")
def test_symbolic_link(settings: Settings, tmp_path: Path) -> None:
    """A link in the file's place is not followed, dangling or not."""
    target = tmp_path / "target"
    put(target, base64.b64encode(KEY))
    path = key_file(settings.database_path)
    path.parent.mkdir()
    path.symlink_to(target)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        load_keys(settings, database_has_rows=False)
    target.unlink()
    with pytest.raises(ConfigurationError, match="symbolic link"):
        load_keys(settings, database_has_rows=False)
    assert not target.exists()


def descriptors(path: Path) -> int:
    """How many open file descriptors of this process refer to this path."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing itself
            found += link.readlink() == path
    return found


@pytest.mark.parametrize("name", ["key", "admin-token"])
@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir], ids=["a pipe", "a directory"])
def test_not_a_file(settings: Settings, name: str, kind: Callable[[Path, int], None]) -> None:
    """A directory, which Docker makes where a file to mount is missing, or a pipe in the file's place is refused, not
    waited for, and left as it is; no descriptor stays open, however often it is tried.
    """
    path = settings.database_path.with_name(f"x.sqlite3.{name}")
    path.parent.mkdir()
    kind(path, 0o700 if kind is os.mkdir else 0o600)
    for _ in range(3):
        with pytest.raises(ConfigurationError, match=rf"{name} is not a file") as raised:
            load_keys(settings, database_has_rows=False) if name == "key" else ensure_admin_token(settings)
    assert ("Docker" in raised.value.next_step) == (kind is os.mkdir)
    assert descriptors(path) == 0
    assert not path.is_file()


def test_folder_not_writable(settings: Settings, tmp_path: Path) -> None:
    """Where no folder can be made, the message names it."""
    (tmp_path / "data").write_text("a file in the way")
    with pytest.raises(ConfigurationError, match="data"):
        load_keys(settings, database_has_rows=False)


def test_starting_at_once(settings: Settings) -> None:
    """Several that start at the same time agree on one key and one token."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: load_keys(settings, database_has_rows=False), range(16)))
        tokens = list(pool.map(lambda _: ensure_admin_token(settings)[0].reveal(), range(16)))
    assert len(set(made)) == len(set(tokens)) == 1


def test_lost_race(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second in the moment of making takes the first one's key."""

    def first(path: Path, data: bytes, exclusive: bool, beside: Path) -> None:
        put(path, base64.b64encode(KEY))
        raise FileExistsError

    monkeypatch.setattr(key_files, "write_private", first)
    assert load_keys(settings, database_has_rows=False) == (KEY,)


def test_disk_full(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that cannot be written stops the start."""

    def full(path: Path, data: bytes, exclusive: bool, beside: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_files, "write_private", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        load_keys(settings, database_has_rows=False)


def test_admin_token(settings: Settings) -> None:
    """The admin token is made once beside the key file, 0600; whoever prints it prints the path."""
    token, path = ensure_admin_token(settings)
    assert path == admin_token_file(settings.database_path)
    assert path is not None
    assert path.name == "x.sqlite3.admin-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token.reveal()) == 43
    assert ensure_admin_token(settings) == (token, path)


def test_admin_token_of_the_settings(settings: Settings) -> None:
    """A token in the settings is used and no file is made."""
    settings = settings.model_copy(update={"admin_token": Secret("a-token-that-nobody-guesses-0123")})
    assert ensure_admin_token(settings) == (Secret("a-token-that-nobody-guesses-0123"), None)
    assert not settings.database_path.parent.exists()


def test_admin_token_beyond_loopback(settings: Settings) -> None:
    """Listening beyond this machine, a token must be set: none is made."""
    with pytest.raises(ConfigurationError, match="CLOUDBEDS_AUTH_ADMIN_TOKEN"):
        ensure_admin_token(settings.model_copy(update={"host": "0.0.0.0"}))
    assert not settings.database_path.parent.exists()


@pytest.mark.row("A80")
@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"a-token that-nobody-guesses-0123456789", b"x" * 43, b"\x00" * 43]
)
def test_admin_token_file_of_no_use(settings: Settings, content: bytes) -> None:
    """A file without a usable token stops the start and says what to do."""
    put(admin_token_file(settings.database_path), content)
    with pytest.raises(ConfigurationError, match="admin-token"):
        ensure_admin_token(settings)
