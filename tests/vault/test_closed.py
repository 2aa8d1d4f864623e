"""Both vaults after they were closed: every method, and what was under way."""

from __future__ import annotations

import asyncio
import errno
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from cloudbeds_auth import Settings, TokenVault, UnknownConnection, VaultClosed, sync
from cloudbeds_auth.rules.auth_flow import Pause
from cloudbeds_auth.rules.imports import Handover
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.permissions import ADMIN
from cloudbeds_auth.rules.secret import Secret

pytestmark = pytest.mark.row("F106")
GUARD = 60.0  # seconds
FACTS = {"settings", "base_url", "apps", "keys"}  # what a program reads of a vault without asking it anything
ENDS = {"open", "from_environment", "close", "aclose"}
HAPPENED = {"note_call", "note_refusal", "note_pause"}  # said of a call that was made already: its answer counts more
ARGUMENTS: dict[str, Any] = {
    "code": "code", "state": "state", "connection_id": "con_1", "token": "token", "connection_or_property": "1000",
    "method": "GET", "path": "userinfo", "browser": "browser", "hotel": Handover("1000", Secret("R-1")), "body": b"{}",
    "api_key": "cbat_1", "former": "https://api.example",
    "name": "aurora", "client_id": "client-2", "client_secret": "secret-2", "pause": 1.0, "status": 200,
    "scopes": ["read"], "key_id": "key_1", "text": "cbauth_x", "address": "192.0.2.7", "caller": ADMIN,
}  # fmt: skip
TOKEN = AccessToken(Secret("A-1"), None, 1, "gra_1")
ARGUMENTS["work"] = TokenVault.check


def methods(kind: type) -> list[str]:
    """The public methods that ask."""
    return sorted({name for name in dir(kind) if not name.startswith("_")} - FACTS - ENDS - HAPPENED)


def asked(of: object, name: str) -> Any:
    """The method called with something for each argument that it must have; a property read."""
    if isinstance(inspect.getattr_static(of, name), property):
        return getattr(of, name)
    method = getattr(of, name)
    needed = [one for one in inspect.signature(method).parameters.values() if one.default is one.empty]
    given = {one.name: ARGUMENTS[one.name] for one in needed if one.kind is not one.VAR_KEYWORD}
    if name in {"carrying", "newest"}:
        given["token"] = TOKEN
    return method(**given)


@pytest.mark.parametrize("name", methods(sync.TokenVault))
def test_the_blocking_vault(settings: Settings, name: str) -> None:
    """A typed error with a code and a diagnosis."""
    with sync.TokenVault.open(settings) as vault:
        pass
    with pytest.raises(VaultClosed) as caught:
        asked(vault, name)
    assert caught.value.code == "vault_closed"
    assert all(caught.value.diagnosis())


@pytest.mark.parametrize("name", methods(TokenVault))
async def test_the_asynchronous_vault(settings: Settings, name: str) -> None:
    """The same."""
    async with TokenVault.open(settings) as vault:
        pass

    async def ask() -> None:
        found = asked(vault, name)
        if inspect.isawaitable(found):
            await found

    with pytest.raises(VaultClosed):
        await ask()


@pytest.mark.parametrize(
    ("part", "name"),
    [(part, name) for part, kind in (("keys", sync.CallerKeys), ("apps", sync.Apps)) for name in methods(kind)],
)
def test_the_keys_and_the_apps_of_the_blocking_vault(settings: Settings, part: str, name: str) -> None:
    """The same."""
    with sync.TokenVault.open(settings) as vault:
        pass
    with pytest.raises(VaultClosed):
        asked(getattr(vault, part), name)


async def test_the_apps_of_the_asynchronous_vault(settings: Settings) -> None:
    """The same, also for those that were taken before."""
    async with TokenVault.open(settings) as vault:
        apps = vault.apps
    with pytest.raises(VaultClosed):
        await apps.list()
    with pytest.raises(VaultClosed):
        _ = vault.apps


async def test_a_lender_that_was_made_before(settings: Settings) -> None:
    """Nothing is lent; what was called already is noted by nobody, and its answer not lost over that."""
    async with TokenVault.open(settings) as vault:
        lender = vault.lender("con_1")
    with sync.TokenVault.open(settings) as blocking:
        lent = blocking.lender("con_1")
    for one in (lender, lent):
        for ask in (one.fetch(None), one.fetch(TOKEN), one.turn()):
            with pytest.raises(VaultClosed):
                await ask
        with pytest.raises(VaultClosed):
            await asyncio.to_thread(one.fetch_blocking, None)
        one.note(TOKEN, "GET", "/", 200)
        one.note_refusal(TOKEN, None, "GET", "/")  # type: ignore[arg-type]
        await one.perform(Pause(1.0))
        await asyncio.to_thread(one.perform_blocking, Pause(1.0))


def test_closed_twice(settings: Settings) -> None:
    """The second time there is nothing to do."""
    with sync.TokenVault.open(settings) as vault:
        vault.close()
        vault.close()


async def test_closed_twice_asynchronously(settings: Settings) -> None:
    """The same."""
    async with TokenVault.open(settings) as vault:
        await vault.aclose()


async def test_closed_where_counted_calls_cannot_be_written(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files in that moment: the counts are lost, and everything is closed all the same."""
    closed: list[bool] = []

    async def fail(*, everything: bool = False) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with TokenVault.open(settings) as vault:
        engine = vault.engine
        close = engine.world.db.close

        async def closes() -> None:
            await close()
            closed.append(True)

        monkeypatch.setattr(engine.calls, "flush", fail)
        monkeypatch.setattr(engine.world.db, "close", closes)
    assert closed == [True]


@pytest.mark.parametrize("how", ["a cancelled scope", "a timeout"])
async def test_closed_by_a_caller_that_is_cancelled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What runs is committed, and everything closed, before the caller ends; anyio cancels each await again."""
    ended: list[str] = []
    may_end = asyncio.Event()

    async def runs() -> None:
        await may_end.wait()
        ended.append("what ran")

    async with TokenVault.open(settings) as vault:
        engine = vault.engine
        close = engine.world.db.close

        async def closes() -> None:
            await close()
            ended.append("the database")

        monkeypatch.setattr(engine.world.db, "close", closes)
        engine.world.tasks.begin("runs", runs)
        asyncio.get_running_loop().call_later(0.05, may_end.set)
        if how == "a timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await vault.aclose()
        else:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await vault.aclose()
            assert scope.cancelled_caught
        assert ended == ["what ran", "the database"]


async def never(vault: TokenVault) -> None:
    """A call that no closing ends by itself."""
    await asyncio.Event().wait()


def test_calls_under_way_on_other_threads(settings: Settings) -> None:
    """None of them waits for ever."""
    with ThreadPoolExecutor(20) as pool, sync.TokenVault.open(settings) as vault:
        waiting = [pool.submit(vault._wait, never) for _ in range(20)]
        while len(vault._program.threaded._now()._asked) < len(waiting):
            pass
        vault.close()
        assert [type(one.exception(GUARD)) for one in waiting] == [VaultClosed] * len(waiting)


async def test_calls_under_way_on_another_event_loop(settings: Settings) -> None:
    """They end with the typed error; one whose caller gave up is cancelled, as its caller asked."""
    with sync.TokenVault.open(settings) as vault:
        waiting, gone = (asyncio.create_task(vault._program.threaded.elsewhere(never)) for _ in range(2))
        while len(vault._program.threaded._now()._asked) < 2:
            await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        await asyncio.to_thread(vault.close)
        with pytest.raises(VaultClosed):
            await waiting


def test_threads_that_ask_while_it_is_closed(settings: Settings) -> None:
    """Whatever the moment: an answer, or the typed error."""
    with ThreadPoolExecutor(20) as pool, sync.TokenVault.open(settings) as vault:
        begun = threading.Barrier(21)

        def ask() -> type[BaseException] | None:
            begun.wait(GUARD)
            try:
                while True:
                    vault.connections()
            except BaseException as error:  # noqa: BLE001
                return type(error)

        asking = [pool.submit(ask) for _ in range(20)]
        begun.wait(GUARD)
        vault.close()
        assert {one.result(GUARD) for one in asking} == {VaultClosed}


async def test_no_thread_of_the_application_waits(settings: Settings) -> None:
    """Forty callers on an event loop wait for a token, and two hundred threads of the application's own beside them.
    The loop's executor, of four threads, looks a name up meanwhile.
    """
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(4))
    with sync.TokenVault.open(settings) as vault, ThreadPoolExecutor(200) as pool:
        held_up = threading.Event()
        lender = vault.lender("con_unknown")
        vault._program.threaded._now().loop.call_soon_threadsafe(held_up.wait, GUARD)
        threads = [pool.submit(lender.fetch_blocking, None) for _ in range(200)]
        waiting = [asyncio.create_task(lender.fetch(None)) for _ in range(40)]
        try:
            await asyncio.sleep(0)
            found = await asyncio.wait_for(loop.getaddrinfo("localhost", 80), GUARD / 6)
        finally:
            held_up.set()
        assert found
        told = [*await asyncio.gather(*waiting, return_exceptions=True), *(one.exception(GUARD) for one in threads)]
        assert [type(error) for error in told] == [UnknownConnection] * 240
