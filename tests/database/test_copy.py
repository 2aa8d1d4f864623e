"""Moving a database to another one: with the databases that ship."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.fakes import pair
from tests.support.installation import APP, HOTELS, filled, opened, secrets, settings, silent
from tests.support.processes import leased, row
from tests.support.shown import show_no_more, show_twice, wrongly_shown

from cloudbeds_auth.database import copy, opening
from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import read_app
from cloudbeds_auth.transactions.connections import list_connections
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, take_lease, write_intent
from cloudbeds_auth.transactions.history import read_history


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite"])
def ways(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    """Source and target."""
    kinds, made = request.param.split(" to "), []
    for number, kind in enumerate(kinds):
        url = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/{number}.db"
        made.append(settings(url))
    return made[0], made[1]


async def test_everything_moves(ways: tuple[Settings, Settings]) -> None:
    """Tokens, kept ones too, histories and connections are in the target; only the target refreshes from then on."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)
        history = await running.read(read_history("con_0"))
        assert [event.kind for event in history].count("calls") == 3
        told: list[str] = []
        copied = await opening.copy(source, target.database_url, lambda what, done, total: told.append(what))
        assert (copied["connections"], copied["grants"], copied["tokens"]) == (HOTELS, HOTELS, HOTELS + 1)
        assert list(dict.fromkeys(told)) == list(copy.TABLES)
        fence = await leased(running, await row(running, "gra_1"))
        assert not await running.write(write_intent(fence, 1, lease=30.0, hold=0.0)), (
            "a process that still runs is latched"
        )
    async with opened(source) as again:
        assert again.read_only
    async with opened(target) as there:
        assert not there.read_only
        assert await secrets(there) == before
        moved = await there.read(read_app(APP.id))
        assert moved is not None
        assert [secret.reveal() for secret in moved.secrets] == ["second", "first"], "sealed as they rested"
        assert await there.read(read_history("con_0")) == history
        fence = await leased(there, await row(there, "gra_1"))
        assert await there.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_marks_that_are_wrong(ways: tuple[Settings, Settings]) -> None:
    """Lists of the target find each connection once, by its current grant, whatever marks were read."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        await running.write(show_twice("con_1"))
        await running.write(show_no_more("con_2"))
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert await there.read(wrongly_shown()) == []
        assert len((await there.read(list_connections(states=list(State)))).connections) == HOTELS


async def test_once_more(ways: tuple[Settings, Settings]) -> None:
    """Run again after it was done, it copies nothing: the target may have moved on."""
    source, target = ways
    await filled(source)
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        grant = await row(there, "gra_1")
        fence = await leased(there, grant)
        assert await there.write(write_intent(fence, 1, lease=30.0, hold=0.0))
        await there.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))
        moved_on = await secrets(there)
    assert await opening.copy(source, target.database_url, silent) == {}
    async with opened(target) as there:
        assert await secrets(there) == moved_on


class Killed(Exception):
    """The process ends here."""


async def test_killed_while_copying(ways: tuple[Settings, Settings]) -> None:
    """At each table: neither side refreshes, and the whole is simply run again, as often as that happens."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)

    for table in copy.TABLES:

        def kill(what: str, done: int, total: int, *, at: str = table) -> None:
            if what == at:
                raise Killed

        with pytest.raises(Killed):
            await opening.copy(source, target.database_url, kill)
        async with opened(target) as there:
            assert there.read_only
            with pytest.raises(StoreReadOnly):
                await there.write(take_lease("gra_0", "us", 30.0))
        async with opened(source) as here:
            fence = await leased(here, await row(here, "gra_1"))
            assert not await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))
            await here.write(release_lease("gra_1", fence.epoch))
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert await secrets(there) == before


@pytest.mark.parametrize("step", ["_close", "_open"])
async def test_killed_at_the_end(ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Before the source is closed, or before the target is opened: run again, it ends as it would have."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)
    with monkeypatch.context() as patch:
        patch.setattr(copy, step, _killed)
        with pytest.raises(Killed):
            await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert there.read_only
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (there.read_only, await secrets(there)) == (False, before)


def _killed(now: object, **parts: object) -> None:
    raise Killed


async def test_a_refresh_under_way_commits_first(ways: tuple[Settings, Settings]) -> None:
    """A pair that is in hand when the copy begins is committed, and copied."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=30.0)
        assert await running.write(write_intent(fence, 1, lease=30.0, hold=0.0))

        async def comes_back(seconds: float) -> None:
            assert (
                await running.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))
                is Written.DONE
            )
            await running.write(release_lease(grant.id, fence.epoch))

        await copied_with(source, target, comes_back)
    async with opened(target) as there:
        assert (await row(there, "gra_1")).access.reveal() == "A-1-2"


async def test_a_refresh_that_comes_back_too_late(ways: tuple[Settings, Settings]) -> None:
    """A pair that comes in when everything is copied is dropped unused: its parent, in the target, works on."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=0.01)
        assert await running.write(write_intent(fence, 1, lease=0.01, hold=0.0))

        async def passes(seconds: float) -> None:
            """The lease runs out: whoever held it is paused."""

        await copied_with(source, target, passes)
        assert (
            await running.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0)) is Written.GONE
        )
    async with opened(target) as there:
        assert [token.value.reveal() for token in (await row(there, "gra_1")).tokens] == ["R-1-1"]


async def copied_with(source: Settings, target: Settings, pause: Callable[[float], object]) -> None:
    """As `opening.copy`, with our own pause."""
    here, mine = await opening.open_driver(source)
    there, theirs = await opening.open_driver(target)
    try:
        await copy.copy(copy.Side(here, mine, "source"), copy.Side(there, theirs, "target"), silent, pause)  # type: ignore[arg-type]
    finally:
        await here.close()
        await there.close()


async def test_giving_up_the_move(ways: tuple[Settings, Settings]) -> None:
    """When the target is gone for good, the source is adopted and refreshes again, every latch as it was."""
    source, target = ways
    await filled(source)
    await opening.copy(source, target.database_url, silent)
    await opening.adopt(source)
    async with opened(source) as here:
        assert not here.read_only
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_a_target_in_use(ways: tuple[Settings, Settings]) -> None:
    """A target that holds hotels of its own is left alone, and so is the source."""
    source, target = ways
    await filled(source)
    await filled(target)
    with pytest.raises(ConfigurationError, match="connections of its own"):
        await opening.copy(source, target.database_url, silent)
    async with opened(source) as here:
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_a_copy_is_not_moved(tmp_path: Path) -> None:
    """What is itself a copy of another installation has nothing to move."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    copy.back_up(source.database_path, tmp_path / "copy.db", silent)
    with pytest.raises(ConfigurationError, match="copy of another installation"):
        await opening.copy(settings(f"sqlite:///{tmp_path}/copy.db"), f"sqlite:///{tmp_path}/two.db", silent)


async def test_a_copy_with_its_mark_is_not_moved(tmp_path: Path) -> None:
    """Read-only where it is, it does not become writable by being moved elsewhere, as long as it is not adopted."""
    source, copied = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "copy"))
    await filled(source)
    for made in ("", ".instance"):
        shutil.copy(f"{source.database_path}{made}", f"{copied.database_path}{made}")
    with pytest.raises(ConfigurationError, match="copy of another installation"):
        await opening.copy(copied, f"sqlite:///{tmp_path}/two.db", silent)
    await opening.adopt(copied)
    assert (await opening.copy(copied, f"sqlite:///{tmp_path}/two.db", silent))["grants"] == HOTELS


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///", "postgresql://host"])
async def test_a_target_that_is_none(tmp_path: Path, url: str) -> None:
    """A URL that names no database is refused before anything is latched."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    with pytest.raises(ConfigurationError, match="--to"):
        await opening.copy(source, url, silent)
    with pytest.raises(ConfigurationError, match="in use"):
        await opening.copy(source, source.database_url, silent)
