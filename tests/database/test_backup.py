"""A backup and its restore: with the databases that ship."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.installation import filled, opened, secrets, settings, silent
from tests.support.processes import leased, row

from cloudbeds_auth.database import copy, opening
from cloudbeds_auth.errors import ConfigurationError

# --- backups


@pytest.mark.row("F73", "F74")
async def test_a_backup_and_its_restore(tmp_path: Path) -> None:
    """Taken while a process writes, 0600, whole; restored it is read-only until it is adopted, then it is in use."""
    source, restored = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "restored"))
    await filled(source)
    told: list[tuple[int, int]] = []
    async with opened(source) as running:
        before = await secrets(running)
        copy.back_up(source.database_path, restored.database_path, lambda _, done, total: told.append((done, total)))
        await running.check()
    assert restored.database_path.stat().st_mode & 0o777 == 0o600
    assert told[-1][0] == told[-1][1] > 0
    assert not list(tmp_path.glob("*.part"))
    async with opened(restored) as again:
        assert (again.read_only, await secrets(again)) == (True, before)
    await opening.adopt(restored)
    async with opened(restored) as again:
        assert not again.read_only
        await leased(again, await row(again, "gra_0"))


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    """A file that is there stays as it is; a folder that is not there is said so."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    (tmp_path / "there").write_text("precious")
    with pytest.raises(ConfigurationError, match="there already"):
        copy.back_up(source.database_path, tmp_path / "there", silent)
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(ConfigurationError, match="cannot be made"):
        copy.back_up(source.database_path, tmp_path / "no" / "folder", silent)
