"""A driver that reports each transaction to the observer: how long it took, or why the database could not do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports import Clock, Observer, Wakeups
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.transactions.runner import Browse, Driver
from cloudbeds_auth.transactions.statements import Body

T = TypeVar("T")

REASONS = {
    "FullError": "disk_full",
    "DiskFull": "disk_full",
    "BusyError": "busy",
    "LockedError": "busy",
    "LockNotAvailable": "busy",
    "QueryCanceled": "busy",
    "DeadlockDetected": "busy",
    "SerializationFailure": "busy",
    "ReadOnlyError": "read_only",
    "ReadOnlySqlTransaction": "read_only",
    "IOError": "io",
    "CantOpenError": "io",
    "OperationalError": "unreachable",
    "InterfaceError": "unreachable",
    "TimeoutError": "unreachable",
}
"""The reasons for the errors of both databases, by class name; a pool's timeout is an OperationalError."""


class MeasuredDriver:
    """Runs transactions on `driver` and reports how each ended. Its errors are raised unchanged."""

    def __init__(self, driver: Driver, clock: Clock, observer: Observer, browse: Browse | None = None) -> None:
        self._driver = driver
        self._browse = browse or driver.read
        self._clock = clock
        self._observer = observer

    @property
    def wakeups(self) -> Wakeups | None:
        """The notifications from other processes, if the driver has any."""
        return self._driver.wakeups

    async def read(self, body: Body[T]) -> T:
        """Run a transaction that writes nothing."""
        with self._measured("read"):
            return await self._driver.read(body)

    async def browse(self, body: Body[T]) -> T:
        """Run a transaction that reads much."""
        with self._measured("read"):
            return await self._browse(body)

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        """Run a transaction that may write."""
        with self._measured("write"):
            return await self._driver.write(body, synced=synced)

    async def close(self) -> None:
        """Close, after the running transactions."""
        await self._driver.close()

    @contextmanager
    def _measured(self, operation: str) -> Iterator[None]:
        begun = self._clock.steady()
        try:
            yield
        except StoreUnavailable as error:
            reason, kind = reason_of(error), type(error.__cause__ or error).__name__
            self._observer.happened(Happening.STORE_FAILED, operation=operation, reason=reason, error=kind)
            raise
        self._observer.happened(Happening.TRANSACTION, operation=operation, seconds=self._clock.steady() - begun)


def reason_of(error: StoreUnavailable) -> str:
    """Why the database failed, by the driver's error that is the cause; one of `STORE_REASONS`."""
    kinds = type(error.__cause__).__mro__
    return next((REASONS[kind.__name__] for kind in kinds if kind.__name__ in REASONS), "other")
