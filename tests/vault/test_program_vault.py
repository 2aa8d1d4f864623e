"""The asynchronous vault of a program's module: it outlives event loops, and nothing has to close it."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudbeds_auth import ConfigurationError, Settings, TokenVault, UnknownConnection, VaultClosed, sync
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.program_vault import ProgramVault


def ours() -> list[str]:
    """The names of our threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("cloudbeds-auth")]


def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `settings` says, as a program's environment has it."""
    for name, value in {
        "CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": "secret-1",
        "CLOUDBEDS_BASE_URL": settings.base_url, "CLOUDBEDS_AUTH_DATABASE_URL": settings.database_url,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


async def states(vault: TokenVault) -> int:
    """How many hotels are connected."""
    return len((await vault.connections()).connections)


def test_one_event_loop_after_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """`asyncio.run` twice: the second finds the vault open."""
    environment(settings, monkeypatch)
    vault = TokenVault.from_environment()
    assert asyncio.run(states(vault)) == 0
    opened = ours()
    assert asyncio.run(states(vault)) == 0
    assert ours() == opened
    asyncio.run(vault.aclose())


def test_several_event_loops_at_a_time(settings: Settings) -> None:
    """One vault, one thread of its own."""
    vault = ProgramVault(settings)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: asyncio.run(states(vault)), range(8))) == [0] * 8
    assert ours().count("cloudbeds-auth") == 1
    asyncio.run(vault.aclose())


async def test_an_error_is_raised_where_it_is_awaited(settings: Settings) -> None:
    """With its code, as of any vault; registrations as well."""
    vault = ProgramVault(settings)
    with pytest.raises(UnknownConnection):
        await vault.access_token("con_nobody")
    assert [app.id for app in await vault.apps.list()] == ["default"]
    await vault.aclose()


def test_it_is_opened_when_it_is_first_used(tmp_path: Path) -> None:
    """A program that imports it and needs it not opens no database and starts no thread; what is wrong is said then."""
    (tmp_path / "db").write_text("a letter to a hotel")
    before = threading.enumerate()
    vault = ProgramVault(Settings(database_url=f"sqlite:///{tmp_path}/db", base_url="http://127.0.0.1:1"))
    assert set(threading.enumerate()) <= set(before)
    assert vault.base_url == "http://127.0.0.1:1"
    with pytest.raises(ConfigurationError, match="key file"):
        asyncio.run(states(vault))
    asyncio.run(vault.aclose())


async def test_the_callers_loop_runs_while_the_vault_is_opened(settings: Settings) -> None:
    """A database that is slow to open holds up no other task than those that wait for it; memory is read without it."""
    may_open, opening = threading.Event(), threading.Event()

    @asynccontextmanager
    async def slowly() -> AsyncIterator[TokenVault]:
        opening.set()
        await asyncio.to_thread(may_open.wait)
        async with TokenVault.open(settings) as vault:
            yield vault

    vault = ProgramVault(settings)
    vault.threaded._opener = slowly
    assert vault.cached("con_1") is None
    assert not opening.is_set()
    asked = [asyncio.create_task(states(vault)) for _ in range(3)]
    await asyncio.to_thread(opening.wait)
    assert not any(task.done() for task in asked)
    may_open.set()
    assert await asyncio.gather(*asked) == [0, 0, 0]
    await vault.aclose()


async def test_closed(settings: Settings) -> None:
    """Before its first use or after it: each call raises VaultClosed; closing it again changes nothing."""
    for used in (False, True):
        vault = ProgramVault(settings)
        if used:
            await states(vault)
        await vault.aclose()
        await vault.aclose()
        with pytest.raises(VaultClosed):
            await states(vault)
        await vault.note_pause("con_1", 1.0)  # the call was made: nothing is raised


def test_a_child_process_opens_its_own(settings: Settings) -> None:
    """As workers of a server that loads its application first."""
    vault = ProgramVault(settings)
    assert asyncio.run(states(vault)) == 0
    child = os.fork()
    if child == 0:
        os._exit(asyncio.run(states(vault)) + 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    asyncio.run(vault.aclose())


@pytest.mark.parametrize("kind", [TokenVault, Apps])
def test_nothing_runs_on_the_callers_loop(settings: Settings, kind: type) -> None:
    """Each asynchronous method is its own: one that is added to the vault is carried to its thread as well."""
    there = ProgramVault(settings).apps if kind is Apps else ProgramVault(settings)
    methods = [
        name for name, one in vars(kind).items() if inspect.iscoroutinefunction(one) and not name.startswith("_")
    ]
    assert methods
    for name in methods:
        assert getattr(type(there), name) is not getattr(kind, name)
        assert inspect.signature(getattr(type(there), name)) == inspect.signature(getattr(kind, name))


def test_blocking_in_the_vaults_own_thread(settings: Settings) -> None:
    """It would wait for itself for ever: an error says so, and the vault goes on."""
    with sync.TokenVault.open(settings) as vault:

        async def ask(there: TokenVault) -> int:
            vault.connections()
            return await states(there)

        async def end(there: TokenVault) -> None:
            vault._program.threaded._now().close()

        for work in (ask, end):
            with pytest.raises(RuntimeError, match="wait for"):
                vault.run(work)
        assert vault.connections().connections == ()


def test_work_begins_on_the_vaults_own_loop(settings: Settings) -> None:
    """Also what it does before it first waits."""
    with sync.TokenVault.open(settings) as vault:

        def work(there: TokenVault) -> Coroutine[Any, Any, int]:
            assert asyncio.get_running_loop() is there.engine.loop
            return states(there)

        assert vault.run(work) == 0


def test_closed_while_another_thread_opens_it(settings: Settings) -> None:
    """What it opened is closed again, and a thread that waited for its turn opens nothing."""
    may_open, opening, closed = threading.Event(), threading.Event(), threading.Event()

    @asynccontextmanager
    async def slowly() -> AsyncIterator[TokenVault]:
        opening.set()
        await asyncio.to_thread(may_open.wait)
        async with TokenVault.open(settings) as vault:
            yield vault
        closed.set()

    vault = sync.TokenVault(settings)
    vault._program.threaded._opener = slowly
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(vault.connections) for _ in range(2)]
        assert opening.wait(60)
        vault.close()
        may_open.set()
        for one in asked:
            with pytest.raises(VaultClosed):
                one.result(60)
    assert closed.is_set()
