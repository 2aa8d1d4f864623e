"""What a database must be able to do: run a transaction to its end, durably, or not at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from cloudbeds_auth.ports.wakeups import Wakeups
from cloudbeds_auth.transactions.statements import Body, Rows, Statement, Transaction

T = TypeVar("T")


class Driver(Protocol):
    """Production: `sqlite.SqliteDriver`, `postgres.PostgresDriver`.

    Failures that a later call may not meet are raised as StoreUnavailable.
    """

    @property
    def wakeups(self) -> Wakeups | None:
        """How other processes are heard of, where that is possible."""
        ...

    async def read(self, body: Body[T]) -> T:
        """Run a transaction that writes nothing, over one consistent view."""
        ...

    async def write(self, body: Body[T]) -> T:
        """Run a transaction; committed and synced when this returns, rolled back when it raises."""
        ...

    async def close(self) -> None:
        """Finish what runs and close."""
        ...


def drive(transaction: Transaction[T], execute: Callable[[Statement], Rows]) -> T:
    """Drive a transaction's generator with something that executes statements."""
    try:
        statement = next(transaction)
        while True:
            statement = transaction.send(execute(statement))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        transaction.close()


async def drive_async(transaction: Transaction[T], execute: Callable[[Statement], Awaitable[Rows]]) -> T:
    """The same, with something that is waited for."""
    try:
        statement = next(transaction)
        while True:
            statement = transaction.send(await execute(statement))
    except StopIteration as done:
        result: T = done.value
        return result
    finally:
        transaction.close()
