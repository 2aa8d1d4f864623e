"""F12: a database that would not survive a power cut stops the start, with the setting named and no row written."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

import cloudbeds_auth
from cloudbeds_auth.database import durability
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.vault import TokenVault


def stubborn(setting: str, weaker: str) -> object:
    """Every new connection has this setting at `weaker`, and ignores whoever sets it otherwise."""

    def hook(connection: apsw.Connection) -> None:
        connection.execute(f"PRAGMA {setting} = {weaker}").fetchall()

        def judge(operation: int, name: str | None, value: str | None, *_: str | None) -> int:
            ignored = operation == apsw.SQLITE_PRAGMA and name == setting and value is not None
            return apsw.SQLITE_IGNORE if ignored else apsw.SQLITE_OK

        connection.authorizer = judge

    return hook


@pytest.mark.row("F12", control=True)
@pytest.mark.parametrize(
    ("setting", "weaker", "found"),
    [
        ("synchronous", "OFF", "0"), ("synchronous", "NORMAL", "1"), ("fullfsync", "0", "0"),
        ("checkpoint_fullfsync", "0", "0"), ("journal_mode", "memory", "'memory'"), ("secure_delete", "0", "0"),
        ("foreign_keys", "0", "0"), ("temp_store", "0", "0"),
    ],
)  # fmt: skip
async def test_a_weaker_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, weaker: str, found: str
) -> None:
    """Set, read back, weaker all the same: STOP; what is there is named, and nothing rests in the file. Where it is not
    read back, the start goes on.
    """
    monkeypatch.setattr(apsw, "connection_hooks", [*apsw.connection_hooks, stubborn(setting, weaker)])
    path = tmp_path / "vault.sqlite3"
    settings = Settings(client_id="c", client_secret=Secret("s"), database_url=f"sqlite:///{path}")
    with pytest.raises(ConfigurationError) as stopped:
        async with TokenVault.open(settings):
            pass
    assert f"SQLite's {setting} is {found} " in stopped.value.detail
    assert "power cut" in stopped.value.detail
    assert "CLOUDBEDS_AUTH_DATABASE_URL" in stopped.value.next_step
    monkeypatch.setattr(durability, "_must_be", lambda *_: None)
    unread = tmp_path / "unread.sqlite3"
    async with TokenVault.open(settings.model_copy(update={"database_url": f"sqlite:///{unread}"})):
        assert unread.exists()
    monkeypatch.undo()
    with_nothing = apsw.Connection(str(path))
    assert with_nothing.execute("SELECT COUNT(*) FROM sqlite_schema").get == 0
    with_nothing.close()


@pytest.mark.row("F12")
def test_nothing_but_turns_is_written_without_a_sync() -> None:
    """One place of the code asks for it; drivers hand on what they were asked for."""
    source = Path(cloudbeds_auth.__file__).parent
    asking = {
        path.name
        for path in source.rglob("*.py")
        if re.search(r"\bsynced = |\bsynced=(?!synced\b)", path.read_text("utf-8"))
    }
    assert asking == {"rate_limiter.py", "sqlite_file.py"}
