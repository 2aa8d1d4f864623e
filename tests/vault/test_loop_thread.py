"""The blocking vault's thread: how it begins, and what a child process has of it."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import pytest
from tests.support.interrupting import interrupted

from cloudbeds_auth import Settings, TokenVault, loop_thread, sync
from cloudbeds_auth.errors import ConfigurationError, VaultClosed
from cloudbeds_auth.loop_thread import LoopThread, ThreadedVault
from cloudbeds_auth.ports import Fact
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret

TOKEN = AccessToken(Secret("A-1"), None, 1, "gra_1")


def thread_of(settings: Settings) -> LoopThread[TokenVault]:
    """A vault, open on a thread of its own."""
    return LoopThread(partial(TokenVault.open, settings), 25.0)


def ours() -> set[str]:
    """The names of our threads."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("cloudbeds-auth")}


def test_its_threads(settings: Settings) -> None:
    """Daemons, which are there from the beginning: none can be started when the program ends. None is left over."""
    made = thread_of(settings)
    assert ours() == {f"cloudbeds-auth{one}" for one in ("", "-calls", "-names", "-sqlite")}
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in ours())
    made.close()
    for thread in threading.enumerate():
        if thread.name.startswith("cloudbeds-auth"):
            thread.join(60)
    assert ours() == set()


def test_a_vault_that_does_not_open(tmp_path: Path, settings: Settings) -> None:
    """Why not is raised where it is opened, and no thread is left over."""
    (tmp_path / "db").write_text("a letter to a hotel")
    with pytest.raises(ConfigurationError, match="key file"):
        thread_of(settings)
    for thread in threading.enumerate():
        if thread.name.startswith("cloudbeds-auth"):
            thread.join(60)


def test_no_thread_to_run_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error says so."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ConfigurationError, match="can't start new thread"):
        thread_of(settings)


def test_ctrl_c_while_it_opens(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised, and the vault is closed as soon as it is open."""
    closed = threading.Event()
    run = LoopThread._run

    def interrupted(self: LoopThread[TokenVault]) -> None:
        self._opened.set_exception(KeyboardInterrupt())
        self._opened.set_result = lambda result: None  # type: ignore[method-assign]
        run(self)
        closed.set()

    monkeypatch.setattr(LoopThread, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        thread_of(settings)
    assert closed.wait(60)


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "Ctrl-C"])
def test_work_that_ends_its_program(settings: Settings, raised: BaseException) -> None:
    """It is raised where the work was given, from the work itself and from a task of it; the vault lives on."""
    vault = ThreadedVault(partial(TokenVault.open, settings), 25.0)

    async def ends(_: TokenVault) -> None:
        raise raised

    async def ends_later(there: TokenVault) -> None:
        await asyncio.gather(ends(there))

    async def asked(there: TokenVault) -> int:
        return len(await there.connections())

    for work in (ends, ends_later):
        with pytest.raises(type(raised)) as caught:
            vault.wait(work)
        assert caught.value is raised
        with pytest.raises(type(raised)):
            asyncio.run(vault.elsewhere(work))
        assert vault.wait(asked) == 0
    vault.close()


def test_work_that_occupies_every_thread_that_it_may(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host names are looked up on other threads, so the vault reaches Cloudbeds meanwhile; all of them are daemons."""
    may_end, looked_up, look_up = threading.Event(), list[str](), socket.getaddrinfo

    def noted(*name: Any, **hints: Any) -> Any:
        looked_up.append(threading.current_thread().name)
        return look_up(*name, **hints)

    async def blocks(vault: TokenVault) -> set[str]:
        blocked = [asyncio.create_task(asyncio.to_thread(may_end.wait, 60)) for _ in range(80)]
        async with httpx2.AsyncClient(trust_env=False) as http:
            await asyncio.sleep(0)
            with pytest.raises(httpx2.ConnectError):  # nobody is there; a timeout is another error
                await http.get("http://localhost:1/")
        used = ours()
        may_end.set()
        await asyncio.gather(*blocked)
        return used

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    made = thread_of(settings)
    assert "cloudbeds-auth-calls" in made.wait(blocks(made.vault))
    assert set(looked_up) == {"cloudbeds-auth-names"}
    assert all(thread.daemon for thread in threading.enumerate() if thread.name in ours())
    made.close()


def test_in_a_child(settings: Settings) -> None:
    """Its end is the parent's to wait for."""
    made = thread_of(settings)
    parent, made.pid = made.pid, -1
    made.close()
    made.close_at_exit()
    made.pid = parent
    assert made.wait(made.vault.connections()).connections == ()
    made.close()
    with pytest.raises(VaultClosed):
        made.wait(made.vault.connections())


def test_an_end_that_does_not_come(settings: Settings) -> None:
    """Where the thread stands still, a program that ends does not wait for it for ever."""
    made = thread_of(settings)
    still = threading.Event()
    made.loop.call_soon_threadsafe(still.wait, 60)
    made._longest = 0.01
    made.close_at_exit()
    made.close_at_exit()
    still.set()


def test_an_observer_that_asks_the_vault_while_it_opens(settings: Settings) -> None:
    """On the vault's own thread: it is told so, as later, and the vault is opened."""
    told: list[str] = []

    class Asks:
        def happened(self, what: Happening, /, **facts: Fact) -> None:
            with pytest.raises(RuntimeError) as caught:
                vault.connections()
            told.append(str(caught.value))

    vault = sync.TokenVault(settings, observers=[Asks()])
    opening = threading.Thread(target=vault.connections, daemon=True)
    opening.start()
    opening.join(60)
    assert not opening.is_alive(), "it hangs"
    vault.close()
    assert "the vault is being opened" in told[0]
    assert all("would wait for itself" in words for words in told)


def test_many_first_callers_of_a_vault_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them tries, and all meet its failure; a later caller tries again."""
    waiting, tried = threading.Semaphore(0), itertools.count(1)

    class Counted(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            waiting.release()
            return super().result(timeout)

    def opener() -> NoReturn:
        attempt = next(tried)
        for _ in range(7 if attempt == 1 else 0):
            waiting.acquire(timeout=60)
        raise ConfigurationError(f"attempt {attempt}")

    def ask() -> str:
        with pytest.raises(ConfigurationError) as caught:
            vault.here()
        return str(caught.value.detail)

    monkeypatch.setattr(loop_thread, "Future", Counted)
    vault = ThreadedVault[TokenVault](opener, 25.0)
    with ThreadPoolExecutor(8) as pool:
        assert [caller.result(60) for caller in [pool.submit(ask) for _ in range(8)]] == ["attempt 1"] * 8
    assert ask() == "attempt 2"


@pytest.mark.parametrize("step", [1, 5], ids=["a call is noted", "hotels are asked for"])
def test_closed_in_a_signal_handler(settings: Settings, step: int) -> None:
    """Whichever line of ours it interrupts, in the thread that uses the vault, the vault is closed."""
    last = itertools.count()

    def ask(vault: sync.TokenVault) -> None:
        with suppress(VaultClosed):
            vault.note_call(TOKEN, "GET", "/", 200) if step == 1 else vault.connections()

    def at_every_line() -> None:
        for number in itertools.count(1, step):
            with sync.TokenVault.open(settings) as vault:
                if not interrupted(number, vault.close, partial(ask, vault)):
                    return
                next(last)

    asking = threading.Thread(target=at_every_line, daemon=True)
    asking.start()
    asking.join(60)
    assert not asking.is_alive(), "it hangs"
    assert next(last) > 10
