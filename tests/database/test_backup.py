"""A backup and its restore: with the databases that ship."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.support.installation import filled, opened, secrets, settings, silent
from tests.support.processes import leased, row

from cloudbeds_auth.database import backup, maintenance
from cloudbeds_auth.errors import ConfigurationError

# --- backups


@pytest.mark.row("F74")
async def test_a_backup_and_its_restore(tmp_path: Path) -> None:
    """Taken while a process writes, 0600, whole; restored it is read-only until it is adopted, then it is in use."""
    source, restored = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "restored"))
    await filled(source)
    told: list[tuple[int, int]] = []
    async with opened(source) as running:
        before = await secrets(running)
        backup.back_up(source.database_path, restored.database_path, lambda _, done, total: told.append((done, total)))
        await running.check()
    assert restored.database_path.stat().st_mode & 0o777 == 0o600
    assert told[-1][0] == told[-1][1] > 0
    assert not list(tmp_path.glob("*.part"))
    async with opened(restored) as again:
        assert (again.read_only, await secrets(again)) == (True, before)
    await maintenance.adopt(restored, silent)
    async with opened(restored) as again:
        assert not again.read_only
        await leased(again, await row(again, "gra_0"))


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    """A file that is there stays as it is; a folder that is not there is said so."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    (tmp_path / "there").write_text("precious")
    with pytest.raises(ConfigurationError, match="there already"):
        backup.back_up(source.database_path, tmp_path / "there", silent)
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(ConfigurationError, match="cannot be created"):
        backup.back_up(source.database_path, tmp_path / "no" / "folder", silent)


@pytest.mark.row("F108")
async def test_a_backup_ends_while_the_service_writes(tmp_path: Path) -> None:
    """Each step copies further pages of one moment, although something is committed before the next; that is not held
    up, and is not in the backup.
    """
    source, restored = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "restored"))
    await filled(source)
    written: list[int] = []
    told: list[int] = []
    async with opened(source) as running:
        before = await secrets(running)
        with closing(apsw.Connection(str(source.database_path))) as other:
            other.execute("INSERT INTO meta (name, value) VALUES ('large', ?)", ("x" * 4096 * backup.PAGES * 3,))

            def commit(_: str, done: int, total: int) -> None:
                told.append(done)
                written.append(len(written))
                other.execute("INSERT INTO meta (name, value) VALUES (?, 'late')", (f"late-{len(written)}",))

            backup.back_up(source.database_path, restored.database_path, commit)
    assert told == sorted(set(told))
    assert len(told) > 3
    with closing(apsw.Connection(str(restored.database_path))) as found:
        assert found.execute("SELECT COUNT(*) FROM meta WHERE value = 'late'").get == 0
    async with opened(restored) as again:
        assert await secrets(again) == before


@pytest.mark.row("F108")
async def test_what_a_killed_backup_left_is_replaced(tmp_path: Path) -> None:
    """Half a copy, and the journal that an earlier version left beside it: the next backup is whole all the same."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    part, to = tmp_path / "to.db.part", tmp_path / "to.db"
    part.write_bytes(source.database_path.read_bytes()[:5000])
    part.with_name("to.db.part-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(600))
    backup.back_up(source.database_path, to, silent)
    assert to.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.glob("to.db*")) == [to]
    async with opened(settings(f"sqlite:///{to}")) as again:
        assert again.read_only


async def test_one_backup_at_a_time(tmp_path: Path) -> None:
    """A second one to the same file, while the first is under way, is refused, and the first is whole."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    refused: list[str] = []

    def second(_: str, done: int, total: int) -> None:
        with pytest.raises(ConfigurationError) as error:
            backup.back_up(source.database_path, tmp_path / "to.db", silent)
        refused.append(error.value.detail)

    backup.back_up(source.database_path, tmp_path / "to.db", second)
    assert refused
    assert all("another backup is writing" in one for one in refused)
    assert sorted(tmp_path.glob("to.db*")) == [tmp_path / "to.db"]


async def test_a_pipe_in_place_of_the_draft(tmp_path: Path) -> None:
    """What is no file is refused, at once, and stays where it is."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    os.mkfifo(tmp_path / "to.db.part")
    with pytest.raises(ConfigurationError, match=r"to\.db\.part is not a file"):
        backup.back_up(source.database_path, tmp_path / "to.db", silent)
    assert [path.name for path in tmp_path.glob("to.db*")] == ["to.db.part"]


async def test_a_backup_that_ends_as_another_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one has opened the file that the first renames before it can lock it: what is finished stays whole."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    to, opening_file = tmp_path / "to.db", os.open

    def opens(path: Path, *more: Any) -> int:
        file = opening_file(path, *more)
        monkeypatch.setattr(os, "open", opening_file)
        Path(path).rename(to)
        to.write_bytes(b"whole")
        return file

    monkeypatch.setattr(os, "open", opens)
    with pytest.raises(ConfigurationError, match="another backup is writing"):
        backup.back_up(source.database_path, to, silent)
    assert to.read_bytes() == b"whole"
