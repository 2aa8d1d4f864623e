"""A transaction's generator, driven by something that executes statements."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from cloudbeds_auth.transactions.statements import Rows, Statement, Transaction

T = TypeVar("T")


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
