"""A vault that is opened when it is first used, by callers of every kind at once: one of them opens it, for all."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import pytest

from cloudbeds_auth import ConfigurationError, Settings, TokenVault, VaultClosed, loop_thread
from cloudbeds_auth.loop_thread import LoopThread
from cloudbeds_auth.program_vault import ProgramVault

GUARD = 60.0  # seconds


class Taken(ThreadPoolExecutor):
    """An application's executor whose threads are all taken: whoever asked for one would wait."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(f"a thread of the application is asked for, to run {fn}")


class Slow:
    """Opens a vault when `may_open` is set. `failures` are raised instead, one at an attempt."""

    def __init__(self, settings: Settings, *failures: BaseException) -> None:
        self.vault = ProgramVault(settings)
        self.vault.threaded._opener = self.opener
        self.settings = settings
        self.failures = list(failures)
        self.attempts = 0
        self.begun = threading.Event()
        self.on_begin: Callable[[], object] = self.begun.set
        self.may_open = threading.Event()
        self.closed = threading.Event()

    @asynccontextmanager
    async def opener(self) -> AsyncIterator[TokenVault]:
        self.attempts += 1
        self.on_begin()
        await asyncio.to_thread(self.may_open.wait, GUARD)
        if self.failures:
            raise self.failures.pop(0)
        async with TokenVault.open(self.settings) as vault:
            yield vault
        self.closed.set()

    async def asked(self) -> int:
        """How many hotels the vault has."""
        return len((await self.vault.connections()).connections)

    async def first_callers(self, number: int) -> list[asyncio.Task[int]]:
        """As many callers, who wait for the vault to open; this loop's executor has no thread for them."""
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.set_default_executor(Taken(1))
        self.on_begin = partial(loop.call_soon_threadsafe, begun.set)
        callers = [asyncio.create_task(self.asked()) for _ in range(number)]
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait([waiting, *callers], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert [one.result() for one in callers if one.done()] == []
        return callers


async def test_no_thread_of_the_application_opens_it(settings: Settings) -> None:
    """However many ask for it first, and none waits for it; it is opened once."""
    slow = Slow(settings)
    callers = await slow.first_callers(40)
    slow.may_open.set()
    assert await asyncio.gather(*callers) == [0] * 40
    assert slow.attempts == 1
    await slow.vault.aclose()


async def test_a_first_caller_that_is_cancelled(settings: Settings) -> None:
    """The others still get the vault, and so does a later one where all of them are cancelled."""
    slow = Slow(settings)
    first, second, third = await slow.first_callers(3)
    for one in (first, third):
        one.cancel()
        await asyncio.wait([one])
        assert one.cancelled()
    slow.may_open.set()
    assert await second == 0
    assert slow.attempts == 1
    await slow.vault.aclose()
    another = Slow(settings)
    (alone,) = await another.first_callers(1)
    alone.cancel()
    another.may_open.set()
    assert await another.asked() == 0
    assert another.attempts == 1
    await another.vault.aclose()


def test_a_loop_that_ends_while_it_waits(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """The vault is opened all the same, and nothing is complained about."""
    slow = Slow(settings)

    async def leaves() -> None:
        await slow.first_callers(2)

    asyncio.run(leaves())
    *_, opening = (thread for thread in threading.enumerate() if thread.name == "cloudbeds-auth-opening")
    assert not opening.daemon, "it is joined, and what it opened is closed"
    slow.may_open.set()
    opening.join(GUARD)
    assert asyncio.run(slow.asked()) == 0
    assert slow.attempts == 1
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    asyncio.run(slow.vault.aclose())


def test_event_loops_and_blocking_threads(settings: Settings) -> None:
    """Whichever comes first, all have one vault."""
    slow = Slow(settings)

    def waits() -> int:
        return len(slow.vault.threaded.wait(lambda vault: vault.connections()).connections)

    with ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(ask) for _ in range(4) for ask in (waits, lambda: asyncio.run(slow.asked()))]
        assert slow.begun.wait(GUARD)
        slow.may_open.set()
        assert [one.result(GUARD) for one in callers] == [0] * 8
    assert slow.attempts == 1
    asyncio.run(slow.vault.aclose())


async def test_a_vault_that_does_not_open(settings: Settings) -> None:
    """All that waited get the error; the next caller tries again."""
    slow = Slow(settings, ConfigurationError("not now"))
    callers = await slow.first_callers(5)
    slow.may_open.set()
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in told] == ["not now"] * 5
    assert slow.attempts == 1
    assert await slow.asked() == 0
    assert slow.attempts == 2
    await slow.vault.aclose()


def test_an_opening_that_ends_its_program(settings: Settings) -> None:
    """SystemExit, of an observer for example, reaches the caller on its event loop; a later one tries again."""
    slow = Slow(settings, SystemExit(3))
    slow.may_open.set()
    with pytest.raises(SystemExit) as raised:
        asyncio.run(slow.asked())
    assert raised.value.code == 3
    assert asyncio.run(slow.asked()) == 0
    asyncio.run(slow.vault.aclose())


def test_ctrl_c_in_the_thread_that_opens_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that thread's alone: a caller that waits on an event loop opens the vault itself."""
    slow, interrupt = Slow(settings), threading.Event()
    slow.may_open.set()

    def interrupted(*_: object) -> NoReturn:
        monkeypatch.setattr(loop_thread, "LoopThread", LoopThread)
        slow.begun.set()
        interrupt.wait(GUARD)
        raise KeyboardInterrupt

    async def waits() -> int:
        caller = asyncio.create_task(slow.asked())
        await asyncio.sleep(0)
        assert not caller.done()
        interrupt.set()
        return await caller

    monkeypatch.setattr(loop_thread, "LoopThread", interrupted)
    with ThreadPoolExecutor(1) as pool:
        first: Future[TokenVault] = pool.submit(slow.vault.threaded.here)
        assert slow.begun.wait(GUARD)
        assert asyncio.run(waits()) == 0
        assert isinstance(first.exception(GUARD), KeyboardInterrupt)
    assert slow.attempts == 1
    asyncio.run(slow.vault.aclose())


def test_ctrl_c_before_it_begins_to_open(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps, too: the next caller opens it, and does not wait for nobody."""
    slow = Slow(settings)
    slow.may_open.set()
    threaded = slow.vault.threaded

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threaded, "_open_for_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            threaded.here()
    assert asyncio.run(slow.asked()) == 0
    asyncio.run(slow.vault.aclose())


def test_no_thread_to_open_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typed error says so to a caller on an event loop, too; once there are threads, it is opened."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    slow = Slow(settings)
    slow.may_open.set()
    with monkeypatch.context() as starved:
        starved.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ConfigurationError, match="can't start new thread"):
            asyncio.run(slow.asked())
    assert asyncio.run(slow.asked()) == 0
    asyncio.run(slow.vault.aclose())


async def test_closed_while_it_is_opened(settings: Settings) -> None:
    """All that waited are told so, after what was opened is closed again."""
    slow = Slow(settings)
    callers = await slow.first_callers(3)
    await slow.vault.aclose()
    slow.may_open.set()
    told = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in told] == [VaultClosed] * 3
    assert slow.closed.is_set()
